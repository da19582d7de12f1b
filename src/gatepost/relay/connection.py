"""One outgoing SMTP connection: the asyncio shell around `smtp.client.ClientSession`.

Opened by `relay.dialling`, which waits for `opened`; then used by `relay.hops`. The loop is read → feed → events →
act → write; timers follow the session's phase.
"""

import asyncio
import datetime as dt
import enum
import ssl
from collections.abc import Iterator
from typing import Protocol, cast

import msgspec

from gatepost.model.reply import Reply, reply
from gatepost.relay.outgoing_tls import IN_CLEAR, TlsPlan, check_peer, describe_tls
from gatepost.relay.tasks import Tasks
from gatepost.smtp.client import (
    ClientSession,
    ClientSettings,
    Closed,
    Event,
    Outcome,
    Phase,
    Ready,
    Refused,
    SendData,
    StartTls,
    TlsUse,
    Transaction,
)
from gatepost.smtp.client_phase import TIMEOUTS

NO_TLS = "4.7.4"
"""Enhanced code of the refusal that a session makes up when a server does not offer the TLS it must have."""
_IDLE_WATCH_S = 3600.0
"""Timer while nothing is awaited; `relay.hops` closes idle connections long before."""


class Obstacle(enum.Enum):
    """What was in the way of a session."""

    UNREACHED = "unreached"
    """No connection, or no word from the server in time."""
    REFUSED = "refused"
    """The server does not want us, or broke off."""
    TLS = "tls"
    """The handshake failed, or the certificate does not prove what it must."""
    LOOP = "loop"
    """The server is this host."""
    FULL = "full"
    """All sessions that are allowed are open."""


class NoSession(msgspec.Struct, frozen=True):
    """Why there is no session with a host."""

    obstacle: Obstacle
    reply: Reply
    """Ours, temporary as a rule, for records and reports."""


class Owner(Protocol):
    """Who a connection reports to, once it is open."""

    def finished(self, connection: "ClientConnection", outcome: Outcome) -> None:
        """A transaction ended; the connection is ready again when `outcome.reusable`."""

    def lost(self, connection: "ClientConnection", event: Closed) -> None:
        """The connection is gone; `event.recipients` is empty when no transaction was under way."""


