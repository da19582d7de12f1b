"""A talk is dropped at each step it takes, at a door of each kind: nothing of it stays behind.

What the client says comes in pieces, and the judge thinks; the talk is dropped where the door waits, one step later in
each round, until a round comes to its end by itself.
"""

import asyncio
import contextlib
import socket
import tempfile
import types
from collections.abc import Callable, Generator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.support import milter_peer as mta
from tests.support.scripted_judge import ScriptedJudge, open_door, ruling

from gatepost.client.remote import RemoteJudge, RemoteSettings
from gatepost.config.doors import Door, DoorKind
from gatepost.model.envelope import Client
from gatepost.model.filtering import Part, Request, Ruling
from gatepost.service import filter_door
from gatepost.service.channel import Channel, Serve
from gatepost.service.gathered import MEMORY_BYTES
from gatepost.service.held_bytes import HeldBytes
from gatepost.service.judge import Context
from gatepost.wire.filtering import END, FilterClientSession, build_data

LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * (MEMORY_BYTES // 18 + 10)
SMALL = b"Subject: small\r\n\r\nHello\r\n"
PIECES = 8
"""What a client says comes in so many."""
STEPS_LIMIT = 200
REQUEST = Request(client=Client(""), sender="a@x.example", recipients=("b@y.example",))


def drive(coroutine: Any, at: int, drop: Callable[[], None]) -> Generator[Any, Any, int]:
    """Run a coroutine, and have it dropped when it waits for the `at`th time; return how often it has waited."""
    steps, send, value = 0, coroutine.send, None
    while True:
        try:
            waited = send(value)
        except StopIteration:
            return steps
        steps += 1
        if steps == at:
            asyncio.get_running_loop().call_soon(drop)
        try:
            send, value = coroutine.send, (yield waited)
        except BaseException as error:  # noqa: BLE001 - it is passed on
            send, value = coroutine.throw, error


driven: Any = types.coroutine(drive)


class Dropped:
    """A door whose talk is dropped at a step."""

    def __init__(self, make: Callable[[Context], Serve], at: int) -> None:
        self._make = make
        self._at = at
        self.dropped = False

    def make(self, context: Context) -> Serve:
        serve = self._make(context)

        async def dropping(channel: Channel) -> None:
            def drop() -> None:
                self.dropped = True
                channel.abort()

            await driven(serve(channel), self._at, drop)

        return dropping


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[HeldBytes]:
    """What doors hold, by their counts."""
    counts: list[HeldBytes] = []
    begin = HeldBytes.__init__

    def note(count: HeldBytes, *limit: int) -> None:
        begin(count, *limit)
        counts.append(count)

    monkeypatch.setattr(HeldBytes, "__init__", note)
    return counts


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    place = tmp_path / "files"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield
    assert not list(place.iterdir())


async def settled(look: Callable[[], object]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(100):
        while not look():  # noqa: ASYNC110 - whatever may change
            await asyncio.sleep(0.001)


class Hop:
    """A next hop that takes all mail."""

    def __init__(self) -> None:
        self.open = 0
        self.met = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.met += 1
        try:
            writer.write(b"220 hop\r\n")
            content = False
            while line := await reader.readline():
                if content and line != b".\r\n":
                    continue
                content = line == b"DATA\r\n"
                writer.write(b"354 go\r\n" if content else b"250 ok\r\n")
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.transport.abort()


def _spamd(content: bytes) -> bytes:
    return b"PROCESS SPAMC/1.5\r\nContent-length: %d\r\n\r\n%b" % (len(content), content)


def _clamd(content: bytes) -> bytes:
    return b"zINSTREAM\0" + len(content).to_bytes(4, "big") + content + b"\0\0\0\0"


def _rspamd(content: bytes) -> bytes:
    return b"POST /checkv2 HTTP/1.1\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(content), content)


def _icap(content: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    return b"".join(
        (
            b"RESPMOD icap://h/avscan ICAP/1.0\r\nHost: h\r\nEncapsulated: res-hdr=0, res-body=%d\r\n" % len(head),
            b"Connection: close\r\n\r\n" + head,
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content),
        )
    )


def _filter(content: bytes) -> bytes:
    session = FilterClientSession("test")
    return session.hello() + session.ask(REQUEST, len(content), 10.0) + b"".join((*build_data(content), END))


def _proxy(content: bytes) -> bytes:
    said = b"EHLO c\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n"
    return said + content + b".\r\nMAIL FROM:<a@x.example>\r\nRSET\r\nQUIT\r\n"


TALKS: dict[DoorKind, Callable[[bytes], bytes]] = {
    DoorKind.MILTER: lambda content: mta.session(mta.message(content), mta.message(SMALL)),
    DoorKind.SPAMD: _spamd,
    DoorKind.CLAMD: _clamd,
    DoorKind.RSPAMD: _rspamd,
    DoorKind.ICAP: _icap,
    DoorKind.FILTER: _filter,
    DoorKind.PROXY: _proxy,
}


class ThinkingJudge(ScriptedJudge):
    """Takes a while."""

    async def judge(self, request: Request, content: bytes | Path, deadline_s: float) -> Ruling:
        await asyncio.sleep(0)
        return await super().judge(request, content, deadline_s)


def _rule(request: Request, _: bytes) -> Any:
    return ruling(Part(recipients=request.recipients, status="not_detected", objects=("clean",)))


def test_every_kind_of_door_is_tried() -> None:
    assert set(TALKS) == set(DoorKind)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("kind", TALKS)
def test_nothing_stays_behind(kind: DoorKind, content: bytes, tmp_path: Path, held: list[HeldBytes]) -> None:
    make = import_module(f"gatepost.service.{kind.value}_door").make
    hop = Hop()

    async def scene(at: int) -> bool:
        """Return whether the talk was dropped."""
        place = tmp_path / f"hop-{at}"
        server = await asyncio.start_unix_server(hop.serve, place)
        dropped = Dropped(make, at)
        door = Door(name="d", kind=kind, next_hop=f"unix:{place}", next_hop_timeout=100.0)
        try:
            async with open_door(dropped.make, ThinkingJudge(_rule), door) as opened:
                talk = await opened.talk()
                heard = asyncio.create_task(talk.reader.read())
                said = TALKS[kind](content)
                size = len(said) // PIECES + 1
                for start in range(0, len(said), size):
                    talk.send(said[start : start + size])
                    await asyncio.sleep(0.001)
                with contextlib.suppress(OSError):
                    talk.end()
                await opened.settle()
                await asyncio.gather(heard, return_exceptions=True)
            await settled(lambda: not hop.open)
        finally:
            server.close()
        assert all(count.held == 0 for count in held)
        return dropped.dropped

    async def rounds() -> int:
        for at in range(1, STEPS_LIMIT):
            if not await scene(at):
                return at
        raise AssertionError("the talk does not come to its end")

    assert asyncio.run(rounds()) > 2
    assert bool(hop.met) is (kind is DoorKind.PROXY)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_client_whose_question_is_dropped_leaves_no_connection_at_the_server(content: bytes, tmp_path: Path) -> None:
    place = tmp_path / "server"

    async def scene(at: int) -> bool:
        """Return whether the question was dropped."""
        async with open_door(filter_door.make, ThinkingJudge(_rule)) as opened:
            server = await asyncio.get_running_loop().create_unix_server(opened.channel, place)
            judge = RemoteJudge(RemoteSettings(addresses=(f"unix:{place}",)), lambda *_: None)
            question = asyncio.ensure_future(
                driven(judge.judge(REQUEST, content, 100.0), at, lambda: question.cancel())  # noqa: PLW0108 - it comes to be here
            )
            await asyncio.wait([question])
            judge.close()
            if opened.channels:
                await opened.settle()
            server.close()
        return question.cancelled()

    async def rounds() -> int:
        for at in range(1, STEPS_LIMIT):
            if not await scene(at):
                return at
        raise AssertionError("the question does not come to its end")

    assert asyncio.run(rounds()) > 2


def test_a_client_that_does_not_read_its_answer_is_counted_until_it_is_dropped() -> None:
    async def serve(channel: Channel) -> None:
        channel.write(LARGE)

    async def scene() -> None:
        async with open_door(lambda _: serve, ScriptedJudge(), timeout_s=0.3) as opened:
            ours, theirs = socket.socketpair()
            with theirs:
                ours.setblocking(False)
                await opened.begin(ours)
                (channel,) = opened.channels
                await settled(lambda: channel._task is None)
                assert opened.channels, "the talk is over, the connection is not"
                await opened.settle()
                theirs.settimeout(100)
                with contextlib.suppress(ConnectionError):
                    while theirs.recv(65536):
                        pass
        assert opened.ended == [None]

    asyncio.run(scene())


def test_a_connection_that_is_dropped_before_it_is_made_ends_all_the_same() -> None:
    ended: list[BaseException | None] = []

    async def scene() -> None:
        async def serve(_: Channel) -> None:
            raise AssertionError("nobody is served")

        channel = Channel(serve, 20.0, lambda _, failure: ended.append(failure))
        channel.abort()
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: channel, ours)
            await settled(lambda: ended)
            assert theirs.recv(1) == b""

    asyncio.run(scene())
    assert ended == [None]
