"""Editing: what a verdict and a group's settings change in a message, as splices and fields in front of it.

Called by `relay.disposal`, once for each group of a message. What is malware goes whatever is signed; what is only
added (scan field, disclaimer) keeps signatures whole unless the group says otherwise. Ranges were checked when the
filter's answer came (`filter.dialogue`); what does not fit together all the same loses the additions, never the edits.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gatepost.config.schema import Config
from gatepost.mime.edit import Action, Edit, SpliceError, check_splices, merge, plan_edits, replace_message
from gatepost.mime.signatures import DKIM
from gatepost.model.finding import Analysis
from gatepost.model.ids import format_queue_id
from gatepost.model.profile import FieldEdit
from gatepost.model.verdict import ObjectAction, ObjectDecision, SignedEdits, Splice, Verdict
from gatepost.notices.bypass_field import build_bypass_field
from gatepost.notices.disclaimer import write_disclaimer
from gatepost.notices.facts import MessageFacts, ObjectFacts, build_values, gather_object_facts
from gatepost.notices.original import header_of, message_id_of, subject_of
from gatepost.notices.placeholder import build_placeholder
from gatepost.notices.scan_field import NO_BASES, Bases, build_scan_field, has_foreign_field, rename_foreign_fields
from gatepost.policy.decide import STRENGTH, WHOLE_MESSAGE
from gatepost.policy.group import GroupPolicy
from gatepost.relay.rule_editing import build_prefix, plan_rule_edits, touches_content
from gatepost.relay.rule_header import change_header, without_handled
from gatepost.relay.spam_editing import build_own_fields, plan_spam_edits, spam_prefix
from gatepost.relay.work import Work
from gatepost.spool.interface import Stored


class Wording(msgspec.Struct, frozen=True, kw_only=True):
    """What all texts of one configuration have in common."""

    hostname: str = ""
    date_format: str = ""
    time_format: str = ""
    bases: Bases = NO_BASES

    @classmethod
    def from_config(cls, config: Config, bases: Bases) -> "Wording":
        """Take it from a configuration, and from the databases in use."""
        locale = config.locale
        return cls(
            hostname=config.network.hostname,
            date_format=locale.date_format,
            time_format=locale.time_format,
            bases=bases,
        )


class Edited(msgspec.Struct, frozen=True):
    """One group's copy of a message after all edits."""

    prefix: bytes
    splices: tuple[Splice, ...] = ()
    breaks: tuple[str, ...] = ()
    """Signatures that no longer hold (`Analysis.signatures`)."""


class Subject(msgspec.Struct, frozen=True):
    """Who and what a text is about: one group's share of a message."""

    stored: Stored
    """The message as it came."""
    number: int
    """Id of the copy; the message's own when there is one group."""
    group: GroupPolicy
    recipients: tuple[str, ...]
    verdict: Verdict


def describe(wording: Wording, subject: Subject, content: bytes, now: float, broken: tuple[str, ...]) -> MessageFacts:
    """Return the facts of a message for its texts."""
    stored, group, verdict = subject.stored, subject.group, subject.verdict
    header = header_of(content)
    client = stored.envelope.client
    return MessageFacts(
        hostname=wording.hostname,
        now=now,
        date_format=wording.date_format,
        time_format=wording.time_format,
        queue_id=format_queue_id(subject.number),
        source_id=format_queue_id(stored.id) if stored.id != subject.number else "",
        message_id=message_id_of(header),
        subject=subject_of(header),
        size=stored.content.size,
        client_ip=client.ip,
        helo=client.helo,
        sender=stored.envelope.sender,
        recipients=subject.recipients,
        group=group.name,
        admin=", ".join(group.texts.admins),
        bases_date=wording.bases.issued,
        statuses=verdict.statuses,
        spam=verdict.spam,
        action="blocked" if verdict.withheld else "delivered",
        broken=broken,
    )


async def load_content(work: Work) -> bytes:
    """Return the content of a message in work, from memory or from its file."""
    if work.content is not None:
        return work.content
    return await asyncio.to_thread(Path(work.path or "").read_bytes)


