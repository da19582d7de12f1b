"""The client of UDS: a socket for every server, probes, questions with fail-over, reports. Shell of `wire.uds`.

Used by `relay.lookups.uds` and the command `gatepost uds`. Promises: an answer, or None, before the deadline; nothing
but fingerprints is sent.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, cast

import msgspec

from gatepost.relay.lookups.uds_servers import ServerState, UdsServer, UdsServers
from gatepost.relay.tasks import Tasks
from gatepost.wire.uds import SESSION_BYTES, Answer, Question, Report, State, UdsClientSession, UdsKey, Wish

SENDS: Final = 3
"""Times a question is sent to one server: datagrams get lost."""
SEND_AGAIN_S: Final = 0.25
"""Least pause between them ..."""
_RTTS: Final = 4.0
"""... or this many round trips."""
FAIR_S: Final = 0.5
"""A server that had less time than this is not called dead for it."""
PROBE_TIMEOUT_S: Final = 3.0
_NAME_TIMEOUT_S: Final = 5.0
_UNUSABLE: Final = {
    State.REFUSED: "it says we have no right to this",
    State.STALE: "it says our clock differs too much from its own, or it has only just started",
}


class UdsSettings(msgspec.Struct, frozen=True):
    """What the client is told. Times in seconds."""

    servers: tuple[str, ...]
    """host:port each."""
    key: UdsKey
    timeout_s: float
    rtt_interval_s: float
    reporters: int = 2


class NoAnswerError(Exception):
    """A server gave no useful answer; the text says why."""


class _Connection(asyncio.DatagramProtocol):
    """A connected socket to one server."""

    def __init__(self, key: UdsKey) -> None:
        self._session = UdsClientSession(key, secrets.token_bytes(SESSION_BYTES))
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        _ = addr
        received = self._session.receive(data)
        if received is not None:
            number, answer = received
            future = self._waiting.pop(number, None)
            if future is not None and not future.done():
                future.set_result(answer)

    def error_received(self, exc: Exception) -> None:
        self._fail(f"{exc}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(f"{exc or 'closed'}")

    def _fail(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(NoAnswerError(reason))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def exchange(self, question: Question, timeout_s: float, again_s: float) -> Answer:
        """Send a question, again when no answer comes, and return the answer. NoAnswerError."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        numbers: list[int] = []
        future: asyncio.Future[Answer] = loop.create_future()
        try:
            for left in range(SENDS, 0, -1):
                if self._transport is None:
                    raise NoAnswerError("closed")
                number, datagram = self._session.ask(question)
                numbers.append(number)
                self._waiting[number] = future
                self._transport.sendto(datagram)
                pause = end - loop.time() if left == 1 else min(again_s, end - loop.time())
                await asyncio.wait((future,), timeout=max(0.0, pause))
                if future.done():
                    return future.result()
                if loop.time() >= end:
                    break
            raise NoAnswerError(f"no answer within {timeout_s:.1f} s")
        finally:
            for number in numbers:
                self._waiting.pop(number, None)
                self._session.forget(number)
            future.cancel()


