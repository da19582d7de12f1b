"""Word to the service manager, over a real datagram socket."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.master import readiness
from gatepost.master.readiness import ServiceManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


def told(manager: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())


def test_the_environment_is_taken_and_cleared(tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    assert ServiceManager.from_environment(environment).watchdog_s == 30
    assert environment == {"HOME": "/"}
    others = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}
    assert ServiceManager.from_environment(others).watchdog_s == 0
    assert ServiceManager.from_environment({"WATCHDOG_USEC": "soon"}).watchdog_s == 0


def test_states(manager: socket.socket, tmp_path: Path) -> None:
    service = ServiceManager(str(tmp_path / "notify"), 0)
    service.ready("in service")
    assert told(manager) == {"READY": "1", "STATUS": "in service", "MAINPID": str(os.getpid())}
    with contextlib.suppress(ValueError), service.reload():
        reloading = told(manager)
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) > 0
        raise ValueError("a faulty file")
    assert told(manager)["READY"] == "1"
    service.stopping()
    assert told(manager)["STOPPING"] == "1"


def test_abstract_addresses() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"gatepost-test-{os.getpid()}"
        sock.bind(f"\0{name}")
        sock.settimeout(10)
        ServiceManager(f"@{name}", 0).stopping()
        assert told(sock)["STOPPING"] == "1"


def test_nobody_there_is_no_trouble(tmp_path: Path) -> None:
    ServiceManager("", 0).ready("x")
    ServiceManager(str(tmp_path / "gone"), 0).ready("x")


def test_a_full_manager_keeps_nobody_waiting(manager: socket.socket, tmp_path: Path) -> None:
    service = ServiceManager(str(tmp_path / "notify"), 0)
    for _ in range(5000):  # far beyond any backlog of a local socket
        service.stopping()
    assert told(manager)["STOPPING"] == "1"


def test_the_watchdog_is_fed_only_while_all_answer(manager: socket.socket, tmp_path: Path) -> None:
    troubles = iter(["", "relay 1 does not answer", ""])

    async def trouble() -> str:
        try:
            return next(troubles)
        except StopIteration:
            raise asyncio.CancelledError from None

    async def feed() -> None:
        await ServiceManager(str(tmp_path / "notify"), 0.003).feed(trouble)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(feed())
    assert [told(manager) for _ in range(3)] == [
        {"WATCHDOG": "1"},
        {"STATUS": "relay 1 does not answer"},
        {"WATCHDOG": "1"},
    ]


def test_while_it_starts_it_asks_for_time(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "STARTING_S", 0.001)

    async def start() -> None:
        service = ServiceManager(str(tmp_path / "notify"), 0)
        task = asyncio.create_task(service.keep_patient(lambda: "recovering"))
        loop = asyncio.get_running_loop()
        manager.setblocking(False)
        for _ in range(2):
            data = (await loop.sock_recv(manager, 4096)).decode()
            assert data == "EXTEND_TIMEOUT_USEC=3000\nSTATUS=recovering"
        task.cancel()

    asyncio.run(asyncio.wait_for(start(), 100))
