"""One leap of the clock is one problem: doubted when it is long, else told as a step."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatepost.control.socket import ControlError
from gatepost.master import problems as problems_module
from gatepost.master.clock_watch import look_at_clock
from gatepost.master.problems import Problems
from gatepost.spool import clock

DAY_S = 86400.0


STATUS = {
    "relays": [{"index": 0, "restarts": 1, "filters": {"failed": 2}}],
    "filter_template": {"restarts": 0},
}


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], set[str]]:
    """A look for problems with the clock so many seconds ahead, returning the keys of those of the clock."""
    real, ahead = time.time, [0.0]
    shown = lambda: real() + ahead[0]  # noqa: E731 - takes the place of a function
    monkeypatch.setattr(time, "time", shown)
    monkeypatch.setattr(clock, "now", shown)
    monkeypatch.setattr(problems_module, "_look_around", lambda *_: look_at_clock(str(tmp_path)))

    async def no_status() -> Any:
        raise ControlError("not asked here")

    async def announce(**_: Any) -> None:
        raise AssertionError

    problems = Problems(
        file=tmp_path / "problems.json",
        config=lambda: None,  # type: ignore[arg-type, return-value]
        status=no_status,
        announce=announce,
        say=lambda *_: None,
    )

    def look(seconds: float) -> set[str]:
        ahead[0] = seconds
        for _ in range(2):  # what one look finds alone does not count
            asyncio.run(problems.look())
        return {each["key"] for each in problems._answer()["problems"] if each["key"].startswith("clock")}

    assert look(0.0) == set()
    return look


def test_a_leap_that_is_doubted_is_told_once(keys: Callable[[float], set[str]]) -> None:
    assert keys(365 * DAY_S) == {"clock-ahead"}
    assert keys(0.0) == {"clock-jump"}, "put back: that moves what is due"


def test_a_step_of_less_than_a_day_is_told_as_such(keys: Callable[[float], set[str]]) -> None:
    assert keys(3600.0) == {"clock-jump"}
    assert keys(-3600.0) == {"clock-jump"}


def test_a_step_before_a_leap_is_not_told_beside_it(keys: Callable[[float], set[str]]) -> None:
    assert keys(600.0) == {"clock-jump"}
    assert keys(30 * DAY_S) == {"clock-ahead"}


def test_what_happened_within_the_hour_does_not_go_by_a_clock_that_leaps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[int, int]] = []

    def judge(_: object, restarts: dict[str, int], failures: dict[str, int], __: float) -> list[object]:
        counted.append((restarts["relay 0"], failures["relay 0"]))
        return []

    async def status() -> Any:
        return STATUS

    async def announce(**_: Any) -> None:
        raise AssertionError

    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    monkeypatch.setattr(problems_module, "_look_around", lambda *_: [])
    monkeypatch.setattr(problems_module, "judge_status", judge)
    problems = Problems(
        file=tmp_path / "problems.json",
        config=lambda: None,  # type: ignore[arg-type, return-value]
        status=status,
        announce=announce,
        say=lambda *_: None,
    )
    for ahead[0] in (0.0, DAY_S, 0.0):
        asyncio.run(problems.look())
    assert counted == [(1, 2)] * 3
