"""What is put on record of an inspection and of the verdicts on it. Pure; bounded, whatever the message holds.

Called by `relay.inspection` (what was found, once for all groups) and `relay.disposal` (what each group makes of it).
"""

from collections.abc import Sequence

from gatepost.model.finding import Analysis, ObjectStatus
from gatepost.model.record import (
    ADDRESSES_TOLD,
    OBJECTS_TOLD,
    SIGNS_TOLD,
    TEXT_TOLD,
    Bypassed,
    Inspected,
    ObjectNote,
    Record,
    Scanned,
    SignNote,
    SpamChecked,
)
from gatepost.model.spam import VIRUS_FIRST, Sign
from gatepost.model.verdict import SpamActions, SpamEnd, SpamVerdict, Verdict
from gatepost.policy.decide import resolve_statuses
from gatepost.policy.group import GroupPolicy
from gatepost.relay.editing import Edited
from gatepost.relay.rule_stage import build_ruled
from gatepost.relay.work import Work
from gatepost.spool.interface import Stored

NAMES_TOLD = 8
"""Names of signs in the line of one verdict."""
FINDINGS_TOLD = 10
"""Findings, and troubles, of one inspection."""
_CLEAN = ObjectStatus.CLEAN
_END_WORDS = {end: end.name.lower() for end in SpamEnd}


def build_inspected(stored: Stored, analysis: Analysis, waited_ms: float, elapsed_ms: float, now: float) -> Inspected:
    """Return the record of an inspection. `waited_ms`: before it began; `elapsed_ms`: it took, all in all."""
    spam, network = analysis.spam, analysis.network
    stages = [("filter", analysis.elapsed_ms)]
    troubles: Sequence[str] = ()
    if spam is not None:
        stages.append(("content", spam.elapsed_ms))
        stages += spam.costs
        if spam.trouble:
            troubles = (spam.trouble[:TEXT_TOLD],)
    if network is not None:
        stages.append(("network", network.elapsed_ms))
        stages += network.costs
        if network.troubles:
            troubles = (*troubles, *(each[:TEXT_TOLD] for each in network.troubles[:FINDINGS_TOLD]))
    objects = analysis.objects
    notable: list[ObjectNote] = []
    for each in objects:
        if each.status is not _CLEAN and len(notable) < OBJECTS_TOLD:
            notable.append(
                ObjectNote(
                    each.name[:TEXT_TOLD],
                    (each.found or each.content_type)[:TEXT_TOLD],
                    each.size,
                    each.status.value,
                    each.threat[:TEXT_TOLD],
                    each.engine[:TEXT_TOLD],
                    each.evidence[:TEXT_TOLD],
                )
            )
    findings = analysis.findings
    return Inspected(
        stored.id,
        now,
        analysis.subject,
        waited_ms,
        elapsed_ms,
        tuple(stages),
        len(objects),
        tuple(notable),
        tuple([each.name[:TEXT_TOLD] for each in findings[:FINDINGS_TOLD]]) if findings else (),
        tuple(troubles),
        spam.categories[:FINDINGS_TOLD] if spam is not None else (),
    )


def note_inspection(work: Work, analysis: Analysis, since: float, now: float, took_s: float) -> None:
    """Keep at hand what is to be put on record of an inspection that was begun at `since` (Unix seconds)."""
    waited_s = max(0.0, since - work.stored.received_at)
    work.inspected = build_inspected(work.stored, analysis, waited_s * 1000, took_s * 1000, now)


def build_checked(
    copy: Stored,
    group: GroupPolicy,
    recipients: int,
    verdict: Verdict,
    analysis: Analysis | None,
    now: float,
    edited: Edited | None = None,
) -> list[Record]:
    """Return the records of both verdicts, in the order in which the stages looked at the message, and of the rules.
    `edited`: None when no object was changed and no signature broken.
    """
    records = _checked(copy, group, recipients, verdict, analysis, now, edited)
    if verdict.rules is not None:
        records += build_ruled(copy, group, recipients, verdict, now)
    return records


def _checked(
    copy: Stored,
    group: GroupPolicy,
    recipients: int,
    verdict: Verdict,
    analysis: Analysis | None,
    now: float,
    edited: Edited | None,
) -> list[Record]:
    scanned = _scanned(copy, group, recipients, verdict, analysis, now, edited)
    spam = verdict.spam
    if spam is None or not spam.checked:
        if group.bypass:
            return [scanned, Bypassed(copy.id, now, group.name, recipients, copy.source, group.bypass[:TEXT_TOLD])]
        return [scanned]
    record = _spam_checked(copy, group, recipients, spam, now)
    options = group.spam.options
    return [scanned, record] if options is not None and options.order == VIRUS_FIRST else [record, scanned]


def _spam_checked(copy: Stored, group: GroupPolicy, recipients: int, spam: SpamVerdict, now: float) -> SpamChecked:
    ranked = _rank(spam.signs) if spam.signs else ()
    actions = spam.actions
    return SpamChecked(
        copy.id,
        now,
        group.name,
        recipients,
        spam.status.value,
        spam.rate,
        tuple([method.value for method in spam.methods]),
        copy.source,
        spam.withheld,
        spam.obscene,
        tuple([sign.name for sign in ranked[:NAMES_TOLD] if sign.weight]),
        tuple(
            [
                SignNote(sign.method.value, sign.name, round(sign.weight, 2), sign.evidence[:TEXT_TOLD])
                for sign in ranked[:SIGNS_TOLD]
            ]
        ),
        _END_WORDS[actions.end],
        _extras(actions),
        (*actions.redirect, *actions.copies)[:ADDRESSES_TOLD],
        spam.reason[:TEXT_TOLD],
    )


def _rank(signs: Sequence[Sign]) -> Sequence[Sign]:
    """Return them the heaviest first, whatever they speak for."""
    return sorted(signs, key=_weight, reverse=True)


def _weight(sign: Sign) -> float:
    return abs(sign.weight)


def _extras(actions: SpamActions) -> tuple[str, ...]:
    if not (actions.mark or actions.keywords or actions.quarantine or actions.copies):
        return ()
    named = (
        ("mark", actions.mark),
        ("keywords", actions.keywords),
        ("quarantine", actions.quarantine),
        ("copy", bool(actions.copies)),
    )
    return tuple(name for name, on in named if on)


def _scanned(
    copy: Stored,
    group: GroupPolicy,
    recipients: int,
    verdict: Verdict,
    analysis: Analysis | None,
    now: float,
    edited: Edited | None,
) -> Scanned:
    statuses = tuple([status.value for status in verdict.statuses]) or ("not_checked",)
    decisions = verdict.decisions
    names: tuple[str, ...] = ()
    actions: tuple[tuple[str, str, str], ...] = ()
    if decisions:
        names = tuple(dict.fromkeys(d.threat or d.name for d in decisions if d.threat or d.name))
        told = decisions[:OBJECTS_TOLD]
        actions = tuple([(each.name[:TEXT_TOLD], each.status.value, each.action.value) for each in told])
    checked = analysis if group.check and verdict.statuses else None
    return Scanned(
        copy.id,
        now,
        group.name,
        recipients,
        statuses,
        copy.source,
        names,
        tuple([status.value for status in resolve_statuses(checked, group)]) if checked is not None else (),
        bool(edited is not None and edited.splices),
        verdict.blocked,
        checked.cached if checked is not None else 0,
        checked.engines if checked is not None else (),
        edited.breaks if edited is not None else (),
        verdict.reason[:TEXT_TOLD],
        actions,
    )
