"""What the gateway decided in the terms of spam filters that count points: spam or not, a score, the signs. Pure.

Used by the doors that speak for such filters. Their clients compare the score with a threshold of 5 (spamd) or with the
steps of rspamd, 6 and 15; many have steps of their own above these. So:

| decided | of 5 (`Scored.score`) | of 15 (`Scored.steps`) |
|---|---|---|
| nothing, trusted | rate / 20, at most 4.9 | rate / 20, at most 5.9 |
| probable spam | rate / 20, at most 4.9 | 6 and more, less than 15 |
| spam | 5, and 1 more for each unit of log-odds beyond certainty, at most 20 | 3 times that |
| black list, malware, refused | 20 | 60 |

Never does a score contradict the decision.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.model.filtering import Deed, Mark, Part, Ruling
from gatepost.model.finding import ObjectStatus
from gatepost.model.spam import SpamStatus

THRESHOLD: Final = 5.0
STEP: Final = 6.0
"""From here rspamd marks a mail ..."""
REFUSAL: Final = 15.0
"""... and from here it refuses it."""
SURE: Final = 20.0
"""Of what somebody has decided: above the steps at which clients refuse on their own."""
CERTAIN: Final = 8.0
"""Weights of all signs together with which the rating is 99 % and has nothing more to tell."""
NAME_LIMIT: Final = 60
TEXT_LIMIT: Final = 200
MARKS_LIMIT: Final = 200
"""Signs that are told: a mail has a few dozen."""

VIRUS: Final = "VIRUS_FOUND"
BLACKLISTED: Final = "BLACKLISTED"
TRUSTED: Final = "TRUSTED"
REFUSED: Final = "REFUSED_BY_POLICY"
NOT_INSPECTED: Final = "NOT_INSPECTED"

_SPAM: Final = frozenset((SpamStatus.SPAM.value, SpamStatus.BLACKLISTED.value))
_MALWARE: Final = frozenset(
    (ObjectStatus.INFECTED.value, ObjectStatus.DISINFECTED.value, ObjectStatus.SUSPICIOUS.value)
)
"""Statuses that count whatever is done with the copy: who asks has the original."""
_NO_NAME: Final = re.compile(r"[^A-Z0-9]+")


class Scored(msgspec.Struct, frozen=True):
    """One decision on the scales."""

    spam: bool
    score: float
    """Of 5: at least that for spam, less for anything else; one place behind the point."""
    steps: float
    """Of 15, likewise; `STEP` and more for probable spam."""
    marks: tuple[Mark, ...] = ()
    """What counted; names in capitals, digits and underscores, each once."""


def score_ruling(ruling: Ruling) -> Scored:
    """Return where a ruling stands on the scales."""
    part = ruling.whole
    marks = tuple(_marks(part, ruling.info))
    if dangerous(part) or part.deed is not Deed.DELIVER or part.status == SpamStatus.BLACKLISTED.value:
        return Scored(spam=True, score=SURE, steps=3 * SURE, marks=marks)
    if part.status == SpamStatus.SPAM.value:
        beyond = sum(mark.weight for mark in part.marks) - CERTAIN
        score = _tenths(min(THRESHOLD + max(0.0, beyond), SURE))
        return Scored(spam=True, score=score, steps=3 * score, marks=marks)
    rate = max(0, min(part.rate, 100))
    score = _tenths(min(rate / 20, THRESHOLD - 0.1))
    if part.status == SpamStatus.PROBABLE_SPAM.value:
        steps = _tenths(min(STEP + (REFUSAL - STEP) * rate / 100, REFUSAL - 0.1))
    else:
        steps = _tenths(min(rate / 20, STEP - 0.1))
    return Scored(spam=False, score=score, steps=steps, marks=marks)


def dangerous(part: Part) -> bool:
    """Whether the mail as it came must not be delivered: malware, or an object that the policy would have taken out."""
    return any(threat.status in _MALWARE for threat in part.threats) or bool(part.threats and part.body_changed)


def symbol(name: str) -> str:
    """Return a name as such filters write them: `subject-noise` is SUBJECT_NOISE."""
    return _NO_NAME.sub("_", name.upper()).strip("_")[:NAME_LIMIT] or "SIGN"


def one_line(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return a text as one line of printable characters, cut."""
    return "".join(c if c.isprintable() else " " for c in text[: limit * 2])[:limit].strip()


def _marks(part: Part, info: str) -> Iterator[Mark]:
    seen: set[str] = set()
    for mark in _all_marks(part, info):
        name = symbol(mark.name)
        if name not in seen and len(seen) < MARKS_LIMIT:
            seen.add(name)
            yield Mark(name, round(mark.weight, 2), one_line(mark.text))


def _all_marks(part: Part, info: str) -> Iterator[Mark]:
    malware = dangerous(part)
    if part.threats:
        named = ", ".join(dict.fromkeys(threat.name or threat.status for threat in part.threats))
        yield Mark(VIRUS if malware else "OBJECT_" + part.threats[0].status, SURE if malware else 0.0, named)
    if part.status == SpamStatus.BLACKLISTED.value:
        yield Mark(BLACKLISTED, SURE, part.reason)
    elif part.deed is not Deed.DELIVER and not malware and part.status not in _SPAM:
        yield Mark(REFUSED, SURE, part.reason)
    elif part.status == SpamStatus.TRUSTED.value:
        yield Mark(TRUSTED, 0.0, part.reason)
    if info:
        yield Mark(NOT_INSPECTED, 0.0, info)
    yield from part.marks


def _tenths(value: float) -> float:
    return int(value * 10 + 0.5) / 10
