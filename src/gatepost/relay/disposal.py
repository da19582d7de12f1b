"""Disposal: verdicts become acts. Splits a message into its copies, records edits as splices, blocks, hands on.

Called by `relay.inspection`. Acts and never weighs: what is to be done was decided by `policy.decide` and
`policy.spam`. Nothing bounces for its content but to senders who are proved (`relay.rejecting`): what is withheld after
acceptance ends here, with its record; before it, the client is told instead.

Commit rules (docs/architecture.md): a single-group mail without edits goes straight to delivery, its disposition is
settled with the attempt; everything else is durable before the first byte goes to a peer.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from gatepost.model.address import domain_of
from gatepost.model.envelope import Envelope
from gatepost.model.finding import Analysis
from gatepost.model.ids import QueueIds
from gatepost.model.record import ADDRESSES_TOLD, Blocked, Discarded, Record, Split
from gatepost.model.reply import Reply
from gatepost.model.spam import SpamStatus
from gatepost.model.verdict import ObjectDecision, SpamActions, SpamEnd, SpamVerdict, Verdict
from gatepost.policy.decide import decide, resolve_edits
from gatepost.policy.group import GroupPolicy
from gatepost.policy.listings import NO_LISTINGS, Listings
from gatepost.policy.profile_table import RuleTable
from gatepost.policy.shadow import ShadowTable
from gatepost.policy.spam import decide_spam
from gatepost.relay.bypass import judge_unscanned
from gatepost.relay.copies import COPY, REDIRECTED, change_recipients, copy_for, is_sent_on, ready_copy
from gatepost.relay.delivery import Delivery
from gatepost.relay.editing import Edited, Editing, Subject
from gatepost.relay.notifying import Notifying
from gatepost.relay.rejecting import (
    bounce_text,
    build_refusal,
    failure_records,
    find_refusal,
    in_memory,
    is_refused,
    may_report,
    report_rejection,
)
from gatepost.relay.reports import RELEASED_WANTED, Reports
from gatepost.relay.rule_stage import divide_by_rules, is_bounced, is_returned, keep_untold
from gatepost.relay.save_rules import is_worth_saving
from gatepost.relay.saving import Save, Saving
from gatepost.relay.shadowing import build_shadowed
from gatepost.relay.telling import decide_telling
from gatepost.relay.verdict_records import build_checked
from gatepost.relay.work import Work
from gatepost.spool import clock
from gatepost.spool.interface import NewMessage, Spool, SpoolBroken, SpoolError, Stored

_NO_ACTIONS = SpamActions()
_WANTED = SpamVerdict(SpamStatus.TRUSTED, info="Released by an operator")

Partition = Sequence[tuple[GroupPolicy, Sequence[int]]]
"""Groups of one message with the indices of their recipients."""
Plan = tuple[GroupPolicy, Sequence[int], Verdict]
"""One group's share."""


class Disposition(msgspec.Struct):
    """What becomes of one message: all of it goes into one commit."""

    copies: list[Stored]
    """What is to be delivered; none: it is withheld from everybody."""
    records: list[Record]
    saves: Sequence[Save] = ()
    """What is to be in the stores before that commit."""
    generated: list[NewMessage] = msgspec.field(default_factory=list)
    """Notifications and reports, made durable with it."""
    refusal: Reply | None = None
    """Before the queue: what the client hears, for nobody is to get the message, and its sender is to know."""
    shares: list["Share"] = msgspec.field(default_factory=list)
    """Of a message that another mail system asks about: what it is to do for each group ..."""
    whole: Edited | None = None
    """... and, when there is more than one that gets it, one copy for all who do."""

    def discard(self) -> None:
        """Nothing comes of it: leave nothing of what was generated behind."""
        for new in self.generated:
            new.content.discard()


