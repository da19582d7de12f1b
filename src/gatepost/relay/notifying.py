"""Notifying: messages about what was found, to administrators, senders and recipients (rows F-NOTI-01 to F-NOTI-05).

Called by `relay.disposal` for each group of a message; what it makes goes into the commit of the disposition. What is
over the limit of an address is gathered and summed up at the end of its interval, at a clean stop, too; the gathered
part is in memory only, so a kill may lose a summary, never a message.

Loops end here: nothing is told about mail of our own making, to the null sender or to whom a program or a list wrote;
notifications have the null sender themselves, so that nothing comes back; and all of them are limited. Senders are told
only where they are known to be ours (`NoticeSenders`).
"""

import asyncio
from collections.abc import Callable, Sequence

from gatepost.config.process import Notices, NoticeSenders
from gatepost.model.address import NULL_SENDER, domain_of
from gatepost.model.envelope import Body, Client, Direction, Envelope, Notify, Recipient
from gatepost.model.finding import Analysis, ObjectStatus
from gatepost.model.ids import QueueIds, format_queue_id
from gatepost.model.record import ADDRESSES_TOLD, Notified
from gatepost.model.verdict import Verdict
from gatepost.notices.facts import MessageFacts, gather_object_facts
from gatepost.notices.group import GroupTexts, Role
from gatepost.notices.limit import Key, NoticeLimiter, Summary, Told
from gatepost.notices.notification import Letter, build_notice, build_summary
from gatepost.notices.original import header_of, is_automatic, is_marked
from gatepost.policy.group import GroupPolicy
from gatepost.relay.editing import Subject, Wording, describe, load_content
from gatepost.relay.own_mark import OwnMark
from gatepost.relay.reports import RELEASED_WANTED
from gatepost.relay.saving import Saving
from gatepost.relay.work import Work
from gatepost.spool import clock
from gatepost.spool.interface import NewMessage, Pending, Spool, SpoolError, State, Stored

KIND_PREFIX = "notice-"
"""Of `Stored.kind`: mail of ours that nothing is told about."""
SHORTEST_LOOK_S = 0.2
LONGEST_LOOK_S = 5.0
"""Between two looks for summaries that are due: a tenth of their interval within these bounds."""

AT_ONCE = 100
"""Summaries that go into one commit or two: at a stop there may be thousands."""


