"""Compound files (MS-CFB) taken apart and put together again: `read_compound`, `write_compound`.

Called by the cures of older Office files. A file is read whole into a tree of nodes and written anew, so that what is
taken out is gone from the file, free sectors and all. Promises: reading raises `Uncurable` only, and bounds entries,
nesting and size; what is written is version 3 with sorted, balanced directories.
"""

import itertools
import struct
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.cure.cured import Uncurable

MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENTRIES: Final = 20_000
"""In one file. Documents have dozens, installers thousands."""
DEPTH: Final = 32
"""Storages in storages."""
_HEADER: Final = struct.Struct("<8s16s5H6x9L")
_ENTRY: Final = struct.Struct("<64sHBB3L16sLQQLQ")
_FREE, _END, _FAT, _DIFAT = 0xFFFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFD, 0xFFFF_FFFC
_HIGHEST_SECTOR: Final = 0xFFFF_FFFA
_HEADER_BYTES: Final = 512
_SECTOR: Final = 512
_MINI: Final = 64
_CUTOFF: Final = 4096
"""Smaller streams lie in the mini stream."""
_HEADER_FATS: Final = 109
"""FAT sectors that are named in the header itself."""
_PER_SECTOR: Final = _SECTOR // 4
_STORAGE, _STREAM, _ROOT = 1, 2, 5
_RED, _BLACK = 0, 1


class Node:
    """A storage or a stream."""

    __slots__ = ("children", "clsid", "created", "data", "kind", "modified", "name", "state")

    def __init__(self, name: str, kind: int = _STREAM, data: bytes = b"") -> None:
        self.name = name
        self.kind = kind
        self.data = data
        self.children: list[Node] = []
        self.clsid = bytes(16)
        self.state = self.created = self.modified = 0

    @property
    def is_stream(self) -> bool:
        return self.kind == _STREAM

    def child(self, name: str) -> "Node | None":
        """Return the child of this name; compound files know no case."""
        wanted = name.lower()
        return next((each for each in self.children if each.name.lower() == wanted), None)

    def walk(self) -> Iterator["Node"]:
        """Yield this node and all below it."""
        yield self
        for each in self.children:
            yield from each.walk()


def is_compound(data: bytes) -> bool:
    return data.startswith(MAGIC)


def read_compound(data: bytes) -> Node:
    """Return the root storage. Uncurable: damaged, or beyond the limits."""
    return _Reader(data).root()


