"""Zip files taken apart and put together again, members kept as they are packed: `read_zip`, `write_zip`.

Called by the cures of archives and of Office files. Reads what the central directory names and nothing else, and only
archives without anything unusual: one disk, no overlap, headers that agree. What is written has one reading: members
back to back from the first byte, names, flags, times, attributes, extra fields and comments as they were.
"""

import itertools
import struct
import zlib
from collections.abc import Iterable
from typing import Final

import msgspec

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.cure.cured import Uncurable
from gatepost.antivirus.zip_ends import find_end
from gatepost.antivirus.zip_records import (
    CENTRAL,
    CENTRAL_MARK,
    DEFLATED,
    DESCRIPTOR_MARK,
    END,
    END_MARK,
    FLAG_DESCRIPTOR,
    FLAG_ENCRYPTED,
    FLAG_UTF8,
    LOCAL,
    LOCAL_MARK,
    STORED,
    UNKNOWN_32,
    ZIP64_EXTRA,
)

_DESCRIPTOR: Final = struct.Struct("<4s3L")
_NOTE_VERSION: Final = 20
_DOS_EPOCH: Final = 0x21
"""1980-01-01, the first day a zip file can say: for members of ours, so that a cure gives the same bytes every time."""


class ZipPart(msgspec.Struct, frozen=True):
    """One member as it stands in an archive."""

    raw_name: bytes
    raw: bytes
    """Packed."""
    method: int = DEFLATED
    flags: int = 0
    crc: int = 0
    size: int = 0
    """Unpacked, as stated."""
    made_by: int = _NOTE_VERSION
    needs: int = _NOTE_VERSION
    time: int = 0
    date: int = _DOS_EPOCH
    local_extra: bytes = b""
    extra: bytes = b""
    comment: bytes = b""
    internal: int = 0
    external: int = 0

    @property
    def name(self) -> str:
        """Decoded as its flags say."""
        return self.raw_name.decode("utf-8" if self.flags & FLAG_UTF8 else "cp437", "replace")

    @property
    def encrypted(self) -> bool:
        return bool(self.flags & FLAG_ENCRYPTED)


class ZipFile(msgspec.Struct, frozen=True):
    """All members in the order of the directory, and the comment."""

    parts: tuple[ZipPart, ...]
    comment: bytes = b""


def read_zip(data: bytes) -> ZipFile:
    """Take an archive apart. Uncurable when anything in it is unusual."""
    end = find_end(data)
    if end < 0 or len(data) - end < END.size:
        raise Uncurable("zip archive without an end")
    _, disk, start_disk, here, count, size, offset, comment_length = END.unpack_from(data, end)
    if disk or start_disk or here != count or offset + size != end or end + END.size + comment_length != len(data):
        raise Uncurable("zip archive of several pieces, or with other data around it")
    parts: list[ZipPart] = []
    places: list[tuple[int, int]] = []
    position = offset
    for _ in range(count):
        part, header, position = _read_part(data, position, end)
        parts.append(part)
        places.append((header, header + LOCAL.size + len(part.raw_name) + len(part.raw)))
    if position != end:
        raise Uncurable("zip directory of another length than stated")
    places.sort()
    if any(before[1] > after[0] for before, after in itertools.pairwise(places)):
        raise Uncurable("zip members overlap")
    if places and places[0][0]:
        raise Uncurable("zip archive behind other data")
    return ZipFile(tuple(parts), data[end + END.size :])