class Notifying:
    """Maker of the notifications of one relay."""

    def __init__(
        self,
        spool: Spool,
        ids: QueueIds,
        saving: Saving,
        own: OwnMark,
        clock_ms: Callable[[], int],
        submit: Callable[[Sequence[NewMessage]], None],
        report: Callable[[str, str], None],
    ) -> None:
        """`submit` hands messages that are durable to delivery; `report(level, text)` writes to the log."""
        self._spool = spool
        self._own = own
        self._ids = ids
        self._saving = saving
        self._clock_ms = clock_ms
        self._submit = submit
        self._report = report
        self._limiter = NoticeLimiter()
        self._texts: dict[str, GroupTexts] = {}
        self._ending = False

    def configure(self, notices: Notices, wording: Wording, groups: Sequence[GroupPolicy]) -> None:
        """Take (new) settings into use; what was gathered before is kept."""
        self._limiter.configure(notices.limit, notices.interval)
        self._look_s = min(LONGEST_LOOK_S, max(SHORTEST_LOOK_S, notices.interval / 10))
        self._everybody = notices.notify_senders is NoticeSenders.ALL
        self._wording = wording
        self._texts = {group.name: group.texts for group in groups}

    def use_wording(self, wording: Wording) -> None:
        """Take new words into use, nothing else."""
        self._wording = wording

    @staticmethod
    def wants(group: GroupPolicy, verdict: Verdict) -> bool:
        """Tell whether anybody may be to hear of a message; next to nothing for clean mail."""
        if group.texts.wants_spam(verdict.spam):
            return True
        if not verdict.decisions or not group.texts.statuses:
            return False
        statuses = frozenset(verdict.statuses)
        return any(group.texts.wants(role, statuses) for role in Role)

    def submit(self, generated: Sequence[NewMessage]) -> None:
        """Hand notifications that are durable to delivery."""
        self._submit(generated)

    async def make(
        self, work: Work, subject: Subject, analysis: Analysis, broken: tuple[str, ...], now: float
    ) -> list[tuple[NewMessage, Notified]]:
        """Return the notifications about one group's share of a message, and their records. They are not durable yet.

        SpoolError, OSError: they cannot be made now.
        """
        group, verdict = subject.group, subject.verdict
        if work.stored.kind not in ("", RELEASED_WANTED) or not self.wants(group, verdict):
            return []
        content = await load_content(work)
        roles = plan_roles(subject, header_of(content), everybody=self._everybody)
        told = _tell(subject, now)
        made: list[tuple[NewMessage, Notified]] = []
        facts = describe(self._wording, subject, content, now, broken)
        objects = gather_object_facts(analysis, verdict)
        try:
            for role, addresses in roles.items():
                to = [each for each in addresses if self._limiter.admit(Key(role, each, group.name), told, now)]
                if not to:
                    continue
                number, letter = self._letter(role, to, now)
                attached = content if role is Role.ADMIN and group.texts.attach_original else None
                text = build_notice(letter, group.texts, facts, objects, header_of(content), attached)
                made.append(self._stage(number, letter, text, work.stored.id, 1))
        except BaseException:
            for new, _ in made:
                new.content.discard()
            raise
        return made

    def _letter(self, role: Role, to: Sequence[str], now: float) -> tuple[int, Letter]:
        hostname = self._wording.hostname
        number = self._ids.next(self._clock_ms())
        message_id = f"<{format_queue_id(number)}@{hostname}>"
        return number, Letter(role=role, to=to, hostname=hostname, message_id=message_id, now=now)

    def _stage(self, number: int, letter: Letter, text: bytes, source: int, summed: int) -> tuple[NewMessage, Notified]:
        """Return a notification as a message to be made durable, and its record."""
        staged = self._spool.stage(number)
        try:
            staged.write(text)
        except OSError:
            staged.discard()
            raise
        envelope = Envelope(
            NULL_SENDER,
            tuple(Recipient(each, (Notify.NEVER,)) for each in letter.to),
            Client("127.0.0.1", helo=letter.hostname, listener="internal"),
            Body.SEVEN_BIT if text.isascii() else Body.EIGHT_BIT,
            smtputf8=not all(each.isascii() for each in letter.to),
        )
        stored = Stored(
            number,
            number,
            State.READY,
            letter.now,
            envelope,
            staged.ref,
            self._own.build(text, letter.now),
            pending=tuple(Pending(index, domain_of(each), letter.now) for index, each in enumerate(letter.to)),
            kind=KIND_PREFIX + letter.role.value,
        )
        told = tuple(letter.to[:ADDRESSES_TOLD])
        record = Notified(
            number, letter.now, letter.role.value, len(letter.to), len(text), source, summed, told, NULL_SENDER
        )
        return NewMessage(stored, staged), record

    # --- summaries

    async def run(self) -> None:
        """Send what is due for as long as the relay lives."""
        while True:
            await asyncio.sleep(self._look_s)
            await self._send(self._limiter.due(clock.now()))

    async def flush(self) -> None:
        """Write everything that was gathered: at a clean stop, before the spool is closed. It is sent by the next."""
        self._ending = True
        await self._send(self._limiter.drain())

    async def _send(self, summaries: Sequence[Summary]) -> None:
        for start in range(0, len(summaries), AT_ONCE):
            await asyncio.gather(*map(self._send_or_keep, summaries[start : start + AT_ONCE]))

    async def _send_or_keep(self, summary: Summary) -> None:
        try:
            await self._send_one(summary, clock.now())
        except (SpoolError, OSError) as error:
            self._limiter.keep(summary)
            to = summary.key.address
            self._report("E", f"summary of {summary.messages} messages to <{to}> not stored, trying again: {error}")

    async def _send_one(self, summary: Summary, now: float) -> None:
        key, first = summary.key, summary.first
        texts = self._texts.get(key.group)
        if texts is None or texts.summary is None:  # the group is gone: its last words are not wanted any more
            return
        wording = self._wording
        facts = MessageFacts(
            hostname=wording.hostname,
            now=now,
            date_format=wording.date_format,
            time_format=wording.time_format,
            queue_id=format_queue_id(first.id),
            group=key.group,
            admin=", ".join(texts.admins),
            bases_date=wording.bases.issued,
        )
        number, letter = self._letter(key.role, (key.address,), now)
        text = build_summary(letter, texts, summary, facts)
        new, record = self._stage(number, letter, text, first.id, summary.messages)
        try:
            saved = await self._saving.save(self._saving.plan_generated(new.stored, text, now))
        except BaseException:
            new.content.discard()
            raise
        await self._spool.accept(new, (record, *saved))
        if not self._ending:
            self._submit((new,))


def plan_roles(subject: Subject, header: bytes, *, everybody: bool) -> dict[Role, Sequence[str]]:
    """Return who is to hear of a message, by role; `everybody`: senders who are not ours, too."""
    texts, envelope = subject.group.texts, subject.stored.envelope
    ours = envelope.direction is not Direction.INBOUND or bool(envelope.client.user)
    bounce = envelope.sender == NULL_SENDER
    marked = bounce and is_marked(header)  # ours have no sender: with one, the mark is forged
    if ours and marked:
        return {}  # one of ours, forwarded back through us
    statuses = frozenset(subject.verdict.statuses)
    found: dict[Role, Sequence[str]] = {}
    if texts.admins and (texts.wants(Role.ADMIN, statuses) or texts.wants_spam(subject.verdict.spam)):
        found[Role.ADMIN] = texts.admins
    if texts.wants(Role.RECIPIENT, statuses) and not marked:
        found[Role.RECIPIENT] = tuple(dict.fromkeys(subject.recipients))
    may_tell = not bounce and (ours or everybody) and not is_automatic(header)
    if texts.wants(Role.SENDER, statuses) and may_tell:
        found[Role.SENDER] = (envelope.sender,)
    return found


def _tell(subject: Subject, now: float) -> Told:
    """Return what a summary keeps of a message."""
    found = dict.fromkeys(
        decision.threat or f"{decision.status.value}: {decision.name}"
        for decision in subject.verdict.decisions
        if decision.status is not ObjectStatus.CLEAN
    )
    if not found:
        found = dict.fromkeys(subject.verdict.words[-1:])
    sender = subject.stored.envelope.sender
    return Told(subject.stored.id, now, sender, tuple(found), subject.verdict.withheld)