class _Reader:
    def __init__(self, data: bytes) -> None:
        if not is_compound(data) or len(data) < _HEADER_BYTES:
            raise Uncurable("no compound file")
        self._data = data
        fields = _HEADER.unpack_from(data)
        _, _, _, major, order, shift, mini_shift = fields[:7]
        _, _, directory, _, self._cutoff, mini_fat, _, difat, _ = fields[7:]
        if (major, shift) not in ((3, 9), (4, 12)) or order != 0xFFFE or mini_shift != 6 or self._cutoff != _CUTOFF:
            raise Uncurable("a compound file of another form")
        self._size = 1 << shift
        self._fat = self._read_fat(difat)
        self._mini_fat = self._numbers(self._chain(mini_fat))
        self._directory = self._chain(directory)
        self._mini = b""
        self._seen: set[int] = set()

    def _sector(self, number: int) -> bytes:
        start = (number + 1) * self._size
        if number > _HIGHEST_SECTOR or start >= len(self._data):
            raise Uncurable("a sector outside the file")
        return self._data[start : start + self._size].ljust(self._size, b"\0")

    def _numbers(self, raw: bytes) -> list[int]:
        return list(struct.unpack(f"<{len(raw) // 4}L", raw))

    def _read_fat(self, difat: int) -> list[int]:
        places = self._numbers(self._data[_HEADER.size : _HEADER_BYTES])
        for _ in range(len(self._data) // self._size):
            if difat > _HIGHEST_SECTOR:
                break
            *more, difat = self._numbers(self._sector(difat))
            places += more
        used = [place for place in places if place <= _HIGHEST_SECTOR]
        if len(used) > len(self._data) // self._size or len(set(used)) != len(used):
            raise Uncurable("a sector table that goes in circles")
        return self._numbers(b"".join(map(self._sector, used)))

    def _chain(self, start: int, size: int | None = None) -> bytes:
        """Return the bytes of a chain of sectors, `size` of them if given."""
        sectors: list[bytes] = []
        wanted = len(self._data) // self._size if size is None else -(-size // self._size)
        if wanted > len(self._data) // self._size:
            raise Uncurable("a stream longer than the file")
        while start <= _HIGHEST_SECTOR and len(sectors) < wanted:
            sectors.append(self._sector(start))
            if start >= len(self._fat):
                raise Uncurable("a sector outside the sector table")
            start = self._fat[start]
        if (size is not None and len(sectors) < wanted) or (size is None and start != _END and sectors):
            raise Uncurable("a stream that is cut off")
        return b"".join(sectors)[:size]

    def _mini_chain(self, start: int, size: int) -> bytes:
        pieces: list[bytes] = []
        while start < len(self._mini_fat) and len(pieces) * _MINI < size:
            pieces.append(self._mini[start * _MINI : (start + 1) * _MINI])
            start = self._mini_fat[start]
        content = b"".join(pieces)[:size]
        if len(content) < size:
            raise Uncurable("a small stream that is cut off")
        return content

    def _entry(self, number: int) -> tuple[Node, tuple[int, int, int], int, int]:
        """Return (node, (left, right, child), first sector, size)."""
        start = number * _ENTRY.size
        if start + _ENTRY.size > len(self._directory) or number in self._seen or len(self._seen) >= ENTRIES:
            raise Uncurable("a directory that goes in circles or has no end")
        self._seen.add(number)
        raw = _ENTRY.unpack_from(self._directory, start)
        raw_name, length, kind, _, left, right, child, clsid, state, created, modified, first, size = raw
        if kind not in (_STORAGE, _STREAM, _ROOT) or length > 64 or length % 2:
            raise Uncurable("a damaged directory entry")
        node = Node(raw_name[: max(length - 2, 0)].decode("utf-16-le", "surrogatepass"), kind)
        node.clsid, node.state, node.created, node.modified = clsid, state, created, modified
        if self._size == _SECTOR:
            size &= 0xFFFF_FFFF  # MS-CFB §2.6.3: the upper half may hold anything in version 3
        return node, (left, right, child), first, size

    def root(self) -> Node:
        node, (_, _, child), first, size = self._entry(0)
        if node.kind != _ROOT:
            raise Uncurable("no root storage")
        self._mini = self._chain(first, size) if size else b""
        # Each stream is read once, and no two may share sectors for ever: together they are no longer than the file.
        self._left = len(self._data)
        self._fill(node, child, 0)
        return node

    def _fill(self, storage: Node, child: int, depth: int) -> None:
        if depth > DEPTH:
            raise Uncurable("storages nested too deep")
        pending = [child]
        while pending:
            number = pending.pop()
            if number == _FREE:
                continue
            node, (left, right, inner), first, size = self._entry(number)
            pending += (right, left)
            if node.kind == _STREAM:
                self._left -= size
                if self._left < 0:
                    raise Uncurable("streams that share sectors")
                if size:
                    node.data = self._mini_chain(first, size) if size < self._cutoff else self._chain(first, size)
            else:
                node.kind = _STORAGE
                self._fill(node, inner, depth + 1)
            storage.children.append(node)


def write_compound(root: Node) -> bytes:
    """Return the file that holds the tree."""
    rows = _rows(root)
    mini_fat: list[int] = []
    mini = bytearray()
    sectors = bytearray()
    fat: list[int] = []
    places: dict[int, tuple[int, int]] = {}

    def append(data: bytes) -> int:
        """Put data into sectors of its own; return the first."""
        if not data:
            return _END
        first = len(fat)
        count = -(-len(data) // _SECTOR)
        fat.extend([*range(first + 1, first + count), _END])
        sectors.extend(data + bytes(-len(data) % _SECTOR))
        return first

    for number, (node, *_) in enumerate(rows):
        if not node.is_stream or not node.data:
            places[number] = (_END if node.is_stream else 0, 0)
        elif len(node.data) < _CUTOFF:
            first = len(mini_fat)
            count = -(-len(node.data) // _MINI)
            mini_fat += [*range(first + 1, first + count), _END]
            mini += node.data + bytes(-len(node.data) % _MINI)
            places[number] = (first, len(node.data))
        else:
            places[number] = (append(node.data), len(node.data))
    places[0] = (append(bytes(mini)), len(mini))
    directory = b"".join(
        _pack_row(node, color, links, places[number]) for number, (node, color, links) in enumerate(rows)
    )
    directory += _EMPTY_ROW * (-len(rows) % (_SECTOR // _ENTRY.size))
    first_directory = append(directory)
    mini_fat += [_FREE] * (-len(mini_fat) % _PER_SECTOR)
    first_mini = append(struct.pack(f"<{len(mini_fat)}L", *mini_fat))
    return _assemble(fat, bytes(sectors), first_directory, first_mini, len(mini_fat) // _PER_SECTOR)


def _assemble(fat: list[int], sectors: bytes, directory: int, mini: int, minis: int) -> bytes:
    """Put the sector table, which holds itself too, behind the sectors, and the header in front."""
    data_sectors = len(fat)
    fats = difats = 0
    while True:
        fats_now = -(-(data_sectors + fats + difats) // _PER_SECTOR)
        difats_now = -(-max(fats_now - _HEADER_FATS, 0) // (_PER_SECTOR - 1))
        if (fats_now, difats_now) == (fats, difats):
            break
        fats, difats = fats_now, difats_now
    fat = [*fat, *[_FAT] * fats, *[_DIFAT] * difats]
    fat += [_FREE] * (fats * _PER_SECTOR - len(fat))
    table = list(range(data_sectors, data_sectors + fats))
    named, more = table[:_HEADER_FATS], table[_HEADER_FATS:]
    named += [_FREE] * (_HEADER_FATS - len(named))
    first_difat = data_sectors + fats
    chain = bytearray()
    for index in range(difats):
        piece = more[index * (_PER_SECTOR - 1) : (index + 1) * (_PER_SECTOR - 1)]
        piece += [_FREE] * (_PER_SECTOR - 1 - len(piece))
        chain += struct.pack(f"<{_PER_SECTOR}L", *piece, _END if index == difats - 1 else first_difat + index + 1)
    header = _HEADER.pack(
        MAGIC, bytes(16), 0x3E, 3, 0xFFFE, 9, 6, 0, fats, directory, 0, _CUTOFF, mini, minis,
        first_difat if difats else _END, difats,
    )  # fmt: skip
    return b"".join((header, struct.pack("<109L", *named), sectors, struct.pack(f"<{len(fat)}L", *fat), bytes(chain)))


Links = tuple[int, int, int]
"""Left sibling, right sibling, child."""
_EMPTY_ROW: Final = _ENTRY.pack(b"", 0, 0, 0, _FREE, _FREE, _FREE, bytes(16), 0, 0, 0, 0, 0)


def _pack_row(node: Node, color: int, links: Links, place: tuple[int, int]) -> bytes:
    raw_name = node.name.encode("utf-16-le", "surrogatepass")
    return _ENTRY.pack(
        raw_name, len(raw_name) + 2, node.kind, color, *links, node.clsid, node.state, node.created, node.modified,
        *place,
    )  # fmt: skip


def _rows(root: Node) -> list[tuple[Node, int, Links]]:
    """Return the directory: for each node its color and the numbers of its neighbours in the tree of its storage."""
    rows: list[tuple[Node, int, Links]] = [(root, _BLACK, (_FREE, _FREE, _FREE))]
    storages = [0]
    for storage in storages:
        node = rows[storage][0]
        children = sorted(node.children, key=_order)
        if any(_order(one) == _order(other) for one, other in itertools.pairwise(children)):
            raise Uncurable("two entries of one name")
        base = len(rows)
        tree, top = _balance(len(children))
        for each, (color, left, right) in zip(children, tree, strict=True):
            links = (left + base if left >= 0 else _FREE, right + base if right >= 0 else _FREE, _FREE)
            if not each.is_stream:
                storages.append(len(rows))
            rows.append((each, color, links))
        _, color, (left, right, _) = rows[storage]
        rows[storage] = (node, color, (left, right, top + base if top >= 0 else _FREE))
    return rows


def _order(node: Node) -> tuple[int, str]:
    """Return what siblings are sorted by (MS-CFB §2.6.4): length, then upper case."""
    upper = "".join(each.upper() if len(each.upper()) == 1 else each for each in node.name)
    return len(node.name.encode("utf-16-le", "surrogatepass")), upper


def _balance(count: int) -> tuple[list[tuple[int, int, int]], int]:
    """Return ((color, left, right) for each of `count` sorted nodes, -1 = none; the top of the tree): balanced, its
    last level red unless it is full, so that every way down meets the same number of black nodes.
    """
    tree = [(_BLACK, -1, -1)] * count
    last = count.bit_length() - 1
    full = count == (1 << count.bit_length()) - 1

    def build(start: int, end: int, level: int) -> int:
        if start >= end:
            return -1
        middle = (start + end) // 2
        color = _RED if level == last and level > 0 and not full else _BLACK
        tree[middle] = (color, build(start, middle, level + 1), build(middle + 1, end, level + 1))
        return middle

    return tree, build(0, count, 0)
