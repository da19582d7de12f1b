"""Disposal: verdicts become acts. Splits a message into its copies, records edits as splices, blocks, hands on.

Called by `relay.inspection`. Acts and never weighs: what is to be done was decided by `policy.decide`. Nothing bounces
for its content: what is blocked after acceptance ends here, with its record; before it, the client is told instead.

Commit rules (docs/architecture.md): a single-group mail without edits goes straight to delivery, its disposition is
settled with the attempt; everything else is durable before the first byte goes to a peer.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from gatepost.mime.edit import Action, Edit, plan_edits, replace_message
from gatepost.model.address import domain_of
from gatepost.model.finding import Analysis
from gatepost.model.ids import QueueIds, format_queue_id
from gatepost.model.record import Blocked, Record, Scanned, Split
from gatepost.model.verdict import ObjectAction, ObjectDecision, Splice, Verdict
from gatepost.notices.facts import MessageFacts, gather_object_facts
from gatepost.notices.placeholder import build_placeholder
from gatepost.policy.decide import WHOLE_MESSAGE, decide, resolve_edits
from gatepost.policy.group import GroupPolicy
from gatepost.relay.delivery import Delivery
from gatepost.relay.saving import Save, Saving
from gatepost.relay.work import Work
from gatepost.spool import clock
from gatepost.spool.interface import Pending, Spool, State, Stored

Partition = Sequence[tuple[GroupPolicy, Sequence[int]]]
"""Groups of one message with the indices of their recipients."""


class Disposition(msgspec.Struct):
    """What becomes of one message: all of it goes into one commit."""

    copies: Sequence[Stored]
    """What is to be delivered; none: it is blocked for everybody."""
    records: Sequence[Record]
    saves: Sequence[Save] = ()
    """What is to be in the stores before that commit."""


class Disposal:
    """The disposal stage of one relay."""

    def __init__(
        self, *, spool: Spool, ids: QueueIds, delivery: Delivery, saving: Saving, clock_ms: Callable[[], int]
    ) -> None:
        self._spool = spool
        self._saving = saving
        self._ids = ids
        self._delivery = delivery
        self._clock_ms = clock_ms

    def configure(self, hostname: str) -> None:
        """Take a (new) host name into use, for the texts."""
        self._hostname = hostname

    def is_in_work(self, message_id: int) -> bool:
        """Tell whether delivery has this message in work."""
        return self._delivery.is_in_work(message_id)

    def dispose(self, work: Work, partition: Partition, analysis: Analysis | None) -> "asyncio.Future[None] | None":
        """Carry the verdicts out. None: handed on at once; else a future of the commit that makes them durable."""
        now = clock.now()
        plans = [(group, indices, _judge(group, analysis)) for group, indices in partition]
        if len(plans) == 1:
            group, indices, verdict = plans[0]
            if not verdict.blocked and not (analysis and resolve_edits(analysis, verdict)):
                work.records.append(_scanned(work.stored, group.name, len(indices), verdict, (), analysis, now))
                work.stored = _ready_copy(work.stored, work.stored.id, group.name, indices, (), now)
                if self._saving.archives or verdict.decisions:
                    saves = self._plan_saves(work, [(work.stored, plans[0], False)], now)
                    return asyncio.ensure_future(self._hand_on_saved(work, saves))
                self._delivery.submit(work)
                return None
        return asyncio.ensure_future(self._dispose_durably(work, plans, analysis, now))

    def _plan_saves(
        self, work: Work, copies: Sequence[tuple[Stored, tuple[GroupPolicy, Sequence[int], Verdict], bool]], now: float
    ) -> list[Save]:
        """Return what goes into stores; `copies`: each group's copy, plan, and whether objects in it are changed."""
        saving = self._saving
        saves = saving.plan_accepted(work, now)
        for copy, (group, _, verdict), changed in copies:
            saves += saving.plan_disposed(work, copy, group.name, verdict, now, changed=changed)
        return saves

    async def _hand_on_saved(self, work: Work, saves: Sequence[Save]) -> None:
        work.records += await self._saving.save(saves)
        self._delivery.submit(work)

    async def _dispose_durably(
        self,
        work: Work,
        plans: Sequence[tuple[GroupPolicy, Sequence[int], Verdict]],
        analysis: Analysis | None,
        now: float,
    ) -> None:
        disposition = await self._resolve(work, plans, analysis, now)
        saved = await self._saving.save(disposition.saves)
        await self._spool.dispose(work.stored.id, disposition.copies, [*disposition.records, *saved])
        for copy in disposition.copies:
            self._delivery.submit(
                Work(copy, work.content, work.path, durable=True, suspect=work.suspect, plain=work.plain)
            )

    async def judge(self, work: Work, partition: Partition, analysis: Analysis | None) -> Disposition:
        """Return what is to become of a message that is not accepted yet; nothing is carried out."""
        plans = [(group, indices, _judge(group, analysis)) for group, indices in partition]
        disposition = await self._resolve(work, plans, analysis, clock.now())
        saves = disposition.saves
        if not disposition.copies:
            # Refused, so its sender knows: only what a list asks for is put away.
            saves = [save for save in saves if save.place.listed]
        disposition.records = [*disposition.records, *await self._saving.save(saves)]
        return disposition

    async def _resolve(
        self,
        work: Work,
        plans: Sequence[tuple[GroupPolicy, Sequence[int], Verdict]],
        analysis: Analysis | None,
        now: float,
    ) -> Disposition:
        original = work.stored
        records: list[Record] = []
        copies: list[Stored] = []
        treated = []
        for plan in plans:
            group, indices, verdict = plan
            number = original.id if len(plans) == 1 else self._ids.next(self._clock_ms())
            splices: tuple[Splice, ...] = ()
            decisions = resolve_edits(analysis, verdict) if analysis is not None else ()
            if analysis is not None and decisions:
                splices = await self._plan(group, verdict, decisions, analysis, work, now)
            copy = _ready_copy(original, number, group.name, indices, splices, now)
            treated.append((copy, plan, bool(decisions)))
            if len(plans) > 1:
                domain = domain_of(copy.envelope.recipients[0].address)
                records.append(Split(number, now, domain, len(indices), original.id))
            records.append(_scanned(copy, group.name, len(indices), verdict, splices, analysis, now))
            if verdict.blocked:
                addresses = tuple(r.address for r in copy.envelope.recipients)
                records.append(Blocked(number, now, addresses, original.content.size, verdict.reason))
            else:
                copies.append(copy)
        return Disposition(copies, records, self._plan_saves(work, treated, now))

    async def _plan(
        self,
        group: GroupPolicy,
        verdict: Verdict,
        decisions: Sequence[ObjectDecision],
        analysis: Analysis,
        work: Work,
        now: float,
    ) -> tuple[Splice, ...]:
        """Return the splices that carry out a verdict's decisions on objects."""
        stored = work.stored
        message = MessageFacts(
            hostname=self._hostname,
            now=now,
            queue_id=format_queue_id(stored.id),
            size=stored.content.size,
            client_ip=stored.envelope.client.ip,
            sender=stored.envelope.sender,
            recipients=tuple(r.address for r in stored.envelope.recipients),
            group=group.name,
            statuses=verdict.statuses,
        )
        content = work.content
        if content is None:
            content = await asyncio.to_thread(Path(work.path or "").read_bytes)
        facts_of = dict(zip(verdict.decisions, gather_object_facts(analysis, verdict), strict=True))
        edits = []
        for decision in decisions:
            if decision.index == WHOLE_MESSAGE:
                return replace_message(
                    content, build_placeholder(group.placeholder_template, facts_of[decision], message)
                )
            report = analysis.objects[decision.index]
            if decision.action is ObjectAction.CURE:
                edits.append(Edit(report, Action.CURE, report.cured or b""))
            elif decision.action is ObjectAction.REMOVE:
                edits.append(Edit(report, Action.REMOVE))
            else:
                text = build_placeholder(group.placeholder_template, facts_of[decision], message)
                edits.append(Edit(report, Action.REPLACE, text))
        return plan_edits(content, edits)


