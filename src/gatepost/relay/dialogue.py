"""Dialogue: what is done about each event of one SMTP session. Asks `relay.access`, keeps content, accepts mail.

Made by `relay.reception`, which moves the bytes and the clock. Nothing of the session is interpreted while a decision
is pending; one that has to be waited for ends with `decided`, and is dropped without a trace when the client goes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from gatepost.model.envelope import Client, Recipient
from gatepost.model.ids import format_queue_id
from gatepost.model.record import ADDRESSES_TOLD, Received
from gatepost.model.reply import Reply, reply
from gatepost.relay.access import Decision, Ruling
from gatepost.relay.disposal import Disposition
from gatepost.relay.endpoint import Endpoint
from gatepost.relay.incoming import Head, Incoming
from gatepost.relay.intake import Intake
from gatepost.relay.visit import Visit
from gatepost.smtp import replies
from gatepost.smtp import server as smtp
from gatepost.spool import clock
from gatepost.spool.interface import NewMessage, SpoolError

DECISION_S: Final = 120.0
"""Longest wait for a decision: those who make it have shorter times of their own; beyond it something is wrong."""

JUDGEMENT_GRACE_S: Final = 5.0
"""What inspection before the queue gets beyond its deadline to say that it is over."""

NOT_STORED = reply(451, "4.3.0", "Message not stored, try again later")
UNDECIDED = reply(451, "4.3.0", "Cannot decide now, try again later")
MALFORMED = reply(550, "5.6.0", "Message is malformed")
NOT_INSPECTED = reply(451, "4.3.2", "Message could not be inspected in time, try again later")
_TEMPORARY_SYSTEM = reply(421, "4.3.2", "Service not available, closing", closes=True)
_UNDECIDED = Ruling(UNDECIDED, "undecided")
_TRIED_AGAIN = (SpoolError, OSError)

T = TypeVar("T")


class Dialogue:
    """Transactions and facts of one session."""

    __slots__ = (
        "_before_xforward",
        "_decided",
        "_esmtp",
        "_incoming",
        "_intake",
        "_task",
        "_xforward_used",
        "endpoint",
        "judging",
        "pending",
        "session",
        "visit",
    )

    def __init__(
        self,
        intake: Intake,
        endpoint: Endpoint,
        session: smtp.ServerSession,
        visit: Visit,
        decided: Callable[[], None],
    ) -> None:
        """`decided` is called when a decision that was waited for has been given to the session."""
        self._intake = intake
        self.endpoint = endpoint
        self.session = session
        self.visit = visit
        self._decided = decided
        self._incoming: Incoming | None = None
        self._task: asyncio.Task[Any] | None = None
        self._esmtp = False
        self._before_xforward: tuple[str, int, str, str, bool, bool] | None = None
        self._xforward_used = False
        self.pending = False
        """A decision is waited for: the client's clock stands still."""
        self.judging = False
        """A message that is not accepted yet is being inspected: it goes when its client goes."""

    def take(self, event: smtp.Event) -> None:
        """Do what an event asks for."""
        handle = _HANDLERS.get(type(event))
        if handle is not None:
            handle(self, event)

    def drop(self) -> None:
        """The client has gone, or is out of time: forget what it was sending, and what was being found out for it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if self._incoming is not None:
            self._incoming.drop()

    @property
    def content_size(self) -> int | None:
        """Bytes of content that have come in this transaction; None outside content."""
        incoming = self._incoming
        return incoming.staged.size if incoming is not None and incoming.staged is not None else None

    # --- decisions

    def _wait(
        self, awaitable: Awaitable[T], then: Callable[[T], None], otherwise: T, limit_s: float = DECISION_S
    ) -> None:
        """Go on with `then` when the awaitable is done; with `otherwise` when it fails or takes too long."""

        async def bounded() -> T:
            async with asyncio.timeout(limit_s):
                return await awaitable

        def done(task: "asyncio.Task[T]") -> None:
            if self._task is not task:
                return  # dropped
            self._task = None
            self.pending = False
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, TimeoutError):
                self._intake.fault(error)
            try:
                then(otherwise if task.cancelled() or error is not None else task.result())
            except Exception as fault:  # noqa: BLE001 - a fault of ours: the client must not wait for ever
                self._intake.fault(fault)
                self.session.refuse(_TEMPORARY_SYSTEM)
            self._decided()

        self.pending = True
        self._task = asyncio.create_task(bounded())
        self._task.add_done_callback(done)

    def _refuse(self, stage: str, cause: str, answer: Reply, sender: str = "", recipient: str = "") -> None:
        self.session.answer(answer)
        self.note(stage, cause, answer, sender, recipient)

    def note(self, stage: str, cause: str, answer: Reply, sender: str = "", recipient: str = "") -> None:
        """Record a refusal."""
        incoming, number, size = self._incoming, 0, 0
        addresses: tuple[str, ...] = ()
        if incoming is not None:
            sender = sender or incoming.mail.address
            number = incoming.id
            size = incoming.size
            if stage == "data":  # of all it was for: who asks where it is knows one of them
                addresses = tuple(each.address for each in incoming.recipients[:ADDRESSES_TOLD])
        record = self.visit.refusal(
            clock.now(),
            stage,
            cause,
            answer,
            sender=sender,
            recipient=recipient,
            number=number,
            size=size,
            addresses=addresses,
        )
        self._intake.refused(record)

    def _refused(self, event: smtp.Refused) -> None:
        self.note(event.stage, event.cause, event.reply)

    # --- the client

    def _hello(self, event: smtp.Hello) -> None:
        def ruled(ruling: Ruling) -> None:
            if ruling.reply is None:
                self._esmtp = event.esmtp
                self.session.answer(None)
            else:
                self._refuse("helo", ruling.cause, ruling.reply)

        self._rule(self._intake.access.hello(self.visit, event.name), ruled)

    def _rule(self, decision: Decision, ruled: Callable[[Ruling], None]) -> None:
        if isinstance(decision, Ruling):
            ruled(decision)
        else:
            self._wait(decision, ruled, _UNDECIDED)

    def _sign_in(self, event: smtp.SignIn) -> None:
        def known(right: bool | None) -> None:
            if right:
                self.visit.user = event.user
                self.session.answer(None)
            elif right is None:
                self._refuse("auth", "sign-in", replies.SIGN_IN_UNAVAILABLE)
            else:
                self._refuse("auth", "sign-in", replies.SIGN_IN_FAILED)

        self._wait(self._intake.access.sign_in(self.visit, event.user, event.password), known, None)

    def tls_started(self, version: str, cipher: str) -> None:
        """Take note that the connection is encrypted from now on; nothing said before counts any more."""
        self.visit.tls = f"{version} {cipher}"
        self.visit.user = self.visit.credential = self.visit.helo = ""
        self._esmtp = False

    def _override(self, event: smtp.ClientOverride) -> None:
        """XCLIENT: from here on somebody else is the client, with limits and rules of his own."""
        visit, intake = self.visit, self._intake
        if event.address == "":
            # A client without an address would have the rights of the peer that speaks for it.
            self._refuse("connect", "undecided", UNDECIDED)
            return
        before = visit.connection_ip
        ip = event.address or before
        if ip != before:
            place = intake.place_of(ip)
            refusal = intake.readmit(visit.place, ip, place)
            if refusal is not None:
                self._refuse("connect", refusal[0], refusal[1])
                return
            visit.place = place
        port = visit.port if event.port is None else event.port
        name = visit.name if event.name is None else event.name
        user = visit.user if event.login is None else event.login
        visit.replace(ip, port, "" if name == smtp.TEMPORARILY_UNKNOWN else name, event.helo or "", user)
        self._before_xforward = None

        def ruled(ruling: Ruling) -> None:
            if ruling.reply is None:
                self.session.answer(None)
            else:
                self._refuse("connect", ruling.cause, msgspec.structs.replace(ruling.reply, closes=True))

        self._rule(intake.access.connect(visit), ruled)

    def _forwarded(self, event: smtp.ClientForwarded) -> None:
        """XFORWARD: a relay of ours in front tells for whom it hands the next message on."""
        visit = self.visit
        self._end_xforward()
        if visit.settled:
            visit.unsettle()
        if self._before_xforward is None:
            self._before_xforward = (visit.ip, visit.port, visit.name, visit.helo, visit.hidden, visit.trusted)
        name = visit.name if event.name is None else event.name
        # Who is not told, and not said to be the relay itself, is still to be found in the Received fields.
        hidden = visit.hidden and not event.address and event.source != "LOCAL"
        visit.forward(
            event.address or visit.ip,
            visit.port if event.port is None else event.port,
            "" if name == smtp.TEMPORARILY_UNKNOWN else name,
            visit.helo if event.helo is None else event.helo,
        )
        visit.hidden = hidden
        self._intake.access.forwarded(visit)

    def _end_xforward(self) -> None:
        """What XFORWARD told holds for one message: back to the peer's own facts."""
        if self._xforward_used and self._before_xforward is not None:
            visit = self.visit
            ip, port, name, helo, hidden, trusted = self._before_xforward
            visit.forward(ip, port, name, helo)
            visit.hidden, visit.trusted = hidden, trusted
            self._before_xforward = None
        self._xforward_used = False

    # --- the transaction

    def _mail(self, event: smtp.MailFrom) -> None:
        if self._before_xforward is not None:
            self._end_xforward()
            self._xforward_used = self._before_xforward is not None
        pressure = self._intake.pressure()
        pause = self._intake.pause_for(pressure) if pressure else 0.0
        if pause:
            self._wait(self._mail_later(event, pause), lambda ruling: self._mail_ruled(event, ruling), _UNDECIDED)
            return
        decision = self._intake.access.mail(self.visit, event, queue_full=pressure >= 1.0)
        if type(decision) is Ruling:
            self._mail_ruled(event, decision)
        else:
            self._rule(decision, lambda ruling: self._mail_ruled(event, ruling))

    async def _mail_later(self, event: smtp.MailFrom, pause_s: float) -> Ruling:
        """Answer MAIL after a pause: the queue fills faster than it empties."""
        await asyncio.sleep(pause_s)
        full = self._intake.pressure() >= 1.0
        decision = self._intake.access.mail(self.visit, event, queue_full=full)
        return decision if isinstance(decision, Ruling) else await decision

    def _mail_ruled(self, event: smtp.MailFrom, ruling: Ruling) -> None:
        if ruling.reply is None:
            self._incoming = Incoming(event)
            self.session.answer(None)
        else:
            self._refuse("mail", ruling.cause, ruling.reply, event.address)

    def _rcpt(self, event: smtp.RcptTo) -> None:
        decision = self._intake.access.recipient(self.visit, event.recipient)
        if type(decision) is Ruling:
            self._rcpt_ruled(event.recipient, decision)
        else:
            self._rule(decision, lambda ruling: self._rcpt_ruled(event.recipient, ruling))

    def _rcpt_ruled(self, recipient: Recipient, ruling: Ruling) -> None:
        if ruling.reply is not None:
            self._refuse("rcpt", ruling.cause, ruling.reply, recipient=recipient.address)
            return
        assert self._incoming is not None
        self._incoming.recipients.append(ruling.recipient or recipient)
        self.session.answer(None)

    def _begin_content(self, _: smtp.DataBegin) -> None:
        incoming = self._incoming
        assert incoming is not None
        try:
            self._intake.begin(incoming)
        except _TRIED_AGAIN:
            self._refuse("data", "free-space", NOT_STORED)
            return
        self.session.answer(None)

    def _store(self, event: smtp.DataChunk) -> None:
        if self._incoming is not None:
            self._incoming.write(event.data)

    def _aborted(self, _: smtp.DataAborted) -> None:
        if self._incoming is not None:
            self._incoming.drop()

    # --- the end of the content

    def _finish_content(self, end: smtp.DataEnd) -> None:
        incoming, intake = self._incoming, self._intake
        if incoming is None or incoming.staged is None:
            self._refuse("data", "free-space", replies.NO_RESOURCES)
            return
        head = incoming.head()
        malformed = end.fixed or (end.nul and not end.binary) or head.headless
        if malformed or end.long_line or head.lacks(b"date:"):
            if intake.drop_malformed:
                self._refuse_content("malformed", MALFORMED)
                return
            malformed = True
            lines = end.long_line and not end.binary and not head.signed
            if lines or head.headless:
                mended = intake.mend(incoming, headless=head.headless, lines=lines)
                self._wait(mended, lambda done: self._mended(end, head, done=done), otherwise=False)
                return
        self._accept(end, head, malformed=malformed)

    def _mended(self, end: smtp.DataEnd, head: Head, *, done: bool) -> None:
        if done:
            self._accept(msgspec.structs.replace(end, plain=False), head, malformed=True)
        else:
            self._refuse_content("free-space", replies.NO_RESOURCES)

    def _refuse_content(self, cause: str, answer: Reply) -> None:
        """Refuse a message whose content has come, and keep nothing of it."""
        assert self._incoming is not None
        self._refuse("data", cause, answer)
        self._incoming.drop()

    def _accept(self, end: smtp.DataEnd, head: Head, *, malformed: bool) -> None:
        incoming, intake, visit = self._incoming, self._intake, self.visit
        assert incoming is not None
        if visit.hidden:
            intake.access.settle_client(visit, head.received_fields())
        new, record = incoming.build(
            end,
            head,
            Client(
                visit.ip,
                visit.port,
                visit.helo,
                self._esmtp,
                self.endpoint.name,
                visit.name,
                visit.tls,
                visit.user,
            ),
            intake.access.direction(visit, incoming.recipients),
            hostname=intake.hostname,
            prepend_received=intake.prepend_received,
            malformed=malformed,
            now=clock.now(),
        )
        deadline_s = self.endpoint.before_queue_s
        if deadline_s:
            self.judging = True
            self._wait(
                intake.judge(new, deadline_s),
                lambda disposition: self._judged(new, record, disposition),
                None,
                deadline_s + JUDGEMENT_GRACE_S,
            )
        else:
            self._commit(new, record, None)

    def _judged(self, new: NewMessage, record: Received, disposition: Disposition | None) -> None:
        """Act on the verdict on a message that has not been accepted yet."""
        self.judging = False
        if disposition is None:
            self._refuse_content("not-inspected", NOT_INSPECTED)
        elif disposition.refusal is not None:
            self._intake.turn_away(disposition)
            self._refuse_content("content", disposition.refusal)
        else:
            # What nobody gets, though its client is not to know, is accepted, and then withheld like any other.
            self._commit(new, record, disposition if disposition.copies else None)

    def _commit(self, new: NewMessage, record: Received, disposition: Disposition | None) -> None:
        """Make the message durable; from here on it is the spool's, whatever becomes of the client."""
        incoming, intake = self._incoming, self._intake
        assert incoming is not None
        incoming.take()
        self._incoming = None
        self.pending = True
        complete = intake.complete(new, disposition)
        future = intake.accept(new, record, complete)
        future.add_done_callback(lambda done: self._committed(done, new, complete))

    def _committed(self, done: "asyncio.Future[None]", new: NewMessage, disposition: Disposition | None) -> None:
        stored, intake = new.stored, self._intake
        self.pending = False
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or error is not None:
            new.content.discard()
            if disposition is not None:
                disposition.discard()
            answer = NOT_STORED if isinstance(error, SpoolError) else _TEMPORARY_SYSTEM
            self._refuse("data", "free-space", answer, stored.envelope.sender)
            if error is not None:
                intake.trouble(error)
        else:
            try:
                intake.take_on(new, disposition)
            except Exception as fault:  # noqa: BLE001 - a fault of ours: it is on disk, and must not lie there
                intake.trouble(fault)
            intake.access.message_done(self.visit, stored.content.size)
            self.session.answer(reply(250, "2.0.0", f"OK queued as {format_queue_id(stored.id)}"))
        self._decided()


_HANDLERS: dict[type, Callable[[Dialogue, Any], None]] = {
    smtp.Hello: Dialogue._hello,
    smtp.SignIn: Dialogue._sign_in,
    smtp.ClientOverride: Dialogue._override,
    smtp.ClientForwarded: Dialogue._forwarded,
    smtp.MailFrom: Dialogue._mail,
    smtp.RcptTo: Dialogue._rcpt,
    smtp.DataBegin: Dialogue._begin_content,
    smtp.DataChunk: Dialogue._store,
    smtp.DataEnd: Dialogue._finish_content,
    smtp.DataAborted: Dialogue._aborted,
    smtp.Refused: Dialogue._refused,
}
"""What is done about each event; STARTTLS is the shell's, the others (VRFY, QUIT) ask for nothing."""
