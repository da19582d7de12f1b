"""The judge of client programs: asks a filtering server over its own protocol (docs/manual/filter-protocol.md).

Used by the programs of `gatepost.client` where doors of the server have the judge in the relay. Promises: an answer is
one of a server, or `Unjudged` says why there is none within the deadline; a server that does not answer is asked after
the others for a while; at most `connections` are open, and those no longer needed are kept for the next message.
Asked again after a connection broke, a server may judge a message twice: it is never judged less than once.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, cast

import msgspec

from gatepost import __version__
from gatepost.model.filtering import Request, Ruling
from gatepost.service.judge import Unjudged
from gatepost.wire.filtering import (
    END,
    PIECE_LIMIT,
    QUIT,
    ClientEvent,
    FilterClientSession,
    FilteringError,
    Refused,
    build_data,
)

AWAY_S: Final = 10.0
"""A server that failed is asked after the others for so long; that doubles ..."""
AWAY_LIMIT_S: Final = 120.0
"""... up to this."""
EVENTS_LIMIT: Final = 4
"""Answers that wait to be taken: there is a greeting and one to each question, so more are of a server gone wrong."""
_READ_BYTES: Final = 4 * PIECE_LIMIT
"""Of a file, at a time."""


class RemoteTls(msgspec.Struct, frozen=True):
    """How a connection over TCP is encrypted."""

    ca: str
    """PEM file of the authorities that servers' certificates come from; "" the system's."""
    certificate: str = ""
    """PEM file that the client shows, with its chain; "" none ..."""
    key: str = ""
    """... and its key, "" when it is in the same file."""
    name: str = ""
    """Name in the server's certificate; "" the host of its address."""


class RemoteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask."""

    addresses: tuple[str, ...]
    """`tcp:host:port` or `unix:/path`, in the order in which they are asked."""
    connect_timeout_s: float = 10.0
    """Until the server has greeted."""
    data_timeout_s: float = 30.0
    """Until it takes more of a message, or has judged it."""
    connections: int = 50
    """Open at once, to all servers; further messages wait."""
    tls: RemoteTls | None = None


class _Failed(Exception):  # noqa: N818 - a state
    """This server gave no answer."""

    def __init__(self, why: str, *, broken: bool = False, away: bool = True) -> None:
        """`broken`: the connection ended. `away`: the server is better left alone for a while."""
        super().__init__(why)
        self.broken = broken
        self.away = away


class _Server:
    """What is remembered of one server."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.away_until = 0.0
        self.idle: list[_Link] = []
        self._away_s = AWAY_S

    def answered(self) -> bool:
        """Return whether it has failed before."""
        again = self.away_until > 0.0
        self.away_until = 0.0
        self._away_s = AWAY_S
        return again

    def failed(self, now: float) -> bool:
        """Return whether a new time begins in which it is left alone: so often a failure is worth a line in the log."""
        if self.away_until > now:
            return False
        self.away_until = now + self._away_s
        self._away_s = min(self._away_s * 2, AWAY_LIMIT_S)
        return True


