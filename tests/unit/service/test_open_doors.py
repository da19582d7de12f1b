"""Open doors: who comes in, how many at once, over what, and what becomes of them when doors close."""

import asyncio
import os
import ssl
import sys
import types
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import Certificate, shared_authority
from tests.support.ports import free_port

from gatepost.config.doors import Door, DoorKind, DoorTls
from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.master.ports import BindFailed, Ports
from gatepost.relay.tls import TlsSetupError
from gatepost.service.channel import Channel
from gatepost.service.doors import Doors

Serve = Callable[[Channel], Awaitable[None]]


class Desk:
    """What doors share, as far as they need it to be opened."""

    def configure(self, _: Config) -> None:
        pass


class Opened:
    """Doors opened on the event loop that runs, and the ports they are bound to."""

    def __init__(self, config: Config) -> None:
        desk: Any = Desk()
        self.said: list[str] = []
        self.ports = Ports()
        self.config = config
        self.doors = Doors(desk, lambda _, text: self.said.append(text), _learn)

    def open(self, *doors: Door) -> None:
        self.ports.bind((), doors)
        descriptors = [os.dup(each) for each in self.ports.descriptors((), doors)]
        self.doors.open(self.config, list(zip(doors, descriptors, strict=True)))

    async def close(self) -> None:
        await self.doors.stop(0)
        self.ports.close()


async def _learn(*_: object) -> str:
    return ""


def config(certificate: Certificate | None = None) -> Config:
    tls = f'tls_cert = "{certificate.chain}"\ntls_key = "{certificate.key}"\n' if certificate is not None else ""
    text = f'[network]\nhostname = "h.example"\n{tls}[[door]]\nkind = "spamd"\naddress = "tcp:127.0.0.1:1"\n'
    loaded = load_text(text, "x.toml")
    assert loaded.config is not None, loaded.problems
    return loaded.config


def play(
    monkeypatch: pytest.MonkeyPatch,
    serve: Serve,
    scene: Callable[[Opened], Awaitable[None]],
    certificate: Certificate | None = None,
) -> Opened:
    module: Any = types.ModuleType("spamd_door")
    module.make = lambda _: serve
    monkeypatch.setitem(sys.modules, "gatepost.service.spamd_door", module)

    async def run() -> Opened:
        opened = Opened(config(certificate))
        try:
            await asyncio.wait_for(scene(opened), 100)
        finally:
            await opened.close()
        return opened

    return asyncio.run(run())


def tcp(port: int, **settings: Any) -> Door:
    return Door(name="d", kind=DoorKind.SPAMD, address=f"tcp:127.0.0.1:{port}", host="127.0.0.1", port=port, **settings)


def local(path: Path, **settings: Any) -> Door:
    return Door(name="d", kind=DoorKind.SPAMD, address=f"unix:{path}", socket=str(path), **settings)


async def echo(channel: Channel) -> None:
    channel.write(await channel.read())


async def _heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


def test_those_beyond_the_limit_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def scene(opened: Opened) -> None:
        opened.open(local(tmp_path / "s", connections=1))
        first, second = [await asyncio.open_unix_connection(tmp_path / "s") for _ in range(2)]
        second[1].write(b"two")
        await asyncio.sleep(0)
        first[1].write(b"one")
        assert await _heard(*first) == b"one"
        assert await _heard(*second) == b"two"
        status = opened.doors.status()[0]
        assert (status.connections, status.connections_total, status.failed) == (0, 2, 0)

    play(monkeypatch, echo, scene)


def test_a_fault_ends_one_talk_and_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def fail(channel: Channel) -> None:
        if await channel.read() == b"fail":
            raise ValueError("what nobody thought of")
        channel.write(b"fine")

    async def scene(opened: Opened) -> None:
        opened.open(local(tmp_path / "s"))
        for said, heard in ((b"fail", b""), (b"go on", b"fine")):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
            writer.write(said)
            assert await _heard(reader, writer) == heard
        assert opened.doors.status()[0].failed == 1

    opened = play(monkeypatch, fail, scene)
    assert "what nobody thought of" in opened.said[0]


