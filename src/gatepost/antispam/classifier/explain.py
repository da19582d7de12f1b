"""Which words weighed most: runs of characters mapped back to the words they begin in."""

from typing import Final

import numpy as np
import numpy.typing as npt

from gatepost.antispam.classifier.features import Indices

WORDS_SHOWN: Final = 6
WORD_LIMIT: Final = 30
"""Characters shown of one word."""
_CANDIDATES: Final = 24
_SHORTEST: Final = 3
_LETTER: Final = np.array([chr(unit).isalnum() or chr(unit) in "'\u2019$€£%" for unit in range(1 << 16)])
"""Whether a UTF-16 unit is part of a word."""


def weighty_words(units: Indices, contributions: npt.NDArray[np.float32]) -> list[str]:
    """Return the words that spoke most for spam, the weightiest first, each once.

    `contributions` holds the weight of the run that begins at each unit of the text. A word counts with the runs that
    begin in it or in the unit before it.
    """
    inside = _LETTER.take(units)
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    if len(edges) < 2:
        return []
    starts, ends = edges[:-1], edges[1:]
    words = np.flatnonzero(inside.take(starts) & (ends - starts >= _SHORTEST))
    sums = np.concatenate((_NOTHING, np.cumsum(contributions, dtype=np.float64)))
    last = len(sums) - 1
    starts, ends = starts.take(words), ends.take(words)
    weights = sums.take(np.minimum(ends, last)) - sums.take(np.minimum(starts - 1, last))
    found: list[str] = []
    for number in np.argsort(-weights)[:_CANDIDATES]:
        if weights[number] <= 0 or len(found) == WORDS_SHOWN:
            break
        raw = units[starts[number] : min(ends[number], starts[number] + WORD_LIMIT)].astype(np.uint16).tobytes()
        word = raw.decode("utf-16-le", "replace").lower()
        if word not in found:
            found.append(word)
    return found


_NOTHING: Final = np.zeros(1)
