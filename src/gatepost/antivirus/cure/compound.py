"""Compound files (MS-CFB) taken apart and put together again: `read_compound`, `write_compound`.

Called by the cures of older Office files. A file is read whole into a tree of nodes and written anew, so that what is
taken out is gone from the file, free sectors and all. Promises: reading raises `Uncurable` only, and bounds entries,
nesting and size; what is written is version 3 with sorted, balanced directories.
"""

import itertools
import struct
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Damaged
from gatepost.antivirus.compound import (
    ENTRY,
    FREE,
    HEADER,
    HEADER_FATS,
    MAGIC,
    MINI_SECTOR,
    ROOT,
    STORAGE,
    STREAM,
    CompoundFile,
    Entry,
)
from gatepost.antivirus.cure.cured import Uncurable

ENTRIES: Final = 20_000
"""In one file. Documents have dozens, installers thousands."""
DEPTH: Final = 32
"""Storages in storages."""
_END, _FAT, _DIFAT = 0xFFFF_FFFE, 0xFFFF_FFFD, 0xFFFF_FFFC
_SECTOR: Final = 512
_CUTOFF: Final = 4096
"""Smaller streams lie in the mini stream."""
_PER_SECTOR: Final = _SECTOR // 4
_FORMS: Final = ((3, 9), (4, 12))
"""Versions with their sector sizes, as powers of two."""
_NAME_BYTES: Final = 64
_RED, _BLACK = 0, 1


class Node:
    """A storage or a stream."""

    __slots__ = ("children", "clsid", "created", "data", "kind", "modified", "name", "state")

    def __init__(self, name: str, kind: int = STREAM, data: bytes = b"") -> None:
        self.name = name
        self.kind = kind
        self.data = data
        self.children: list[Node] = []
        self.clsid = bytes(16)
        self.state = self.created = self.modified = 0

    @property
    def is_stream(self) -> bool:
        return self.kind == STREAM

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
    """Return the root storage. Uncurable: damaged in any way, or beyond the limits."""
    if not is_compound(data):
        raise Uncurable("no compound file")
    try:
        file = CompoundFile(data)
    except Damaged as error:
        raise Uncurable(str(error)) from None
    if (file.version, file.shift) not in _FORMS or file.cutoff != _CUTOFF:
        raise Uncurable("a compound file of another form")
    if not file.whole:
        raise Uncurable("a damaged sector table")
    return _Tree(file, len(data)).build()


