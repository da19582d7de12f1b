"""arj archives.

Opener of `unpack.ARCHIVES`. Methods 1 to 3 are the LZH coding of lha's method lh7, only with a smaller window, so their
data are given to that decoder under a header of lha.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.antivirus.openers.archive import LHA, clean_name, read_archive
from gatepost.antivirus.opening import Member, Opening

MARK: Final = b"\x60\xea"
HEADER_LIMIT: Final = 2600
"""Bytes a header may have (ARJ technical information)."""
_FIRST: Final = struct.Struct("<8BL2LLH")
"""From the size of the fixed part to the host data's place."""
_GARBLED: Final = 0x01
_VOLUME: Final = 0x04
_CONTINUED: Final = 0x08
_FILES: Final = frozenset({0, 1})
"""File types that hold data: binary and text."""
_STORED: Final = 0
_LZH: Final = frozenset({1, 2, 3})


class _Header(msgspec.Struct, frozen=True):
    name: str
    flags: int
    method: int
    file_type: int
    packed: int
    size: int
    crc: int
    data: int
    """Offset of the packed data."""


def open_arj(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members. OverBudget."""
    main = _read_header(data, 0)
    if main is None:
        yield Member("", trouble="arj archive has a damaged header")
        return
    position = main.data
    while data[position : position + 4] != MARK + b"\0\0":
        opening.budget.take_member()
        header = _read_header(data, position)
        if header is None:
            yield Member("", trouble="arj archive is damaged or cut off")
            return
        position = header.data + header.packed
        if header.file_type in _FILES:
            yield _open_member(data, header, opening)


def _read_header(data: bytes, start: int) -> _Header | None:
    """Read the header at `start`: None when there is no sound one."""
    size = int.from_bytes(data[start + 2 : start + 4], "little")
    end = start + 4 + size
    basic = data[start + 4 : end]
    checksum = data[end : end + 4]
    if not data.startswith(MARK, start) or not 0 < size <= HEADER_LIMIT or len(checksum) < 4 or size < _FIRST.size:
        return None
    if zlib.crc32(basic) != int.from_bytes(checksum, "little"):
        return None
    first_size, _, _, _, flags, method, file_type, _, _, packed, original, crc, _ = _FIRST.unpack_from(basic)
    name = basic[first_size:].partition(b"\0")[0].decode("cp437")
    position = end + 4
    while (extended := int.from_bytes(data[position : position + 2], "little")) and position < len(data):
        position += 2 + extended + 4
    main = start == 0
    return _Header(clean_name(name), flags, method, file_type, 0 if main else packed, original, crc, position + 2)


def _open_member(data: bytes, header: _Header, opening: Opening) -> Member:
    budget = opening.budget
    if header.flags & _GARBLED:
        return Member(header.name, protected=True)
    raw = data[header.data : header.data + header.packed]
    trouble = "arj member is cut off" if len(raw) < header.packed else ""
    if header.flags & (_VOLUME | _CONTINUED):
        trouble = "arj member is only a part of a file"
    if header.method == _STORED:
        if len(raw) > budget.allowance(len(raw)):
            raise budget.refuse(len(raw))
        budget.take_bytes(len(raw))
        content = raw
    elif header.method in _LZH:
        member = next(read_archive(_as_lha(raw, header), 0, LHA, opening), None)
        if member is None or member.data is None:
            return Member(header.name, trouble=trouble or "packed data is damaged")
        content = member.data
    else:
        return Member(header.name, trouble=f"arj method {header.method} is not opened")
    if not trouble and zlib.crc32(content) != header.crc:
        trouble = "checksum of the unpacked data is wrong"
    return Member(header.name, content, trouble=trouble)


def _as_lha(raw: bytes, header: _Header) -> bytes:
    """Return an lha archive of one member, packed with method lh7 (header level 1, without a checksum of the data)."""
    basic = struct.pack("<5s2L2H2BB1sHB", b"-lh7-", len(raw), header.size, 0, 0, 0x20, 1, 1, b"x", 0, 0x4D)
    basic += struct.pack("<H", 0)
    return struct.pack("<2B", len(basic), sum(basic) & 0xFF) + basic + raw + b"\0"
