"""Reception: the asyncio shell of one incoming connection. Moves bytes and the clock; `relay.dialogue` does the rest.

Made by `relay.listener`. A connection goes through stages: PROXY header, limits and lists, TLS handshake, pause before
the greeting, each only where it is asked for; then the SMTP session. Bytes go in, events come out; 250 to the end of
data is given only after the spool's commit (specification F-ARCH-02).
"""

import asyncio
import enum
from typing import Final, cast

from gatepost.config.schema import Listener
from gatepost.model.reply import Reply
from gatepost.relay.access import Ruling
from gatepost.relay.dialogue import DECISION_S, UNDECIDED, Dialogue
from gatepost.relay.endpoint import Endpoint
from gatepost.relay.intake import Intake
from gatepost.relay.tls import HANDSHAKE_S, TlsFault, TlsStream
from gatepost.relay.visit import Visit
from gatepost.smtp import replies
from gatepost.smtp import server as smtp
from gatepost.spool import clock
from gatepost.wire.proxy import ProxyDecoder, ProxyError

UNREAD_LIMIT: Final = 256 * 1024
"""Bytes a client may send ahead while a decision is pending before reading from it pauses."""
SLOWEST_BYTES_S: Final = 1024
"""Rate at which content may trickle in beyond the time for its end: a large mail over a bad line still gets through."""
LINGER_S: Final = 5.0
"""Time the client gets to take the last replies of a closed session: beyond it a session would hold its place."""
PROXY_S: Final = 5.0
"""Time for a PROXY header, which a balancer sends at once."""

_PROXY_REFUSED = replies.SHUTTING_DOWN


class _Stage(enum.IntEnum):
    """How far a connection has come."""

    PROXY = 0
    """Its PROXY header is awaited."""
    ENTRY = 1
    """It is being decided whether it may come in."""
    HANDSHAKE = 2
    """TLS begins before the session does."""
    PAUSE = 3
    """The greeting is held back."""
    TALK = 4
    """The session has begun."""


_TALK = _Stage.TALK
_DECISION = smtp.Waiting.DECISION
_HANDSHAKE = smtp.Waiting.HANDSHAKE
_START_TLS = smtp.StartTls


