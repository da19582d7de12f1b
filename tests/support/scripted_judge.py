"""A judge that says what it is told to, and a door in front of it: on a socket pair, or listening for real programs.

    judge = ScriptedJudge(ruling(rate=100, status="spam"))

    async def scene() -> None:
        async with open_door(spamd_door.make, judge) as door:
            talk = await door.talk()
            talk.send(b"PING SPAMC/1.2\\r\\n")
            assert await talk.rest() == b"SPAMD/1.5 0 PONG\\r\\n"

    asyncio.run(scene())

Programs need a door that listens: `with ListeningDoor(spamd_door.make, judge) as door:` runs it in a thread.
"""

import asyncio
import contextlib
import functools
import itertools
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from gatepost.config.doors import Door, DoorKind
from gatepost.model.filtering import Part, Request, Ruling
from gatepost.service.channel import Channel, Serve
from gatepost.service.judge import Context, Unjudged
from gatepost.service.local_transport import PASSES_DESCRIPTORS, LocalTransport
from tests.support.ports import free_port
from tests.support.waiting import WAIT_S, join

Answer = Ruling | Exception | Callable[[Request, bytes], "Ruling | Exception"]
Make = Callable[[Context], Serve]
Learn = Callable[[bytes, bool | None], Awaitable[str]]


def ruling(*parts: Part, queue_id: str = "0AB1CD2EF3GH4", info: str = "", **fields: Any) -> Ruling:
    """Return a ruling of one part with these fields; with several `parts` the first is the whole."""
    chosen = parts or (Part(**fields),)
    return Ruling(parts=chosen, whole=chosen[0], queue_id=queue_id, info=info)


_NUMBERS = itertools.count()
CLEAN = ruling(status="not_detected", objects=("clean",), methods=("none",))


class Asked(msgspec.Struct):
    """One question as it came."""

    request: Request
    content: bytes
    deadline_s: float
    was_file: bool


class ScriptedJudge:
    """Answers each question with `answer`: a ruling, what it raises (`Unjudged("why")`), or what it says to a question."""

    def __init__(self, answer: Answer = CLEAN) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.hold: asyncio.Event | None = None
        """When set to an event, answers wait for it."""

    @property
    def last(self) -> Asked:
        return self.asked[-1]

    async def judge(self, request: Request, content: bytes | Path, deadline_s: float) -> Ruling:
        data = content if isinstance(content, bytes) else await asyncio.to_thread(content.read_bytes)
        self.asked.append(Asked(request, data, deadline_s, not isinstance(content, bytes)))
        if self.hold is not None:
            try:
                async with asyncio.timeout(deadline_s):
                    await self.hold.wait()
            except TimeoutError:
                raise Unjudged("no answer in time") from None
        answer = self.answer if isinstance(self.answer, (Ruling, Exception)) else self.answer(request, data)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Talk:
    """The client's end of a connection to a door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *pieces: bytes) -> None:
        """Send; each piece goes out by itself."""
        for piece in pieces:
            self.writer.write(piece)

    def end(self) -> None:
        """Send nothing more; answers can still be read."""
        self.writer.write_eof()

    async def read(self, size: int) -> bytes:
        """Return exactly so many bytes."""
        return await asyncio.wait_for(self.reader.readexactly(size), WAIT_S)

    async def until(self, end: bytes) -> bytes:
        """Return what comes up to and including `end`."""
        return await asyncio.wait_for(self.reader.readuntil(end), WAIT_S)

    async def rest(self) -> bytes:
        """Return all that comes until the door closes."""
        return await asyncio.wait_for(self.reader.read(), WAIT_S)

    def close(self) -> None:
        self.writer.close()


class OpenDoor:
    """A door; `ended` holds what each connection failed with, None for those that ended well."""

    def __init__(self, kind: DoorKind, serve: Serve, timeout_s: float, reported: list[tuple[str, str]]) -> None:
        self._kind = kind
        self._serve = serve
        self._timeout_s = timeout_s
        self._talks: list[Talk] = []
        self.reported = reported
        self.ended: list[BaseException | None] = []
        self.channels: set[Channel] = set()
        self._quiet = asyncio.Event()

    def channel(self) -> Channel:
        """Return the next connection, for a listening server."""
        channel = Channel(self._serve, self._timeout_s, self._note)
        self.channels.add(channel)
        self._quiet.clear()
        return channel

    async def talk(self) -> Talk:
        """Connect, over a local socket."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        await self.begin(ours)
        talk = Talk(*await asyncio.open_connection(sock=theirs))
        self._talks.append(talk)
        return talk

    async def begin(self, connection: socket.socket) -> None:
        """Serve a connection, with the transport that doors of this kind have."""
        loop = asyncio.get_running_loop()
        if self._kind in PASSES_DESCRIPTORS and connection.family == socket.AF_UNIX:
            LocalTransport(loop, connection, self.channel())
        else:
            await loop.connect_accepted_socket(self.channel, connection)

    async def settle(self) -> None:
        """Wait until every connection has ended."""
        await asyncio.wait_for(self._quiet.wait(), WAIT_S)

    async def close(self) -> None:
        for talk in self._talks:
            talk.close()
        for channel in tuple(self.channels):
            channel.abort()
        for talk in self._talks:
            with contextlib.suppress(OSError):
                await talk.writer.wait_closed()

    def _note(self, channel: Channel, failure: BaseException | None) -> None:
        self.channels.discard(channel)
        self.ended.append(failure)
        if not self.channels:
            self._quiet.set()


