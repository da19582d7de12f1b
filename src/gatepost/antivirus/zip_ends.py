"""Where the directory of a zip archive stands: every place at which some unpacker would take it up.

Called by `appended` and `kinds` (is this a zip archive, and which?) and by the zip opener. The record at the end names
the directory twice, by its size and by its offset, and a comment may hold a second record: unpackers differ in which
they believe, so all of them are looked at. Pure; costs one search of the data's end, or of all of it when there is no
record.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.antivirus.zip_records import CENTRAL_MARK, END, END_MARK

END64_LOCATOR: Final = b"PK\x06\x07"
END64: Final = b"PK\x06\x06"
END_SEARCH: Final = 65_535 + END.size
"""The end record is followed by a comment of at most 65,535 bytes. Only without a record in there it is searched for in
front of it: some unpackers pass over any amount of junk."""
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")


class Directory(msgspec.Struct, frozen=True):
    """One place where a directory begins."""

    start: int
    limit: int
    """Where it should end."""
    count: int
    """Members announced."""
    shift: int
    """Bytes in front of the archive that offsets do not count."""


def find_end(data: bytes) -> int:
    """Return the offset of the last end record, -1 when there is none."""
    return data.rfind(END_MARK, max(0, len(data) - END_SEARCH))


def find_directories(data: bytes, *, anywhere: bool = False) -> list[Directory]:
    """Return the directories of all end records that an unpacker would believe, the likeliest first, each place once.

    `anywhere`: an end record may be followed by more than a comment can be long.
    """
    last = data.rfind(END_MARK) if anywhere else find_end(data)
    found: dict[int, Directory] = {}
    end = last
    window = max(0, len(data) - END_SEARCH)
    while end >= 0:
        if len(data) - end >= END.size:
            comment = END.unpack_from(data, end)[-1]
            if end == last or end + END.size + comment == len(data):
                for directory in _directories_of(data, end):
                    found.setdefault(directory.start, directory)
        end = data.rfind(END_MARK, window, end)
    return list(found.values())


def _directories_of(data: bytes, end: int) -> Iterator[Directory]:
    """Yield the places one end record names that a directory stands at, those of its 64-bit form first."""
    *_, count, size, offset, _ = END.unpack_from(data, end)
    locator = end - _LOCATOR.size
    if locator >= 0 and data.startswith(END64_LOCATOR, locator):
        stated = _LOCATOR.unpack_from(data, locator)[2]
        for record in dict.fromkeys((data.rfind(END64, 0, locator), stated)):
            if 0 <= record <= locator - _END64.size and data.startswith(END64, record):
                *_, count64, size64, offset64 = _END64.unpack_from(data, record)
                yield from _places(data, record, count64, size64, offset64)
    yield from _places(data, end, count, size, offset)


def _places(data: bytes, limit: int, count: int, size: int, offset: int) -> Iterator[Directory]:
    start = limit - size
    if 0 <= start < limit and data.startswith(CENTRAL_MARK, start):
        yield Directory(start, limit, count, start - offset)
    if offset < limit and offset != start and data.startswith(CENTRAL_MARK, offset):
        yield Directory(offset, limit, count, 0)