class Editing:
    """The edits of one relay."""

    def configure(self, wording: Wording) -> None:
        """Take (new) words into use."""
        self.wording = wording

    def in_front(
        self, work: Work, group: GroupPolicy, verdict: Verdict, analysis: Analysis | None, now: float
    ) -> bytes | None:
        """Return the fields to go in front of a message without edits of its objects, None when more is to be done."""
        texts, prefix = group.texts, _prefix(work, group, now)
        if verdict.rules is not None and verdict.rules.fields:
            fields = self._in_front_by_rules(work, group, verdict, verdict.rules.fields, analysis)
        elif verdict.spam is not None:
            fields = spam_prefix(work, group, verdict.spam, analysis, self.wording.hostname)
        else:
            fields = b""
        if fields is None:
            return None
        if not texts.adds:
            return prefix + fields
        field, text = resolve_additions(group, analysis)
        if text and analysis is not None and analysis.spots:
            return None
        if not field:
            return prefix + fields
        if work.content is None or has_foreign_field(work.content):
            return None
        # In front of what tells of spam, as in a copy that is edited: the same way whatever else is done with it.
        return prefix + build_scan_field(self.wording.bases, verdict, now) + fields

    def _in_front_by_rules(
        self,
        work: Work,
        group: GroupPolicy,
        verdict: Verdict,
        edits: Sequence[FieldEdit],
        analysis: Analysis | None,
    ) -> bytes | None:
        """Return the fields about spam as rules have changed them, None when more is to be done than to write them."""
        hostname = self.wording.hostname
        if verdict.spam is not None:
            spam = without_handled(group, verdict.spam)
            if spam_prefix(work, group, spam, analysis, hostname) is None:
                return None
        view = change_header(work, group, verdict, edits, analysis, hostname)
        return None if touches_content(view, analysis) else build_prefix(view)

    async def edit(
        self, work: Work, subject: Subject, decisions: Sequence[ObjectDecision], analysis: Analysis | None, now: float
    ) -> Edited:
        """Return a group's copy: with the decisions on objects carried out, and with what the group adds."""
        field, text = resolve_additions(subject.group, analysis)
        rules = subject.verdict.rules
        ruled = rules is not None and bool(rules.fields)
        if not decisions and not field and not text and not ruled and subject.verdict.spam is None:
            return Edited(_prefix(work, subject.group, now))
        content = await load_content(work)
        edited = Edited(b"")
        if analysis is not None and decisions:
            facts = describe(self.wording, subject, content, now, analysis.signatures)
            edited = Edited(b"", _carry_out(content, analysis, decisions, subject, facts), analysis.signatures)
        if field:
            edited = _rename_foreign(edited, content)
        return self._add(edited, work, content, subject, decisions, analysis, now)

    async def edit_together(
        self,
        work: Work,
        shares: Sequence[tuple[Subject, Sequence[ObjectDecision]]],
        analysis: Analysis | None,
        now: float,
    ) -> Edited:
        """Return one copy for several groups: of two decisions on one object that is carried out which leaves less of
        it, and everybody's additions are made. What stands in front of the message is not among them.
        """
        content = await load_content(work)
        every = [decision for _, decisions in shares for decision in decisions]
        edited = Edited(b"")
        if analysis is not None and every:
            edited = Edited(b"", self._carry_out_together(content, shares, analysis, now), analysis.signatures)
        if any(resolve_additions(subject.group, analysis)[0] for subject, _ in shares):
            edited = _rename_foreign(edited, content)
        for subject, _ in shares:
            edited = self._add(edited, work, content, subject, every, analysis, now)
        return edited

    def _carry_out_together(
        self,
        content: bytes,
        shares: Sequence[tuple[Subject, Sequence[ObjectDecision]]],
        analysis: Analysis,
        now: float,
    ) -> tuple[Splice, ...]:
        edits: dict[int, tuple[ObjectAction, Edit]] = {}
        for subject, decisions in shares:
            facts = describe(self.wording, subject, content, now, analysis.signatures)
            if _replaces_message(decisions):
                return _carry_out(content, analysis, decisions, subject, facts)
            for decision, edit in _plan(analysis, decisions, subject, facts):
                known = edits.get(decision.index)
                if known is None or STRENGTH[decision.action] > STRENGTH[known[0]]:
                    edits[decision.index] = decision.action, edit
        return plan_edits(content, [edit for _, edit in edits.values()])

    def _add(
        self,
        edited: Edited,
        work: Work,
        content: bytes,
        subject: Subject,
        decisions: Sequence[ObjectDecision],
        analysis: Analysis | None,
        now: float,
    ) -> Edited:
        """Return a copy, in which `decisions` are carried out, with what a group adds."""
        group, prefix = subject.group, edited.prefix + _prefix(work, subject.group, now)
        field, text = resolve_additions(group, analysis)
        spam = subject.verdict.spam
        signatures = analysis.signatures if analysis is not None else ()
        broken, splices = edited.breaks, edited.splices
        if field:
            prefix += build_scan_field(self.wording.bases, subject.verdict, now)
        if text and analysis is not None and analysis.spots and not _replaces_message(decisions):
            before = splices
            facts = describe(self.wording, subject, content, now, broken)
            splices = self._add_disclaimer(splices, group, analysis, facts, len(content))
            if splices != before:
                broken = signatures
        rules, hostname = subject.verdict.rules, self.wording.hostname
        ruled = None
        if rules is not None and rules.fields:
            view = change_header(work, group, subject.verdict, rules.fields, analysis, hostname)
            ruled = plan_rule_edits(content, view, analysis)
            prefix += ruled.prefix
            spam = without_handled(group, spam) if spam is not None else None
        if spam is not None:
            edits = plan_spam_edits(content, work, group, spam, analysis, hostname)
            written = len(build_own_fields(work, group, spam, analysis, hostname)) if ruled is not None else 0
            prefix += edits.prefix[written:]  # rules have their own form of what stands in front of that
            splices = _cut_out(_fit(splices, edits.added, len(content)), edits.removed)
            if edits.breaks_dkim and DKIM not in broken:
                broken += (DKIM,)
        if ruled is not None:
            splices = _overlay(splices, ruled.splices)
            if ruled.breaks_dkim and DKIM not in broken:
                broken += (DKIM,)
        return Edited(prefix, splices, broken)

    @staticmethod
    def _add_disclaimer(
        splices: tuple[Splice, ...], group: GroupPolicy, analysis: Analysis, facts: MessageFacts, size: int
    ) -> tuple[Splice, ...]:
        assert group.texts.disclaimer is not None
        text = build_disclaimer_text(group, facts)
        for spot in analysis.spots if text else ():
            splices = _fit(splices, write_disclaimer(spot, text), size)
        return splices


