"""Reception: the asyncio shell around `smtp.server.ServerSession`, one object per connection.

Called by `relay.listener`. Bytes go in, events come out, `relay.access` decides, content goes to the spool as it
arrives; 250 to the end of data is given only after the spool's commit (specification F-ARCH-02).
"""

import asyncio
import re
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, cast

from gatepost.config.schema import Listener
from gatepost.model.envelope import Body, Client, Envelope, Recipient
from gatepost.model.ids import format_queue_id
from gatepost.model.record import Received, Refused
from gatepost.model.reply import Reply, reply
from gatepost.relay.access import Access, Decision, Ruling
from gatepost.relay.intake import Intake
from gatepost.relay.visit import Visit
from gatepost.smtp import server as smtp
from gatepost.smtp.replies import NO_RESOURCES
from gatepost.spool import clock
from gatepost.spool.interface import NewMessage, SpoolError, StagedContent, State, Stored

UNREAD_LIMIT = 256 * 1024
"""Bytes a client may send ahead while a decision is pending before reading from it pauses."""
SLOWEST_BYTES_S = 1024
"""Rate at which content may trickle in beyond the time for its end: a large mail over a bad line still gets through."""
LINGER_S = 5.0
"""Time the client gets to take the last replies of a closed session: beyond it a session would hold its place."""
HEAD_LIMIT = 64 * 1024
"""Bytes at the start of a message in which its Message-ID is looked for."""

NOT_STORED = reply(451, "4.3.0", "Message not stored, try again later")
_TEMPORARY_SYSTEM = reply(421, "4.3.2", "Service not available, closing", closes=True)
_MESSAGE_ID = re.compile(rb"(?:^|\n)message-id:[ \t]*(?:\r\n[ \t]+)?([^\r\n]{1,998})", re.IGNORECASE)


