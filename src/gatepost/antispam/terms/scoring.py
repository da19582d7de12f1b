"""From terms found to what they are worth: `score_terms`. Pure.

Each term counts once however often it stands there. Long texts hold chance terms: beyond `FREE_LENGTH` characters the
sum is divided by the root of the length. The first `NOISE` of a sum is what ordinary mail on such matters has and
counts nothing, one term alone counts nothing either: a word does not make spam, several independent ones do. Terms
below `STRONG` support stronger ones: by themselves they are how anybody talks of money, medicine or passwords.
"""

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from gatepost.antispam.terms.term import Category, Term

STRONG: Final = 1.0
SUPPORT_LIMIT: Final = 2.5
"""What weaker terms add to stronger ones at most, and never more than those have."""
UNSUPPORTED: Final = 2.5
"""What many weaker terms without stronger ones must have before they count."""
FREE_LENGTH: Final = 3000
"""Characters of a text that is as long as letters usually are."""
NOISE: Final = 1.0
LEAST: Final = 2.0
"""A sum below this is no sign."""
FURTHER: Final = 0.3
"""Share of the second and further categories: they often have the words of the first."""
TOTAL_CAP: Final = 7.5
"""The most all terms of a message add: a few other signs to the contrary can still weigh."""


class CategoryScore(msgspec.Struct, frozen=True):
    """What the terms of one category say."""

    category: Category
    sum: float
    weight: float
    """Log-odds."""
    terms: tuple[Term, ...]
    """The heaviest first."""


def score_terms(found: Iterable[Term], categories: dict[str, Category], length: int) -> list[CategoryScore]:
    """Return the categories that these terms of a text of `length` characters speak for, the strongest first."""
    divisor = math.sqrt(max(1.0, length / FREE_LENGTH))
    groups: dict[str, list[Term]] = {}
    for term in found:
        groups.setdefault(term.category, []).append(term)
    scores: list[CategoryScore] = []
    for path, terms in groups.items():
        if len(terms) < 2:
            continue
        strong = math.fsum(term.weight for term in terms if term.weight >= STRONG)
        weak = math.fsum(term.weight for term in terms if term.weight < STRONG)
        total = (strong + max(min(weak, strong, SUPPORT_LIMIT), weak - UNSUPPORTED)) / divisor
        if total < LEAST:
            continue
        ordered = tuple(sorted(terms, key=lambda term: -term.weight))
        category = categories[path]
        scores.append(CategoryScore(category, total, min(category.cap, total - NOISE), ordered))
    scores.sort(key=lambda score: -score.weight)
    left = TOTAL_CAP
    weighed: list[CategoryScore] = []
    for place, score in enumerate(scores):
        weight = min(left, score.weight * (FURTHER if place else 1.0))
        left -= weight
        weighed.append(msgspec.structs.replace(score, weight=weight))
    return weighed
