"""The judge of client programs: what a server rules arrives, and what servers do wrong is never taken for an answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.support.certificates import shared_authority
from tests.support.ports import free_port
from tests.support.scripted_judge import OpenDoor, ScriptedJudge, open_door, ruling

from gatepost.client.remote import RemoteJudge, RemoteSettings, RemoteTls
from gatepost.config.doors import Door
from gatepost.model.envelope import Client
from gatepost.model.filtering import Deed, Part, Request, Ruling
from gatepost.model.reply import Reply
from gatepost.service import filter_door
from gatepost.service.gathered import MEMORY_BYTES
from gatepost.service.judge import Unjudged
from gatepost.wire.filtering import FilterServerSession

CONTENT = b"Subject: x\r\n\r\nHello\r\n"
REQUEST = Request(client=Client("192.0.2.7", helo="mx.example"), sender="a@x.example", recipients=("b@y.example",))
ANSWER = ruling(recipients=("b@y.example",), rate=100, status="spam")


def silent(_level: str, _text: str) -> None:
    """What is reported is not looked at."""


def remote(*addresses: str, **settings: object) -> RemoteJudge:
    chosen = msgspec.structs.replace(RemoteSettings(addresses=addresses), **settings)
    return RemoteJudge(chosen, silent)


@asynccontextmanager
async def serving(judge: ScriptedJudge, path: Path, door: Door | None = None) -> AsyncIterator[OpenDoor]:
    """Open a filter door on a local socket."""
    async with open_door(filter_door.make, judge, door) as opened:
        server = await asyncio.get_running_loop().create_unix_server(opened.channel, path)
        try:
            yield opened
        finally:
            server.close()


Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def speaking(speak: Speak, path: Path) -> AsyncIterator[None]:
    """Open a server that does not keep to the protocol."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await speak(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_unix_server(handle, path)
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_ruling_arrives_as_the_judge_gave_it(tmp_path: Path) -> None:
    asked = ScriptedJudge(ANSWER)

    async def scene() -> Ruling:
        async with serving(asked, tmp_path / "s", Door(name="here")):
            judge = remote(f"unix:{tmp_path / 's'}")
            answer = await judge.judge(REQUEST, CONTENT, 5.0)
            judge.close()
            return answer

    assert asyncio.run(scene()) == ANSWER
    assert asked.last.content == CONTENT
    assert asked.last.request == msgspec.structs.replace(
        REQUEST, client=msgspec.structs.replace(REQUEST.client, listener="here")
    )
    assert 4.0 < asked.last.deadline_s <= 5.0


@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145, 3_000_000])
@pytest.mark.parametrize("as_file", [False, True])
def test_content_of_any_size_arrives(tmp_path: Path, size: int, as_file: bool) -> None:
    content = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    asked = ScriptedJudge(ANSWER)
    if as_file:
        (tmp_path / "mail").write_bytes(content)

    async def scene() -> None:
        async with serving(asked, tmp_path / "s"):
            judge = remote(f"unix:{tmp_path / 's'}")
            await judge.judge(REQUEST, tmp_path / "mail" if as_file else content, 20.0)
            judge.close()

    asyncio.run(scene())
    assert asked.last.content == content
    assert asked.last.was_file == (size > MEMORY_BYTES)


def test_one_connection_serves_many_messages(tmp_path: Path) -> None:
    async def scene() -> int:
        async with serving(ScriptedJudge(ANSWER), tmp_path / "s") as door:
            judge = remote(f"unix:{tmp_path / 's'}")
            for _ in range(5):
                assert await judge.judge(REQUEST, CONTENT, 5.0) == ANSWER
            judge.close()
            await door.settle()
            return len(door.ended)

    assert asyncio.run(scene()) == 1


