"""Figures of a filter's scores: area over the ROC curve, spam missed at a price, intervals, reliability. Pure."""

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]

CONFIDENCE = 1.959964
"""Standard deviations of a 95 % interval."""


class Share(msgspec.Struct, frozen=True):
    """So many of so many, with Wilson's 95 % interval."""

    number: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        share, square = self.number / self.of, CONFIDENCE**2
        middle = (share + square / (2 * self.of)) / (1 + square / self.of)
        width = (
            CONFIDENCE * math.sqrt(share * (1 - share) / self.of + square / (4 * self.of**2)) / (1 + square / self.of)
        )
        return max(0.0, middle - width), min(1.0, middle + width)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.number} of {self.of} ({100 * low:.1f}-{100 * high:.1f} %)"


def area_above(spam: Labels, scores: Scores) -> float:
    """Return (1 - ROC area) in percent: how often a wanted message scores above spam; ties count half."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[places]
    wrong, right = int(spam.sum()), int((~spam).sum())
    area = (ranks[spam].sum() - wrong * (wrong + 1) / 2) / (wrong * right)
    return 100.0 * (1.0 - float(area))


def missed_at(spam: Labels, scores: Scores, lost: float) -> float:
    """Return the percentage of spam missed by the lowest threshold that loses at most this share of wanted mail."""
    ham = np.sort(scores[~spam])[::-1]
    threshold = ham[int(len(ham) * lost)]
    return 100.0 * float((scores[spam] <= threshold).mean())


def missed_with(spam: Labels, scores: Scores, errors: int) -> int:
    """Return how many spam messages are missed by the lowest threshold with at most so many false positives."""
    ham = np.sort(scores[~spam])[::-1]
    return int((scores[spam] <= ham[errors]).sum()) if errors < len(ham) else 0


def reliability(spam: Labels, ratings: Scores, edges: Sequence[float]) -> list[tuple[float, float, int, float, float]]:
    """Return (from, to, messages, rating on average, share that was spam in percent) for each band of ratings."""
    found = []
    for low, high in pairwise(edges):
        chosen = (ratings >= low) & ((ratings < high) | (high == edges[-1]))
        if chosen.any():
            found.append(
                (low, high, int(chosen.sum()), float(ratings[chosen].mean()), 100 * float(spam[chosen].mean()))
            )
    return found