def _judge(group: GroupPolicy, analysis: Analysis | None) -> Verdict:
    """Return a group's verdict; one that does not scan decides nothing."""
    if analysis is None or not group.check:
        return Verdict(group.name, ())
    return decide(analysis, group)


def _scanned(
    copy: Stored,
    group: str,
    recipients: int,
    verdict: Verdict,
    splices: Sequence[Splice],
    analysis: Analysis | None,
    now: float,
) -> Scanned:
    statuses = tuple(status.value for status in verdict.statuses) or ("not_checked",)
    names = tuple(dict.fromkeys(d.threat or d.name for d in verdict.decisions if d.threat or d.name))
    objects = tuple(o.status.value for o in analysis.objects) if analysis is not None else ()
    return Scanned(
        copy.id, now, group, recipients, statuses, copy.source, names, objects, bool(splices), verdict.blocked
    )


def _ready_copy(
    original: Stored, number: int, group: str, indices: Sequence[int], splices: tuple[Splice, ...], now: float
) -> Stored:
    """Return the message as it waits for delivery to one group's recipients."""
    everyone = original.envelope.recipients
    recipients = everyone if len(indices) == len(everyone) else tuple(everyone[i] for i in indices)
    envelope = original.envelope
    if recipients is not everyone:
        envelope = msgspec.structs.replace(envelope, recipients=recipients)
    return Stored(
        number,
        original.id,
        State.READY,
        original.received_at,
        envelope,
        original.content,
        original.prefix,
        group,
        splices,
        tuple(Pending(i, domain_of(r.address), now) for i, r in enumerate(recipients)),
    )
