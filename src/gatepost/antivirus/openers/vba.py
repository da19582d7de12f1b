"""VBA projects ([MS-OVBA]): the source of every module, and what the compiled form says that the source does not.

Called by `ole`. A project's records may lie: modules that the directory does not name, or whose offset is wrong, are
found by the mark every compressed module starts with. Source is what people and most scanners see; Office runs the
compiled form when it fits its version, so a module whose source lacks texts of its compiled form is shown as that, too.
"""

import codecs
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from gatepost.antivirus.budget import Budget, Damaged
from gatepost.antivirus.openers.fields import VBA, VBA_STOMPED
from gatepost.antivirus.openers.taking import take, take_text
from gatepost.antivirus.opening import Member, Opening

CHUNK: Final = 4096
_SOURCE_MARK = re.compile(rb"\x01..\x00Attribut[\x00e]", re.DOTALL)
_CODE_PAGE, _STREAM_NAME, _STREAM_NAME_WIDE, _OFFSET, _NAME, _END = 0x03, 0x1A, 0x32, 0x31, 0x19, 0x2B
_VERSION: Final = 0x09
_LITERAL = re.compile(rb"\xb9\x00([\x04-\xff]\x00)")
"""The instruction that puts a text on the stack, in the compiled form of VBA 6 and 7, and the text's length."""
LITERALS_LIMIT: Final = 500


class Module(msgspec.Struct):
    """One module as the project's directory states it."""

    stream: str
    offset: int = -1


def decompress(data: bytes, start: int, budget: Budget) -> bytes:
    """Return the decompressed container at `start` ([MS-OVBA] 2.4.1), as far as it goes. Damaged: there is none."""
    if start >= len(data) or data[start] != 1:
        raise Damaged("no compressed VBA source where it should be")
    allowed = budget.allowance(len(data) - start)
    out = bytearray()
    position = start + 1
    while position + 2 <= len(data):
        header = data[position] | data[position + 1] << 8
        size = (header & 0x0FFF) + 3
        end = min(position + size, len(data))
        position += 2
        if header >> 12 & 7 != 3:
            break
        if header & 0x8000:
            _unpack_chunk(data, position, end, out)
        else:
            out += data[position : position + CHUNK]
            end = min(position + CHUNK, len(data))
        position = end
        if len(out) > allowed:
            raise budget.refuse(len(data) - start)
    return bytes(out)


def _unpack_chunk(data: bytes, position: int, end: int, out: bytearray) -> None:
    base = len(out)
    while position < end:
        flags = data[position]
        position += 1
        for _ in range(8):
            if position >= end:
                return
            if not flags & 1:
                out.append(data[position])
                position += 1
            else:
                if position + 2 > end:
                    return
                token = data[position] | data[position + 1] << 8
                position += 2
                done = len(out) - base
                bits = max(4, (done - 1).bit_length()) if done else 4
                length = (token & (0xFFFF >> bits)) + 3
                back = (token >> (16 - bits)) + 1
                if back > done or done + length > 2 * CHUNK:
                    return
                place = len(out) - back
                if back >= length:
                    out += out[place : place + length]
                else:  # it overlaps what it makes
                    out += (out[place:] * (length // back + 1))[:length]
            flags >>= 1


def read_modules(directory: bytes) -> tuple[list[Module], str]:
    """Return (modules, codec of the source) of a decompressed `dir` stream ([MS-OVBA] 2.3.4.2)."""
    modules: list[Module] = []
    codec = "cp1252"
    position = 0
    while position + 6 <= len(directory):
        number, size = struct.unpack_from("<HL", directory, position)
        value = directory[position + 6 : position + 6 + size]
        if number == _VERSION:  # its size field is a constant: four bytes of major version and two of minor follow
            size = 6
        position += 6 + size
        if number == _CODE_PAGE and len(value) >= 2:
            codec = _find_codec(int.from_bytes(value[:2], "little"))
        elif number == _NAME:
            modules.append(Module(value.decode(codec, "replace")))
        elif number == _STREAM_NAME and modules:
            modules[-1].stream = value.decode(codec, "replace")
        elif number == _STREAM_NAME_WIDE and modules and value:
            modules[-1].stream = value.decode("utf-16-le", "replace")
        elif number == _OFFSET and modules:
            modules[-1].offset = int.from_bytes(value[:4], "little")
    return modules, codec


def _find_codec(page: int) -> str:
    try:
        codecs.lookup(f"cp{page}")
    except LookupError:
        return {10000: "mac_roman", 65001: "utf-8"}.get(page, "latin-1")
    return f"cp{page}"


def open_project(streams: Mapping[str, bytes], opening: Opening) -> Iterator[Member]:
    """Yield the source of all modules. `streams`: those of the storage `VBA` by name, lower case. OverBudget."""
    modules: list[Module] = []
    codec = "cp1252"
    trouble = ""
    try:
        modules, codec = read_modules(decompress(streams.get("dir", b""), 0, opening.budget))
    except Damaged as error:
        trouble = f"directory of the VBA project: {error}"
    done: set[str] = set()
    for module in modules:
        raw = streams.get(module.stream.lower())
        if raw is not None and module.stream.lower() not in done:
            done.add(module.stream.lower())
            yield from _open_module(module.stream, raw, module.offset, codec, opening)
    for name, raw in streams.items():
        if name not in done and name != "dir" and not name.startswith(("__srp_", "_vba_project")):
            yield from _open_module(name, raw, -1, codec, opening)
    if trouble and not done:
        yield Member("dir", trouble=trouble)


def _open_module(name: str, raw: bytes, offset: int, codec: str, opening: Opening) -> Iterator[Member]:
    source, start = _read_source(raw, offset, opening.budget)
    text = source.decode(codec, "replace")
    if text:
        yield take_text(opening, f"{name} VBA", text, VBA)
    hidden = _hidden_texts(raw[:start], source)
    if hidden or (not source and offset > 0):
        lines = "\n".join(part.decode(codec, "replace") for part in hidden)
        yield take(opening, f"{name} VBA compiled", lines.encode("utf-8", "replace"), VBA_STOMPED)


def _read_source(raw: bytes, offset: int, budget: Budget) -> tuple[bytes, int]:
    """Return (source, where its compressed form starts): at `offset`, else wherever one is."""
    if offset >= 0:
        try:
            return decompress(raw, offset, budget), offset
        except Damaged:
            pass
    found = _SOURCE_MARK.search(raw)
    if found is None:
        return b"", len(raw)
    return decompress(raw, found.start(), budget), found.start()


def _hidden_texts(compiled: bytes, source: bytes) -> list[bytes]:
    """Return the texts the compiled form uses and the source does not have."""
    hidden: list[bytes] = []
    position = 0
    for _ in range(LITERALS_LIMIT):
        found = _LITERAL.search(compiled, position)
        if found is None:
            break
        length = found[1][0]
        text = compiled[found.end() : found.end() + length]
        position = found.end()
        if len(text) == length and text.isascii() and text.decode("ascii").isprintable():
            position += length
            if text.replace(b'"', b'""') not in source and text not in source:
                hidden.append(text)
    return hidden
