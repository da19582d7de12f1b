"""Files that are one packed stream: gzip, bzip2, xz, lzma, lzip, zstd, lz4, compress. Each gives one member.

Openers of `unpack.ARCHIVES`. What could be unpacked before the damage is given with the trouble. Streams in a row are
one file, as the programs of these formats have it; what follows them and is none is ignored as they do, but looked at
by `openers.appended`.
"""

import bz2
import lzma
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from gatepost.antivirus.budget import INPUT_CHUNK, OUTPUT_CHUNK, Budget, Content
from gatepost.antivirus.openers.archive import read_archive
from gatepost.antivirus.opening import Member, Opening
from gatepost.model.zstandard import zstd

LZMA_MEMORY: Final = 128 * 1024 * 1024
"""Dictionary a stream may ask for; the programs use 64 MiB at most by their presets."""
ZSTD_WINDOW_LOG: Final = 27
"""128 MiB, the same for zstd: what its program takes without being asked to."""
LZIP_MAGIC: Final = b"LZIP\x01"
LZIP_HEADER: Final = 6
LZIP_TRAILER: Final = 20
LZIP_SMALLEST: Final = 4096
SZDD_HEADER: Final = 14
CUT_OFF: Final = "packed data is cut off"


class Decoder(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def open_bzip2(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the one member of a bzip2 file."""
    return _open(data, _strip(name, ".bz2", ".bz"), opening, b"BZh", bz2.BZ2Decompressor)


def open_xz(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the one member of an xz file."""
    return _open(data, _strip(name, ".xz"), opening, b"\xfd7zXZ\0", lambda: _lzma(lzma.FORMAT_XZ))


def open_lzma(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the one member of an .lzma file, the older form without a magic number."""
    return _open(data, _strip(name, ".lzma"), opening, b"", lambda: _lzma(lzma.FORMAT_ALONE))


def open_zstd(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the one member of a zstd file (RFC 8878), skippable frames left out."""
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    return _open(data, _strip(name, ".zst"), opening, b"", lambda: zstd.ZstdDecompressor(options=options))


def open_lzip(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the one member of an lzip file: LZMA streams with a header of 6 and a trailer of 20 bytes."""
    budget = opening.budget
    inner = _strip(name, ".lz")
    content = Content(budget, len(data))
    position = 0
    while data.startswith(LZIP_MAGIC, position) and len(data) >= position + LZIP_HEADER:
        budget.take_member()
        power, part = data[position + 5] & 0x1F, data[position + 5] >> 5
        dictionary = (1 << power) - (1 << power) // 16 * part
        if not LZIP_SMALLEST <= dictionary <= LZMA_MEMORY:
            yield Member(inner, content.take(), trouble=f"lzip stream asks for a dictionary of {dictionary} bytes")
            return
        filters = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": 3, "lp": 0, "pb": 2}]
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
        position, trouble = decode_stream(decoder, data, position + LZIP_HEADER, content, budget)
        if trouble:
            yield Member(inner, content.take(), trouble=trouble)
            return
        position += LZIP_TRAILER
    yield Member(inner, content.take(), trouble="" if position <= len(data) else CUT_OFF)


def open_lz4(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the one member of an lz4 file."""
    return _open_by_library(data, _strip(name, ".lz4"), opening, "filter_lz4")


def open_compress(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the one member of a file of compress(1)."""
    return _open_by_library(data, _strip(name, ".z"), opening, "filter_compress")


def open_szdd(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the one member of a file of Microsoft's COMPRESS.EXE: LZSS over a ring of 4096 blanks."""
    budget = opening.budget
    budget.take_member()
    size = int.from_bytes(data[10:14], "little")
    allowed = min(budget.allowance(len(data)), size)
    ring, at = bytearray(b" " * 4096), 4096 - 16
    out = bytearray()
    position = SZDD_HEADER
    while position < len(data) and len(out) < allowed:
        if not position & 0xFFF:
            budget.take_time()
        flags = data[position]
        position += 1
        for bit in range(8):
            if flags >> bit & 1:
                literal = data[position : position + 1]
                position += 1
                out += literal
                ring[at : at + len(literal)] = literal
                at = (at + 1) & 0xFFF
            else:
                pair = data[position : position + 2]
                position += 2
                if len(pair) < 2:
                    break
                source, length = pair[0] | (pair[1] & 0xF0) << 4, (pair[1] & 0x0F) + 3
                for step in range(length):  # it may read what it has just written
                    value = ring[(source + step) & 0xFFF]
                    out.append(value)
                    ring[at] = value
                    at = (at + 1) & 0xFFF
    del out[size:]
    budget.take_bytes(len(out))
    if allowed < size:
        raise budget.refuse(len(data))
    yield Member(_strip(name), bytes(out), trouble="" if len(out) == size else CUT_OFF)


def _open(data: bytes, inner: str, opening: Opening, magic: bytes, make: Callable[[], Decoder]) -> Iterator[Member]:
    """Yield what the streams in a row hold that begin with `magic`; b"": whatever follows must be one, too."""
    budget = opening.budget
    content = Content(budget, len(data))
    position, trouble = 0, ""
    while not trouble and position < len(data) and (not position or data.startswith(magic, position)):
        budget.take_member()
        position, trouble = decode_stream(make(), data, position, content, budget)
        if data.startswith(b"\0", position):  # xz pads in between, tapes at the end
            position = len(data) - len(data[position:].lstrip(b"\0"))
    yield Member(inner, content.take(), trouble=trouble)


def decode_stream(decoder: Decoder, data: bytes, position: int, content: Content, budget: Budget) -> tuple[int, str]:
    """Decode one stream into `content`: return (position behind it, what is wrong with it)."""
    try:
        while not decoder.eof:
            packed = b""
            if decoder.needs_input:
                packed = data[position : position + INPUT_CHUNK]
                position += len(packed)
                if not packed:
                    return position, CUT_OFF
            content.write(decoder.decompress(packed, OUTPUT_CHUNK))
            budget.take_time()
    except (OSError, ValueError, EOFError, lzma.LZMAError, zstd.ZstdError) as error:
        return len(data), f"packed data is damaged: {error}"
    return position - len(decoder.unused_data), ""


def _open_by_library(data: bytes, inner: str, opening: Opening, supports: str) -> Iterator[Member]:
    for member in read_archive(data, 0, (supports, "format_raw"), opening):
        yield Member(inner, member.data, trouble=member.trouble)


def _lzma(form: int) -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(form, memlimit=LZMA_MEMORY)


def _strip(name: str, *endings: str) -> str:
    """Return the name of what is inside: without the ending, `x.tgz` and the like as `x.tar`."""
    lower = name.lower()
    for ending in endings:
        if lower.endswith(ending):
            return name[: -len(ending)]
    for ending in (".tgz", ".tbz", ".tbz2", ".txz", ".tlz", ".taz", ".tzst"):
        if lower.endswith(ending):
            return name[: -len(ending)] + ".tar"
    return name
