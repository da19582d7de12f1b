"""UDF file systems (ECMA-167, OSTA UDF 1.02 to 2.60): images of DVDs, and of whatever Windows shows as a drive.

Opener of `unpack.ARCHIVES`, and asked by `openers.iso` for images that hold both file systems. Read are discs written
once or at will with plain, sparable and metadata partitions; a disc that was written in sessions (virtual allocation
table), and what cannot be followed, is trouble: what it holds was not seen. So is a volume that is described in two
ways, or so that a system would turn to the copies that there are of its descriptions.
"""

import binascii
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.openers.archive import clean_name
from gatepost.antivirus.opening import Member, Opening

SECTOR_SIZES: Final = (2048, 512, 4096)
"""Of optical discs, and of file systems made for hard disks; the first that has an anchor counts."""
_ANCHOR_SECTOR: Final = 256
DESCRIPTORS: Final = 256
"""Descriptors of the volume that are looked at; there are six to ten."""
FOLDERS: Final = 2000
"""Folders looked into in one file system."""
PIECES: Final = 100_000
"""Extents of one file."""
_ANCHOR, _ELSEWHERE, _PARTITION, _VOLUME, _END = 2, 3, 5, 6, 8
_OWN_BYTES: Final = 20
"""Of a description: its tag and its number, in which copies differ."""
_FILE_SET, _NAME, _MORE_PIECES, _FILE, _EXTENDED_FILE = 256, 257, 258, 261, 266
_FOLDER_TYPE: Final = 4
_LINK_TYPE: Final = 12
_IS_FOLDER, _IS_DELETED, _IS_PARENT = 0x02, 0x04, 0x08
_RECORDED, _CONTINUED = 0, 3
_LENGTH_MASK: Final = 0x3FFFFFFF
_METADATA: Final = b"*UDF Metadata Partition"
_SPARABLE: Final = b"*UDF Sparable Partition"
_WIDTHS: Final = {0: 8, 1: 16, 2: 20}
"""Bytes of an allocation descriptor by its kind (ECMA-167 4/14.14)."""


class _Unreadable(Exception):  # noqa: N818 - what the file system is
    """It cannot be read, or not further. The text says why."""


class _Place(msgspec.Struct, frozen=True):
    """Where something stands: block of a partition, length in bytes."""

    partition: int
    block: int
    length: int


class _Entry(msgspec.Struct, frozen=True):
    """A file entry: what it is and where its bytes are."""

    type: int
    size: int
    inside: bytes | None
    """The content, where it stands in the entry itself."""
    pieces: tuple[tuple[int, _Place], ...] = ()
    """(kind, place) of its extents, in order."""