class Reception(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_access",
        "_client",
        "_deciding",
        "_envelope",
        "_head",
        "_intake",
        "_ip",
        "_listener",
        "_loop",
        "_message_id",
        "_paused",
        "_period",
        "_period_since",
        "_progress",
        "_progress_since",
        "_recipients",
        "_session",
        "_staged",
        "_transport",
        "_unread",
        "_visit",
        "_writable",
    )

    def __init__(self, intake: Intake, listener: Listener) -> None:
        self._intake = intake
        self._access: Access = intake.access
        self._listener = listener
        self._ip = ""
        self._loop = intake.loop
        self._session: smtp.ServerSession
        self._client = Client("")
        self._visit: Visit
        self._envelope: smtp.MailFrom | None = None
        self._recipients: list[Recipient] = []
        self._staged: StagedContent | None = None
        self._message_id = 0
        self._head = b""
        self._transport: asyncio.Transport | None = None
        self._period = 0
        self._period_since = 0.0
        self._progress = 0
        self._progress_since = 0.0
        self._deciding = False
        self._unread = 0
        self._paused = False
        self._writable = True

    # --- the transport's side

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", base)  # uvloop's transports do not inherit it
        peer = transport.get_extra_info("peername")
        if not peer:
            transport.abort()  # gone before we could look
            return
        self._ip = ip = peer[0].removeprefix("::ffff:")
        intake = self._intake
        listener = self._listener
        self._session = smtp.ServerSession(intake.settings[listener.bare_line_feed], ip)
        self._client = Client(ip, peer[1], listener=listener.name or listener.address)
        self._visit = Visit(ip, peer[1], listener)
        refusal = intake.admit(self, ip)
        if refusal is not None:
            transport.write(refusal)
            transport.close()
            return
        _ruled(self._access.connect(self._visit))
        self._transport = transport
        self._period_since = self._loop.time()
        transport.write(self._session.greeting())

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._session.feed(data)
        if self._deciding:
            self._unread += len(data)
        self._pump()

    def eof_received(self) -> bool:
        if self._transport is None:
            return False
        self._session.eof()
        self._pump()
        return not self._session.closed  # a client that has only ended its own side still gets its replies

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_content()
        self._transport = None
        self._intake.closed(self, self._ip, failed=exc is not None)

    def pause_writing(self) -> None:
        # A client that sends commands but reads no replies gets no further until it does.
        self._writable = False
        self._regulate()

    def resume_writing(self) -> None:
        self._writable = True
        self._pump()

    def shut_down(self) -> None:
        """Answer 421 at the next command boundary and close (clean stop)."""
        self._session.shutdown()
        self._pump()

    def abort(self) -> None:
        """Drop the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # --- events

    def _pump(self) -> None:
        session = self._session
        if self._transport is None:
            return  # nobody is there any more to be told 250: what is still unread was never mail
        while self._writable and (event := session.next_event()) is not None:
            handle = _HANDLERS.get(type(event))
            if handle is not None:
                handle(self, event)
        self._flush()

    def _flush(self) -> None:
        transport = self._transport
        if transport is None:
            return
        session = self._session
        output = session.take_output()
        if output:
            transport.write(output)
        if session.closed:
            transport.close()
            self._period_since = self._loop.time()
            return
        if self._paused or not self._writable or self._unread > UNREAD_LIMIT:
            self._regulate()

    def _hello(self, event: smtp.Hello) -> None:
        self._client = Client(self._ip, self._client.port, event.name, event.esmtp, self._client.listener)
        self._session.answer(None)

    def _mail(self, event: smtp.MailFrom) -> None:
        ruling = _ruled(self._access.mail(self._visit, event, queue_full=self._intake.queue_full()))
        if ruling.reply is None:
            self._envelope = event
            self._recipients = []
            self._session.answer(None)
        else:
            self._refuse("mail", ruling.cause, ruling.reply, event.address)

    def _rcpt(self, event: smtp.RcptTo) -> None:
        ruling = _ruled(self._access.recipient(self._visit, event.recipient))
        if ruling.reply is None:
            self._recipients.append(ruling.recipient or event.recipient)
            self._session.answer(None)
        else:
            self._refuse("rcpt", ruling.cause, ruling.reply, recipient=event.recipient.address)

    def _refused(self, event: smtp.Refused) -> None:
        self._intake.refused(Refused(clock.now(), self._ip, event.stage, event.cause, event.reply.code, self._sender()))

    def _refuse(self, stage: str, cause: str, answer: Reply, sender: str = "", recipient: str = "") -> None:
        self._session.answer(answer)
        self._intake.refused(
            Refused(clock.now(), self._ip, stage, cause, answer.code, sender or self._sender(), recipient)
        )

    def _sender(self) -> str:
        return self._envelope.address if self._envelope is not None else ""

    # --- content

    def _begin_content(self, _: smtp.DataBegin) -> None:
        try:
            self._message_id = self._intake.next_id()
            self._staged = self._intake.spool.stage(self._message_id)
        except (SpoolError, OSError):
            self._refuse("data", "free-space", NOT_STORED)
            return
        self._head = b""
        self._session.answer(None)

    def _store(self, event: smtp.DataChunk) -> None:
        staged, data = self._staged, event.data
        if staged is None:
            return
        try:
            staged.write(data)
        except OSError:
            # The disk refuses: what follows is swallowed, the end of data gets 452.
            self._drop_content()
            return
        if len(self._head) < HEAD_LIMIT:
            self._head = self._head + data[: HEAD_LIMIT - len(self._head)] if self._head else data[:HEAD_LIMIT]

    def _aborted(self, _: smtp.DataAborted) -> None:
        self._drop_content()

    def _drop_content(self) -> None:
        if self._staged is not None:
            self._staged.discard()
            self._staged = None

    def _finish_content(self, end: smtp.DataEnd) -> None:
        staged, mail = self._staged, self._envelope
        if staged is None or mail is None:
            self._refuse("data", "free-space", NO_RESOURCES)
            return
        now = clock.now()
        recipients = tuple(self._recipients)
        client = self._client
        envelope = Envelope(
            mail.address,
            recipients,
            client,
            Body.EIGHT_BIT if end.eight_bit else mail.body,
            mail.ret,
            mail.envid,
            mail.dsn or any(r.notify or r.orcpt for r in recipients),
        )
        number = self._message_id
        prefix = b""
        if self._intake.prepend_received:
            prefix = received_field(client, self._intake.hostname, format_queue_id(number), now)
        stored = Stored(number, number, State.WAITING, now, envelope, staged.ref, prefix)
        flags = ("E" if client.esmtp else "") + ("D" if envelope.dsn_requested else "")
        record = Received(
            number,
            now,
            mail.address,
            len(recipients),
            staged.size,
            client.ip,
            client.helo,
            self._find_id(),
            flags,
            end.fixed,
        )
        content = None if staged.ref.in_file else staged.read()
        self._staged = None
        self._head = b""
        future = self._intake.accept(NewMessage(stored, staged), record)
        self._deciding = True
        future.add_done_callback(lambda done: self._accepted(done, stored, staged, content))

    def _find_id(self) -> str:
        head = self._head
        end = head.find(b"\r\n\r\n")
        found = _MESSAGE_ID.search(head, 0, end if end >= 0 else len(head))
        return found.group(1).decode("utf-8", "backslashreplace").strip() if found else ""

    def _accepted(
        self, done: "asyncio.Future[None]", stored: Stored, staged: StagedContent, content: bytes | None
    ) -> None:
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or error is not None:
            staged.discard()
            answer = NOT_STORED if isinstance(error, SpoolError) else _TEMPORARY_SYSTEM
            self._refuse("data", "free-space", answer)
            if error is not None:
                self._intake.trouble(error)
        else:
            self._intake.take_on(stored, content)
            self._session.answer(reply(250, "2.0.0", f"OK queued as {format_queue_id(stored.id)}"))
        self._deciding = False
        self._unread = 0
        self._pump()

    # --- flow and time

    def _regulate(self) -> None:
        """Read from the client only while we can act on what it sends."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        wanted = not self._writable or self._unread > UNREAD_LIMIT
        if wanted is not self._paused:
            self._paused = wanted
            if wanted:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def check(self, now: float) -> None:
        """Time the session out when its wait is over (F-SMTP-12). Called for all sessions every `SWEEP_S` seconds: one
        sweep costs less than keeping a timer up to date at every command.
        """
        transport, session = self._transport, self._session
        if transport is None:
            return
        if transport.is_closing():
            if now - self._period_since >= LINGER_S:
                transport.abort()  # it does not read what is still to be said
            return
        waiting = session.waiting
        if session.period != self._period or waiting is smtp.Waiting.DECISION:
            # While a decision of ours is pending the client's clock does not run.
            self._period = session.period
            self._period_since = self._progress_since = now
            return
        deadline = self._period_since + session.timeout_s
        if waiting is smtp.Waiting.DATA and self._staged is not None:
            # Time for the whole content, and more of it for as long as it comes at an honest rate.
            size = self._staged.size
            if size != self._progress:
                self._progress = size
                self._progress_since = now
            deadline = min(deadline + size / SLOWEST_BYTES_S, self._progress_since + self._intake.read_s)
        if now >= deadline:
            self._drop_content()
            session.timeout()
            self._flush()


