"""Sample messages compiled: `SampleBase`, which finds those that a text holds.

Of each sample the `SKETCH` smallest shingle hashes are kept, which are a random choice of all: the share of them that a
text has too says how much of the sample is in the text, whatever else is. All kept hashes lie in one sorted list with
their owners: a look-up costs the text's shingles times the logarithm of all, for fifty thousand samples as well.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from gatepost.antispam.samples.shingles import Hashes, build_shingles, distinct

SKETCH: Final = 96
"""Hashes kept of a sample: the share is known to within a twentieth."""
SHINGLES_LEAST: Final = 16
"""Distinct shingles a sample must have: shorter texts are like other short texts."""
SAMPLES_LIMIT: Final = 100_000
FORMAT: Final = 1
NAME_LIMIT: Final = 100
_HASH_BITS: Final = 64
_MARKS_PER_HASH: Final = 10
"""Bits: a thousand places for each hash, so that hardly any hash of an ordinary mail meets a mark by chance."""
_MARKS_BITS: Final = 23
"""Bits of the largest table of marks, 8 MB."""


class Sample(msgspec.Struct, frozen=True):
    """A sample message."""

    name: str
    category: str
    text: str
    """Folded, as the view has it."""


class _Row(msgspec.Struct, frozen=True, array_like=True):
    name: str
    category: str
    hashes: bytes
    """The smallest shingle hashes, 8 bytes each, little-endian."""


class _Compiled(msgspec.Struct, frozen=True):
    format: int
    rows: list[_Row]


class Likeness(msgspec.Struct, frozen=True):
    """A sample that a text holds."""

    name: str
    category: str
    share: float
    """Of the sample that is in the text, 0 to 1."""


def sketch(text: str) -> Hashes:
    """Return what is kept of a sample. ValueError: it is too short."""
    shingles = build_shingles(text)
    if len(shingles) < SHINGLES_LEAST:
        raise ValueError(
            f"too short for a sample: {len(shingles)} different groups of words, {SHINGLES_LEAST} at least"
        )
    return shingles[:SKETCH]


def compile_samples(samples: Iterable[Sample]) -> bytes:
    """Return samples in the form of a `.samples` file. ValueError names the sample that cannot be one."""
    rows = []
    for sample in samples:
        try:
            hashes = sketch(sample.text)
        except ValueError as error:
            raise ValueError(f"{sample.name}: {error}") from None
        rows.append(_Row(sample.name[:NAME_LIMIT], sample.category, hashes.astype("<u8").tobytes()))
    return msgspec.msgpack.encode(_Compiled(FORMAT, rows))


def parse_samples(path: str, data: bytes) -> list[tuple[str, str, Hashes]]:
    """Return name, category and hashes of each sample of a compiled file. ValueError."""
    try:
        compiled = msgspec.msgpack.decode(data, type=_Compiled)
    except ValueError as error:  # DecodeError is one
        raise ValueError(f"{path}: no compiled samples: {error}") from None
    if compiled.format != FORMAT:
        raise ValueError(f"{path}: format {compiled.format}; this version reads {FORMAT}")
    found = []
    for row in compiled.rows:
        if len(row.hashes) % 8 or not SHINGLES_LEAST * 8 <= len(row.hashes) <= SKETCH * 8:
            raise ValueError(f"{path}: {row.name}: {len(row.hashes)} bytes are no sketch")
        found.append((row.name, row.category, np.frombuffer(row.hashes, "<u8").astype(np.uint64)))
    return found


class SampleBase:
    """Samples ready for look-ups."""

    def __init__(self, samples: Iterable[tuple[str, str, Hashes]]) -> None:
        """ValueError: too many."""
        rows = list(samples)
        if len(rows) > SAMPLES_LIMIT:
            raise ValueError(f"{len(rows)} samples; {SAMPLES_LIMIT} at most")
        self._names = [(name, category) for name, category, _ in rows]
        self._sizes = np.array([len(hashes) for *_, hashes in rows], dtype=np.float64)
        hashes = np.concatenate([hashes for *_, hashes in rows]) if rows else np.empty(0, dtype=np.uint64)
        owners = np.repeat(np.arange(len(rows), dtype=np.uint32), [len(each) for *_, each in rows])
        order = np.argsort(hashes)
        self._hashes, self._owners = hashes[order], owners[order]
        bits = min(len(hashes).bit_length() + _MARKS_PER_HASH, _MARKS_BITS)
        self._shift = np.uint64(_HASH_BITS - bits)
        self._marks = np.zeros(1 << bits, dtype=np.bool_)
        """Whether a kept hash begins with these bits: what has none of them is seen to hold no sample at once."""
        self._marks[(hashes >> self._shift).view(np.int64)] = True

    def __len__(self) -> int:
        return len(self._names)

    def find_among(self, hashes: Hashes, least: float) -> list[Likeness]:
        """Do as `find` for shingle hashes in any order, some of them more than once."""
        candidates = hashes[self._marks.take((hashes >> self._shift).view(np.int64))]
        return self.find(distinct(candidates), least) if len(candidates) else []

    def find(self, shingles: Hashes, least: float) -> list[Likeness]:
        """Return the samples of which a text with these shingles has a share of at least `least`, the largest first."""
        if not len(shingles) or not self._names:
            return []
        owners = self._find_owners(shingles)
        if not len(owners):
            return []
        shares = np.bincount(owners, minlength=len(self._names)) / self._sizes
        best = (shares >= least).nonzero()[0]
        found = [Likeness(*self._names[number], float(shares[number])) for number in best.tolist()]
        return sorted(found, key=lambda likeness: -likeness.share)

    def _find_owners(self, shingles: Hashes) -> NDArray[np.uint32]:
        """Return the owner of every kept hash that is among the shingles; the shorter list is looked up."""
        if len(self._hashes) < len(shingles):
            nearest = np.searchsorted(shingles[:-1], self._hashes)
            same: NDArray[np.uint32] = self._owners[shingles[nearest] == self._hashes]
            return same
        starts = np.searchsorted(self._hashes[:-1], shingles, "left")
        known = self._hashes[starts] == shingles
        if not known.any():  # as for nearly every mail
            return self._owners[:0]
        shingles, starts = shingles[known], starts[known]
        counts = np.searchsorted(self._hashes, shingles, "right") - starts
        # Each run of equal hashes becomes the places of its owners.
        before = np.cumsum(counts) - counts
        places = np.arange(counts.sum()) - np.repeat(before - starts, counts)
        owners: NDArray[np.uint32] = self._owners[places]
        return owners