def open_udf(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the files of the file system; a trouble for what cannot be read. OverBudget."""
    try:
        yield from _read_files(_Volume(data, opening.budget), opening)
    except _Unreadable as error:
        yield Member("", trouble=f"the UDF file system cannot be read: {error}")


def _read_files(volume: "_Volume", opening: Opening) -> Iterator[Member]:
    """Walk the folders, the root first; each is read once."""
    waiting = [volume.root]
    seen = {(volume.root.partition, volume.root.block)}
    while waiting:
        folder = volume.read_entry(waiting.pop())
        names = volume.read_whole(folder)
        position = 0
        while position + 38 <= len(names):
            if _number(names, position, 2) != _NAME:
                raise _Unreadable("a folder is damaged")
            flags, length, extra = names[position + 18], names[position + 19], _number(names, position + 36, 2)
            place = _read_place(names, position + 20)
            name = names[position + 38 + extra : position + 38 + extra + length]
            position += (38 + extra + length + 3) & ~3
            opening.budget.take_member()
            if flags & (_IS_DELETED | _IS_PARENT):
                continue
            if flags & _IS_FOLDER:
                if (place.partition, place.block) not in seen:
                    seen.add((place.partition, place.block))
                    waiting.append(place)
                if len(seen) > FOLDERS:
                    raise _Unreadable(f"more than {FOLDERS} folders")
                continue
            yield from _read_file(volume, place, clean_name(_decode_name(name)))


def _read_file(volume: "_Volume", place: _Place, name: str) -> Iterator[Member]:
    try:
        entry = volume.read_entry(place)
        if entry.type in {_FOLDER_TYPE, _LINK_TYPE}:
            return
        content, whole = volume.read_content(entry)
    except _Unreadable as error:
        yield Member(name, trouble=f"file of a disc image cannot be read: {error}")
        return
    yield Member(name, content, trouble="" if whole else "file of a disc image is cut off")


class _Volume:
    """The partitions of one image, and where its root folder is."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        """_Unreadable."""
        self._data = data
        self._budget = budget
        self._sector, sequence = self._find_anchor()
        self._block = self._sector
        starts: dict[int, int] = {}
        volume = b""
        for number in range(min(sequence.length // self._sector, DESCRIPTORS)):
            at = (sequence.block + number) * self._sector
            kind = _number(data, at, 2)
            if kind in {_PARTITION, _VOLUME, _END} and not _is_sound(data, at):
                raise _Unreadable("a description of the volume is damaged")
            if kind == _PARTITION:
                start = _number(data, at + 188, 4) * self._sector
                if starts.setdefault(_number(data, at + 22, 2), start) != start:
                    raise _Unreadable("a partition is described twice")
            elif kind == _VOLUME:
                found = data[at : at + 440 + min(_number(data, at + 264, 4), self._sector - 440)]
                if volume and volume[_OWN_BYTES:] != found[_OWN_BYTES:]:
                    raise _Unreadable("the volume is described twice")
                volume = found
            elif kind == _ELSEWHERE:
                raise _Unreadable("the volume is described in several places")
            elif kind == _END:
                break
        if not volume or not starts:
            raise _Unreadable("no volume is described")
        if _number(volume, 212, 4) != self._sector:
            raise _Unreadable("blocks are no sectors")
        self._spaces: list[tuple[bytes, int]] = []
        """By partition reference: what its blocks are counted in, and from where."""
        self._map_partitions(volume, starts)
        files = self._read(_read_place(volume, 248), 512)
        if _number(files, 0, 2) != _FILE_SET:
            raise _Unreadable("no set of files is described")
        self.root = _read_place(files, 400)

    def _find_anchor(self) -> tuple[int, _Place]:
        """Return (size of a sector, where the volume is described)."""
        size = len(self._data)
        for sector in SECTOR_SIZES:
            last = size // sector - 1
            found: set[_Place] = set()
            for number in (_ANCHOR_SECTOR, last, last - _ANCHOR_SECTOR):
                at = number * sector
                # The descriptor states where it stands: told apart from bytes that only look like one.
                stated = number > 0 and _number(self._data, at, 2) == _ANCHOR
                if stated and _number(self._data, at + 12, 4) == number and _is_sound(self._data, at):
                    found.add(_Place(0, _number(self._data, at + 20, 4), _number(self._data, at + 16, 4)))
            if len(found) > 1:
                raise _Unreadable("its anchors differ")
            if found:
                return sector, found.pop()
        raise _Unreadable("it has no anchor")

    def _map_partitions(self, volume: bytes, starts: dict[int, int]) -> None:
        """Fill the partitions by their references (ECMA-167 3/10.7, UDF 2.2.8 to 2.2.10)."""
        position = 440
        for _ in range(min(_number(volume, 268, 4), len(volume) // 6)):
            kind, length = _number(volume, position, 1), _number(volume, position + 1, 1)
            identifier = volume[position + 5 : position + 28].rstrip(b"\0")
            number = _number(volume, position + (4 if kind == 1 else 38), 2)
            if number not in starts:
                raise _Unreadable("a partition is missing")
            if kind == 1 or identifier == _SPARABLE:
                self._spaces.append((self._data, starts[number]))
            elif identifier == _METADATA:
                # Its blocks are those of a file in the partition it lies in, whose own reference comes first.
                own = next((i for i, space in enumerate(self._spaces) if space[1] == starts[number]), -1)
                place = _Place(own, _number(volume, position + 40, 4), self._block)
                if not _is_sound(self._read(place, self._block), 0):
                    raise _Unreadable("the description of its metadata is damaged")
                self._spaces.append((self.read_whole(self.read_entry(place)), 0))
            else:
                raise _Unreadable("it was written in sessions")
            position += max(length, 6)

    def read_entry(self, place: _Place) -> _Entry:
        """Return a file entry (ECMA-167 4/14.9, 4/14.17). _Unreadable."""
        raw = self._read(place, self._block)
        kind = _number(raw, 0, 2)
        if kind not in {_FILE, _EXTENDED_FILE}:
            raise _Unreadable("no file is where one should be")
        start = 176 if kind == _FILE else 216
        extra, length = _number(raw, start - 8, 4), _number(raw, start - 4, 4)
        descriptors = raw[start + extra : start + extra + length]
        if len(raw) < start or len(descriptors) < length:
            raise _Unreadable("a file's description is cut off")
        form = _number(raw, 34, 1) & 7
        size = _number(raw, 56, 8)
        if form == 3:
            return _Entry(_number(raw, 27, 1), size, descriptors)
        return _Entry(_number(raw, 27, 1), size, None, tuple(self._follow(descriptors, form, place.partition)))

    def _follow(self, descriptors: bytes, form: int, partition: int) -> Iterator[tuple[int, _Place]]:
        """Yield (kind, place) of the extents that allocation descriptors tell of."""
        width = _WIDTHS.get(form)
        if width is None:
            raise _Unreadable("a file is described in an unknown way")
        at = 0
        for _ in range(PIECES):
            if at + width > len(descriptors):
                return
            stated = _number(descriptors, at, 4)
            length = stated & _LENGTH_MASK
            if not length:
                return
            if form == 0:
                place = _Place(partition, _number(descriptors, at + 4, 4), length)
            else:
                block = at + (4 if form == 1 else 12)
                place = _Place(_number(descriptors, block + 4, 2), _number(descriptors, block, 4), length)
            at += width
            if stated >> 30 != _CONTINUED:
                yield stated >> 30, place
                continue
            more = self._read(place, self._block)
            if _number(more, 0, 2) != _MORE_PIECES:
                raise _Unreadable("the rest of a file is not where it should be")
            descriptors, at = more[24 : 24 + _number(more, 20, 4)], 0
        raise _Unreadable(f"a file of more than {PIECES} pieces")

    def read_whole(self, entry: _Entry) -> bytes:
        """Return the bytes of what the file system itself needs. OverBudget, _Unreadable."""
        content, whole = self.read_content(entry)
        if not whole:
            raise _Unreadable("a folder is cut off")
        return content

    def read_content(self, entry: _Entry) -> tuple[bytes, bool]:
        """Return the bytes of a file, and whether they are all there. OverBudget, _Unreadable."""
        budget, size = self._budget, entry.size
        if size > budget.allowance(len(self._data)):
            raise budget.refuse(len(self._data))
        if entry.inside is not None:
            content = entry.inside[:size]
        else:
            pieces: list[bytes] = []
            left = size
            for kind, place in entry.pieces:
                length = min(place.length, left)
                piece = self._read(place, length) if kind == _RECORDED else bytes(length)
                pieces.append(piece)
                left -= len(piece)
                budget.take_time()
                if left <= 0 or len(piece) < length:
                    break
            content = b"".join(pieces)
        budget.take_bytes(len(content))
        return content, len(content) == size

    def _read(self, place: _Place, length: int) -> bytes:
        if not 0 <= place.partition < len(self._spaces):
            raise _Unreadable("it leads to a partition that is none")
        data, start = self._spaces[place.partition]
        at = start + place.block * self._block
        return data[at : at + length]


def _is_sound(data: bytes, at: int) -> bool:
    """Tell whether the checksums of the descriptor that stands at `at` are right (ECMA-167 3/7.2)."""
    tag = data[at : at + 16]
    covered = data[at + 16 : at + 16 + _number(tag, 10, 2)]
    return sum(tag[:4] + tag[5:]) & 0xFF == _number(tag, 4, 1) and binascii.crc_hqx(covered, 0) == _number(tag, 8, 2)


def _read_place(data: bytes, at: int) -> _Place:
    """Read a long allocation descriptor (ECMA-167 4/14.14.2)."""
    return _Place(_number(data, at + 8, 2), _number(data, at + 4, 4), _number(data, at, 4) & _LENGTH_MASK)


def _decode_name(raw: bytes) -> str:
    """Decode a name in OSTA compressed Unicode: a byte that says how wide the characters are, then those."""
    return raw[1:].decode("utf-16-be" if raw[:1] == b"\x10" else "latin-1", "replace")


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
