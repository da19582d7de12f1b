"""Datagrams and streams to one name server.

Used by `inquiry`. UDP goes through a few connected sockets (the kernel drops what comes from elsewhere, and reports a
dead server at once), each with a port of the kernel's choice, replaced after some questions. A response counts when
port, id and question, in the random case it was sent in, are right (RFC 5452 §9); whatever looks like a forger at work,
or is cut short, sends the question over TCP.
"""

import asyncio
import contextlib
import enum
import os
import socket
import typing

import msgspec

from gatepost.resolver.message import HEADER_SIZE, MESSAGE_LIMIT, Query, is_truncated
from gatepost.resolver.servers import NameServer

PORTS = 4
"""Sockets in use at a time for one server."""
PORT_QUESTIONS = 128
"""Questions after which a socket's port is not used for more."""
STRAYS_LIMIT = 64
"""Datagrams with unknown ids on one socket before its questions go over TCP: late answers are few, guesses are many."""
_ENTROPY_SIZE = 4096
"""Random octets fetched from the kernel at a time."""


class Trouble(enum.Enum):
    """Why there is no response."""

    SILENT = "no answer in time"
    UNREACHABLE = "not reachable"
    SUSPICIOUS = "answers that do not fit the question"
    FOLDED = "answers that change the case of the name"
    """Never leaves this module: TCP settles it."""


class Entropy:
    """Random numbers of the kernel's, fetched in blocks."""

    def __init__(self) -> None:
        self._block = b""
        self._at = 0

    def take(self, octets: int) -> int:
        """Return a random number of so many octets (at most 1,024)."""
        if self._at + octets > len(self._block):
            self._block, self._at = os.urandom(_ENTROPY_SIZE), 0
        self._at += octets
        return int.from_bytes(self._block[self._at - octets : self._at])


class _Waiting(msgspec.Struct, gc=False):
    """A question that was sent."""

    query: Query
    reply: asyncio.Future[bytes | Trouble]


class _Port(asyncio.DatagramProtocol):
    """One connected UDP socket. (A bare one with `add_reader` goes deaf on uvloop after an ICMP error.)"""

    def __init__(self) -> None:
        self.waiting: dict[int, _Waiting] = {}
        self.questions = 0
        self._strays = 0
        self._closed = False

    @property
    def worn(self) -> bool:
        """No more questions through this one."""
        return self._closed or self.questions >= PORT_QUESTIONS or self._strays >= STRAYS_LIMIT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = typing.cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever it was, nothing will come
        self._closed = True
        self._settle_all(Trouble.UNREACHABLE)

    def error_received(self, exc: Exception) -> None:  # noqa: ARG002 - ICMP: nobody listens there
        self._settle_all(Trouble.UNREACHABLE)

    def datagram_received(self, data: bytes, addr: tuple[str | typing.Any, int]) -> None:  # noqa: ARG002 - connected
        waiting = self.waiting.get(int.from_bytes(data[:2])) if len(data) >= HEADER_SIZE else None
        if waiting is None:
            self._strays += 1
            if self._strays >= STRAYS_LIMIT:
                self._settle_all(Trouble.SUSPICIOUS)
        elif not waiting.reply.done():
            waiting.reply.set_result(_judge(waiting.query, data))

    def send(self, query: Query, number: int, reply: asyncio.Future[bytes | Trouble]) -> None:
        """Send; the future gets what comes of it, but for silence."""
        self.questions += 1
        self.waiting[number] = _Waiting(query, reply)
        self._transport.sendto(query.with_id(number))

    def forget(self, number: int) -> None:
        """The question is settled; a worn socket closes with its last."""
        self.waiting.pop(number, None)
        if not self.waiting and self.worn:
            self.close()

    def close(self) -> None:
        self._closed = True
        self._transport.close()
        self._settle_all(Trouble.UNREACHABLE)

    def _settle_all(self, trouble: Trouble) -> None:
        for waiting in self.waiting.values():
            if not waiting.reply.done():
                waiting.reply.set_result(trouble)