def test_a_connection_the_server_closed_meanwhile_is_replaced(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(ScriptedJudge(ANSWER), tmp_path / "s") as door:
            judge = remote(f"unix:{tmp_path / 's'}")
            await judge.judge(REQUEST, CONTENT, 5.0)
            for channel in tuple(door.channels):
                channel.abort()
            assert await judge.judge(REQUEST, CONTENT, 5.0) == ANSWER
            judge.close()

    asyncio.run(scene())


def test_messages_at_once_use_no_more_connections_than_allowed(tmp_path: Path) -> None:
    async def scene() -> int:
        scripted = ScriptedJudge(ANSWER)
        scripted.hold = asyncio.Event()
        async with serving(scripted, tmp_path / "s") as door:
            judge = remote(f"unix:{tmp_path / 's'}", connections=2)
            tasks = [asyncio.create_task(judge.judge(REQUEST, CONTENT, 20.0)) for _ in range(4)]
            while len(scripted.asked) < 2:  # noqa: ASYNC110 - the scripted judge tells of no event
                await asyncio.sleep(0)
            most = len(door.channels)
            scripted.hold.set()
            assert await asyncio.gather(*tasks) == [ANSWER] * 4
            judge.close()
            return max(most, len(door.channels))

    assert asyncio.run(scene()) == 2


def test_the_next_server_is_asked_when_one_is_away_and_it_is_asked_later_for_a_while(tmp_path: Path) -> None:
    reported: list[tuple[str, str]] = []

    async def scene() -> None:
        async with serving(ScriptedJudge(ANSWER), tmp_path / "s"):
            settings = RemoteSettings(addresses=(f"unix:{tmp_path / 'none'}", f"unix:{tmp_path / 's'}"))
            judge = RemoteJudge(settings, lambda level, text: reported.append((level, text)))
            for _ in range(3):
                assert await judge.judge(REQUEST, CONTENT, 5.0) == ANSWER
            judge.close()

    asyncio.run(scene())
    assert len(reported) == 1
    assert "none: no connection: No such file or directory" in reported[0][1]


def test_all_servers_away_is_said_with_each_reason(tmp_path: Path) -> None:
    port = free_port()

    async def scene() -> str:
        with pytest.raises(Unjudged) as told:
            await remote(f"unix:{tmp_path / 'none'}", f"tcp:127.0.0.1:{port}").judge(REQUEST, CONTENT, 5.0)
        return str(told.value)

    text = asyncio.run(scene())
    assert "none: no connection: No such file" in text
    assert f"127.0.0.1:{port}: no connection" in text


def test_a_server_that_is_back_is_asked_though_it_was_away_and_each_is_said_once(tmp_path: Path) -> None:
    reported: list[tuple[str, str]] = []
    address = f"unix:{tmp_path / 's'}"

    async def scene() -> None:
        judge = RemoteJudge(RemoteSettings(addresses=(address,)), lambda level, text: reported.append((level, text)))
        for _ in range(3):
            with pytest.raises(Unjudged):
                await judge.judge(REQUEST, CONTENT, 5.0)
        async with serving(ScriptedJudge(ANSWER), tmp_path / "s"):
            for _ in range(3):
                assert await judge.judge(REQUEST, CONTENT, 5.0) == ANSWER
            judge.close()

    asyncio.run(scene())
    assert reported == [
        ("W", f"filtering server {address}: no connection: No such file or directory"),
        ("I", f"filtering server {address} answers again"),
    ]


def test_what_the_server_cannot_judge_is_unjudged_and_the_connection_stays(tmp_path: Path) -> None:
    async def scene() -> int:
        scripted = ScriptedJudge(Unjudged("no filter is free"))
        async with serving(scripted, tmp_path / "s") as door:
            judge = remote(f"unix:{tmp_path / 's'}")
            with pytest.raises(Unjudged, match="no filter is free"):
                await judge.judge(REQUEST, CONTENT, 5.0)
            scripted.answer = ANSWER
            assert await judge.judge(REQUEST, CONTENT, 5.0) == ANSWER
            return len(door.channels)

    assert asyncio.run(scene()) == 1


async def _stall(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass


async def _greet_and_stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(FilterServerSession("x").hello())
    await _stall(reader, writer)


async def _leave(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def _leave_without_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(FilterServerSession("x").hello())
    while len(await reader.read(65536)) < 30:
        pass


async def _babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"220 mx.example ESMTP\r\n")
    await _stall(reader, writer)


async def _chatter(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    session = FilterServerSession("x")
    writer.write(session.hello() + session.unjudged("no") * 10)
    while True:
        writer.write(session.unjudged("no") * 1000)
        await writer.drain()  # until we are left


async def _pass_by_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    session = FilterServerSession("x")
    writer.write(session.hello())
    session.feed(await reader.readexactly(5))
    while not session.asked:
        session.feed(await reader.read(65536))
    writer.write(session.result(ruling(recipients=("other@y.example",))))
    await _stall(reader, writer)


@pytest.mark.parametrize(
    ("speak", "said"),
    [
        (_stall, "no greeting within"),
        (_greet_and_stall, "no answer in time"),
        (_leave, "it closed the connection"),
        (_leave_without_answer, "it closed the connection|connection broke"),
        (_babble, "not of the protocol"),
        (_chatter, "more than it was asked"),
        (_pass_by_all, "no recipient of this message"),
    ],
)
def test_a_server_that_does_not_answer_as_it_should_is_no_answer(tmp_path: Path, speak: Speak, said: str) -> None:
    async def scene() -> None:
        async with speaking(speak, tmp_path / "s"):
            wait_s = 0.2 if "within" in said or "in time" in said else 20.0
            judge = remote(f"unix:{tmp_path / 's'}", connect_timeout_s=wait_s, data_timeout_s=wait_s)
            with pytest.raises(Unjudged, match=said):
                await judge.judge(REQUEST, CONTENT, 20.0)

    asyncio.run(scene())


def test_a_server_that_takes_no_more_of_a_large_message_is_given_up(tmp_path: Path) -> None:
    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(FilterServerSession("x").hello())
        await asyncio.get_running_loop().create_future()

    async def scene() -> None:
        async with speaking(deaf, tmp_path / "s"):
            judge = remote(f"unix:{tmp_path / 's'}", data_timeout_s=0.2)
            with pytest.raises(Unjudged, match="no answer in time"):
                await judge.judge(REQUEST, bytes(20_000_000), 20.0)

    asyncio.run(scene())


def test_the_deadline_holds_for_all_servers_together(tmp_path: Path) -> None:
    async def scene() -> str:
        async with speaking(_greet_and_stall, tmp_path / "a"), speaking(_greet_and_stall, tmp_path / "b"):
            judge = remote(f"unix:{tmp_path / 'a'}", f"unix:{tmp_path / 'b'}", data_timeout_s=60.0)
            with pytest.raises(Unjudged) as told:
                await judge.judge(REQUEST, CONTENT, 0.2)
            return str(told.value)

    assert str(tmp_path / "b") not in asyncio.run(scene())


def test_tls_with_certificates_of_both_sides(tmp_path: Path) -> None:
    authority = shared_authority()
    server_certificate = authority.issue("filter.example")
    client_certificate = authority.issue("mx.example")
    ca = authority.file
    port = free_port()
    tls = RemoteTls(str(ca), str(client_certificate.chain), str(client_certificate.key), "filter.example")

    async def scene() -> None:
        async with open_door(filter_door.make, ScriptedJudge(ANSWER)) as door:
            context = server_certificate.server_context(ask_client=authority)
            server = await asyncio.get_running_loop().create_server(door.channel, "127.0.0.1", port, ssl=context)
            address = f"tcp:127.0.0.1:{port}"
            judge = remote(address, tls=tls)
            assert await judge.judge(REQUEST, CONTENT, 10.0) == ANSWER
            judge.close()
            with pytest.raises(Unjudged, match=r"its certificate is not accepted: Hostname mismatch"):
                await remote(address, tls=RemoteTls(str(ca), name="other.example")).judge(REQUEST, CONTENT, 10.0)
            server.close()

    asyncio.run(scene())


def test_why_there_is_no_tls_is_told(tmp_path: Path) -> None:
    authority = shared_authority()
    expired = authority.issue("filter.example", days=(-30, -1))
    tls = RemoteTls(str(authority.file), name="filter.example")

    async def scene() -> tuple[str, str]:
        async with open_door(filter_door.make, ScriptedJudge(ANSWER)) as door:
            loop = asyncio.get_running_loop()
            said = []
            for context in (None, expired.server_context()):
                port = free_port()
                server = await loop.create_server(door.channel, "127.0.0.1", port, ssl=context)
                (why,) = (await remote(f"tcp:127.0.0.1:{port}", tls=tls).probe()).values()
                said.append(why)
                server.close()
            return said[0], said[1]

    in_clear, too_late = asyncio.run(scene())
    assert in_clear.startswith("no connection: TLS fails: ")
    assert too_late == "no connection: its certificate is not accepted: certificate has expired"
    (tmp_path / "none.pem").write_text("nothing\n")
    for file, why in ((tmp_path / "away.pem", "No such file"), (tmp_path / "none.pem", "no usable PEM")):
        for wrong in (RemoteTls(str(file)), RemoteTls("", str(file))):
            with pytest.raises(OSError, match=f"{file.name}: {why}"):
                remote("tcp:127.0.0.1:1", tls=wrong)


def test_a_probe_tells_of_every_server(tmp_path: Path) -> None:
    async def scene() -> dict[str, str]:
        async with serving(ScriptedJudge(), tmp_path / "s"):
            return await remote(f"unix:{tmp_path / 's'}", f"unix:{tmp_path / 'none'}").probe()

    here, none = asyncio.run(scene()).values()
    assert not here
    assert "No such file" in none


def test_a_refusal_arrives_with_its_reply(tmp_path: Path) -> None:
    reply = Reply(550, "5.7.1", ("It is spam.", "Really."))
    answer = ruling(Part(recipients=("b@y.example",), deed=Deed.REJECT, reply=reply))

    async def scene() -> None:
        async with serving(ScriptedJudge(answer), tmp_path / "s"):
            judge = remote(f"unix:{tmp_path / 's'}")
            assert await judge.judge(REQUEST, CONTENT, 5.0) == answer
            judge.close()

    asyncio.run(scene())
