"""Compound files ([MS-CFB]) as hostile input: a table of streams that never loops and never raises but `Damaged`.

Called by the openers of Office documents and Outlook messages, which take what there is, and by the cure, which refuses
what is not whole: both see the same bytes. Streams that hang in no storage are listed, too: Office does not show them,
engines shall.
"""

import struct
from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from gatepost.antivirus.budget import Damaged

MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
HEADER: Final = struct.Struct("<8s16s5H6x9L")
"""Magic, class, minor and major version, byte order, sector and mini sector shift, directory sectors, FAT sectors,
first directory sector, transaction, mini stream cutoff, first mini FAT sector and their number, the same of the DIFAT;
109 numbers of FAT sectors follow (§2.2).
"""
HEADER_FATS: Final = 109
"""FAT sectors that are named in the header itself."""
HEADER_BYTES: Final = 512
ENTRY: Final = struct.Struct("<64sHBB3L16sLQQLQ")
"""Fields of `Entry` in their order (§2.6.1)."""
FREE: Final = 0xFFFF_FFFF
_END: Final = 0xFFFF_FFFC
"""Sector numbers from here on are marks."""
MINI_SECTOR: Final = 64
"""Bytes."""
STORAGE, STREAM, ROOT = 1, 2, 5
ORPHAN: Final = "(unlinked)"
ENTRIES_LIMIT: Final = 50_000
"""Directory entries: installers have some thousands."""
OVERLAP: Final = 4
"""Times the file's own size that its streams may have together. They share nothing in a sound file; where they do, a
small file is read as a large one. Streams of a file that was cut off still claim what they had."""


class Entry(NamedTuple):
    """An entry of the directory as it stands there."""

    raw_name: bytes
    name_length: int
    """Bytes of the name with its end."""
    kind: int
    color: int
    left: int
    right: int
    child: int
    clsid: bytes
    state: int
    created: int
    modified: int
    start: int
    """First sector."""
    size: int
    """Bytes as stated, which may be more than there are."""


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
        if len(data) < HEADER_BYTES:
            raise Damaged("compound file is cut off")
        self._data = data
        header = HEADER.unpack_from(data)
        _, _, _, self.version, _, self.shift, mini_shift, _, fat_count, first_directory, _, self.cutoff = header[:12]
        mini_start, mini_count, difat, _ = header[12:]
        if self.shift not in (9, 12) or mini_shift != 6:
            raise Damaged("compound file with sectors of no known size")
        self._sectors = (len(data) >> self.shift) + 1
        self._fat = self._read_fat(fat_count, difat)
        self._mini_fat = _numbers(self._chain(mini_start, mini_count << self.shift))
        self.streams: list[Stream] = []
        self.storages: list[tuple[str, ...]] = []
        self.entries = self._read_entries(self._chain(first_directory, ENTRIES_LIMIT * ENTRY.size))
        """The directory in the order of the file; the first is the root."""
        root = self.entries[0]
        self._mini = self._chain(root.start, min(root.size, len(data)))
        self._list_streams()

    def read(self, stream: Stream) -> bytes:
        """Return the content of a stream, shorter than stated when the file is damaged."""
        return self.read_at(stream.start, stream.size)

    def read_at(self, start: int, size: int) -> bytes:
        """Return up to `size` bytes of the stream that starts at a sector: large ones have their own sectors, others
        lie in the mini stream.
        """
        if size >= self.cutoff:
            return self._chain(start, size)
        pieces: list[bytes] = []
        sector, left = start, size
        while left > 0 and sector < len(self._mini_fat):
            pieces.append(self._mini[sector << 6 : (sector << 6) + min(64, left)])
            left -= 64
            sector = self._mini_fat[sector]
        return b"".join(pieces)

    def _sector(self, number: int) -> bytes:
        start = (number + 1) << self.shift
        return self._data[start : start + (1 << self.shift)]

    def _read_fat(self, count: int, difat: int) -> "array[int]":
        numbers = list(struct.unpack_from(f"<{HEADER_FATS}L", self._data, HEADER.size))
        seen: set[int] = set()
        while difat < self._sectors and difat not in seen:
            seen.add(difat)
            more = _numbers(self._sector(difat))
            if not more:
                break
            numbers += more[:-1]
            difat = more[-1]
        named = [number for number in numbers if number < _END]
        self.whole = len(set(named)) == len(named) and all(number < self._sectors for number in named)
        """No sector of the sector table is missing or stands in it twice."""
        count = min(count, self._sectors) if count else self._sectors
        return _numbers(b"".join(self._sector(number) for number in numbers[:count] if number < self._sectors))

    def _chain(self, sector: int, size: int) -> bytes:
        """Return up to `size` bytes of the chain that starts at a sector: joined in runs that lie together."""
        fat, limit, shift = self._fat, self._sectors, self.shift
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

    def _read_entries(self, raw: bytes) -> list[Entry]:
        # The upper half of a size may hold anything in version 3 (§2.6.3).
        sizes = 0xFFFF_FFFF if self.version == _SHORT_SIZES else 0xFFFF_FFFF_FFFF_FFFF
        whole = raw[: len(raw) // ENTRY.size * ENTRY.size]
        entries = [Entry._make((*fields[:-1], fields[-1] & sizes)) for fields in ENTRY.iter_unpack(whole)]
        if not entries:
            raise Damaged("compound file without a directory")
        return entries

    def _list_streams(self) -> None:
        entries = self.entries
        seen = {0}
        work: list[tuple[int, tuple[str, ...]]] = [(entries[0].child, ())]  # (entry, storages above)
        while work:
            number, above = work.pop()
            if number >= len(entries) or number in seen:
                continue
            seen.add(number)
            entry = entries[number]
            path = (*above, _decode_name(entry.raw_name))
            work += [(entry.left, above), (entry.right, above)]
            if entry.kind == STREAM:
                self._add(path, entry)
            elif entry.kind == STORAGE and len(path) < _DEPTH:
                self.storages.append(path)
                work.append((entry.child, path))
        for number, entry in enumerate(entries):
            if number not in seen and entry.kind == STREAM:
                self._add((ORPHAN, _decode_name(entry.raw_name)), entry)
        if sum(stream.size for stream in self.streams) > OVERLAP * len(self._data):
            raise Damaged("compound file whose streams share their bytes")

    def _add(self, path: tuple[str, ...], entry: Entry) -> None:
        self.streams.append(Stream(path, entry.start, min(entry.size, len(self._data))))

    def under(self, storage: tuple[str, ...]) -> Iterator[Stream]:
        """Yield the streams directly in a storage."""
        return (stream for stream in self.streams if stream.path[:-1] == storage)


_DEPTH: Final = 64
"""Storages inside each other."""
_SHORT_SIZES: Final = 3
"""The version whose sizes have 32 bits."""


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
