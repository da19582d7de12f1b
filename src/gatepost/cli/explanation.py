"""What becomes of a message and why, as a value for machines and as words: the body of `gatepost policy explain`. Pure.

The steps are those of a running relay: groups, verdict, edits, notifications, stores, disposition; nothing is decided
here a second time.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from gatepost.cli.spam_explanation import TEXT_LIMIT, ExplainedSpam, explain_spam, spam_lines
from gatepost.config.grouping import Group
from gatepost.config.masks import MaskSet
from gatepost.config.process import NoticeSenders
from gatepost.config.schema import Config
from gatepost.model.envelope import Envelope
from gatepost.model.finding import Analysis, ObjectStatus
from gatepost.model.spam import NetworkFacts
from gatepost.model.verdict import SpamEnd, Verdict
from gatepost.notices.original import header_of
from gatepost.notices.text import clean_text
from gatepost.policy.decide import resolve_edits
from gatepost.policy.group import GroupPolicy
from gatepost.relay.disposal import judge_group
from gatepost.relay.editing import Subject, resolve_additions
from gatepost.relay.notifying import plan_roles
from gatepost.relay.save_rules import is_worth_saving, plan_places, save_rules
from gatepost.spool.interface import ContentRef, State, Stored


class ExplainedObject(msgspec.Struct, frozen=True):
    """One object of the message."""

    depth: int
    name: str
    content_type: str
    kind: str
    found: str
    """Kind by content."""
    size: int
    status: str
    threat: str
    engine: str
    evidence: str


class ExplainedEngine(msgspec.Struct, frozen=True):
    """What one engine did (`EngineNote`)."""

    name: str
    version: str
    objects: int
    elapsed_ms: float
    status: str
    trouble: str


class ExplainedFinding(msgspec.Struct, frozen=True):
    """What was found about the message as a whole."""

    name: str
    evidence: str


class ExplainedGroup(msgspec.Struct, frozen=True):
    """What one group does with it."""

    name: str
    recipients: tuple[str, ...]
    why: str
    statuses: tuple[str, ...]
    reason: str
    actions: tuple[str, ...]
    """What happens to objects, in words."""
    additions: tuple[str, ...]
    breaks: tuple[str, ...]
    """Signatures that will not hold any more."""
    notifications: dict[str, tuple[str, ...]]
    """Addresses by role."""
    stores: tuple[str, ...]
    disposition: str
    spam: ExplainedSpam | None = None
    """None: the group has nothing to do with anti-spam."""
    end: str = "deliver"
    """The disposition in a word: `waits`, `blocked` (for its objects), or a `SpamEnd` in lower case."""


class Explanation(msgspec.Struct, frozen=True):
    """Everything about one message."""

    direction: str
    sender: str
    client: str
    """Its address."""
    objects: tuple[ExplainedObject, ...]
    findings: tuple[ExplainedFinding, ...]
    engines: tuple[ExplainedEngine, ...]
    signatures: tuple[str, ...]
    waits: str
    """Why the message would wait to be inspected again, "" as a rule."""
    groups: tuple[ExplainedGroup, ...]
    network: tuple[str, ...] = ()
    """What the network checks state, in words; () when they were not asked."""
    trouble: str = ""
    """What the content checks could not look at."""
    rules: tuple[str, ...] = ()
    """What the administrator's rules make of it after that, in words; () when none are in force."""


def explain_message(
    config: Config,
    envelope: Envelope,
    partition: Sequence[tuple[GroupPolicy, Sequence[int]]],
    analysis: Analysis | None,
    content: bytes,
) -> Explanation:
    """Return what becomes of a message. `analysis` None: nothing of it is looked at."""
    seen = analysis if analysis is not None else Analysis(())
    by_name = {group.name: group for group in config.groups}
    return Explanation(
        direction=envelope.direction.value,
        sender=envelope.sender,
        client=envelope.client.ip,
        objects=tuple(_objects(seen)),
        findings=tuple(ExplainedFinding(each.name, each.evidence) for each in seen.findings),
        engines=tuple(
            ExplainedEngine(
                each.name, each.version, each.objects, round(each.elapsed_ms, 3), each.status.value, each.trouble
            )
            for each in seen.engines
        ),
        signatures=seen.signatures,
        waits=seen.unscanned,
        groups=tuple(
            _explain_group(config, by_name[group.name], group, indices, envelope, analysis, content)
            for group, indices in partition
        ),
        network=tuple(_network(seen.network)) if seen.network is not None else (),
        trouble=seen.spam.trouble if seen.spam is not None else "",
    )