class Line:
    """The way to one name server, for the questions of one event loop."""

    def __init__(self, server: NameServer, entropy: Entropy) -> None:
        self.server = server
        self._entropy = entropy
        self._ports: list[_Port | None] = [None] * PORTS
        self._closed = False
        self._folds = False
        """The server does not return the name as it was spelled."""

    async def exchange(self, query: Query, timeout_s: float) -> bytes | Trouble:
        """Return the response to a question, over TCP where UDP will not do. Takes at most `timeout_s`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        spelled = query if self._folds else query.spelled(self._entropy.take(query.asked_end - HEADER_SIZE - 4))
        reply = await self._exchange_datagrams(spelled, timeout_s, loop)
        self._folds = self._folds or reply is Trouble.FOLDED
        if reply in _STREAM_TROUBLES or (isinstance(reply, bytes) and is_truncated(reply)):
            return await self._exchange_stream(query, end - loop.time())
        return reply

    def close(self) -> None:
        """Close all sockets; questions under way end as unreachable."""
        self._closed = True
        for port in self._ports:
            if port is not None:
                port.close()

    async def _exchange_datagrams(
        self, query: Query, timeout_s: float, loop: asyncio.AbstractEventLoop
    ) -> bytes | Trouble:
        try:
            port = await self._choose_port(loop)
        except OSError:
            return Trouble.UNREACHABLE
        number = self._entropy.take(2)
        while number in port.waiting:
            number = self._entropy.take(2)
        reply: asyncio.Future[bytes | Trouble] = loop.create_future()
        port.send(query, number, reply)
        timer = loop.call_later(timeout_s, _give_up, reply)
        try:
            return await reply
        finally:
            timer.cancel()
            port.forget(number)

    async def _choose_port(self, loop: asyncio.AbstractEventLoop) -> _Port:
        place = self._entropy.take(1) % PORTS
        port = self._ports[place]
        if port is not None and not port.worn:
            return port
        if port is not None and not port.waiting:
            port.close()
        family = socket.AF_INET6 if ":" in self.server.ip else socket.AF_INET
        remote = (self.server.ip, self.server.port)
        _, port = await loop.create_datagram_endpoint(_Port, remote_addr=remote, family=family)
        if self._closed:
            port.close()
            raise OSError("closed meanwhile")
        quicker = self._ports[place]
        if quicker is not None and not quicker.worn:
            port.close()
            return quicker
        self._ports[place] = port
        return port

    async def _exchange_stream(self, query: Query, timeout_s: float) -> bytes | Trouble:
        number = self._entropy.take(2)
        raw_query = query.with_id(number)
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(self.server.ip, self.server.port)
                try:
                    writer.write(len(raw_query).to_bytes(2) + raw_query)
                    size = int.from_bytes(await reader.readexactly(2))
                    if not HEADER_SIZE <= size <= MESSAGE_LIMIT:
                        return Trouble.SUSPICIOUS
                    raw = await reader.readexactly(size)
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except TimeoutError:
            return Trouble.SILENT
        except (OSError, asyncio.IncompleteReadError):
            return Trouble.UNREACHABLE
        if raw[:2] != raw_query[:2] or is_truncated(raw):
            return Trouble.SUSPICIOUS
        fit = _judge(query, raw)
        return raw if fit is Trouble.FOLDED else fit


_STREAM_TROUBLES = frozenset({Trouble.SUSPICIOUS, Trouble.FOLDED})
"""What is asked again over TCP, where no stranger can write."""


def _judge(query: Query, raw: bytes) -> bytes | Trouble:
    """Return `raw`, or why it is no response to `query`. Its id is right."""
    if query.is_answered_by(raw) or query.is_rejected_by(raw):
        return raw
    return Trouble.FOLDED if query.is_folded_in(raw) else Trouble.SUSPICIOUS


def _give_up(reply: asyncio.Future[bytes | Trouble]) -> None:
    if not reply.done():
        reply.set_result(Trouble.SILENT)
