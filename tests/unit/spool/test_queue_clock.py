"""The queue's clock: real time unless a test names another at the start, and never by accident."""

import math
import time
from pathlib import Path

import pytest
from tests.support.clock import DAY, SteppedClock

from gatepost.spool import clock


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the real clock back after each test."""
    monkeypatch.setattr(clock, "now", clock.now)
    monkeypatch.setattr(clock, "elapsed", clock.elapsed)
    monkeypatch.setattr(clock, "longest_pause_s", clock.longest_pause_s)


def test_unset_it_is_the_real_clock_itself() -> None:
    for environment in ({}, {clock.VARIABLE: ""}):
        assert clock.follow_test_clock(environment) == ""
        assert clock.now is time.time
        assert clock.longest_pause_s == math.inf


def test_steps_are_seen_at_once_in_both_directions(tmp_path: Path) -> None:
    stepped = SteppedClock(tmp_path)
    assert clock.follow_test_clock(stepped.env) == str(tmp_path / "clock")
    assert 0 < clock.longest_pause_s < 1
    for seconds in (0.0, 5 * DAY, -30 * DAY):
        stepped.step(seconds)
        before = stepped.now()
        assert before <= clock.now() <= stepped.now()
    assert clock.now() < time.time() - 24 * DAY


@pytest.mark.parametrize("content", [None, b"", b"123456789012345"])
def test_what_is_no_clock_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "clock"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises((OSError, ValueError)):
        clock.follow_test_clock({clock.VARIABLE: str(file)})
    assert clock.now is time.time