def _network(facts: NetworkFacts) -> Iterator[str]:
    authn = facts.authn
    for name, result, more in (
        ("SPF", authn.spf, authn.spf_domain),
        ("DMARC", authn.dmarc, authn.dmarc_domain),
        ("ARC", authn.arc, authn.arc_sealer),
    ):
        if result:
            yield f"{name} {result}" + (f" ({more})" if more else "")
    for each in authn.dkim:
        yield f"DKIM {each.result} ({each.domain}, {each.selector})"
    if authn.authenticated:
        yield f"proved: {', '.join(authn.authenticated)}"
    if facts.dnsbl:
        yield f"listed by {', '.join(facts.dnsbl)}, ratings sum up to {facts.dnsbl_sum}"
    yield from (f"not to be told: {trouble}" for trouble in facts.troubles)


def _objects(analysis: Analysis) -> Iterator[ExplainedObject]:
    depths: list[int] = []
    for report in analysis.objects:
        depths.append(depths[report.parent] + 1 if report.parent >= 0 else 0)
        yield ExplainedObject(
            depths[-1],
            report.name,
            report.content_type,
            report.kind.value,
            report.found,
            report.size,
            report.status.value,
            report.threat,
            report.engine,
            report.evidence,
        )


def _explain_group(
    config: Config,
    settings: Group,
    group: GroupPolicy,
    indices: Sequence[int],
    envelope: Envelope,
    analysis: Analysis | None,
    content: bytes,
) -> ExplainedGroup:
    recipients = tuple(envelope.recipients[index].address for index in indices)
    if analysis is not None and analysis.unscanned:
        return ExplainedGroup(
            name=group.name,
            recipients=recipients,
            why=_why(settings, envelope, recipients),
            statuses=(),
            reason="there is none before every engine has seen the message",
            actions=(),
            additions=(),
            breaks=(),
            notifications={},
            stores=(),
            disposition="waits in the queue for its inspection",
            end="waits",
        )
    verdict = judge_group(group, analysis, envelope, time.time())
    decisions = resolve_edits(analysis, verdict) if analysis is not None else ()
    field, text = resolve_additions(group, analysis) if not verdict.withheld else (False, False)
    text = text and analysis is not None and bool(analysis.spots)
    spam = verdict.spam
    stored = Stored(1, 1, State.WAITING, 0.0, envelope, ContentRef(1, len(content), False), b"")
    subject = Subject(stored, 1, group, recipients, verdict)
    everybody = config.notices.notify_senders is NoticeSenders.ALL
    roles = plan_roles(subject, header_of(content), everybody=everybody)
    signatures = analysis.signatures if analysis is not None else ()
    return ExplainedGroup(
        name=group.name,
        recipients=recipients,
        why=_why(settings, envelope, recipients),
        statuses=tuple(status.value for status in verdict.statuses) or ("not_checked",),
        reason=verdict.reason or "scanning is switched off for this group",
        actions=tuple(
            f"{decision.name or 'an object without a name'}: {decision.status.value}, {decision.action.value}"
            for decision in verdict.decisions
        )
        if not verdict.blocked
        else (),
        additions=tuple(name for name, done in (("scan field", field), ("disclaimer", text)) if done),
        breaks=signatures if decisions or text else (),
        notifications={role.value: tuple(addresses) for role, addresses in roles.items()},
        stores=tuple(_stores(config, settings, verdict, changed=bool(decisions))),
        disposition=_disposition(verdict, edited=bool(decisions) or text or bool(spam and spam.labels)),
        spam=explain_spam(group, spam, analysis) if spam is not None else None,
        end="blocked" if verdict.blocked else spam.actions.end.name.lower() if spam is not None else "deliver",
    )


def _why(settings: Group, envelope: Envelope, recipients: Sequence[str]) -> str:
    """Return which masks brought these recipients into the group."""
    sender = next((mask for mask in settings.senders if MaskSet((mask,)).matches(envelope.sender)), "")
    masks = dict.fromkeys(
        mask
        for recipient in recipients
        for mask in [next((m for m in settings.recipients if MaskSet((m,)).matches(recipient)), "")]
        if mask
    )
    ways = f", direction {', '.join(settings.directions)}" if settings.directions else ""
    return f"sender matches {sender or '*'}, recipient matches {', '.join(masks) or '*'}{ways}"


