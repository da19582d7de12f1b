"""Connections to remote engines for the filters of one relay: opened here, lent out, taken back, bounded.

Used by `filter.questions` (`connect`, `rest`, `release`) and `relay.process` (life, status).
A filter may keep what it was lent for later messages. When all that is allowed is lent, one that rests is cut off (its
filter asks anew when it needs it), else the next filter waits its turn. Promises: never more than this relay's share of
an engine's `connections`; an engine that is known to be in trouble is refused at once; it is found working again by
itself; the log tells changes of state only.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gatepost.antivirus.engine import Connection
from gatepost.config.engines import EngineTable, OnFailure
from gatepost.model.finding import EngineNote
from gatepost.relay.engine_health import Change, EngineHealth, State
from gatepost.relay.engine_probe import connect, probe
from gatepost.spool import clock

CONNECT_LIMIT_S = 5.0
"""Longest wait for a connection: engines are near."""
PROBE_LIMIT_S = 5.0
"""Longest wait for the answer to a probe."""

Say = Callable[[str, str], None]


class _Lease:
    """What one filter was lent: our copy of the socket, by which it can be cut off."""

    __slots__ = ("resting", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.resting = False

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class _Engine:
    """One engine as this relay knows it."""

    def __init__(self, settings: EngineTable) -> None:
        self.settings = settings
        self.health = EngineHealth()
        self.share = 1
        self.most = 0
        """Connections the engine itself takes, 0 when it does not say."""
        self.leases: OrderedDict[int, _Lease] = OrderedDict()
        """By holder, the longest unused first."""
        self.opening = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.first = asyncio.Event()
        """It has been probed."""
        self.task: asyncio.Task[None] | None = None
        self.wake = asyncio.Event()


class EngineConnections:
    """All remote engines of one relay."""

    def __init__(self, loop: asyncio.AbstractEventLoop, say: Say, commands: str, recovered: Callable[[], None]) -> None:
        """`say(level, text)` logs; `commands`: socket of the helper that runs commands; `recovered()` is told when an
        engine is back: mail may have waited for it.
        """
        self._loop = loop
        self._say = say
        self._commands = commands
        self._recovered = recovered
        self._engines: dict[str, _Engine] = {}

    def configure(self, engines: Sequence[EngineTable], relays: int) -> None:
        """Take a (new) configuration into use; engines that stay as they are keep their connections."""
        wanted = {settings.name: settings for settings in engines}
        for name, engine in list(self._engines.items()):
            if wanted.get(name) != engine.settings:
                self._forget(self._engines.pop(name))
        for name, settings in wanted.items():
            engine = self._engines.get(name) or _Engine(settings)
            engine.share = max(1, settings.connections // relays)
            if name not in self._engines:
                self._engines[name] = engine
                engine.task = self._loop.create_task(self._watch(engine))

    def close(self) -> None:
        """Stop watching and cut everything off."""
        for engine in self._engines.values():
            self._forget(engine)
        self._engines.clear()

    async def connect(self, name: str, holder: int) -> Connection:
        """Return a connected socket, or why there is none. Raises nothing (but takes being cancelled)."""
        engine = self._engines.get(name)
        if engine is None:  # a filter of an older configuration: a newer one will look at the message
            return Connection(None, reason="it is not configured any more", wait=True)
        self._end_lease(engine, holder)
        await engine.first.wait()
        if not engine.health.usable:
            return self._refuse(engine)
        await self._take_place(engine)
        sock: socket.socket | None = None
        try:
            if not engine.health.usable:
                return self._refuse(engine)
            async with asyncio.timeout(CONNECT_LIMIT_S):
                sock = await connect(engine.settings, self._commands, self._loop)
            engine.leases[holder] = _Lease(sock.dup())
        except TimeoutError:
            self._failed(engine, f"no connection within {CONNECT_LIMIT_S:g} s")
        except OSError as error:
            if sock is not None:
                sock.close()
                sock = None
            self._failed(engine, _describe(engine.settings, error))
        finally:
            engine.opening -= 1
            if sock is None:
                self._next(engine)
        return self._refuse(engine) if sock is None else Connection(sock, engine.health.version)

    def rest(self, holder: int, notes: Iterable[EngineNote]) -> None:
        """Note that the filter has no message in hand: what it was lent may be cut off. Learn from what it says of the
        engines in the last one.
        """
        for engine in self._engines.values():
            lease = engine.leases.get(holder)
            if lease is not None:
                lease.resting = True
                engine.leases.move_to_end(holder)
                self._next(engine)
        for each in notes:
            found = self._engines.get(each.name)
            if found is not None:
                self._note(found, each)

    def release(self, holder: int) -> None:
        """Note that the filter has gone, and its connections with it."""
        for engine in self._engines.values():
            self._end_lease(engine, holder)

    def _note(self, engine: _Engine, note: EngineNote) -> None:
        if not note.trouble:
            if note.objects:
                self._tell(engine, engine.health.scanned(clock.now()))
        elif engine.health.usable:
            self._tell(engine, engine.health.troubled(self._loop.time(), clock.now(), note.trouble))
            engine.wake.set()

    def states(self) -> list[dict[str, Any]]:
        """Return the engines for the status."""
        return [
            {
                "name": engine.settings.name,
                "kind": engine.settings.kind.value,
                "state": engine.health.state.value,
                "since": engine.health.since,
                "version": engine.health.version,
                "reason": "" if engine.health.usable else engine.health.reason,
                "last_error": engine.health.reason,
                "connections": len(engine.leases),
                "allowed": _allowed(engine),
                "waiting": len(engine.waiting),
            }
            for engine in self._engines.values()
        ]

    # --- places

    async def _take_place(self, engine: _Engine) -> None:
        """Wait until one more connection is allowed; it then counts as being opened."""
        if len(engine.leases) + engine.opening >= _allowed(engine) and not self._cut_off_one(engine):
            turn: asyncio.Future[None] = self._loop.create_future()
            engine.waiting.append(turn)
            try:
                await turn  # whoever wakes us has counted us
            except asyncio.CancelledError:
                if not turn.cancelled():
                    engine.opening -= 1
                    self._next(engine)
                elif turn in engine.waiting:
                    engine.waiting.remove(turn)
                raise
            return
        engine.opening += 1

    def _next(self, engine: _Engine) -> None:
        """Let the next in turn have the place that has become free, or can be made so."""
        while engine.waiting:
            if len(engine.leases) + engine.opening >= _allowed(engine) and not self._cut_off_one(engine):
                return
            self._call_next(engine)

    @staticmethod
    def _call_next(engine: _Engine) -> None:
        """Give the first in turn the place it waits for; one who does not wait any more only has to learn of it."""
        turn = engine.waiting.popleft()
        if not turn.done():
            engine.opening += 1
            turn.set_result(None)

    def _cut_off_one(self, engine: _Engine) -> bool:
        holder = next((holder for holder, lease in engine.leases.items() if lease.resting), None)
        if holder is None:
            return False
        engine.leases.pop(holder).end()
        return True

    def _end_lease(self, engine: _Engine, holder: int) -> None:
        lease = engine.leases.pop(holder, None)
        if lease is not None:
            lease.end()
            self._next(engine)

    # --- health

    async def _watch(self, engine: _Engine) -> None:
        """Probe the engine for ever, as often as its state asks for."""
        while True:
            try:
                async with asyncio.timeout(PROBE_LIMIT_S):
                    probed = await probe(engine.settings, self._commands, self._loop)
            except TimeoutError:
                self._failed(engine, f"no answer within {PROBE_LIMIT_S:g} s")
            except Exception as error:  # noqa: BLE001 - if it is a fault of ours, too: the engine must not stay unwatched
                self._failed(engine, _describe(engine.settings, error))
            else:
                changed = engine.health.version != probed.version
                engine.most = probed.connections
                self._tell(engine, engine.health.probed(self._loop.time(), clock.now(), probed.version))
                if changed:
                    self._renew(engine)
            engine.first.set()
            engine.wake.clear()
            pause_s = engine.health.due - self._loop.time()
            with contextlib.suppress(TimeoutError):
                while pause_s > 0:
                    async with asyncio.timeout(pause_s):
                        await engine.wake.wait()
                    engine.wake.clear()
                    pause_s = engine.health.due - self._loop.time()

    def _renew(self, engine: _Engine) -> None:
        """Its signatures have changed: filters are to learn the new version with a new connection."""
        for lease in engine.leases.values():
            lease.end()
        engine.leases.clear()
        self._next(engine)

    def _failed(self, engine: _Engine, reason: str) -> None:
        self._tell(engine, engine.health.failed(self._loop.time(), clock.now(), reason))
        engine.wake.set()
        while engine.waiting:  # they are refused
            self._call_next(engine)

    def _refuse(self, engine: _Engine) -> Connection:
        health = engine.health
        since = time.strftime("%H:%M:%S", time.localtime(health.since))
        what = f"{health.state.value} since {since}: {health.reason}"
        return Connection(None, health.version, what, engine.settings.on_failure is OnFailure.DEFER)

    def _tell(self, engine: _Engine, change: Change | None) -> None:
        if change is not None:
            level = "I" if change.state is State.UP else "W"
            text = f": {change.text}" if change.text else ""
            self._say(level, f"engine {engine.settings.name} is {change.state.value}{text}")
            if change.state is State.UP and engine.health.reason:
                self._recovered()

    def _forget(self, engine: _Engine) -> None:
        if engine.task is not None:
            engine.task.cancel()
        engine.health.failed(self._loop.time(), clock.now(), "it is not configured any more")
        engine.first.set()
        while engine.waiting:
            self._call_next(engine)
        for lease in engine.leases.values():
            lease.end()
        engine.leases.clear()


def _allowed(engine: _Engine) -> int:
    return min(engine.share, engine.most) if engine.most else engine.share


def _describe(engine: EngineTable, error: Exception) -> str:
    what = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:  # below 0: of the resolver
        what = os.strerror(error.errno)
    return f"{engine.address}: {what}" if engine.address else what