def test_who_is_not_allowed_is_counted_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(opened: Opened) -> None:
        port = free_port()
        opened.open(tcp(port, allow=("10.0.0.0/8",)))
        assert await _heard(*await asyncio.open_connection("127.0.0.1", port)) == b""
        assert opened.doors.status()[0].refused == 1

    play(monkeypatch, echo, scene)


def test_with_authorities_a_client_shows_a_certificate_of_theirs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = shared_authority()
    own, client = authority.issue("localhost"), authority.issue("client.example")

    async def scene(opened: Opened) -> None:
        port = free_port()
        opened.open(tcp(port, tls=DoorTls.ON, client_ca=str(authority.file)))
        for shown, heard in ((client, b"hello"), (None, b"")):
            context = authority.client_context(shown)
            said = b""
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=context, server_hostname="localhost"
                )
                writer.write(b"hello")
                said = await reader.read()
                writer.close()
            except (ssl.SSLError, OSError):
                pass
            assert said == heard
        while opened.doors.status()[0].failed < 1:  # noqa: ASYNC110 - a status is only looked at
            await asyncio.sleep(0.01)
        assert opened.doors.status()[0].connections == 0

    play(monkeypatch, echo, scene, own)


def test_tls_without_a_certificate_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def scene(opened: Opened) -> None:
        opened.open(local(tmp_path / "s"))
        with pytest.raises(TlsSetupError, match="names no certificate"):
            opened.open(tcp(free_port(), tls=DoorTls.ON))
        assert opened.doors.status()[0].address.startswith("unix:")

    play(monkeypatch, echo, scene)


def test_a_stop_lets_judgements_end_and_drops_those_who_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def judging(channel: Channel) -> None:
        if await channel.read() == b"judge":
            asked.set()
            await released.wait()
            channel.write(b"judged")

    async def scene(opened: Opened) -> None:
        opened.open(local(tmp_path / "s"))
        judged, idle = [await asyncio.open_unix_connection(tmp_path / "s") for _ in range(2)]
        judged[1].write(b"judge")
        while opened.doors.status()[0].connections < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        await asked.wait()
        stopping = asyncio.create_task(opened.doors.stop(10))
        assert await _heard(*idle) == b""
        assert not stopping.done()
        released.set()
        assert await _heard(*judged) == b"judged"
        await stopping

    play(monkeypatch, judging, scene)


def test_a_stale_socket_is_replaced_and_one_that_answers_is_not(tmp_path: Path) -> None:
    door = local(tmp_path / "s", socket_mode="640")
    dead = Ports()
    dead.bind((), (door,))
    with pytest.raises(BindFailed, match="Address already in use"):
        Ports().bind((), (door,))
    (tmp_path / "s").rename(tmp_path / "t")  # as after a kill: the file stays, nobody is behind it
    dead.close()
    (tmp_path / "t").rename(tmp_path / "s")
    ports = Ports()
    ports.bind((), (door,))
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o640
    ports.close()
    assert not (tmp_path / "s").exists()


def test_what_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("somebody's file")
    with pytest.raises(BindFailed):
        Ports().bind((), (local(tmp_path / "s"),))
    assert (tmp_path / "s").read_text() == "somebody's file"


def test_a_pause_removes_local_sockets_and_their_end_brings_them_back(tmp_path: Path) -> None:
    door, ports = local(tmp_path / "s"), Ports()
    ports.bind((), (door, tcp(free_port())))
    ports.pause()
    assert not (tmp_path / "s").exists()
    ports.bind((), (door,))
    assert not (tmp_path / "s").exists()
    ports.resume()
    assert (tmp_path / "s").is_socket()
    assert len(ports.descriptors((), (door,))) == 1
    ports.close()