class UdsClient:
    """Questions to the configured servers."""

    def __init__(self, settings: UdsSettings, report: Callable[[str, str], None]) -> None:
        """`report(level, text)` writes to the log."""
        self.settings = settings
        self.servers = UdsServers(settings.servers, settings.rtt_interval_s)
        self.asked = self.known = self.failed = 0
        self._report = report
        self._connections: dict[str, _Connection] = {}
        self._tasks = Tasks(self._broken)
        self._prober: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the probes. Needs a running event loop."""
        self._prober = self._tasks.spawn(self._probe_on())

    def close(self) -> None:
        """End: nothing more is sent."""
        if self._prober is not None:
            self._prober.cancel()
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    async def ask(self, values: Sequence[bytes], deadline: float) -> Answer | None:
        """Ask one server after the other, the fastest first, until one answers; None: none did before `deadline`, a
        time of the event loop.
        """
        self.asked += 1
        question = Question(Wish.ASK, time.time(), tuple(values))
        loop = asyncio.get_running_loop()
        order = self.servers.order()
        for place, server in enumerate(order):
            left = deadline - loop.time()
            if left <= 0:
                break
            # Every server that is left gets its share of the time that is left.
            timeout_s = min(self.settings.timeout_s, left / (len(order) - place))
            answer = await self._try(server, question, timeout_s)
            if answer is not None:
                return answer
        self.failed += 1
        return None

    async def tell(self, values: Sequence[bytes], report: Report) -> dict[str, str]:
        """Report fingerprints to every server, as they do not tell each other; return the trouble by server, "" for
        none.
        """
        question = Question(Wish.REPORT, time.time(), tuple(values), report)
        results = await asyncio.gather(*(self._exchange(each, question) for each in self.servers.servers))
        return {
            server.name: result if isinstance(result, str) else _TOLD[result.state]
            for server, result in zip(self.servers.servers, results, strict=True)
        }

    async def probe(self, server: UdsServer) -> None:
        """Measure the round trip to a server."""
        loop = asyncio.get_running_loop()
        if server.state is ServerState.DEAD and (old := self._connections.pop(server.name, None)):
            old.close()  # its name may stand for another address by now
        timeout_s = min(PROBE_TIMEOUT_S, self.settings.timeout_s)
        await self._try(server, Question(Wish.PROBE, time.time()), timeout_s, probe=True)
        server.due = max(server.due, loop.time() + SEND_AGAIN_S)

    def status(self) -> dict[str, object]:
        """Return what is shown of servers and questions, as JSON values."""
        return {
            "asked": self.asked,
            "known": self.known,
            "failed": self.failed,
            "servers": [
                {
                    "server": each.name,
                    "state": each.state.value,
                    "rtt_ms": round(each.rtt_s * 1000, 2) if each.state is ServerState.UP else None,
                    "reason": each.reason,
                }
                for each in self.servers.servers
            ],
        }

    async def _probe_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.gather(*(self.probe(each) for each in self.servers.due(loop.time())))
            await asyncio.sleep(max(SEND_AGAIN_S, self.servers.next_due() - loop.time()))

    async def _try(
        self, server: UdsServer, question: Question, timeout_s: float, *, probe: bool = False
    ) -> Answer | None:
        """Ask one server; note how it did, None when its answer is of no use."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        result = await self._exchange(server, question, timeout_s)
        now = loop.time()
        if not isinstance(result, str):
            if result.state is State.OK and len(result.known) == (len(question.values) if not probe else 0):
                if self.servers.answered(server, now - started, now, probe=probe):
                    self._report("D", f"UDS server {server.name} answers in {(now - started) * 1000:.1f} ms")
                return result
            if result.state is State.BUSY:
                return None
            result = _UNUSABLE.get(result.state, "its answer does not fit the question")
        elif timeout_s < FAIR_S and not probe:
            return None
        if self.servers.failed(server, result, now):
            self._report("W", f"UDS server {server.name} is left alone: {result}")
        return None

    async def _exchange(
        self, server: UdsServer, question: Question, timeout_s: float = PROBE_TIMEOUT_S
    ) -> Answer | str:
        """Return the server's answer, or in words why there is none."""
        again_s = max(SEND_AGAIN_S, server.rtt_s * _RTTS if server.state is ServerState.UP else 0.0)
        try:
            connection = self._connections.get(server.name) or await self._connect(server)
            return await connection.exchange(question, timeout_s, again_s)
        except (NoAnswerError, OSError) as error:
            return str(error) or type(error).__name__

    async def _connect(self, server: UdsServer) -> _Connection:
        host, _, port = server.name.rpartition(":")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_NAME_TIMEOUT_S):
            _, connection = await loop.create_datagram_endpoint(
                lambda: _Connection(self.settings.key), remote_addr=(host.strip("[]"), int(port))
            )
        if (other := self._connections.get(server.name)) is not None:
            connection.close()
            return other
        self._connections[server.name] = connection
        return connection

    def _broken(self, error: BaseException) -> None:
        self._report("E", f"UDS: internal error in the probes: {type(error).__name__}: {error}")


_TOLD: Final = {State.OK: "", State.BUSY: "it is over a limit", **_UNUSABLE}
