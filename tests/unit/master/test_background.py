"""What the master does in the background: whatever ends it, it is told, a problem for a while, and goes on."""

import asyncio
from collections.abc import Callable

import pytest

from gatepost.control.faults import log_unhandled
from gatepost.doctor.finding import State
from gatepost.master import background as module
from gatepost.master.background import TOLD_S, Background

Said = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "plan_restart", lambda _: 0.0)


def run(scenario: Callable[[Background, Said], object]) -> Said:
    said: Said = []

    async def go() -> None:
        work = Background(lambda level, text: said.append((level, text)))
        async with asyncio.timeout(120):
            await scenario(work, said)  # type: ignore[misc]
        work.close()

    asyncio.run(go())
    return said


@pytest.mark.parametrize("ends", ["by-an-exception", "by-itself"])
def test_what_never_should_end_is_started_again(ends: str) -> None:
    starts = 0

    async def scenario(background: Background, _: Said) -> None:
        third = asyncio.Event()

        async def work() -> None:
            nonlocal starts
            starts += 1
            if starts == 3:
                third.set()
                await asyncio.Event().wait()
            if ends == "by-an-exception":
                raise LookupError("no such day")

        background.keep("counting days", work)
        await third.wait()
        (finding,) = background.findings()
        assert finding.state is State.ERROR
        assert finding.text.startswith("the master's task of counting days failed: ")
        assert finding.mend

    said = run(scenario)
    assert [level for level, _ in said] == ["E", "E"]
    why = "LookupError: no such day (test_background.py:" if ends == "by-an-exception" else "it came to an end"
    assert all(text.startswith(f"task of counting days: {why}") and "starts again" in text for _, text in said)


def test_a_failure_is_a_problem_for_an_hour() -> None:
    now = 1000.0

    async def scenario() -> list[int]:
        nonlocal now
        failed = asyncio.Event()
        background = Background(lambda _, __: failed.set(), lambda: now)

        async def work() -> None:
            if not failed.is_set():
                raise OSError(28, "No space left on device")
            await asyncio.Event().wait()

        background.keep("looking", work)
        async with asyncio.timeout(120):
            await failed.wait()
        counts = []
        for later in (0.0, TOLD_S - 1, 2.0):
            now += later
            counts.append(len(list(background.findings())))
        background.close()
        return counts

    assert asyncio.run(scenario()) == [1, 1, 0]


def test_what_is_done_once_is_told_when_it_fails_and_not_done_again() -> None:
    async def scenario(background: Background, said: Said) -> None:
        async def work() -> None:
            raise ValueError("no port")

        background.once("opening the console", work)
        while not said:  # noqa: ASYNC110 - the next turn of the loop has it
            await asyncio.sleep(0)
        assert [each.key for each in background.findings()] == ["task:opening the console"]

    (told,) = run(scenario)
    assert told[0] == "E"
    assert told[1].startswith("task of opening the console: ValueError: no port")


def test_what_a_callback_raises_is_logged_and_a_peer_that_hangs_up_is_not() -> None:
    said: Said = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        log_unhandled(loop, lambda level, text: said.append((level, text)), "master")
        loop.call_soon([].index, 7)
        loop.call_exception_handler({"message": "gone", "exception": ConnectionResetError(), "transport": object()})
        while not said:  # noqa: ASYNC110 - the next turn of the loop has it
            await asyncio.sleep(0)

    asyncio.run(scenario())
    ((level, text),) = said
    assert level == "E"
    assert text.startswith("master: internal error: ValueError: ")