class _Tree:
    """The directory as a tree of nodes: what the reader passes over is not cured."""

    def __init__(self, file: CompoundFile, size: int) -> None:
        self._file = file
        self._left = size
        """Bytes for streams: each is read once; together they are no longer than the file, or they share sectors."""
        self._seen: set[int] = set()

    def build(self) -> Node:
        root, entry = self._take(0)
        if entry.kind != ROOT:
            raise Uncurable("no root storage")
        self._fill(root, entry.child, 0)
        return root

    def _take(self, number: int) -> tuple[Node, Entry]:
        entries = self._file.entries
        if number >= len(entries) or number in self._seen or len(self._seen) >= ENTRIES:
            raise Uncurable("a directory that goes in circles or has no end")
        self._seen.add(number)
        entry = entries[number]
        if entry.kind not in (STORAGE, STREAM, ROOT) or entry.name_length > _NAME_BYTES or entry.name_length % 2:
            raise Uncurable("a damaged directory entry")
        name = entry.raw_name[: max(entry.name_length - 2, 0)].decode("utf-16-le", "surrogatepass")
        node = Node(name, entry.kind)
        node.clsid, node.state, node.created, node.modified = entry.clsid, entry.state, entry.created, entry.modified
        return node, entry

    def _fill(self, storage: Node, child: int, depth: int) -> None:
        if depth > DEPTH:
            raise Uncurable("storages nested too deep")
        pending = [child]
        while pending:
            number = pending.pop()
            if number == FREE:
                continue
            node, entry = self._take(number)
            pending += (entry.right, entry.left)
            if node.kind == STREAM:
                node.data = self._read(entry)
            else:
                node.kind = STORAGE
                self._fill(node, entry.child, depth + 1)
            storage.children.append(node)

    def _read(self, entry: Entry) -> bytes:
        self._left -= entry.size
        if self._left < 0:
            raise Uncurable("streams that share sectors")
        content = self._file.read_at(entry.start, entry.size)
        if len(content) != entry.size:
            raise Uncurable("a stream that is cut off")
        return content


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
            count = -(-len(node.data) // MINI_SECTOR)
            mini_fat += [*range(first + 1, first + count), _END]
            mini += node.data + bytes(-len(node.data) % MINI_SECTOR)
            places[number] = (first, len(node.data))
        else:
            places[number] = (append(node.data), len(node.data))
    places[0] = (append(bytes(mini)), len(mini))
    directory = b"".join(
        _pack_row(node, color, links, places[number]) for number, (node, color, links) in enumerate(rows)
    )
    directory += _EMPTY_ROW * (-len(rows) % (_SECTOR // ENTRY.size))
    first_directory = append(directory)
    mini_fat += [FREE] * (-len(mini_fat) % _PER_SECTOR)
    first_mini = append(struct.pack(f"<{len(mini_fat)}L", *mini_fat))
    return _assemble(fat, bytes(sectors), first_directory, first_mini, len(mini_fat) // _PER_SECTOR)


def _assemble(fat: list[int], sectors: bytes, directory: int, mini: int, minis: int) -> bytes:
    """Put the sector table, which holds itself too, behind the sectors, and the header in front."""
    data_sectors = len(fat)
    fats = difats = 0
    while True:
        fats_now = -(-(data_sectors + fats + difats) // _PER_SECTOR)
        difats_now = -(-max(fats_now - HEADER_FATS, 0) // (_PER_SECTOR - 1))
        if (fats_now, difats_now) == (fats, difats):
            break
        fats, difats = fats_now, difats_now
    fat = [*fat, *[_FAT] * fats, *[_DIFAT] * difats]
    fat += [FREE] * (fats * _PER_SECTOR - len(fat))
    table = list(range(data_sectors, data_sectors + fats))
    named, more = table[:HEADER_FATS], table[HEADER_FATS:]
    named += [FREE] * (HEADER_FATS - len(named))
    first_difat = data_sectors + fats
    chain = bytearray()
    for index in range(difats):
        piece = more[index * (_PER_SECTOR - 1) : (index + 1) * (_PER_SECTOR - 1)]
        piece += [FREE] * (_PER_SECTOR - 1 - len(piece))
        chain += struct.pack(f"<{_PER_SECTOR}L", *piece, _END if index == difats - 1 else first_difat + index + 1)
    header = HEADER.pack(
        MAGIC, bytes(16), 0x3E, 3, 0xFFFE, 9, 6, 0, fats, directory, 0, _CUTOFF, mini, minis,
        first_difat if difats else _END, difats,
    )  # fmt: skip
    numbers, sector_table = struct.pack(f"<{HEADER_FATS}L", *named), struct.pack(f"<{len(fat)}L", *fat)
    return b"".join((header, numbers, sectors, sector_table, bytes(chain)))


Links = tuple[int, int, int]
"""Left sibling, right sibling, child."""
_EMPTY_ROW: Final = ENTRY.pack(b"", 0, 0, 0, FREE, FREE, FREE, bytes(16), 0, 0, 0, 0, 0)


def _pack_row(node: Node, color: int, links: Links, place: tuple[int, int]) -> bytes:
    raw_name = node.name.encode("utf-16-le", "surrogatepass")
    return ENTRY.pack(
        raw_name, len(raw_name) + 2, node.kind, color, *links, node.clsid, node.state, node.created, node.modified,
        *place,
    )  # fmt: skip


def _rows(root: Node) -> list[tuple[Node, int, Links]]:
    """Return the directory: for each node its color and the numbers of its neighbours in the tree of its storage."""
    rows: list[tuple[Node, int, Links]] = [(root, _BLACK, (FREE, FREE, FREE))]
    storages = [0]
    for storage in storages:
        node = rows[storage][0]
        children = sorted(node.children, key=_order)
        if any(_order(one) == _order(other) for one, other in itertools.pairwise(children)):
            raise Uncurable("two entries of one name")
        base = len(rows)
        tree, top = _balance(len(children))
        for each, (color, left, right) in zip(children, tree, strict=True):
            links = (left + base if left >= 0 else FREE, right + base if right >= 0 else FREE, FREE)
            if not each.is_stream:
                storages.append(len(rows))
            rows.append((each, color, links))
        _, color, (left, right, _) = rows[storage]
        rows[storage] = (node, color, (left, right, top + base if top >= 0 else FREE))
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
