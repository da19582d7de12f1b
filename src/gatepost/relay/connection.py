"""One outgoing SMTP connection: the asyncio shell around `smtp.client.ClientSession`.

Called by `relay.delivery`. The loop is read → feed → events → act → write; timers follow the session's phase.
"""

import asyncio
from collections.abc import Iterator
from typing import Protocol, cast

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
    Transaction,
)

_IDLE_WATCH_S = 3600.0
"""Timer while nothing is awaited; `relay.hops` closes idle connections long before."""


class Owner(Protocol):
    """Who a connection reports to."""

    def ready(self, connection: "ClientConnection") -> None:
        """Take a new transaction, or let it idle."""

    def finished(self, connection: "ClientConnection", outcome: Outcome) -> None:
        """A transaction ended; the connection is ready again when `outcome.reusable`."""

    def lost(self, connection: "ClientConnection", event: Closed) -> None:
        """The connection is gone; `event.recipients` is empty when no transaction was under way."""


class ClientConnection(asyncio.Protocol):
    """A connection to one next hop."""

    def __init__(self, settings: ClientSettings, write_timeout_s: float, owner: Owner) -> None:
        self._write_s = write_timeout_s
        self._session = ClientSession(settings)
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._chunks: Iterator[bytes] | None = None
        self._ahead: bytes | None = None
        self._writable = True
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._phase: Phase | None = None
        self._wait_s = _IDLE_WATCH_S
        self._gone = False
        self._quitting = False
        self.transactions = 0
        """Transactions begun on this connection."""
        self.greeted = False
        """The peer's greeting and EHLO went well."""
        self.server = ""
        """Peer address, for records."""

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

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if not self._gone:
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
        self._flush()
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
                self.greeted = True
                self._owner.ready(self)
            case Refused():
                self._end(Closed(f"refused us: {event.reply.code} {event.reply.text}"), politely=True)
            case Closed():
                self._end(event)

    def _send_chunks(self) -> None:
        """Write content while the socket takes it; the rest follows in `resume_writing`.

        One piece is kept ahead, so that the last one and the end of data go out in one write.
        """
        chunks = self._chunks
        if chunks is None or self._session.waiting is not Phase.SENDING:
            return
        session = self._session
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
        """Keep one timer; it is moved only when it fires early."""
        if self._gone:
            return
        session = self._session
        phase = session.waiting
        if phase is not self._phase:
            self._phase = phase
            self._wait_s = self._write_s if phase is Phase.SENDING else session.timeout_s or _IDLE_WATCH_S
        self._deadline = self._loop.time() + self._wait_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        elif self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._gone:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
            return
        self._session.timeout()
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
        self._owner.lost(self, event)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