class ClientConnection(asyncio.Protocol):
    """A connection to one host."""

    def __init__(
        self, settings: ClientSettings, owner: Owner, tasks: Tasks, tls: TlsPlan = IN_CLEAR, label: str = ""
    ) -> None:
        self._settings = settings
        self._session = ClientSession(settings)
        self._owner = owner
        self._tasks = tasks
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._chunks: Iterator[bytes] | None = None
        self._ahead: bytes | None = None
        self._writable = True
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0
        """When the present wait began; monotonic seconds."""
        self._shortest_s = _shortest(settings)
        self._gone = False
        self._quitting = False
        self._shaking_hands = False
        self.label = label
        """`host:port` it counts for."""
        self.opened: asyncio.Future[NoSession | None] = self._loop.create_future()
        """Done when a transaction may be started (None), or when it is known that none ever will."""
        self.generation = 0
        """Of the settings it was made under; `relay.hops` counts them."""
        self.transactions = 0
        """Transactions begun on this connection."""
        self.server = ""
        """Peer address, for records."""
        self.tls = ""
        """Version and what was proved, "" in clear."""

    @property
    def gone(self) -> bool:
        """Tell whether it is closed, or as good as that."""
        return self._gone or self._quitting

    @property
    def supports_dsn(self) -> bool:
        """Tell whether the peer takes over DSN duty (RFC 3461)."""
        return self._session.extensions.dsn

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", base)  # uvloop's transports do not inherit it
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.server = str(peer[0]) if peer else ""
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._session.feed(data)
        self._pump()

    def eof_received(self) -> bool:
        self._session.eof()
        self._pump()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._gone or self._shaking_hands:
            return
        if isinstance(exc, ssl.SSLError) and not self.opened.done():
            # With TLS 1.3 a server judges our certificate when the handshake is over for us (RFC 8446 §4.4.2.4).
            self._give_up_tls(f"TLS handshake: {_describe_tls_error(exc)}")
        else:
            self._session.eof()
            self._pump()
            self._end(Closed("connection lost"))

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._send_chunks()
        self._flush()

    def start(self, transaction: Transaction, chunks: Iterator[bytes]) -> None:
        """Begin a transaction; the connection must be ready."""
        self.transactions += 1
        self._chunks = chunks
        self._ahead = None
        self._session.start(transaction)
        self._pump()

    def quit(self) -> None:
        """Say goodbye; the connection is `lost` when the peer has answered, closed, or let the time for it pass."""
        if self._gone:
            return
        self._quitting = True
        self._session.quit()
        self._pump()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._gone = True
        self._disarm()
        if self._transport is not None:
            self._transport.abort()

    def _pump(self) -> None:
        while not self._gone and (event := self._session.next_event()) is not None:
            self._handle(event)
        self._flush()
        if self._quitting and self._session.closed:
            self._end(Closed("ended by us"), politely=True)

    def _handle(self, event: Event) -> None:
        match event:
            case Outcome():
                self._chunks = None
                self._owner.finished(self, event)
            case SendData():
                self._send_chunks()
            case Ready():
                if not self.opened.done():
                    self.opened.set_result(None)
            case StartTls():
                self._shaking_hands = True
                self._tasks.spawn(self._shake_hands())
            case Refused():
                text = f"refused us: {event.reply.code} {event.reply.text}"
                if self._settings.tls is TlsUse.ENCRYPT and event.reply.enhanced == NO_TLS:
                    self._not_opened(Obstacle.TLS, reply(451, NO_TLS, f"{self.label}: {event.reply.text}"), text)
                self._not_opened(Obstacle.REFUSED, None, text)
                self._end(Closed(text), politely=True)
            case Closed():
                self._end(event)

    # --- TLS

    async def _shake_hands(self) -> None:
        """Encrypt the connection, and see that the server is who it must be."""
        assert self._transport is not None
        assert self._tls.context is not None
        self._disarm()
        if self._gone:
            return
        try:
            async with asyncio.timeout(self._settings.hello_s):
                transport = await self._loop.start_tls(
                    self._transport, self, self._tls.context, server_hostname=self._tls.host
                )
        except (OSError, TimeoutError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: no name for SNI
            self._give_up_tls(f"TLS handshake: {_describe_tls_error(error)}")
            return
        if self._gone:
            return
        if transport is None:
            self._give_up_tls("TLS handshake: connection lost")
            return
        self._transport = transport
        secured = transport.get_extra_info("ssl_object")
        trouble = check_peer(self._tls, secured, dt.datetime.now(dt.UTC))
        if trouble:
            self._give_up_tls(trouble)
            return
        self.tls = describe_tls(self._tls, secured)
        self._shaking_hands = False
        self._session.tls_started()
        self._pump()

    def _give_up_tls(self, reason: str) -> None:
        if not self._gone:
            self._not_opened(Obstacle.TLS, reply(451, "4.7.5", f"{self.label}: {reason}"), reason)
            self._end(Closed(reason))

    def _not_opened(self, obstacle: Obstacle, cause: Reply | None, text: str) -> None:
        if not self.opened.done():
            self.opened.set_result(NoSession(obstacle, cause or reply(451, "4.4.2", f"{self.label}: {text}")))

    # --- content

    def _send_chunks(self) -> None:
        """Write content while the socket takes it; the rest follows in `resume_writing`.

        One piece is kept ahead, so that the last one and the end of data go out in one write.
        """
        chunks = self._chunks
        session = self._session
        if chunks is None or not session.sending:
            return
        try:
            while self._writable:
                chunk = self._ahead if self._ahead is not None else next(chunks, b"")
                self._ahead = next(chunks, None)
                session.send_data(chunk)
                if self._ahead is None:
                    self._chunks = None
                    session.finish_data()
                    break
                self._write()
        except OSError:
            # The peer must not take half a message for a whole one: the end of data is never sent.
            self._chunks = self._ahead = None
            session.timeout()
            self._pump()

    def _write(self) -> None:
        output = self._session.take_output()
        if output and self._transport is not None:
            self._transport.write(output)

    def _flush(self) -> None:
        self._write()
        self._watch()

    def _watch(self) -> None:
        """Begin a wait. The timer is not moved: it fires early enough for any wait, and sees then which one it is."""
        if self._gone or self._shaking_hands:
            return
        self._since = now = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._shortest_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._gone or self._shaking_hands:
            return
        session, now = self._session, self._loop.time()
        sending = session.waiting is Phase.SENDING
        deadline = self._since + (self._settings.write_s if sending else session.timeout_s or _IDLE_WATCH_S)
        if now < deadline:
            self._timer = self._loop.call_at(min(deadline, now + self._shortest_s), self._on_timer)
            return
        self._not_opened(Obstacle.UNREACHED, None, f"timeout while {session.waiting.value}")
        session.timeout()
        self._pump()
        self._end(Closed("timeout"))

    def _end(self, event: Closed, *, politely: bool = False) -> None:
        """Close, `politely` with what is still to be said, and report it."""
        if self._gone:
            return
        if politely and self._transport is not None:
            self._write()
            self._gone = True
            self._disarm()
            self._transport.close()
        else:
            self.abort()
        self._chunks = None
        if self.opened.done() and not self.opened.cancelled() and self.opened.result() is None:
            self._owner.lost(self, event)
        else:
            self._not_opened(Obstacle.REFUSED, None, event.reason)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _shortest(settings: ClientSettings) -> float:
    """Return the shortest wait there may be; 0 stands for none."""
    waits = [settings.write_s, *(getattr(settings, name) for name in TIMEOUTS.values())]
    return float(min([_IDLE_WATCH_S, *filter(None, waits)]))


def _describe_tls_error(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "failed").replace("_", " ").lower()
        _, alert, what = reason.partition("alert ")
        about_ours = alert and ("certificate" in what or what == "unknown ca")
        return f"the server refuses our certificate, or wants one: {what}" if about_ours else reason
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