def _rename_foreign(edited: Edited, content: bytes) -> Edited:
    splices = merge([*edited.splices, *rename_foreign_fields(content)])
    return msgspec.structs.replace(edited, splices=splices)


def _prefix(work: Work, group: GroupPolicy, now: float) -> bytes:
    """Return what stands in front of every copy of the group."""
    return work.stored.prefix + build_bypass_field(now) if group.bypass else work.stored.prefix


def resolve_additions(group: GroupPolicy, analysis: Analysis | None) -> tuple[bool, bool]:
    """Return whether the scan field and whether the disclaimer may be added to this message."""
    texts = group.texts
    field, text = texts.add_header, texts.disclaimer is not None
    signatures = analysis.signatures if analysis is not None else ()
    if signatures and texts.edit_signed is SignedEdits.SKIP:
        return False, False
    if DKIM in signatures and texts.edit_signed is SignedEdits.HEADER:
        text = False
    return field, text


def _replaces_message(decisions: Sequence[ObjectDecision]) -> bool:
    return any(decision.index == WHOLE_MESSAGE for decision in decisions)


def build_disclaimer_text(group: GroupPolicy, facts: MessageFacts) -> str:
    """Return the disclaimer of a group for one message, with CRLF line ends; "" when there is nothing to add."""
    if group.texts.disclaimer is None:
        return ""
    text = group.texts.disclaimer.render(build_values(facts))
    if not text.strip():
        return ""
    return text if text.endswith("\r\n") else text + "\r\n"


def _carry_out(
    content: bytes,
    analysis: Analysis,
    decisions: Sequence[ObjectDecision],
    subject: Subject,
    facts: MessageFacts,
) -> tuple[Splice, ...]:
    """Return the splices that carry out a verdict's decisions on objects."""
    for decision in decisions:
        if decision.index == WHOLE_MESSAGE:
            about = _object_facts(analysis, subject.verdict)[decision]
            return replace_message(content, build_placeholder(subject.group.placeholder_template, about, facts))
    return plan_edits(content, [edit for _, edit in _plan(analysis, decisions, subject, facts)])


def _plan(
    analysis: Analysis, decisions: Sequence[ObjectDecision], subject: Subject, facts: MessageFacts
) -> list[tuple[ObjectDecision, Edit]]:
    """Return what is done about each object."""
    facts_of = _object_facts(analysis, subject.verdict)
    edits = []
    for decision in decisions:
        report = analysis.objects[decision.index]
        if decision.action is ObjectAction.CURE:
            edit = Edit(report, Action.CURE, report.cured or b"")
        elif decision.action is ObjectAction.REMOVE:
            edit = Edit(report, Action.REMOVE)
        else:
            text = build_placeholder(subject.group.placeholder_template, facts_of[decision], facts)
            edit = Edit(report, Action.REPLACE, text)
        edits.append((decision, edit))
    return edits


def _object_facts(analysis: Analysis, verdict: Verdict) -> dict[ObjectDecision, ObjectFacts]:
    return dict(zip(verdict.decisions, gather_object_facts(analysis, verdict), strict=True))


def _cut_out(splices: tuple[Splice, ...], removed: Sequence[Splice]) -> tuple[Splice, ...]:
    """Return the splices with fields cut out, but those that lie in what is replaced already."""
    kept = [new for new in removed if not any(old.start < new.end and new.start < old.end for old in splices)]
    return merge([*splices, *kept]) if kept else splices


def _overlay(splices: tuple[Splice, ...], ruled: Sequence[Splice]) -> tuple[Splice, ...]:
    """Return the splices with those of rules: a field that goes takes with it what is cut out of it."""
    for new in [each for each in ruled if each not in splices]:  # else it is another group's, on one copy
        inner = [old for old in splices if new.start <= old.start < old.end <= new.end and not old.data]
        splices = _cut_out(tuple(old for old in splices if old not in inner), (new,))
    return splices


def _fit(splices: tuple[Splice, ...], added: Sequence[Splice], size: int) -> tuple[Splice, ...]:
    """Return the splices with others added, all of them or none: what touches edited bytes is left out."""
    added = [new for new in added if new not in splices]  # another group's, on one copy
    for new in added:
        if any(old.start < new.end and new.start <= old.end for old in splices if old.end > old.start):
            return splices
    joined = merge([*splices, *added])
    try:
        check_splices(joined, size)
    except SpliceError:
        return splices
    return joined