def _read_part(data: bytes, position: int, end: int) -> tuple[ZipPart, int, int]:
    """Return (member, offset of its local header, where the next directory entry starts)."""
    if position + CENTRAL.size > end or not data.startswith(CENTRAL_MARK, position):
        raise Uncurable("zip directory cut off")
    fields = CENTRAL.unpack_from(data, position)
    _, made_by, needs, flags, method, time, date, crc, packed, size, name_length, extra_length = fields[:12]
    comment_length, disk, internal, external, header = fields[12:]
    names = position + CENTRAL.size
    following = names + name_length + extra_length + comment_length
    if disk or following > end or UNKNOWN_32 in (packed, size, header):
        raise Uncurable("zip entry over 4 GiB or on another disk")
    raw_name = data[names : names + name_length]
    extra = data[names + name_length :][:extra_length]
    if header + LOCAL.size > len(data) or not data.startswith(LOCAL_MARK, header):
        raise Uncurable("zip entry without a local header")
    _, _, local_flags, local_method, _, _, _, _, _, local_name, local_extra = LOCAL.unpack_from(data, header)
    start = header + LOCAL.size + local_name + local_extra
    kept = header + LOCAL.size
    agree = local_method == method and not (local_flags ^ flags) & FLAG_ENCRYPTED
    if not agree or data[kept : kept + local_name] != raw_name:
        raise Uncurable("zip headers disagree")
    if start + packed > end:
        raise Uncurable("zip member cut off")
    part = ZipPart(
        raw_name=raw_name,
        raw=data[start : start + packed],
        method=method,
        flags=flags,
        crc=crc,
        size=size,
        made_by=made_by,
        needs=needs,
        time=time,
        date=date,
        local_extra=_without_zip64(data[start - local_extra : start]),
        extra=_without_zip64(extra),
        comment=data[following - comment_length : following],
        internal=internal,
        external=external,
    )
    return part, header, following


def _without_zip64(extra: bytes) -> bytes:
    kept = bytearray()
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, position)
        if tag != ZIP64_EXTRA:
            kept += extra[position : position + 4 + length]
        position += 4 + length
    return bytes(kept)


def unpack_part(part: ZipPart, budget: Budget) -> bytes | None:
    """Return the content, None when only a password or another method gets at it. Uncurable: damaged; OverBudget."""
    if part.encrypted or part.method not in (STORED, DEFLATED):
        return None
    allowed = budget.allowance(len(part.raw))
    if part.method == STORED:
        content, ended = part.raw, True
    else:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = stream.decompress(part.raw, allowed + 1)
        except zlib.error as error:
            raise Uncurable(f"packed data is damaged: {error}") from None
        ended = stream.eof or len(content) > allowed
    if len(content) > allowed:
        raise budget.refuse(len(part.raw))
    if not ended or len(content) != part.size or zlib.crc32(content) != part.crc:
        raise Uncurable("packed data is damaged")
    budget.take_bytes(len(content))
    return content


def replace_content(part: ZipPart, content: bytes) -> ZipPart:
    """Return the member with other content: packed anew, or stored if it was; no longer encrypted."""
    method = STORED if part.method == STORED else DEFLATED
    return msgspec.structs.replace(
        part,
        raw=content if method == STORED else _deflate(content),
        method=method,
        flags=part.flags & FLAG_UTF8,
        crc=zlib.crc32(content),
        size=len(content),
        needs=_NOTE_VERSION,
    )


def build_part(name: str, content: bytes) -> ZipPart:
    """Return a new member."""
    fresh = ZipPart(raw_name=name.encode(), raw=b"", flags=0 if name.isascii() else FLAG_UTF8)
    return replace_content(fresh, content)


def _deflate(content: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(content) + stream.flush()


def write_zip(parts: Iterable[ZipPart], comment: bytes = b"") -> bytes:
    """Put an archive together."""
    out = bytearray()
    directory = bytearray()
    count = 0
    for part in parts:
        header = len(out)
        late = bool(part.flags & FLAG_DESCRIPTOR)
        sizes = (0, 0, 0) if late else (part.crc, len(part.raw), part.size)
        common = (part.flags, part.method, part.time, part.date)
        lengths = (len(part.raw_name), len(part.local_extra))
        out += LOCAL.pack(LOCAL_MARK, part.needs, *common, *sizes, *lengths)
        out += part.raw_name + part.local_extra + part.raw
        stated = (part.crc, len(part.raw), part.size)
        if late:  # kept: the check byte of an encrypted member depends on this flag
            out += _DESCRIPTOR.pack(DESCRIPTOR_MARK, *stated)
        directory += CENTRAL.pack(
            CENTRAL_MARK, part.made_by, part.needs, *common, *stated, len(part.raw_name), len(part.extra),
            len(part.comment), 0, part.internal, part.external, header,
        )  # fmt: skip
        directory += part.raw_name + part.extra + part.comment
        count += 1
    end = END.pack(END_MARK, 0, 0, count, count, len(directory), len(out), len(comment))
    return bytes(out + directory + end + comment)