class Share(msgspec.Struct, frozen=True):
    """One group's share of a message that another mail system asks about."""

    copy: Stored
    """With its edits; `copies` and `redirect` of the verdict are not in it."""
    subject: Subject
    decisions: Sequence[ObjectDecision] = ()
    """Carried out in the copy."""
    refusal: Reply | None = None
    """What its sender hears, for these recipients are not to get it, and its sender is to know."""

    @property
    def copies(self) -> tuple[str, ...]:
        """Addresses that get a copy besides."""
        verdict = self.subject.verdict
        wanted = verdict.spam.actions.copies if verdict.spam is not None and not verdict.blocked else ()
        copies = () if is_sent_on(self.copy, wanted) else wanted
        rules = verdict.rules
        return (*copies, *rules.added) if rules is not None and rules.kept and not verdict.withheld else copies

    @property
    def redirect(self) -> tuple[str, ...]:
        """Addresses that get it instead of the recipients."""
        verdict = self.subject.verdict
        actions = verdict.spam.actions if verdict.spam is not None else _NO_ACTIONS
        if verdict.withheld or actions.end is not SpamEnd.REDIRECT or is_sent_on(self.copy, actions.redirect):
            rules = verdict.rules
            return rules.added if rules is not None and not rules.kept and not verdict.withheld else ()
        return actions.redirect


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
        reports: Reports,
        clock_ms: Callable[[], int],
    ) -> None:
        self._spool = spool
        self._reports = reports
        self._saving = saving
        self._editing = editing
        self._notifying = notifying
        self._ids = ids
        self._delivery = delivery
        self._clock_ms = clock_ms
        self.listings = NO_LISTINGS
        """Entries of allow and block lists that count now."""
        self.shadows: ShadowTable | None = None
        self.rules: RuleTable | None = None
        """Rules in force."""

    def is_in_work(self, message_id: int) -> bool:
        """Tell whether delivery has this message in work."""
        return self._delivery.is_in_work(message_id)

    def dispose(self, work: Work, partition: Partition, analysis: Analysis | None) -> "asyncio.Future[None] | None":
        """Carry the verdicts out. None: handed on at once; else a future of the commit that makes them durable."""
        now = clock.now()
        plans = self._judge(work, partition, analysis, now)
        if len(plans) == 1:
            group, indices, verdict = plans[0]
            prefix = self._in_front(work, plans[0], analysis, now)
            if prefix is not None:
                work.tell_inspection()
                work.records += build_checked(work.stored, group, len(indices), verdict, analysis, now)
                if self.shadows is not None and not work.stored.kind:
                    work.records += self._shadowed(work.stored, plans[0], analysis, now)
                copy = ready_copy(work.stored, work.stored.id, group.name, indices, Edited(prefix), now)
                saves = None
                if self._saving.archives or is_worth_saving(verdict):
                    saves = self._plan_saves(work, [(copy, plans[0], False)], now)
                work.stored = copy
                if saves:
                    return asyncio.ensure_future(self._hand_on_saved(work, saves))
                self._delivery.submit(work)
                return None
        return asyncio.ensure_future(self._dispose_durably(work, plans, analysis, now))

    def _judge(self, work: Work, partition: Partition, analysis: Analysis | None, now: float) -> list[Plan]:
        """Return the shares of a message with their verdicts: first the groups', then the rules'."""
        plans = _judge(work, partition, analysis, now, self.listings)
        if self.rules is None:
            return plans
        return divide_by_rules(self.rules, work, plans, analysis, self._editing.wording.hostname)

    def _in_front(self, work: Work, plan: Plan, analysis: Analysis | None, now: float) -> bytes | None:
        """Return the fields in front of a message about which nothing else is to be done, None when there is more."""
        group, _, verdict = plan
        if not _goes_on(verdict) or (analysis is not None and resolve_edits(analysis, verdict)):
            return None
        if self._notifying.wants(group, verdict):
            return None
        return self._editing.in_front(work, group, verdict, analysis, now)

    def _shadowed(self, copy: Stored, plan: Plan, analysis: Analysis | None, now: float) -> Sequence[Record]:
        """Return what the shadows of a group would have done; what came out of a store is no live mail."""
        assert self.shadows is not None
        group, indices, verdict = plan

        def judge(shadow: GroupPolicy) -> Verdict:
            return judge_group(shadow, analysis, copy.envelope, now)

        return build_shadowed(self.shadows, copy, group, len(indices), verdict, analysis, now, judge)

    def _plan_saves(self, work: Work, copies: Sequence[tuple[Stored, Plan, bool]], now: float) -> list[Save]:
        """Return what goes into stores; `copies`: each group's copy, plan, and whether objects in it are changed."""
        saving = self._saving
        saves = saving.plan_accepted(work, now)
        for copy, (group, _, verdict), changed in copies:
            saves += saving.plan_disposed(work, copy, group.name, verdict, now, changed=changed, share=group.share)
        return saves

    async def _hand_on_saved(self, work: Work, saves: Sequence[Save]) -> None:
        work.records += await self._saving.save(saves)
        self._delivery.submit(work)

    async def _dispose_durably(
        self,
        work: Work,
        plans: Sequence[Plan],
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
        """Return what is to become of a message that is not accepted yet; nothing is carried out.

        Neither copies nor a refusal: it is to be accepted, and to be withheld once it is.
        """
        now = clock.now()
        plans = self._judge(work, partition, analysis, now)
        refusal = find_refusal(work.stored.id, [(group, verdict) for group, _, verdict in plans])
        if refusal is None and all(verdict.withheld for _, _, verdict in plans):
            return Disposition([], [])
        disposition, notices = await self._resolve(work, plans, analysis, now, refused=refusal is not None)
        disposition.refusal = refusal
        if refusal is not None:
            # Its sender knows: only what a list asks for is put away.
            disposition.saves = [save for save in disposition.saves if save.place.listed]
        await self._complete(work, disposition, notices, now)
        return disposition

    async def answer(
        self,
        work: Work,
        partition: Partition,
        analysis: Analysis | None,
        *,
        handle: bool,
        divided: bool,
        accepted: bool = False,
    ) -> Disposition:
        """Return what another mail system is to do with a message it asks about, as `shares`; nothing is delivered from
        here. With `handle` it does that: stores are filled, notifications written, and reports that rules have ordered;
        else it is only told. Not `divided`: all who get it get one copy. `accepted`: the asker's rejection would be a
        bounce.
        """
        now = clock.now()
        plans = self._judge(work, partition, analysis, now)
        told = True
        if any(is_refused(verdict) or is_bounced(verdict) for _, _, verdict in plans):
            proved = may_report(work.stored.envelope, analysis)
            told = proved or not accepted
            verdicts = decide_telling(
                [verdict for _, _, verdict in plans], proved=proved, accepted=accepted, handle=handle, divided=divided
            )
            plans = [(group, indices, verdict) for (group, indices, _), verdict in zip(plans, verdicts, strict=True)]
        prefix = self._in_front(work, plans[0], analysis, now) if len(plans) == 1 else None
        if prefix is None:
            disposition, notices = await self._resolve(
                work, plans, analysis, now, refused=True, asked=True, handle=handle
            )
            shares = disposition.shares
            gets = [share for share in shares if not share.subject.verdict.withheld]
            if not divided and len(gets) > 1:
                together = [(share.subject, share.decisions) for share in gets]
                try:
                    disposition.whole = await self._editing.edit_together(work, together, analysis, now)
                except BaseException:
                    disposition.discard()
                    raise
        else:
            disposition, notices = self._answer_plainly(work, plans[0], prefix, analysis, now), []
        if not told:
            disposition.shares = [msgspec.structs.replace(share, refusal=None) for share in disposition.shares]
        if handle:
            # As before the queue: of what its sender hears of only that is put away which a list asks for.
            heard = {share.copy.id for share in disposition.shares if share.refusal is not None}
            disposition.saves = [
                save for save in disposition.saves if save.place.listed or save.message_id not in heard
            ]
            await self._complete(work, disposition, notices, now)
        return disposition

    def _answer_plainly(
        self, work: Work, plan: Plan, prefix: bytes, analysis: Analysis | None, now: float
    ) -> Disposition:
        group, indices, verdict = plan
        original = work.stored
        copy = ready_copy(original, original.id, group.name, indices, Edited(prefix), now)
        addresses = tuple(original.envelope.recipients[index].address for index in indices)
        records: list[Record] = [work.inspected] if work.inspected is not None else []
        records += build_checked(copy, group, len(indices), verdict, analysis, now)
        if self.shadows is not None:
            records += self._shadowed(copy, plan, analysis, now)
        share = Share(copy, Subject(original, original.id, group, addresses, verdict))
        disposition = Disposition([], records, shares=[share])
        if self._saving.archives or is_worth_saving(verdict):
            disposition.saves = self._plan_saves(work, [(copy, plan, False)], now)
        return disposition

    async def _complete(self, work: Work, disposition: Disposition, notices: Sequence[_Notice], now: float) -> None:
        """Have everything stored that is to be, then write the notifications: a message whose store cannot be written
        comes again and again, and nobody is to be told of it each time.
        """
        try:
            records = [*disposition.records, *await self._saving.save(disposition.saves)]
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
        plans: Sequence[Plan],
        analysis: Analysis | None,
        now: float,
        *,
        refused: bool = False,
        asked: bool = False,
        handle: bool = False,
    ) -> tuple[Disposition, list[_Notice]]:
        """Return what becomes of a message, and what may be told of it. `refused`: its client hears that nobody gets
        it. `asked`: it is another mail system's to carry out (`shares`); with `handle` it does that, else it may go by
        the copy alone.
        """
        original = work.stored
        disposition = Disposition([], [work.inspected] if work.inspected is not None else [])
        notices: list[_Notice] = []
        treated = []
        try:
            for group, indices, decided in plans:
                number = original.id if len(plans) == 1 else self._ids.next(self._clock_ms())
                addresses = tuple(original.envelope.recipients[index].address for index in indices)
                told = not refused and may_report(original.envelope, analysis)
                verdict = decided if told or refused else keep_untold(decided)
                subject = Subject(original, number, group, addresses, verdict)
                decisions = resolve_edits(analysis, verdict) if analysis is not None else ()
                edited = Edited(original.prefix)
                kept = asked and not (handle and is_refused(verdict))
                if not verdict.withheld or kept or (told and is_returned(verdict)):
                    edited = await self._editing.edit(work, subject, decisions, analysis, now)
                copy = ready_copy(original, number, group.name, indices, edited, now)
                addressed = bool(indices) or len(plans) == 1  # else it is for people whom rules have added, no more
                if addressed:
                    treated.append((copy, (group, indices, verdict), bool(decisions)))
                if len(plans) > 1:
                    going = addresses or (verdict.rules.added if verdict.rules is not None else ())
                    disposition.records.append(_split(number, now, going, original.id, group.name))
                edits = edited if decisions or edited.breaks else None
                disposition.records += build_checked(copy, group, len(indices), verdict, analysis, now, edits)
                if self.shadows is not None and not original.kind:
                    disposition.records += self._shadowed(copy, (group, indices, decided), analysis, now)
                if analysis is not None and addressed and self._notifying.wants(group, verdict):
                    notices.append((subject, analysis, edited.breaks))
                if asked:
                    refusal = build_refusal(group, verdict, original.id) if is_refused(verdict) else None
                    disposition.shares.append(Share(copy, subject, decisions, refusal))
                    if handle and is_bounced(verdict):
                        await self._report(await in_memory(work), copy, group, verdict, disposition, now)
                else:
                    await self._send_on(work, copy, group, verdict, disposition, now, told=told)
        except BaseException:
            disposition.discard()
            raise
        disposition.saves = self._plan_saves(work, treated, now)
        return disposition, notices

    async def _send_on(
        self,
        work: Work,
        copy: Stored,
        group: GroupPolicy,
        verdict: Verdict,
        disposition: Disposition,
        now: float,
        *,
        told: bool,
    ) -> None:
        """Add to a disposition where one group's copy goes, or that it ends here. `told`: the sender may hear of it."""
        records, copies = disposition.records, disposition.copies
        addresses = tuple(each.address for each in copy.envelope.recipients)
        actions = verdict.spam.actions if verdict.spam is not None else _NO_ACTIONS
        if actions.end is SpamEnd.DELETE and not verdict.blocked:
            records.append(Discarded(copy.id, now, addresses[:ADDRESSES_TOLD], copy.content.size, verdict.explanation))
        elif actions.end is SpamEnd.REJECT and told and not verdict.blocked:
            records += failure_records(copy, bounce_text(group, verdict), now)
            await self._report(work, copy, group, verdict, disposition, now)
        elif verdict.withheld:
            records.append(Blocked(copy.id, now, addresses[:ADDRESSES_TOLD], copy.content.size, verdict.explanation))
        elif actions.end is SpamEnd.REDIRECT and not is_sent_on(copy, actions.redirect):
            copies.append(copy_for(copy, copy.id, actions.redirect, REDIRECTED, now))
        else:
            copies.append(change_recipients(copy, verdict.rules, now))
        if told and is_bounced(verdict):
            await self._report(work, copy, group, verdict, disposition, now)
        if actions.copies and not verdict.blocked and not is_sent_on(copy, actions.copies):
            number = self._ids.next(self._clock_ms())
            copies.append(copy_for(copy, number, actions.copies, COPY, now))
            records.append(_split(number, now, actions.copies, copy.source, group.name))

    async def _report(
        self, work: Work, copy: Stored, group: GroupPolicy, verdict: Verdict, disposition: Disposition, now: float
    ) -> None:
        """Tell the sender of a rejection, if he wants to hear of it."""
        text = bounce_text(group, verdict)
        report = await report_rejection(self._reports, work, copy, text, now, whole=is_returned(verdict))
        if report is not None:
            disposition.generated.append(report[0])
            disposition.records.append(report[1])


