"""A spam verdict explained: every sign with its weight, the sum, the rating, what it comes to and what is done. Pure.

Used by `cli.explanation`, for `gatepost policy explain` and `gatepost spam explain`.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.antispam.rating import PRIOR
from gatepost.model.finding import Analysis
from gatepost.model.spam import Sign
from gatepost.model.verdict import SpamActions, SpamEnd, SpamVerdict
from gatepost.notices.text import clean_text
from gatepost.policy.group import GroupPolicy
from gatepost.policy.spam_settings import NEVER

TEXT_LIMIT: Final = 200
"""Bytes of a foreign text in one line."""


class ExplainedSign(msgspec.Struct, frozen=True):
    """One sign of spam, or against it."""

    weight: float
    """Log-odds."""
    method: str
    name: str
    evidence: str
    detail: str


class ExplainedSpam(msgspec.Struct, frozen=True):
    """A group's spam verdict."""

    status: str
    rate: int
    level: str
    spam_from: int
    probable_from: int | None
    """Rating; None: there is no Probable Spam."""
    total: float
    """Sum of the weights that count, prior included."""
    methods: tuple[str, ...]
    categories: tuple[str, ...]
    signs: tuple[ExplainedSign, ...]
    ignored: tuple[ExplainedSign, ...]
    """Signs of methods that the group does not use."""
    info: str
    reason: str
    obscene: bool
    formal: str
    labels: tuple[str, ...]
    actions: tuple[str, ...]


def explain_spam(group: GroupPolicy, verdict: SpamVerdict, analysis: Analysis | None) -> ExplainedSpam:
    """Return a group's spam verdict with what led to it."""
    policy = group.spam
    spam = analysis.spam if analysis is not None else None
    network = analysis.network if analysis is not None else None
    stated = (*(spam.signs if spam is not None else ()), *(network.signs if network is not None else ()))
    counted = set(verdict.signs)
    return ExplainedSpam(
        status=verdict.status.value,
        rate=verdict.rate,
        level=policy.level,
        spam_from=policy.spam_at,
        probable_from=policy.probable_at if policy.probable_at < NEVER else None,
        total=round(PRIOR + sum(sign.weight for sign in verdict.signs), 3),
        methods=tuple(method.value for method in verdict.methods) + verdict.details,
        categories=verdict.categories,
        signs=tuple(map(_sign, sorted(verdict.signs, key=_heaviest_first))),
        ignored=tuple(_sign(sign) for sign in stated if sign not in counted),
        info=verdict.info,
        reason=verdict.reason,
        obscene=verdict.obscene,
        formal=verdict.formal,
        labels=verdict.labels,
        actions=tuple(_actions(verdict.actions)),
    )


def _heaviest_first(sign: Sign) -> float:
    return -abs(sign.weight)


def _sign(sign: Sign) -> ExplainedSign:
    return ExplainedSign(round(sign.weight, 3), sign.method.value, sign.name, sign.evidence, sign.detail)


_ENDS: Final = {
    SpamEnd.BLOCK: "not delivered",
    SpamEnd.REJECT: "rejected",
    SpamEnd.DELETE: "deleted without a word to anybody",
}


def _actions(actions: SpamActions) -> Iterator[str]:
    if actions.mark:
        yield "subject labelled"
    if actions.keywords:
        yield "Keywords field replaced"
    if actions.quarantine:
        yield "original into the spam quarantine"
    if actions.copies:
        yield f"copy to {', '.join(actions.copies)}"
    if actions.redirect:
        yield f"redirected to {', '.join(actions.redirect)}"
    if actions.end in _ENDS:
        yield _ENDS[actions.end]


def spam_lines(spam: ExplainedSpam) -> Iterator[str]:
    """Yield a spam verdict in words; foreign text is cleaned."""
    probable = f", Probable Spam from {spam.probable_from}" if spam.probable_from is not None else ""
    yield f"  Spam: {spam.status}, rating {spam.rate} (level {spam.level}: Spam from {spam.spam_from}{probable})"
    for text in dict.fromkeys((spam.info, spam.reason)):
        if text:
            yield f"    {clean_text(text, 2 * TEXT_LIMIT)}"
    yield f"    {PRIOR:+7.2f}  what any message has"
    for sign in spam.signs:
        yield f"    {sign.weight:+7.2f}  {sign.method}: {sign.name}: {clean_text(sign.evidence, 2 * TEXT_LIMIT)}"
    yield f"    {spam.total:+7.2f}  sum"
    for sign in spam.ignored:
        yield f"    not counted here: {sign.weight:+.2f} {sign.method}: {sign.name}"
    if spam.methods:
        yield f"    Methods: {', '.join(spam.methods)}"
    if spam.categories:
        yield f"    Categories: {', '.join(spam.categories)}"
    if spam.formal:
        yield f"    Automatic reply: {spam.formal}"
    if spam.obscene:
        yield "    Obscene words"
    for label in spam.labels:
        yield f"    Label: {clean_text(label, TEXT_LIMIT)}"
    for action in spam.actions:
        yield f"    Action: {action}"