class _Link(asyncio.Protocol):
    """A connection to a server."""

    def __init__(self, server: _Server) -> None:
        self.server = server
        self.session = FilterClientSession(f"gatepost {__version__}")
        self.lost = ""
        """Why it can be used no more."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._events: list[ClientEvent] = []
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", base)
        transport.write(self.session.hello())

    def data_received(self, data: bytes) -> None:
        try:
            self._events += self.session.feed(data)
        except FilteringError as error:
            self.drop(f"it answers what is not of the protocol: {error}")
            return
        if len(self._events) > EVENTS_LIMIT:
            self._events.clear()
            self.drop("it says more than it was asked")
            return
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.drop(f"the connection broke: {_reason(error)}" if error else "it closed the connection")

    def pause_writing(self) -> None:
        self._writer = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)
        self._writer = None

    def drop(self, why: str) -> None:
        """Close at once; whoever waits is told."""
        self.lost = self.lost or why
        if self in self.server.idle:
            self.server.idle.remove(self)
        if self._transport is not None:
            self._transport.abort()
        self.resume_writing()
        self._wake()

    def quit(self) -> None:
        """Take leave."""
        if self._transport is not None and not self.lost:
            self._transport.write(QUIT)
            self._transport.close()

    def write(self, data: bytes) -> None:
        """Send."""
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    async def drain(self, timeout_s: float) -> None:
        """Wait until the server has taken enough of it. TimeoutError."""
        if self._writer is not None:
            async with asyncio.timeout(timeout_s):
                await self._writer

    @property
    def answered(self) -> bool:
        """Something has come, or nothing will."""
        return bool(self._events) or bool(self.lost)

    async def event(self, timeout_s: float) -> ClientEvent:
        """Return what the server says next. TimeoutError, _Failed."""
        if not self.answered:
            self._reader = self._loop.create_future()
            async with asyncio.timeout(timeout_s):
                await self._reader
        if self._events:
            return self._events.pop(0)
        raise _Failed(self.lost, broken=True)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class RemoteJudge:
    """A `Judge` that asks servers."""

    def __init__(self, settings: RemoteSettings, report: Callable[[str, str], None]) -> None:
        """`report(level, text)` writes to the log. OSError: a certificate cannot be used; it names the file."""
        self._settings = settings
        self._report = report
        self._servers = [_Server(each) for each in dict.fromkeys(settings.addresses)]
        self._tls = _tls_context(settings.tls) if settings.tls is not None else None
        self._closed = False
        self._slots = asyncio.Semaphore(settings.connections)

    async def judge(self, request: Request, content: bytes | Path, deadline_s: float) -> Ruling:
        """Return what a server rules. Unjudged: none did within `deadline_s`; the text says why."""
        now = asyncio.get_running_loop().time
        ends = now() + deadline_s
        if self._slots.locked():
            try:
                async with asyncio.timeout(deadline_s):
                    await self._slots.acquire()
            except TimeoutError:
                raise Unjudged("all connections to the filtering server are in use") from None
        else:
            await self._slots.acquire()  # at once
        try:
            reasons = []
            for server in sorted(self._servers, key=lambda each: each.away_until if each.away_until > now() else 0.0):
                if now() >= ends:
                    break
                try:
                    ruling = await self._ask(server, request, content, ends)
                except _Failed as failure:
                    reasons.append(f"{server.address}: {failure}")
                else:
                    if server.answered():
                        self._report("I", f"filtering server {server.address} answers again")
                    return ruling
            raise Unjudged("; ".join(reasons) or "no time was left to ask a filtering server")
        finally:
            self._slots.release()

    def close(self) -> None:
        """Take leave of all servers, as soon as the messages under way have their answers."""
        self._closed = True
        for server in self._servers:
            for link in server.idle:
                link.quit()
            server.idle.clear()

    async def probe(self) -> dict[str, str]:
        """Connect to every server; return by address why one does not greet, "" when it does."""
        states = {}
        for server in self._servers:
            try:
                link = await self._open(server, self._settings.connect_timeout_s)
            except _Failed as failure:
                states[server.address] = str(failure)
            else:
                states[server.address] = ""
                link.quit()
        return states

    async def _ask(self, server: _Server, request: Request, content: bytes | Path, ends: float) -> Ruling:
        now = asyncio.get_running_loop().time
        try:
            while server.idle:
                link = server.idle.pop()
                if link.answered:
                    link.drop("it spoke without being asked")
                    continue
                try:
                    return await self._exchange(link, request, content, ends)
                except _Failed as failure:
                    if not failure.broken:
                        raise
                    # It was closed as we began to use it; a fresh one tells whether the server is there.
            link = await self._open(server, max(min(self._settings.connect_timeout_s, ends - now()), 0.001))
            return await self._exchange(link, request, content, ends)
        except _Failed as failure:
            if not failure.away or server.failed(now()):
                self._report("W", f"filtering server {server.address}: {failure}")
            raise

    async def _open(self, server: _Server, timeout_s: float) -> _Link:
        loop = asyncio.get_running_loop()
        kind, _, place = server.address.partition(":")
        try:
            async with asyncio.timeout(timeout_s):
                if kind == "unix":
                    _, link = await loop.create_unix_connection(lambda: _Link(server), place)
                else:
                    host, _, port = place.rpartition(":")
                    host = host.strip("[]")
                    name = (self._settings.tls.name or host) if self._settings.tls is not None else None
                    _, link = await loop.create_connection(
                        lambda: _Link(server), host, int(port), ssl=self._tls, server_hostname=name
                    )
        except TimeoutError:
            raise _Failed(f"no connection within {timeout_s:g} s") from None
        except OSError as error:
            raise _Failed(f"no connection: {_reason(error)}") from None
        try:
            event = await link.event(timeout_s)
        except TimeoutError:
            link.drop("it does not greet")
            raise _Failed(f"no greeting within {timeout_s:g} s") from None
        except asyncio.CancelledError:
            link.drop("nobody waits for it")
            raise
        if isinstance(event, Refused):
            link.drop(event.text)
            raise _Failed(f"it refuses: {event.text}")
        return link

    async def _exchange(self, link: _Link, request: Request, content: bytes | Path, ends: float) -> Ruling:
        done = False
        try:
            await self._send(link, request, content, ends)
            event = await link.event(self._wait_s(ends))
            done = True
        except TimeoutError:
            raise _Failed("no answer in time") from None
        finally:
            if not done:
                link.drop("no answer in time")
        match event:
            case Ruling():
                self._keep(link)
                return event
            case Refused(text, closes):
                if closes:
                    link.drop(text)
                else:
                    self._keep(link)
                raise _Failed(text, away=closes)
        link.drop("it greets twice")
        raise _Failed(link.lost)

    def _keep(self, link: _Link) -> None:
        """Keep a connection for the next message."""
        if self._closed:
            link.quit()
        elif not link.lost:
            link.server.idle.append(link)

    async def _send(self, link: _Link, request: Request, content: bytes | Path, ends: float) -> None:
        if isinstance(content, bytes):
            head = self._head(link, request, len(content), ends)
            if len(content) <= _READ_BYTES:
                link.write(b"".join((head, *build_data(content), END)))
                return
            link.write(head)
            await self._stream(
                link, (content[at : at + _READ_BYTES] for at in range(0, len(content), _READ_BYTES)), ends
            )
            return
        try:
            with content.open("rb") as file:
                link.write(self._head(link, request, os.fstat(file.fileno()).st_size, ends))
                await self._stream(link, iter(lambda: file.read(_READ_BYTES), b""), ends)
        except TimeoutError:
            raise
        except OSError as error:
            raise Unjudged(f"the file of the message cannot be read: {error.strerror}") from None

    def _head(self, link: _Link, request: Request, size: int, ends: float) -> bytes:
        try:
            return link.session.ask(request, size, self._wait_s(ends))
        except ValueError as error:
            raise Unjudged(str(error)) from None

    async def _stream(self, link: _Link, pieces: Iterable[bytes], ends: float) -> None:
        for piece in pieces:
            if link.answered:
                return
            link.write(b"".join(build_data(piece)))
            await link.drain(self._wait_s(ends))
        link.write(END)

    def _wait_s(self, ends: float) -> float:
        return max(min(self._settings.data_timeout_s, ends - asyncio.get_running_loop().time()), 0.001)


def _reason(error: Exception) -> str:
    """Return what went wrong with a connection, as an administrator reads it."""
    if not isinstance(error, OSError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):  # its number is not one of the system's
        return f"TLS fails: {_tls_reason(error)}"
    # Several addresses tried, or the loop's own words: no number. Below 0: the resolver's.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _tls_reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


def _tls_context(tls: RemoteTls) -> ssl.SSLContext:
    """Return what connections are encrypted with. OSError names the file that cannot be used."""
    files = tls.ca
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        if tls.certificate:
            files = f"{tls.certificate} with {tls.key}" if tls.key else tls.certificate
            context.load_cert_chain(tls.certificate, tls.key or None)
    except ssl.SSLError as error:
        raise OSError(f"{files}: no usable PEM: {_tls_reason(error)}") from None
    except OSError as error:
        raise OSError(f"{files}: {error.strerror}") from None
    return context
