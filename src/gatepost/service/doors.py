"""The open doors of one relay: who may come in, how many, and what serves them.

Called by `relay.entrances`, with listening sockets from the master; all relays accept from the same. A door's module is
imported when there is one of its kind. Promises: whoever is not allowed is closed at once; those beyond a door's
`connections` wait unaccepted, for another relay or for their turn; a door that is closed lets judgements under way come
to their end.
"""

import asyncio
import functools
import importlib
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.doors import Door
from gatepost.config.masks import NetworkSet
from gatepost.config.schema import Config
from gatepost.control.faults import describe_fault
from gatepost.relay.tls import HANDSHAKE_S, TlsSetupError, build_door_context
from gatepost.service.channel import Channel, Serve
from gatepost.service.desk_judge import Desk, DeskJudge
from gatepost.service.judge import Context
from gatepost.service.local_transport import PASSES_DESCRIPTORS, LocalTransport

ACCEPTS_AT_ONCE: Final = 32
"""Connections taken in one turn of the event loop: the relay has other things to do."""
RETRY_S: Final = 0.5
"""Pause when there is no descriptor for a connection."""
DELIVERED: Final = "delivered"
"""Below the state directory: who has a message that its client was told to send again (`service.proxy_memory`)."""
_POLL_S: Final = 0.02

Learn = Callable[[str, bytes, bool | None], Awaitable[str]]


class DoorStatus(msgspec.Struct):
    """What the status shows of a door."""

    name: str
    kind: str
    address: str
    connections: int = 0
    """Open now ..."""
    connections_total: int = 0
    """... and since it was opened."""
    refused: int = 0
    """By its allow list."""
    failed: int = 0
    """Ended by a fault, a time-out or a broken protocol."""


class _OpenDoor:
    """One door."""

    def __init__(
        self,
        door: Door,
        sock: socket.socket,
        serve: Serve,
        context: ssl.SSLContext | None,
        report: Callable[[str, str], None],
    ) -> None:
        self.door = door
        self.status = DoorStatus(door.name, door.kind.value, door.address)
        self.channels: set[Channel] = set()
        self._sock = sock
        self._serve = serve
        self._context = context
        self._report = report
        self._allowed = NetworkSet(door.allow)
        self._loop = asyncio.get_running_loop()
        self._taken = 0
        self._listens = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._listen()

    def _listen(self) -> None:
        if not self._listens and not self._closed and self._taken < self.door.connections:
            self._listens = True
            self._loop.add_reader(self._sock, self._accept)

    def _rest(self) -> None:
        if self._listens:
            self._listens = False
            self._loop.remove_reader(self._sock)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connection, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._report("E", f"door {self.door.name}: connections wait: {error.strerror}")
                self._rest()
                self._loop.call_later(RETRY_S, self._listen)
                return
            self.status.connections_total += 1
            if not self._may_come_in(peer):
                self.status.refused += 1
                connection.close()
                continue
            self._taken += 1
            self.status.connections = self._taken
            self._begin(connection)
            if self._taken >= self.door.connections:
                self._rest()
                return

    def _may_come_in(self, peer: Any) -> bool:
        return not isinstance(peer, tuple) or self._allowed.contains(peer[0].removeprefix("::ffff:"))

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        channel = Channel(self._serve, self.door.data_timeout, self._ended)
        self.channels.add(channel)
        if connection.family == socket.AF_UNIX and self._context is None and self.door.kind in PASSES_DESCRIPTORS:
            LocalTransport(self._loop, connection, channel)
            return
        task = self._loop.create_task(self._connect(connection, channel))
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._connected, connection, channel))

    async def _connect(self, connection: socket.socket, channel: Channel) -> None:
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._loop.connect_accepted_socket(
            lambda: channel,
            connection,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_S if self._context is not None else None,
        )

    def _connected(self, connection: socket.socket, channel: Channel, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None or task.cancelled():
            connection.close()
            self._ended(channel, failure)

    def _ended(self, channel: Channel, failure: BaseException | None) -> None:
        if channel not in self.channels:
            return
        self.channels.discard(channel)
        self._taken -= 1
        self.status.connections = self._taken
        if failure is not None:
            self.status.failed += 1
            # A connection that breaks, or comes to its time, is not ours to mend; a disk that is full is.
            if not isinstance(failure, ConnectionError | TimeoutError | ssl.SSLError):
                where = channel.peer or "a local client"
                self._report("E", f"door {self.door.name}: talk with {where} failed: {describe_fault(failure)}")
        self._listen()

    def close(self) -> None:
        """Accept no more."""
        self._rest()
        self._closed = True
        self._sock.close()

    def drop(self) -> None:
        """Let go of those that are only coming: whose encryption is being agreed on."""
        for task in self._tasks:
            task.cancel()


class Doors:
    """All doors of one relay."""

    def __init__(
        self, desk: Desk, report: Callable[[str, str], None], learn: Learn, version: Callable[[], str] | None = None
    ) -> None:
        """`report(level, text)` logs; `learn` teaches, told by which door, where one may; `version` says what changes
        with the databases.
        """
        self._desk = desk
        self._report = report
        self._learn = learn
        self._version = version
        self._open: list[_OpenDoor] = []
        self._closing: list[_OpenDoor] = []

    def open(self, config: Config, doors: Sequence[tuple[Door, int]]) -> None:
        """Take a (new) configuration, and accept at these (settings, descriptor of a listening socket); earlier doors
        are closed after, and talks at them go on. TlsSetupError: nothing has changed.
        """
        try:
            contexts = [build_door_context(config, door) for door, _ in doors]
        except TlsSetupError:
            for _, descriptor in doors:
                os.close(descriptor)
            raise
        self._desk.configure(config)
        before = self._open
        self._open = [
            self._open_one(config, door, descriptor, context)
            for (door, descriptor), context in zip(doors, contexts, strict=True)
        ]
        for each in before:
            each.close()
        self._closing = [each for each in (*self._closing, *before) if each.channels]

    def _open_one(self, config: Config, door: Door, descriptor: int, context: ssl.SSLContext | None) -> _OpenDoor:
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        made = importlib.import_module(f"gatepost.service.{door.kind.value}_door").make(
            Context(
                door,
                DeskJudge(self._desk, door),
                config.network.hostname,
                self._report,
                functools.partial(self._learn, door.name) if door.learning else None,
                delivered=Path(config.relay.state_path) / DELIVERED,
                version=self._version,
            )
        )
        return _OpenDoor(door, sock, made, context, self._report)

    def status(self) -> list[DoorStatus]:
        """Return what the status shows."""
        return [each.status for each in self._open]

    async def stop(self, grace_s: float) -> None:
        """Close, let judgements under way end for at most `grace_s`, and drop the rest: whoever has not heard 250, or
        its like, comes again.
        """
        doors, self._open, self._closing = [*self._open, *self._closing], [], []
        for each in doors:
            each.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while any(each.channels for each in doors):
            over = loop.time() >= end
            for each in doors if over else ():
                each.drop()
            for channel in [channel for each in doors for channel in each.channels]:
                if over or channel.waits:
                    channel.abort()
            await asyncio.sleep(0 if over else _POLL_S)
            if over:
                return