def _split(number: int, now: float, addresses: Sequence[str], source: int, group: str) -> Split:
    told = tuple(addresses[:ADDRESSES_TOLD])
    return Split(number, now, domain_of(addresses[0]), len(addresses), source, group, told)


def _judge(work: Work, partition: Partition, analysis: Analysis | None, now: float, listings: Listings) -> list[Plan]:
    """Return each group with its verdict."""
    envelope = work.stored.envelope
    wanted = work.stored.kind == RELEASED_WANTED
    return [
        (group, indices, judge_group(group, analysis, envelope, now, wanted=wanted))
        for group, indices in listings.share(partition, envelope, analysis, now)
    ]


def judge_group(
    group: GroupPolicy, analysis: Analysis | None, envelope: Envelope, now: float, *, wanted: bool = False
) -> Verdict:
    """Return a group's verdict, on objects and as to spam. `analysis` None: nothing was looked at. `wanted`: somebody
    has said that it is no spam.
    """
    if group.bypass:
        return judge_unscanned(group, envelope, now)
    spam = _WANTED if wanted else decide_spam(analysis, envelope, group, now)
    verdict = _judge_objects(group, analysis, spam)
    return verdict if spam is None else msgspec.structs.replace(verdict, spam=spam)


def _judge_objects(group: GroupPolicy, analysis: Analysis | None, spam: SpamVerdict | None) -> Verdict:
    """Return a group's verdict on the objects; one that does not scan decides nothing, and what was not scanned because
    it is withheld as spam needs no decision.
    """
    if analysis is None or not group.check:
        return Verdict(group.name, ())
    if analysis.spared and spam is not None and spam.withheld:
        return Verdict(group.name, (), reason="not scanned: it is withheld as spam")
    return decide(analysis, group)


def _goes_on(verdict: Verdict) -> bool:
    """Tell whether a message is delivered to its recipients, and to nobody else."""
    spam = verdict.spam
    rules = verdict.rules
    if rules is not None and (not rules.kept or rules.added or rules.bounce):
        return False
    return not verdict.blocked and (spam is None or (spam.actions.end is SpamEnd.DELIVER and not spam.actions.copies))
