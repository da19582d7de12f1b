"""A text as a set of numbers, one for each three words in a row: `build_shingles`. Pure, linear.

Case, signs, accents and digits are out before, so that amounts, dates and codes may change. Word hashes come of one
running sum over all bytes: no step is taken word by word in Python.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gatepost.antispam.terms.wording import build_wording

Hashes = NDArray[np.uint64]

WIDTH: Final = 3
"""Words of a shingle: of a text with a fifth of its words changed half of them stay."""
BYTES_LIMIT: Final = 128 * 1024
"""Bytes of wording looked at: a sample that lies behind them is no longer what the reader sees first."""
_DIGITS: Final = b"0123456789"
_SPACE: Final = 0x20
_BASE: Final = 0x9E3779B97F4A7C15 | 1
_INVERSE: Final = pow(_BASE, -1, 1 << 64)
_MIX: Final = np.uint64(0xBF58476D1CE4E5B9)
_TURN: Final = np.uint64(29)
_STEPS: Final = tuple(np.uint64(step) for step in (0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F))


def _powers(base: int) -> Hashes:
    found = np.full(BYTES_LIMIT + 2, base, dtype=np.uint64)
    found[0] = 1
    return np.multiply.accumulate(found)


_POWERS: Final = _powers(_BASE)
_BACK: Final = _powers(_INVERSE)


def build_shingles(folded: str) -> Hashes:
    """Return the distinct shingle hashes of a folded text, in order."""
    return distinct(hash_wording(build_wording(folded[:BYTES_LIMIT])))


def distinct(hashes: Hashes) -> Hashes:
    """Return hashes in order, each once; what is given is sorted in its place."""
    hashes.sort()
    kept = np.empty(len(hashes), dtype=np.bool_)
    kept[:1] = True
    np.not_equal(hashes[1:], hashes[:-1], out=kept[1:])
    return hashes[kept]


def hash_wording(wording: bytes) -> Hashes:
    """Return the shingle hashes of a wording, as they stand there."""
    raw = np.frombuffer(b" " + wording[:BYTES_LIMIT].translate(None, _DIGITS) + b" ", np.uint8)[: BYTES_LIMIT + 2]
    letters = raw != _SPACE
    edges = (letters[1:] != letters[:-1]).nonzero()[0] + 1
    edges = edges[: len(edges) & ~1]
    starts, ends = edges[::2], edges[1::2]
    if len(starts) < WIDTH:
        return np.empty(0, dtype=np.uint64)
    sums = np.zeros(len(raw) + 1, dtype=np.uint64)
    np.cumsum(raw * _POWERS[: len(raw)], out=sums[1:])
    words = (sums[ends] - sums[starts]) * _BACK[starts]
    words ^= words >> _TURN
    words *= _MIX
    count = len(words) - WIDTH + 1
    found = words[:count] * _STEPS[0]
    for place in range(1, WIDTH):
        found ^= found >> _TURN
        found += words[place : place + count] * _STEPS[place]
    found ^= found >> _TURN
    found *= _MIX
    shingles: Hashes = found
    return shingles
