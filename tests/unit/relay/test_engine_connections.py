"""Connections to remote engines in a relay: lent, bounded, cut off, refused while an engine is down, found again."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gatepost.antivirus.engine import Connection
from gatepost.config.engines import EngineKind, EngineTable, OnFailure
from gatepost.model.finding import EngineNote
from gatepost.relay.engine_connections import EngineConnections
from gatepost.relay.engine_health import FIRST_PAUSE_S, LONGEST_PAUSE_S, PROBE_S, STRIKES, EngineHealth, State
from gatepost.relay.engine_probe import Probed, probe

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(work: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(100):
            await work

    asyncio.run(bounded())


class Daemon:
    """A clamd that tells its version and counts who connects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.version = "ClamAV 1/1"
        self.open = 0
        self.most = 0
        self.probes = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self.server = await asyncio.start_unix_server(self.serve, self.path)

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        for writer in self.writers:
            writer.close()
        self.path.unlink(missing_ok=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        data = await reader.read(100)
        if data.startswith(b"zIDSESSION\0zVERSION\0"):
            self.probes += 1
            writer.write(f"1: {self.version}\0".encode())
        elif data:
            self.open += 1
            self.most = max(self.most, self.open)
            with contextlib.suppress(ConnectionError):
                while await reader.read(100):
                    pass
            self.open -= 1
        writer.close()


@contextlib.asynccontextmanager
async def connections(
    *engines: EngineTable, relays: int = 1, recovered: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[EngineConnections, list[tuple[str, str]]]]:
    said: list[tuple[str, str]] = []
    made = EngineConnections(asyncio.get_running_loop(), lambda level, text: said.append((level, text)), "", recovered)
    made.configure(engines, relays)
    try:
        yield made, said
    finally:
        made.close()


def clamd(path: Path, name: str = "clam", **settings: object) -> EngineTable:
    return EngineTable(name=name, kind=EngineKind.CLAMD, address=str(path), **settings)  # type: ignore[arg-type]


def use(connection: Connection) -> socket.socket:
    assert connection.sock is not None, connection.reason
    connection.sock.send(b"x")
    return connection.sock


async def until(look: Callable[[], bool]) -> None:
    while not look():  # noqa: ASYNC110 - what is looked at knows of no event
        await asyncio.sleep(0.005)


def test_a_connection_comes_with_the_version(tmp_path: Path) -> None:
    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        await daemon.start()
        async with connections(clamd(daemon.path)) as (made, said):
            got = await made.connect("clam", 1)
            with use(got) as sock:
                assert not sock.getblocking()
            assert (got.version, got.reason) == ("ClamAV 1/1", "")
            assert said == [("I", "engine clam is up: ClamAV 1/1")]
            (state,) = made.states()
            assert (state["state"], state["version"], state["connections"]) == ("up", "ClamAV 1/1", 1)
            made.release(1)
            assert made.states()[0]["connections"] == 0
        await daemon.stop()

    run(work())


def test_an_engine_that_is_down_is_refused_at_once_and_found_again(tmp_path: Path) -> None:
    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        table = clamd(daemon.path)
        back: list[str] = []
        strict = clamd(daemon.path, "error", on_failure=OnFailure.ERROR)
        async with connections(table, strict, recovered=lambda: back.append("back")) as (made, said):
            for _ in range(20):
                got = await made.connect("clam", 1)
                assert got.sock is None
                assert got.reason.startswith("down since ")
                assert got.reason.endswith("No such file or directory")
                assert got.wait
            assert not (await made.connect("error", 1)).wait
            assert not back
            await daemon.start()
            await until(lambda: made.states()[0]["state"] == "up")
            assert back
            use(await made.connect("clam", 1)).close()
            told = [text for _, text in said if "engine clam " in text]
            why = f"{daemon.path}: No such file or directory"
            assert told == [f"engine clam is down: {why}", "engine clam is up: ClamAV 1/1"]
            assert made.states()[0]["last_error"] == why
        await daemon.stop()

    run(work())


def test_an_engine_that_breaks_down_is_noticed_by_the_next_connection(tmp_path: Path) -> None:
    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        await daemon.start()
        async with connections(clamd(daemon.path)) as (made, said):
            use(await made.connect("clam", 1)).close()
            await daemon.stop()
            assert (await made.connect("clam", 1)).sock is None
            assert said[-1][0] == "W"

    run(work())


@pytest.mark.parametrize("answer", [b"", b"nonsense\0", b"\0" * 9000, b"1: UNKNOWN COMMAND ERROR\0"])
def test_what_does_not_answer_a_probe_properly_is_down(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    async def work() -> None:
        server = await asyncio.start_unix_server(serve, tmp_path / "c")
        async with connections(clamd(tmp_path / "c")) as (made, _):
            assert (await made.connect("clam", 1)).sock is None
            assert made.states()[0]["state"] == "down"
        server.close()

    run(work())


def test_never_more_than_allowed(tmp_path: Path) -> None:
    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        await daemon.start()
        async with connections(clamd(daemon.path, connections=6), relays=3) as (made, _):
            first, second = use(await made.connect("clam", 1)), use(await made.connect("clam", 2))
            third = asyncio.ensure_future(made.connect("clam", 3))
            fourth = asyncio.ensure_future(made.connect("clam", 4))
            await until(lambda: made.states()[0]["waiting"] == 2)
            fourth.cancel()
            made.rest(1, ())  # the filter keeps it, but another needs it more
            got = use(await third)
            assert first.recv(1) == b""
            first.close()
            fifth = asyncio.ensure_future(made.connect("clam", 5))
            await until(lambda: made.states()[0]["waiting"] == 1)
            made.release(2)
            last = use(await fifth)
            await until(lambda: daemon.open == 2)
            assert daemon.most == 2
            for sock in (second, got, last):
                sock.close()
        await daemon.stop()

    run(work())


def test_a_fault_of_ours_leaves_no_engine_unwatched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [RuntimeError("a fault of ours")]

    async def faulty(*arguments: Any) -> Probed:
        if faults:
            raise faults.pop()
        return await probe(*arguments)

    monkeypatch.setattr("gatepost.relay.engine_connections.probe", faulty)
    monkeypatch.setattr("gatepost.relay.engine_health.FIRST_PAUSE_S", 0.01)

    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        await daemon.start()
        async with connections(clamd(daemon.path)) as (made, said):
            refused = await made.connect("clam", 1)
            assert refused.sock is None
            assert "a fault of ours" in refused.reason
            await until(lambda: made.states()[0]["state"] == "up")
            assert [level for level, _ in said] == ["W", "I"]
        await daemon.stop()

    run(work())


def test_one_who_stops_waiting_in_the_same_moment_is_passed_over(tmp_path: Path) -> None:
    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        await daemon.start()
        async with connections(clamd(daemon.path, connections=1)) as (made, _):
            use(await made.connect("clam", 1)).close()
            gone, next_one = (asyncio.ensure_future(made.connect("clam", holder)) for holder in (2, 3))
            await until(lambda: made.states()[0]["waiting"] == 2)
            gone.cancel()
            made.release(1)  # before the cancelled one could take itself out of the line
            use(await next_one).close()
            with pytest.raises(asyncio.CancelledError):
                await gone
            assert made.states()[0]["waiting"] == 0
            made.release(3)
            use(await made.connect("clam", 4)).close()
        await daemon.stop()

    run(work())


def test_those_who_wait_are_refused_when_the_engine_breaks_down(tmp_path: Path) -> None:
    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        await daemon.start()
        async with connections(clamd(daemon.path, connections=1)) as (made, _):
            use(await made.connect("clam", 1)).close()
            waiting = [asyncio.ensure_future(made.connect("clam", holder)) for holder in (2, 3)]
            await until(lambda: made.states()[0]["waiting"] == 2)
            await daemon.stop()
            made.release(1)
            assert [(await each).sock for each in waiting] == [None, None]
            assert made.states()[0]["connections"] == 0

    run(work())


def test_a_second_connection_for_a_filter_replaces_the_first(tmp_path: Path) -> None:
    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        await daemon.start()
        async with connections(clamd(daemon.path, connections=1)) as (made, _):
            first = use(await made.connect("clam", 1))
            second = use(await made.connect("clam", 1))
            assert first.recv(1) == b""
            first.close()
            second.close()
        await daemon.stop()

    run(work())


def test_new_signatures_end_what_was_lent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.relay.engine_health.PROBE_S", 0.02)

    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        await daemon.start()
        async with connections(clamd(daemon.path)) as (made, said):
            first = use(await made.connect("clam", 1))
            daemon.version = "ClamAV 1/2"
            await until(lambda: made.states()[0]["version"] == "ClamAV 1/2")
            assert made.states()[0]["connections"] == 0
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(first, 1) == b""
            first.close()
            again = await made.connect("clam", 1)
            assert again.version == "ClamAV 1/2"
            use(again).close()
            assert len(said) == 1
        await daemon.stop()

    run(work())


def test_a_reload_keeps_what_stays(tmp_path: Path) -> None:
    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        await daemon.start()
        stays, changes = clamd(daemon.path, "stays"), clamd(daemon.path, "changes")
        async with connections(stays, changes) as (made, _):
            kept, lost = use(await made.connect("stays", 1)), use(await made.connect("changes", 1))
            made.configure([stays, clamd(daemon.path, "changes", members=True), clamd(daemon.path, "new")], 1)
            assert [(state["name"], state["connections"]) for state in made.states()] == [
                ("stays", 1), ("changes", 0), ("new", 0),
            ]  # fmt: skip
            assert lost.recv(1) == b""
            kept.send(b"x")
            made.configure([], 1)
            gone = await made.connect("stays", 1)
            assert gone.wait
            assert "not configured" in gone.reason
            kept.close()
            lost.close()
        await daemon.stop()

    run(work())


def test_objects_without_an_answer_make_it_slow(tmp_path: Path) -> None:
    async def work() -> None:
        daemon = Daemon(tmp_path / "c")
        await daemon.start()
        async with connections(clamd(daemon.path)) as (made, said):
            use(await made.connect("clam", 1)).close()
            stuck = EngineNote("clam", objects=1, trouble="clam: no answer within 20 s")
            for _ in range(STRIKES):
                made.rest(1, [EngineNote("builtin", objects=1), stuck])
            assert (await made.connect("clam", 1)).reason.startswith("slow since")
            await until(lambda: (probes := daemon.probes) > 1 and probes < 99)
            use(await made.connect("clam", 1)).close()  # on trial
            assert made.states()[0]["state"] == "slow"
            made.rest(1, [EngineNote("clam", objects=2)])
            assert made.states()[0]["state"] == "up"
            assert [text.partition(":")[0] for _, text in said] == [
                "engine clam is up", "engine clam is slow", "engine clam is up",
            ]  # fmt: skip
        await daemon.stop()

    run(work())


# --- health, without a clock


def test_pauses_grow_while_it_is_down_and_begin_anew() -> None:
    health = EngineHealth()
    pauses = []
    now = 0.0
    for _ in range(8):
        health.failed(now, now, "refused")
        pauses.append(health.due - now)
        now = health.due
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)
    assert health.probed(now, now, "v") is not None
    assert health.due - now == PROBE_S
    health.failed(now, now, "refused")
    assert health.due - now == FIRST_PAUSE_S


def test_only_changes_are_told() -> None:
    health = EngineHealth()
    assert health.failed(0, 100, "refused") is not None
    assert health.failed(1, 101, "refused") is None
    assert (health.state, health.since, health.usable) == (State.DOWN, 100, False)
    assert health.probed(2, 102, "v1") is not None
    assert health.probed(3, 103, "v2") is None
    assert (health.state, health.since, health.version, health.usable) == (State.UP, 102, "v2", True)


def test_an_object_or_two_are_no_slowness_and_an_answer_forgives() -> None:
    health = EngineHealth()
    health.probed(0, 0, "v")
    for _ in range(5):
        assert all(health.troubled(1, 1, "late") is None for _ in range(STRIKES - 1))
        assert health.scanned(1) is None
    for _ in range(STRIKES - 1):
        health.troubled(1, 1, "late")
    change = health.troubled(1, 1, "late")
    assert change is not None
    assert (change.state, health.usable) == (State.SLOW, False)


def test_on_trial_one_object_without_an_answer_is_enough() -> None:
    health = EngineHealth()
    health.probed(0, 0, "v")
    for _ in range(STRIKES):
        health.troubled(0, 0, "late")
    first = health.due
    health.probed(first, 0, "v")
    assert health.usable
    health.troubled(first, 0, "late")
    assert (health.usable, health.state) == (False, State.SLOW)
    assert health.due - first == 2 * FIRST_PAUSE_S
    health.probed(health.due, 0, "v")
    assert health.scanned(5) is not None
    assert health.state is State.UP