def _context(judge: ScriptedJudge, door: Door, learn: Learn | None) -> tuple[Context, list[tuple[str, str]]]:
    reported: list[tuple[str, str]] = []

    def report(level: str, text: str) -> None:
        reported.append((level, text))

    delivered = Path(_scratch().name) / str(next(_NUMBERS))
    context = Context(
        door=door, judge=judge, hostname="mx.example.com", report=report, learn=learn, delivered=delivered
    )
    return context, reported


@functools.cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """Return a directory of this process: what one door remembers of a port and a text is nothing to the next."""
    return tempfile.TemporaryDirectory(prefix="gatepost-doors-")


@contextlib.asynccontextmanager
async def open_door(
    make: Make, judge: ScriptedJudge, door: Door | None = None, *, learn: Learn | None = None, timeout_s: float = WAIT_S
) -> AsyncIterator[OpenDoor]:
    """Open a door for conversations within this event loop."""
    context, reported = _context(judge, door or Door(name="door"), learn)
    opened = OpenDoor(context.door.kind, make(context), timeout_s, reported)
    try:
        yield opened
    finally:
        await opened.close()


class ListeningDoor:
    """A door that listens on a port of 127.0.0.1, and on a local socket when it has a path; served by a thread."""

    def __init__(
        self, make: Make, judge: ScriptedJudge, door: Door | None = None, *, path: Path | None = None,
        learn: Learn | None = None,
    ) -> None:  # fmt: skip
        self._make = make
        self.judge = judge
        self._door = door or Door(name="door", kind=DoorKind.SPAMD)
        self._learn = learn
        self.port = free_port()
        self.path = path
        self.reported: list[tuple[str, str]] = []
        self.context: Context
        """What the door was made with; there once it is open."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(WAIT_S), "the door does not open"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        join(self._thread)

    async def _run(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.context, self.reported = _context(self.judge, self._door, self._learn)
        opened = OpenDoor(self._door.kind, self._make(self.context), WAIT_S, self.reported)
        listeners = [socket.create_server(("127.0.0.1", self.port))]
        if self.path is not None:
            listeners.append(socket.socket(socket.AF_UNIX))
            listeners[1].bind(str(self.path))
            listeners[1].listen()
        accepting = [loop.create_task(_accept(listener, opened)) for listener in listeners]
        self._ready.set()
        await self._stop.wait()
        for task in accepting:
            task.cancel()
        await asyncio.gather(*accepting, return_exceptions=True)
        for listener in listeners:
            listener.close()
        await opened.close()
        if opened.channels:
            await opened.settle()


async def _accept(listener: socket.socket, opened: OpenDoor) -> None:
    """Serve who comes, until cancelled. What was accepted by then has begun: nobody waits at a socket that is forgotten."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    came = asyncio.Event()
    loop.add_reader(listener, came.set)
    try:
        while True:
            await came.wait()
            came.clear()
            with contextlib.suppress(BlockingIOError):
                connection, _ = listener.accept()
                connection.setblocking(False)
                beginning = loop.create_task(opened.begin(connection))
                try:
                    await asyncio.shield(beginning)
                finally:
                    await beginning
    finally:
        loop.remove_reader(listener)
