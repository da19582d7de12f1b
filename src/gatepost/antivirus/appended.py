"""Archives that do not begin with the first byte: behind a program (self-extractors), a picture, another archive.

Called by `kinds` and `unpack`. Archivers look for the marks of rar, 7z and cab anywhere, and for a zip archive from the
end. Marks alone occur in every unpacking program, so what follows one must be a sound header.
"""

import ctypes
import zlib
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.antivirus.zip_ends import find_directories, find_end
from gatepost.antivirus.zip_records import CENTRAL_MARK, END_MARK

ZIP: Final = "zip"
RAR: Final = "rar"
SEVEN_ZIP: Final = "7z"
CAB: Final = "cab"
READINGS: Final = 8
"""Archives of one kind that one object is taken for: more are no polyglot but a file system."""
MARKS_LOOKED_AT: Final = 1000
"""Marks of one kind that are looked at: each costs microseconds."""

RAR_MARK: Final = b"Rar!\x1a\x07"
SEVEN_ZIP_MARK: Final = b"7z\xbc\xaf\x27\x1c"
CAB_MARK: Final = b"MSCF\0\0\0\0"
_CAB_HEADER = 36
_MARKS: Final = ((RAR, RAR_MARK), (SEVEN_ZIP, SEVEN_ZIP_MARK), (CAB, CAB_MARK))


class Found(msgspec.Struct, frozen=True):
    """An archive inside other data."""

    kind: str
    """Value of `kinds.Kind`."""
    start: int


# The C library's search: a third of what bytes.find takes (0.4 ms a megabyte), for every picture three times.
_memmem = ctypes.CDLL(None).memmem
_memmem.restype = ctypes.c_void_p
_memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


def is_appended(data: bytes) -> bool:
    """Whether `data`, which starts with something else, is a zip archive to unpackers (self-extractors)."""
    anywhere = find_end(data) < 0
    if anywhere and (_find(data, END_MARK, 0, len(data)) < 0 or _find(data, CENTRAL_MARK, 0, len(data)) < 0):
        return False
    return bool(find_directories(data, anywhere=anywhere))


def appended_kind(data: bytes) -> str:
    """Return the kind of the archive that archivers see in `data`, which starts with something else; "" for none."""
    if is_appended(data):
        return ZIP
    return next((found.kind for found in find_archives(data, 0, len(data))), "")


def find_archives(data: bytes, start: int, end: int) -> Iterator[Found]:
    """Yield the archives of kinds rar, 7z and cab whose marks stand in [start, end)."""
    if end - start < _CAB_HEADER or data.find(b"\0", start, end) < 0:  # text holds none: each has zeros
        return
    for kind, mark in _MARKS:
        position = start
        readings = 0
        for _ in range(MARKS_LOOKED_AT):
            position = _find(data, mark, position, end)
            if position < 0 or readings >= READINGS:
                break
            if _is_sound(data, kind, position):
                readings += 1
                yield Found(kind, position)
            position += len(mark)


def find_first(data: bytes, kind: str) -> int:
    """Return where the first archive of a kind (rar, 7z, cab) begins, 0 when it can only be the beginning."""
    if data.startswith(next(mark for each, mark in _MARKS if each == kind)):
        return 0
    return next((found.start for found in find_archives(data, 0, len(data)) if found.kind == kind), 0)


def _find(data: bytes, mark: bytes, start: int, end: int) -> int:
    """Return as `data.find` does."""
    if start >= end:
        return -1
    address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
    found = _memmem(address + start, end - start, mark, len(mark))
    return -1 if found is None else found - address


def _is_sound(data: bytes, kind: str, start: int) -> bool:
    if kind == SEVEN_ZIP:
        return len(data) - start >= 32 and zlib.crc32(data[start + 12 : start + 32]) == _number(data, start + 8, 4)
    if kind == CAB:
        size = _number(data, start + 8, 4)
        return data[start + 24 : start + 26] == b"\x03\x01" and _CAB_HEADER <= size <= len(data) - start
    if data[start + 6 : start + 7] == b"\0":  # RAR 1.5 to 4: the archive header follows
        size = _number(data, start + 12, 2)
        header = data[start + 9 : start + 7 + size]
        return header[:1] == b"\x73" and zlib.crc32(header) & 0xFFFF == _number(data, start + 7, 2)
    size = data[start + 12] if len(data) - start > 13 else 0
    return 0 < size < 0x80 and zlib.crc32(data[start + 12 : start + 13 + size]) == _number(data, start + 8, 4)


def _number(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "little")
