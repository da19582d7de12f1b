"""Compound files ([MS-CFB]) as hostile input: a table of streams that never loops and never raises but `Damaged`.

Called by `ole` and `msg`. Streams that hang in no storage are listed, too: Office does not show them, engines shall.
"""

import struct
from array import array
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.antivirus.budget import Damaged

_HEADER = struct.Struct("<24x2H2x2H6x3L4x5L")
_ENTRY = struct.Struct("<64xHBx3L16x20xLQ")
_ENTRY_SIZE: Final = 128
_END: Final = 0xFFFFFFFC
"""Sector numbers from here on are marks."""
_STORAGE, _STREAM, _ROOT = 1, 2, 5
ORPHAN: Final = "(unlinked)"
ENTRIES_LIMIT: Final = 50_000
"""Directory entries: installers have some thousands."""
OVERLAP: Final = 4
"""Times the file's own size that its streams may have together. They share nothing in a sound file; where they do, a
small file is read as a large one. Streams of a file that was cut off still claim what they had."""


class Stream(msgspec.Struct, frozen=True):
    """A stream: the names of its storages and its own, and where it lies."""

    path: tuple[str, ...]
    start: int
    size: int

    @property
    def name(self) -> str:
        return self.path[-1]


class CompoundFile:
    """The directory of a compound file, and its streams on request."""

    def __init__(self, data: bytes) -> None:
        """Read the tables. Damaged: it cannot be read as a compound file."""
        if len(data) < 512:
            raise Damaged("compound file is cut off")
        self._data = data
        fields = _HEADER.unpack_from(data)
        _, major, shift, mini_shift, _, fat_count, first_directory, self._cutoff, mini_start, mini_count, difat, _ = (
            fields
        )
        if shift not in (9, 12) or mini_shift != 6:
            raise Damaged("compound file with sectors of no known size")
        self._shift = shift
        self._low_size = major == 3
        self._sectors = (len(data) >> shift) + 1
        self._fat = self._read_fat(fat_count, difat)
        self._mini_fat = _numbers(self._chain(mini_start, mini_count << shift))
        self.streams: list[Stream] = []
        self.storages: list[tuple[str, ...]] = []
        self._mini = b""
        self._read_directory(self._chain(first_directory, ENTRIES_LIMIT * _ENTRY_SIZE))

    def read(self, stream: Stream) -> bytes:
        """Return the content of a stream, shorter than stated when the file is damaged."""
        if stream.size >= self._cutoff:
            return self._chain(stream.start, stream.size)
        pieces: list[bytes] = []
        sector, left = stream.start, stream.size
        while left > 0 and sector < len(self._mini_fat):
            pieces.append(self._mini[sector << 6 : (sector << 6) + min(64, left)])
            left -= 64
            sector = self._mini_fat[sector]
        return b"".join(pieces)

    def _sector(self, number: int) -> bytes:
        start = (number + 1) << self._shift
        return self._data[start : start + (1 << self._shift)]

    def _read_fat(self, count: int, difat: int) -> "array[int]":
        numbers = list(struct.unpack_from("<109L", self._data, 0x4C))
        seen: set[int] = set()
        while difat < self._sectors and difat not in seen:
            seen.add(difat)
            more = _numbers(self._sector(difat))
            if not more:
                break
            numbers += more[:-1]
            difat = more[-1]
        count = min(count, self._sectors) if count else self._sectors
        return _numbers(b"".join(self._sector(number) for number in numbers[:count] if number < self._sectors))

    def _chain(self, sector: int, size: int) -> bytes:
        """Return up to `size` bytes of the chain that starts at a sector: joined in runs that lie together."""
        fat, limit, shift = self._fat, self._sectors, self._shift
        wanted = min((size + (1 << shift) - 1) >> shift, limit)
        pieces: list[bytes] = []
        while wanted > 0 and sector < limit:
            first = last = sector
            wanted -= 1
            sector = fat[last] if last < len(fat) else _END
            while wanted > 0 and sector == last + 1 and sector < limit:
                last = sector
                wanted -= 1
                sector = fat[last] if last < len(fat) else _END
            pieces.append(self._data[(first + 1) << shift : (last + 2) << shift])
        return b"".join(pieces)[:size]

    def _read_directory(self, raw: bytes) -> None:
        entries = [
            (_ENTRY.unpack_from(raw, start), raw[start : start + 64])
            for start in range(0, len(raw) - _ENTRY_SIZE + 1, _ENTRY_SIZE)
        ]
        if not entries:
            raise Damaged("compound file without a directory")
        root = entries[0][0]
        self._mini = self._chain(root[5], min(root[6], len(self._data)))
        seen = {0}
        work: list[tuple[int, tuple[str, ...]]] = [(root[4], ())]  # (entry, storages above)
        while work:
            number, above = work.pop()
            if number >= len(entries) or number in seen:
                continue
            seen.add(number)
            (_, kind, left, right, child, _, _), raw_name = entries[number]
            path = (*above, _decode_name(raw_name))
            work += [(left, above), (right, above)]
            if kind == _STREAM:
                self._add(path, entries[number][0])
            elif kind == _STORAGE and len(path) < _DEPTH:
                self.storages.append(path)
                work.append((child, path))
        for number, (fields, raw_name) in enumerate(entries):
            if number not in seen and fields[1] == _STREAM:
                self._add((ORPHAN, _decode_name(raw_name)), fields)
        if sum(stream.size for stream in self.streams) > OVERLAP * len(self._data):
            raise Damaged("compound file whose streams share their bytes")

    def _add(self, path: tuple[str, ...], fields: tuple[int, ...]) -> None:
        start, size = fields[5], fields[6]
        if self._low_size:
            size &= 0xFFFFFFFF
        self.streams.append(Stream(path, start, min(size, len(self._data))))

    def under(self, storage: tuple[str, ...]) -> Iterator[Stream]:
        """Yield the streams directly in a storage."""
        return (stream for stream in self.streams if stream.path[:-1] == storage)


_DEPTH: Final = 64
"""Storages inside each other."""


def _numbers(raw: bytes) -> "array[int]":
    numbers = array("I")
    numbers.frombytes(raw[: len(raw) & ~3])
    return numbers


def _decode_name(raw: bytes) -> str:
    """Return a name; those of installer databases are packed two characters into one."""
    name = raw.decode("utf-16-le", "replace").partition("\0")[0]
    if not any("\u3800" <= each <= "\u4840" for each in name):
        return name
    out: list[str] = []
    for each in name:
        code = ord(each)
        if 0x3800 <= code < 0x4800:
            out += [_INSTALLER[code - 0x3800 & 0x3F], _INSTALLER[(code - 0x3800) >> 6]]
        elif 0x4800 <= code <= 0x4840:
            out.append(_INSTALLER[code - 0x4800] if code < 0x4840 else "!")
        else:
            out.append(each)
    return "".join(out)


_INSTALLER: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"