class Reception(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_decoder",
        "_dialogue",
        "_early",
        "_endpoint",
        "_intake",
        "_listener",
        "_loop",
        "_paused",
        "_period",
        "_period_since",
        "_place",
        "_read_at",
        "_session",
        "_stage",
        "_task",
        "_tls",
        "_transport",
        "_unread",
        "_visit",
        "_waited_since",
        "_writable",
    )

    _dialogue: Dialogue
    _session: smtp.ServerSession
    _endpoint: Endpoint
    _visit: Visit

    def __init__(self, intake: Intake, listener: Listener) -> None:
        self._intake = intake
        self._listener = listener
        self._loop = intake.loop
        self._stage = _Stage.ENTRY
        self._transport: asyncio.Transport | None = None
        self._place = ""
        """What the session is counted under, "" while it is not."""
        self._decoder: ProxyDecoder | None = None
        self._tls: TlsStream | None = None
        self._early = b""
        """What came before the session could take it."""
        self._task: asyncio.Task[None] | None = None
        self._period = 0
        self._period_since = 0.0
        self._read_at = 0.0
        self._waited_since = 0.0
        self._unread = 0
        self._paused = False
        self._writable = True

    # --- the transport's side

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", base)  # uvloop's transports do not inherit it
        peer = transport.get_extra_info("peername")
        endpoint = self._intake.endpoint(self._listener)
        if not peer or endpoint is None:
            transport.abort()  # gone before we could look; or the listener has
            return
        self._transport = transport
        self._endpoint = endpoint
        ip = peer[0].removeprefix("::ffff:")
        if not endpoint.proxy:
            self._enter(ip, peer[1])
        elif not self._intake.access.believes_proxy(ip):
            self._turn_away(Visit(ip, peer[1], self._listener), "proxy", _PROXY_REFUSED)
        elif self._intake.await_proxy(self):
            self._visit = Visit(ip, peer[1], self._listener)
            self._decoder = ProxyDecoder()
            self._begin(_Stage.PROXY, PROXY_S)
        else:
            self._turn_away(Visit(ip, peer[1], self._listener), "sessions", replies.TOO_MANY_SESSIONS)

    def data_received(self, data: bytes) -> None:
        if self._stage is not _TALK or self._tls is not None:
            data = self._unpack(data)
            if not data:
                return
        session = self._session
        session.feed(data)
        if self._dialogue.pending:
            self._unread += len(data)
        self._read_at = self._loop.time()
        self._pump()

    def eof_received(self) -> bool:
        if self._transport is None or self._stage is not _TALK:
            return False
        if self._dialogue.judging and not self._session.quits:
            self._transport.abort()  # it may have gone for good: nothing is accepted that nobody waits for
            return False
        self._session.eof()
        self._pump()
        return not self._session.closed  # a client that has only ended its own side still gets its replies

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._task is not None:
            self._task.cancel()
        if self._stage is _TALK:
            self._dialogue.drop()
        if self._place:
            # XCLIENT may have put another client in the place of the one that was counted first.
            self._place = self._visit.place
            self._visit.forget(list(self._visit.facts))
        self._intake.closed(self, self._place, failed=exc is not None)

    def pause_writing(self) -> None:
        # A client that sends commands but reads no replies gets no further until it does.
        self._writable = False
        self._regulate()

    def resume_writing(self) -> None:
        self._writable = True
        if self._stage is _TALK:
            self._pump()

    def shut_down(self) -> None:
        """Answer 421 at the next command boundary and close (clean stop)."""
        if self._stage is _TALK:
            self._session.shutdown()
            self._pump()
        else:
            self.abort()

    def abort(self) -> None:
        """Drop the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # --- before the session

    def _begin(self, stage: _Stage, seconds: float) -> None:
        self._stage = stage
        self._period_since = now = self._loop.time()
        self._intake.wheel.put(self, now + seconds)

    def _unpack(self, data: bytes) -> bytes:
        """Take what came before there is a session in clear; return what is for the session."""
        if self._transport is None or self._transport.is_closing():
            return b""
        if self._decoder is not None:
            data = self._read_proxy(self._decoder, data)
        if self._tls is not None:
            return self._decrypt(self._tls, data)
        if self._stage is _TALK:
            return data
        if self._stage is _Stage.PAUSE and data:
            self._refuse_early()
        elif self._stage is _Stage.ENTRY:
            self._early += data
            if len(self._early) > UNREAD_LIMIT:
                self.abort()
        return b""

    def _read_proxy(self, decoder: ProxyDecoder, data: bytes) -> bytes:
        """Read the PROXY header; return what follows it."""
        visit = self._visit
        try:
            header = decoder.feed(data)
        except ProxyError:
            self._turn_away(visit, "proxy", _PROXY_REFUSED)
            return b""
        if header is None:
            return b""
        self._decoder = None
        self._intake.proxy_read(self)
        rest = decoder.rest
        if header.local or not header.source:
            self._enter(visit.connection_ip, visit.port)
        else:
            self._enter(header.source, header.source_port)
        return rest if self._transport is not None else b""

    def _enter(self, ip: str, port: int) -> None:
        """Count the session, and decide whether it may come in."""
        intake = self._intake
        place = intake.place_of(ip)
        visit = Visit(ip, port, self._listener)
        refusal = intake.admit(self, ip, place)
        if refusal is not None:
            self._turn_away(visit, *refusal)
            return
        self._place = place
        self._visit = visit
        visit.place = place
        decision = intake.access.connect(visit)
        if isinstance(decision, Ruling):
            self._ruled(decision)
            return
        self._begin(_Stage.ENTRY, DECISION_S)
        waiting = decision

        async def wait() -> None:
            try:
                ruling = await waiting
            except Exception as error:  # noqa: BLE001 - a fault of ours must not let anybody in, nor shut mail out for good
                intake.fault(error)
                ruling = Ruling(UNDECIDED, "undecided")
            if self._transport is not None:
                self._ruled(ruling)
                early, self._early = self._early, b""
                if early and self._transport is not None:
                    self.data_received(early)

        self._task = asyncio.create_task(wait())

    def _ruled(self, ruling: Ruling) -> None:
        if ruling.reply is not None:
            self._turn_away(self._visit, ruling.cause, ruling.reply)
        elif self._endpoint.implicit_tls:
            self._start_tls()
            self._begin(_Stage.HANDSHAKE, HANDSHAKE_S)
        else:
            self._open(None)

    def _turn_away(self, visit: Visit, cause: str, answer: Reply) -> None:
        """Refuse a connection before its session; over TLS nobody could read why."""
        transport = self._transport
        assert transport is not None
        self._intake.refused(visit.refusal(clock.now(), "connect", cause, answer))
        if not self._endpoint.implicit_tls:
            transport.write(replies.render(answer, enhanced=True))
        transport.close()
        self._linger()

    def _open(self, tls: tuple[str, str] | None) -> None:
        """Begin the session."""
        endpoint, visit, access = self._endpoint, self._visit, self._intake.access
        settings = endpoint.settings
        if self._intake.hears_peers and access.believes_xforward(visit.connection_ip):
            overriding = access.believes_xclient(visit.connection_ip)
            settings = endpoint.overriding_settings if overriding else endpoint.told_settings
        self._session = session = smtp.ServerSession(settings, visit.ip, tls)
        self._dialogue = dialogue = Dialogue(self._intake, endpoint, session, visit, self._decided)
        if tls is not None:
            dialogue.tls_started(*tls)
        pause_s = settings.greeting_pause_s
        if pause_s and not visit.ours and not visit.spared:
            self._begin(_Stage.PAUSE, pause_s)
        else:
            self._greet()

    def _refuse_early(self) -> None:
        """The client talked before the greeting, as none does that waits for answers."""
        self._begin(_TALK, self._intake.shortest_s)
        self._intake.refused(self._visit.refusal(clock.now(), "connect", "early-talker", replies.TALKED_EARLY))
        self._session.refuse(replies.TALKED_EARLY)
        self._flush()

    def _greet(self) -> None:
        self._begin(_TALK, self._intake.shortest_s)
        self._write(self._session.greeting())

    # --- TLS

    def _start_tls(self) -> None:
        context = self._endpoint.context
        assert context is not None
        self._tls = TlsStream(context)

    def _decrypt(self, tls: TlsStream, data: bytes) -> bytes:
        """Take ciphertext; return plaintext for the session, b"" during the handshake."""
        fresh = not tls.established
        transport = self._transport
        assert transport is not None
        try:
            data = tls.feed(data)
        except TlsFault:
            transport.write(tls.take_output())
            transport.close()
            self._linger()
            if fresh:
                refusal = self._visit.refusal(clock.now(), "starttls", "handshake", replies.TLS_UNAVAILABLE)
                self._intake.refused(refusal)
            return b""
        if output := tls.take_output():
            transport.write(output)
        if fresh and tls.established:
            if self._stage is _TALK:
                self._session.tls_started(tls.version, tls.cipher)
                self._dialogue.tls_started(tls.version, tls.cipher)
                self._note_period()
            else:
                self._open((tls.version, tls.cipher))
        if self._stage is _Stage.PAUSE:
            if data:
                self._refuse_early()
            return b""
        if tls.ended and self._stage is _TALK:
            self._session.feed(data)
            self.eof_received()
            return b""
        return data

    # --- the session

    def _pump(self) -> None:
        session, dialogue = self._session, self._dialogue
        if self._transport is None:
            return  # nobody is there any more to be told 250: what is still unread was never mail
        while self._writable and (event := session.next_event()) is not None:
            if type(event) is _START_TLS:
                self._answer_starttls()
            else:
                dialogue.take(event)
        self._flush()

    def _answer_starttls(self) -> None:
        """Say 220 in clear; from here on everything is TLS. What came behind the command is gone already."""
        self._session.answer(None)
        self._write(self._session.take_output())
        self._start_tls()

    def _decided(self) -> None:
        """A decision that was waited for has been made: the client's clock had stood still."""
        self._unread = 0
        if self._waited_since:
            self._period_since += self._loop.time() - self._waited_since
            self._waited_since = 0.0
        self._pump()

    def _write(self, data: bytes) -> None:
        transport, tls = self._transport, self._tls
        if transport is None or not data:
            return
        if tls is not None:
            try:
                data = tls.encrypt(data)
            except TlsFault:
                transport.abort()
                return
        transport.write(data)

    def _flush(self) -> None:
        transport = self._transport
        if transport is None:
            return
        session = self._session
        output = session.take_output()
        if output:
            if self._tls is None:
                transport.write(output)
            else:
                self._write(output)
        if session.closed:
            if self._tls is not None and self._tls.established:
                transport.write(self._tls.end())
            transport.close()
            self._linger()
            return
        if session.period != self._period:
            self._note_period()
        if self._dialogue.pending and not self._waited_since:
            self._waited_since = self._loop.time()
        if self._paused or not self._writable or self._unread > UNREAD_LIMIT:
            self._regulate()

    def _note_period(self) -> None:
        self._period = self._session.period
        self._period_since = self._loop.time()

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

    def _linger(self) -> None:
        """The connection is closing: it may take its last replies for a while."""
        self._intake.wheel.put(self, self._loop.time() + LINGER_S)

    def check(self, now: float) -> None:
        """Time the session out when its wait is over (F-SMTP-12). Called when the time it gave the wheel has come."""
        transport = self._transport
        if transport is None:
            return
        if transport.is_closing():
            transport.abort()  # it does not read what is still to be said
            return
        if self._stage is not _TALK:
            if self._stage is _Stage.PAUSE:
                self._greet()
            else:
                transport.abort()  # no header, no handshake, no answer of ours in time: nothing it could be told
            return
        deadline = self._deadline(now)
        if now < deadline:
            # Whatever the session does meanwhile, no wait of its can end sooner than after the shortest.
            self._intake.wheel.put(self, min(deadline, now + self._intake.shortest_s))
        elif self._session.waiting is _HANDSHAKE:
            transport.abort()
        else:
            self._dialogue.drop()
            self._session.timeout()
            self._flush()

    def _deadline(self, now: float) -> float:
        """Return when the present wait ends; monotonic seconds."""
        session = self._session
        waiting = session.waiting
        if waiting is _DECISION:
            return now + self._intake.shortest_s  # while a decision of ours is pending the client's clock stands still
        if waiting is _HANDSHAKE:
            return self._period_since + HANDSHAKE_S
        deadline = self._period_since + session.timeout_s
        if waiting is smtp.Waiting.DATA and (size := self._dialogue.content_size) is not None:
            # Time for the whole content, and more of it for as long as it comes at an honest rate.
            deadline = min(deadline + size / SLOWEST_BYTES_S, self._read_at + self._intake.read_s)
        return deadline
