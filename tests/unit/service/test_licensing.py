"""The licensing daemon and who asks it: yes, no, away, slow, and babbling."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.support.waiting import join

from gatepost.config.licence_daemon import LicenceDaemon
from gatepost.service.licensing import LicenceClient, LicenceServer, ask_once

Scene = Callable[[LicenceServer, LicenceClient], Awaitable[None]]


def settings(path: Path) -> LicenceDaemon:
    return LicenceDaemon(
        license_listen=str(path),
        filter_license_connect_to=str(path),
        filter_license_connect_timeout=5.0,
        filter_license_data_timeout=5.0,
    )


def play(tmp_path: Path, scene: Scene, answer: Callable[[], str] = lambda: "") -> None:
    async def run() -> None:
        server = LicenceServer(answer, lambda *_: None)
        client = LicenceClient(settings(tmp_path / "l"))
        server.configure(settings(tmp_path / "l"))
        try:
            await scene(server, client)
        finally:
            client.close()
            server.close()
            await asyncio.sleep(0)

    asyncio.run(run())


def test_many_messages_ask_over_one_connection(tmp_path: Path) -> None:
    async def scene(server: LicenceServer, client: LicenceClient) -> None:
        assert await asyncio.gather(*(client.ask() for _ in range(50))) == [""] * 50
        assert len(server._channels) == 1

    play(tmp_path, scene)


def test_one_that_ends_as_it_opens_leaves_no_socket(tmp_path: Path) -> None:
    async def scene(server: LicenceServer, client: LicenceClient) -> None:
        server.close()
        server.configure(settings(tmp_path / "l"))
        server.close()
        assert not (tmp_path / "l").exists()
        server.configure(settings(tmp_path / "l"))
        assert await client.ask() == ""

    play(tmp_path, scene)


def test_a_no_says_why(tmp_path: Path) -> None:
    async def scene(_: LicenceServer, client: LicenceClient) -> None:
        assert await client.ask() == "there is no licence key"

    play(tmp_path, scene, lambda: "there is no licence key")


def test_a_daemon_that_is_away_and_one_that_comes_back(tmp_path: Path) -> None:
    async def scene(server: LicenceServer, client: LicenceClient) -> None:
        assert await client.ask() == ""
        server.close()
        assert "cannot be reached" in await client.ask()
        server.configure(settings(tmp_path / "l"))
        assert await client.ask() == ""

    play(tmp_path, scene)


def test_a_connection_that_ended_while_it_was_idle_is_opened_again(tmp_path: Path) -> None:
    async def scene(server: LicenceServer, client: LicenceClient) -> None:
        assert await client.ask() == ""
        for channel in list(server._channels):
            channel.abort()
        assert await client.ask() == ""

    play(tmp_path, scene)


async def ask_of(path: Path, said: bytes, timeout_s: float = 5.0) -> str:
    """Ask a daemon that says this, whatever it is asked, and nothing more."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_unix_server(serve, path)
    client = LicenceClient(msgspec.structs.replace(settings(path), filter_license_data_timeout=timeout_s))
    answer = await client.ask()
    client.close()
    await ended.wait()
    server.close()
    return answer


def test_one_that_does_not_answer_costs_its_time_out(tmp_path: Path) -> None:
    assert asyncio.run(ask_of(tmp_path / "l", b"", 0.05)) == "the licensing daemon does not answer"


def test_one_that_babbles_is_not_believed(tmp_path: Path) -> None:
    assert "cannot be reached" in asyncio.run(ask_of(tmp_path / "l", b"YES of course\n"))


def test_too_many_connections_are_closed(tmp_path: Path) -> None:
    async def scene(server: LicenceServer, client: LicenceClient) -> None:
        assert await client.ask() == ""
        few = msgspec.structs.replace(settings(tmp_path / "l"), license_max_connections=1)
        server.configure(few)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "l")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    play(tmp_path, scene)


def test_a_stranger_to_the_protocol_is_closed(tmp_path: Path) -> None:
    async def scene(_: LicenceServer, client: LicenceClient) -> None:
        assert await client.ask() == ""
        reader, writer = await asyncio.open_unix_connection(tmp_path / "l")
        writer.write(b"GET / HTTP/1.0\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    play(tmp_path, scene)


def test_one_question_from_a_thread(tmp_path: Path) -> None:
    answers = ["", "there is no licence key"]

    async def scene(server: LicenceServer, _: LicenceClient) -> None:
        given = settings(tmp_path / "l")
        assert [await asyncio.to_thread(ask_once, given) for _ in range(2)] == ["", "there is no licence key"]
        server.close()
        assert "cannot be reached: No such file" in await asyncio.to_thread(ask_once, given)

    play(tmp_path, scene, lambda: answers.pop(0))


@pytest.mark.parametrize(
    ("said", "told"),
    [(b"\xff" * 1000, "not asked"), (b"YES", "not asked"), (b"", "not asked"), (None, "does not answer")],
)
def test_one_question_to_what_is_no_daemon(tmp_path: Path, said: bytes | None, told: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "l"))
        listener.listen()
        given = msgspec.structs.replace(
            settings(tmp_path / "l"), filter_license_data_timeout=0.2 if said is None else 60.0
        )

        def serve() -> None:
            with listener.accept()[0] as connection:
                assert connection.recv(100) == b"MAY\n"
                if said is None:
                    connection.recv(100)
                else:
                    connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        assert told in ask_once(given)
        join(thread)
