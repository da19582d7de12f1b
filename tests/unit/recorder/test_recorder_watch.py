"""A recorder that stands still is told of and started again; one that answers is left alone."""

import asyncio
import itertools
import signal
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gatepost.control.socket import ControlError
from gatepost.master import recorder as hosting
from gatepost.master.paths import Paths
from gatepost.master.recorder import SILENT_LIMIT, RecorderHost, SilentRecorderError


class StandIn(SimpleNamespace):
    """A child that keeps the signals it gets, and has another pid after one."""

    def signal(self, number: int) -> None:
        self.signals.append(number)
        self.pid += 1
        self.signalled.set()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecorderHost:
    monkeypatch.setattr(hosting, "ANSWER_S", 0.2)
    monkeypatch.setattr(hosting, "WATCH_S", 0.0)
    said: list[str] = []
    made = RecorderHost(None, Paths(tmp_path), lambda level, text: said.append(f"{level} {text}"))  # type: ignore[arg-type]
    made.current = StandIn(state="running", pid=7, trouble="", signals=[], restarts=0)  # type: ignore[assignment]
    made._tracking = True
    made.said = said  # type: ignore[attr-defined]
    Path(made._paths.tracking_socket).parent.mkdir(parents=True, exist_ok=True)
    return made


async def beside_the_watch(host: RecorderHost, answers: Any, what: Coroutine[Any, Any, None]) -> None:
    server = await asyncio.start_unix_server(answers, host._paths.tracking_socket)
    watching = asyncio.create_task(host.watch())
    try:
        await what
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        server.close()


def test_one_that_stands_still_is_killed_after_several_questions(host: RecorderHost) -> None:
    questions = 0
    killed_at: list[int] = []

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal questions
        questions += 1
        await reader.read()
        writer.close()

    async def scenario() -> None:
        with pytest.raises(SilentRecorderError, match="does not answer"):
            await host._ask(hosting.Request("tracking.search", {}))
        before = questions
        child: Any = host.current
        child.signalled = asyncio.Event()
        async with asyncio.timeout(120):
            await child.signalled.wait()
        killed_at.append(questions - before)

    asyncio.run(beside_the_watch(host, nothing, scenario()))
    child: Any = host.current
    assert child.signals[0] == signal.SIGKILL
    assert killed_at[0] >= SILENT_LIMIT - 1
    assert "stood still" in child.trouble
    assert host.said[0].startswith("E recorder: it stood still")  # type: ignore[attr-defined]


def watch_silence(host: RecorderHost, questions: int, *, ends: bool, answers: int = 0) -> list[int]:
    """Ask a recorder so many times that answers none, but for the one of that number; return after how many questions
    each kill came. One that does not end keeps its pid.
    """
    asked, kills = 0, [0]
    enough = asyncio.Event()

    class Child(StandIn):
        def signal(self, number: int) -> None:
            assert number == signal.SIGKILL
            kills.append(asked)
            self.pid += ends

    host.current = Child(state="running", pid=7, trouble="", restarts=0)  # type: ignore[assignment]

    async def ask(_request: hosting.Request) -> None:
        nonlocal asked
        if asked == questions:
            enough.set()
            await asyncio.Event().wait()
        asked += 1
        if asked != answers:
            raise SilentRecorderError("it does not answer")

    async def scenario() -> None:
        watching = asyncio.create_task(host.watch())
        async with asyncio.timeout(120):
            await enough.wait()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    host._ask = ask  # type: ignore[method-assign]
    asyncio.run(scenario())
    return [later - earlier for earlier, later in itertools.pairwise(kills)]


def test_a_kill_that_helps_nothing_is_repeated_ever_more_seldom(
    host: RecorderHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "SILENT_LONGEST", 16)
    assert watch_silence(host, 4 + 8 + 16 + 16 + 2, ends=True) == [4, 8, 16, 16]
    assert len(host.said) == 4  # type: ignore[attr-defined]


def test_one_that_answers_again_gets_no_more_patience_than_the_first(host: RecorderHost) -> None:
    assert watch_silence(host, 4 + 1 + 4 + 2, ends=True, answers=5) == [4, 5]


def test_one_that_its_disk_keeps_from_ending_is_killed_once_and_told_of_once_more(host: RecorderHost) -> None:
    assert watch_silence(host, 4 + 8 + 8 + 8 + 2, ends=False) == [4]
    assert [line[:40] for line in host.said] == [  # type: ignore[attr-defined]
        "E recorder: it stood still for 4 questio",
        "E recorder: it was killed and does not e",
    ]


def test_one_that_answers_between_is_left_alone(host: RecorderHost) -> None:
    questions = 0
    enough = asyncio.Event()

    async def every_other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal questions
        questions += 1
        if questions == 3 * SILENT_LIMIT:
            enough.set()
        await reader.readline()
        if questions % 2:
            writer.write(b'{"error": "disk I/O error"}\n')
        else:
            await reader.read()
        writer.close()

    async def scenario() -> None:
        async with asyncio.timeout(120):
            await enough.wait()

    asyncio.run(beside_the_watch(host, every_other, scenario()))
    assert host.current is not None
    assert host.current.signals == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer", [b"Traceback\n", b'{"error": 7}\n', b"\xff\xfe\n", b"[" * 5000 + b"\n"])
def test_an_answer_that_is_none_is_told_and_the_watch_goes_on(host: RecorderHost, answer: bytes) -> None:
    questions = 0
    enough = asyncio.Event()

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal questions
        questions += 1
        if questions == 3:
            enough.set()
        await reader.readline()
        writer.write(answer)
        writer.close()

    async def scenario() -> None:
        with pytest.raises(ControlError, match="no answer that can be read"):
            await host._ask(hosting.Request("tracking.search", {}))
        async with asyncio.timeout(120):
            await enough.wait()

    asyncio.run(beside_the_watch(host, nonsense, scenario()))


def test_one_that_is_not_there_yet_is_not_silent(host: RecorderHost) -> None:
    with pytest.raises(ControlError, match="ask again in a moment") as refused:
        asyncio.run(host._ask(hosting.Request("tracking.search", {})))
    assert not isinstance(refused.value, SilentRecorderError)


def test_one_that_ends_in_the_middle_of_an_answer_is_said_to_have_ended(host: RecorderHost) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"result": {"mails": [')
        writer.close()

    async def scenario() -> None:
        with pytest.raises(ControlError, match="ended before it had an answer"):
            await host._ask(hosting.Request("tracking.search", {}))

    asyncio.run(beside_the_watch(host, half, scenario()))