def _stores(config: Config, settings: Group, verdict: Verdict, *, changed: bool) -> Iterator[str]:
    if config.path.incoming_archive_path:
        yield f"incoming archive {config.path.incoming_archive_path}"
    if is_worth_saving(verdict):
        rules = save_rules((settings,))[settings.name]
        for place in plan_places(rules, verdict, changed=changed):
            yield f"{place.store.value} {place.directory}"
    if config.path.outgoing_archive_path:
        yield f"outgoing archive {config.path.outgoing_archive_path}"


_SPAM_ENDS: Final = {
    SpamEnd.REDIRECT: "delivered to other addresses instead",
    SpamEnd.BLOCK: "blocked as spam: not delivered to these recipients",
    SpamEnd.REJECT: "rejected: refused in a session that judges before the queue, else reported to a sender who is "
    "proved, else kept in the spam quarantine",
    SpamEnd.DELETE: "deleted: nobody hears of it",
}


def _disposition(verdict: Verdict, *, edited: bool) -> str:
    spam = verdict.spam
    if not verdict.blocked and spam is not None and spam.actions.end is not SpamEnd.DELIVER:
        return _SPAM_ENDS[spam.actions.end]
    if verdict.blocked:
        return "blocked: not delivered to these recipients"
    return "delivered with changes" if edited else "delivered as received"


def render_explanation(explanation: Explanation) -> str:
    """Return it in words; foreign text is cleaned."""
    return "".join(f"{clean_text(line, 10 * TEXT_LIMIT)}\n" for line in _lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    yield f"Direction: {explanation.direction}"
    yield f"Sender: <{explanation.sender}>"
    if explanation.signatures:
        yield f"Signatures: {', '.join(explanation.signatures)}"
    yield "Objects:" if explanation.objects else "Objects: nothing was looked at"
    for each in explanation.objects:
        name = clean_text(each.name, TEXT_LIMIT) or f"({each.kind})"
        kind = each.content_type + (f" = {each.found}" if each.found else "")
        said = ", ".join(filter(None, (each.status, each.threat, each.engine and f"by {each.engine}")))
        yield f"{'  ' * (each.depth + 1)}{name}  {kind}  {each.size} bytes: {said}"
        if each.evidence and each.status != ObjectStatus.CLEAN.value:
            yield f"{'  ' * (each.depth + 2)}{clean_text(each.evidence, TEXT_LIMIT)}"
    for engine in explanation.engines:
        trouble = f"; {engine.trouble}" if engine.trouble else ""
        yield (
            f"Engine {engine.name} {engine.version}: {engine.objects} objects, {engine.elapsed_ms:.1f} ms, "
            f"{engine.status}{trouble}"
        )
    for finding in explanation.findings:
        yield f"Finding {finding.name}: {clean_text(finding.evidence, TEXT_LIMIT)}"
    yield from (f"Network: {clean_text(line, 2 * TEXT_LIMIT)}" for line in explanation.network)
    if explanation.trouble:
        yield f"Content checks that could not see all of it: {clean_text(explanation.trouble, 2 * TEXT_LIMIT)}"
    if explanation.waits:
        yield f"The message would wait and be inspected again: {explanation.waits}"
    for group in explanation.groups:
        yield from _group_lines(group)
    if explanation.rules:
        yield ""
        yield "Rules:"
        yield from (f"  {clean_text(line, 2 * TEXT_LIMIT)}" for line in explanation.rules)


def _group_lines(group: ExplainedGroup) -> Iterator[str]:
    yield ""
    yield f"Group {group.name}: {', '.join(f'<{each}>' for each in group.recipients)}"
    yield f"  Why: {group.why}"
    yield f"  Verdict: {', '.join(group.statuses) or 'none'} ({group.reason})"
    for action in group.actions:
        yield f"  Action: {action}"
    if group.additions:
        yield f"  Added: {', '.join(group.additions)}"
    if group.breaks:
        yield f"  Signatures that no longer hold: {', '.join(group.breaks)}"
    for role, addresses in group.notifications.items():
        yield f"  Notified: {role} {', '.join(f'<{each}>' for each in addresses)}"
    if group.spam is not None:
        yield from spam_lines(group.spam)
    for store in group.stores:
        yield f"  Saved: {store}"
    yield f"  Disposition: {group.disposition}"
