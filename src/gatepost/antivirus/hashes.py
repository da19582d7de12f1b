"""Objects known by their digest: `HashIndex` finds the name of one among millions.

Built where databases are compiled, asked by the built-in engine for every object. Sizes and digests lie sorted in
plain bytes that filters share: loading costs nothing, and an object is only digested when a signature of its size, or
one without a size, exists.
"""

import bisect
import hashlib
import struct
from collections.abc import Iterable

import msgspec

from gatepost.antivirus.signatures import ALGORITHMS, ANY_SIZE, HashSignature


class HashTable(msgspec.Struct, frozen=True, array_like=True):
    """Signatures of one algorithm, sorted by size, then digest."""

    width: int
    """Of a digest, in bytes."""
    sizes: bytes
    """Eight bytes each, in the machine's order."""
    digests: bytes
    offsets: bytes
    """Where each name begins in `names`, four bytes each, and the end of the last."""
    names: bytes


def build_tables(signatures: Iterable[HashSignature]) -> tuple[HashTable, ...]:
    """Return the tables of signatures; of several with the same digest and size the first counts."""
    kept: dict[int, dict[tuple[int, bytes], str]] = {}
    for each in signatures:
        kept.setdefault(len(each.digest), {}).setdefault((each.size, each.digest), each.name)
    return tuple(_build_table(width, kept[width]) for width in sorted(kept, reverse=True))


def _build_table(width: int, entries: dict[tuple[int, bytes], str]) -> HashTable:
    ordered = sorted(entries)
    names = [entries[key].encode("ascii") for key in ordered]
    offsets = [0]
    for name in names:
        offsets.append(offsets[-1] + len(name))
    return HashTable(
        width,
        struct.pack(f"={len(ordered)}Q", *(size for size, _ in ordered)),
        b"".join(digest for _, digest in ordered),
        struct.pack(f"={len(offsets)}I", *offsets),
        b"".join(names),
    )


class _Searcher:
    """One table, ready to be searched."""

    def __init__(self, table: HashTable) -> None:
        self.algorithm = ALGORITHMS[table.width]
        self._width = table.width
        self._sizes = memoryview(table.sizes).cast("Q")
        self._digests = table.digests
        self._offsets = memoryview(table.offsets).cast("I")
        self._names = table.names
        self._sizeless = bisect.bisect_left(self._sizes, ANY_SIZE)
        if not (len(self._digests) == len(self._sizes) * self._width and len(self._offsets) == len(self._sizes) + 1):
            raise ValueError("a hash table whose columns differ in length")

    def runs(self, size: int) -> list[tuple[int, int]]:
        """Return the ranges of signatures an object of this size could have."""
        first = bisect.bisect_left(self._sizes, size, 0, self._sizeless)
        last = bisect.bisect_right(self._sizes, size, first, self._sizeless)
        ranges = [(first, last)] if first < last else []
        if self._sizeless < len(self._sizes):
            ranges.append((self._sizeless, len(self._sizes)))
        return ranges

    def find(self, digest: bytes, low: int, high: int) -> str:
        """Return the name of a digest in a range, "" when it is not there."""
        end = high
        while low < high:
            middle = (low + high) // 2
            if self._digests[middle * self._width : (middle + 1) * self._width] < digest:
                low = middle + 1
            else:
                high = middle
        if low == end or self._digests[low * self._width : (low + 1) * self._width] != digest:
            return ""
        return self._names[self._offsets[low] : self._offsets[low + 1]].decode("ascii")


class HashIndex:
    """All tables of a database. ValueError when they are not sound."""

    def __init__(self, tables: Iterable[HashTable]) -> None:
        self._searchers = tuple(_Searcher(table) for table in tables)

    def find(self, data: bytes) -> tuple[str, str]:
        """Return the name and the algorithm of the signature that knows these bytes, ("", "") when none does."""
        for searcher in self._searchers:
            runs = searcher.runs(len(data))
            if not runs:
                continue
            digest = hashlib.new(searcher.algorithm, data, usedforsecurity=False).digest()
            for low, high in runs:
                name = searcher.find(digest, low, high)
                if name:
                    return name, searcher.algorithm
        return "", ""