_HANDLERS: dict[type, Callable[[Reception, Any], None]] = {
    smtp.Hello: Reception._hello,
    smtp.MailFrom: Reception._mail,
    smtp.RcptTo: Reception._rcpt,
    smtp.DataBegin: Reception._begin_content,
    smtp.DataChunk: Reception._store,
    smtp.DataEnd: Reception._finish_content,
    smtp.DataAborted: Reception._aborted,
    smtp.Refused: Reception._refused,
}
"""What is done about each event; the others (VRFY, QUIT) ask for nothing."""


def _ruled(decision: Decision) -> Ruling:
    """Return a decision that asks for nothing: no rule in force does yet."""
    assert isinstance(decision, Ruling)
    return decision


_date_cache: tuple[int, str] = (0, "")


def _date(now: float) -> str:
    """Return the RFC 5322 date of this second, formatted once: it costs more than the rest of the field."""
    global _date_cache  # noqa: PLW0603 - a cache of one value, measured
    second = int(now)
    if _date_cache[0] != second:
        _date_cache = (second, formatdate(second, localtime=True))
    return _date_cache[1]


def received_field(client: Client, hostname: str, queue_id: str, now: float) -> bytes:
    """Return our Received field (RFC 5321 §4.4, layout of specification smtp.md §6)."""
    protocol = "ESMTP" if client.esmtp else "SMTP"
    address = f"IPv6:{client.ip}" if ":" in client.ip else client.ip
    text = (
        f"Received: from {client.helo} (unknown [{address}])\r\n"
        f"\tby {hostname} with {protocol} id {queue_id};\r\n\t{_date(now)}\r\n"
    )
    return text.encode("ascii", "replace")
