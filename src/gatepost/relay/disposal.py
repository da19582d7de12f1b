"""Disposal: verdicts become acts. Splits a message into its copies, records edits as splices, blocks, hands on.

Called by `relay.inspection`. Acts and never weighs: what is to be done was decided by `policy.decide`. Nothing bounces
for its content: what is blocked after acceptance ends here, with its record; before it, the client is told instead.

Commit rules (docs/architecture.md): a single-group mail without edits goes straight to delivery, its disposition is
settled with the attempt; everything else is durable before the first byte goes to a peer.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from gatepost.model.address import domain_of
from gatepost.model.finding import Analysis
from gatepost.model.ids import QueueIds
from gatepost.model.record import Blocked, Record, Scanned, Split
from gatepost.model.verdict import Verdict
from gatepost.policy.decide import decide, resolve_edits, resolve_statuses
from gatepost.policy.group import GroupPolicy
from gatepost.relay.delivery import Delivery
from gatepost.relay.editing import Edited, Editing, Subject
from gatepost.relay.notifying import Notifying
from gatepost.relay.saving import Save, Saving
from gatepost.relay.work import Work
from gatepost.spool import clock
from gatepost.spool.interface import NewMessage, Pending, Spool, SpoolBroken, SpoolError, State, Stored

Partition = Sequence[tuple[GroupPolicy, Sequence[int]]]
"""Groups of one message with the indices of their recipients."""


class Disposition(msgspec.Struct):
    """What becomes of one message: all of it goes into one commit."""

    copies: Sequence[Stored]
    """What is to be delivered; none: it is blocked for everybody."""
    records: Sequence[Record]
    saves: Sequence[Save] = ()
    """What is to be in the stores before that commit."""
    generated: list[NewMessage] = msgspec.field(default_factory=list)
    """Notifications, made durable with it."""

    def discard(self) -> None:
        """Nothing comes of it: leave nothing of the notifications behind."""
        for new in self.generated:
            new.content.discard()


_Notice = tuple[Subject, Analysis, tuple[str, ...]]
"""One group's share of a message of which something may be told; last the signatures that no longer hold."""


class Disposal:
    """The disposal stage of one relay."""

    def __init__(
        self,
        *,
        spool: Spool,
        ids: QueueIds,
        delivery: Delivery,
        saving: Saving,
        editing: Editing,
        notifying: Notifying,
        clock_ms: Callable[[], int],
    ) -> None:
        self._spool = spool
        self._saving = saving
        self._editing = editing
        self._notifying = notifying
        self._ids = ids
        self._delivery = delivery
        self._clock_ms = clock_ms

    def is_in_work(self, message_id: int) -> bool:
        """Tell whether delivery has this message in work."""
        return self._delivery.is_in_work(message_id)

    def dispose(self, work: Work, partition: Partition, analysis: Analysis | None) -> "asyncio.Future[None] | None":
        """Carry the verdicts out. None: handed on at once; else a future of the commit that makes them durable."""
        now = clock.now()
        plans = [(group, indices, _judge(group, analysis)) for group, indices in partition]
        if len(plans) == 1:
            group, indices, verdict = plans[0]
            plain = not verdict.blocked and not (analysis and resolve_edits(analysis, verdict))
            plain = plain and not self._notifying.wants(group, verdict)
            prefix = self._editing.in_front(work, group, verdict, analysis, now) if plain else None
            if prefix is not None:
                work.records.append(_scanned(work.stored, group, len(indices), verdict, analysis, now))
                copy = _ready_copy(work.stored, work.stored.id, group.name, indices, Edited(prefix), now)
                saves = None
                if self._saving.archives or verdict.decisions:
                    saves = self._plan_saves(work, [(copy, plans[0], False)], now)
                work.stored = copy
                if saves:
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
        disposition, notices = await self._resolve(work, plans, analysis, now)
        await self._complete(work, disposition, notices, now)
        try:
            await self._spool.dispose(work.stored.id, disposition.copies, disposition.records, disposition.generated)
        except SpoolBroken:
            raise  # the disk says at the next start what was committed
        except SpoolError:
            disposition.discard()
            raise
        self._notifying.submit(disposition.generated)
        for copy in disposition.copies:
            self._delivery.submit(
                Work(copy, work.content, work.path, durable=True, suspect=work.suspect, plain=work.plain)
            )

    async def judge(self, work: Work, partition: Partition, analysis: Analysis | None) -> Disposition:
        """Return what is to become of a message that is not accepted yet; nothing is carried out."""
        plans = [(group, indices, _judge(group, analysis)) for group, indices in partition]
        now = clock.now()
        disposition, notices = await self._resolve(work, plans, analysis, now)
        if not disposition.copies:
            # Refused, so its sender knows: only what a list asks for is put away.
            disposition.saves = [save for save in disposition.saves if save.place.listed]
        await self._complete(work, disposition, notices, now)
        return disposition

    async def _complete(self, work: Work, disposition: Disposition, notices: Sequence[_Notice], now: float) -> None:
        """Have everything stored that is to be, then write the notifications: a message whose store cannot be written
        comes again and again, and nobody is to be told of it each time.
        """
        records = [*disposition.records, *await self._saving.save(disposition.saves)]
        try:
            saves: list[Save] = []
            for subject, analysis, breaks in notices:
                for new, record in await self._notifying.make(work, subject, analysis, breaks, now):
                    disposition.generated.append(new)
                    records.append(record)
                    saves += self._saving.plan_generated(new.stored, new.content.read(), now)
            disposition.records = [*records, *await self._saving.save(saves)]
        except BaseException:
            disposition.discard()
            raise

    async def _resolve(
        self,
        work: Work,
        plans: Sequence[tuple[GroupPolicy, Sequence[int], Verdict]],
        analysis: Analysis | None,
        now: float,
    ) -> tuple[Disposition, list[_Notice]]:
        """Return what becomes of a message, and what may be told of it."""
        original = work.stored
        records: list[Record] = []
        copies: list[Stored] = []
        notices: list[_Notice] = []
        treated = []
        for plan in plans:
            group, indices, verdict = plan
            number = original.id if len(plans) == 1 else self._ids.next(self._clock_ms())
            addresses = tuple(original.envelope.recipients[index].address for index in indices)
            subject = Subject(original, number, group, addresses, verdict)
            decisions = resolve_edits(analysis, verdict) if analysis is not None else ()
            edited = Edited(original.prefix)
            if not verdict.blocked:
                edited = await self._editing.edit(work, subject, decisions, analysis, now)
            copy = _ready_copy(original, number, group.name, indices, edited, now)
            treated.append((copy, plan, bool(decisions)))
            if len(plans) > 1:
                records.append(Split(number, now, domain_of(addresses[0]), len(indices), original.id))
            edits = edited if decisions or edited.breaks else None
            records.append(_scanned(copy, group, len(indices), verdict, analysis, now, edits))
            if analysis is not None and self._notifying.wants(group, verdict):
                notices.append((subject, analysis, edited.breaks))
            if verdict.blocked:
                records.append(Blocked(number, now, addresses, original.content.size, verdict.reason))
            else:
                copies.append(copy)
        return Disposition(copies, records, self._plan_saves(work, treated, now)), notices


def _judge(group: GroupPolicy, analysis: Analysis | None) -> Verdict:
    """Return a group's verdict; one that does not scan decides nothing."""
    if analysis is None or not group.check:
        return Verdict(group.name, ())
    return decide(analysis, group)


def _scanned(
    copy: Stored,
    group: GroupPolicy,
    recipients: int,
    verdict: Verdict,
    analysis: Analysis | None,
    now: float,
    edited: Edited | None = None,
) -> Scanned:
    """`edited`: None when no object was changed and no signature broken."""
    statuses = tuple(status.value for status in verdict.statuses) or ("not_checked",)
    names = tuple(dict.fromkeys(d.threat or d.name for d in verdict.decisions if d.threat or d.name))
    checked = analysis if group.check else None
    return Scanned(
        copy.id,
        now,
        group.name,
        recipients,
        statuses,
        copy.source,
        names,
        tuple(status.value for status in resolve_statuses(checked, group)) if checked is not None else (),
        bool(edited is not None and edited.splices),
        verdict.blocked,
        cached=checked.cached if checked is not None else 0,
        engines=checked.engines if checked is not None else (),
        breaks=edited.breaks if edited is not None else (),
    )


def _ready_copy(
    original: Stored, number: int, group: str, indices: Sequence[int], edited: Edited, now: float
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
        edited.prefix,
        group,
        edited.splices,
        tuple(Pending(i, domain_of(r.address), now) for i, r in enumerate(recipients)),
    )
