"""The supervisor: how often it restarts, and what it does with signals and ends (row F-MGMT-09)."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.waiting import wait_for

from gatepost.master import supervisor
from gatepost.master.exit_code import ExitCode
from gatepost.master.supervisor import (
    FIRST_PAUSE_S,
    RESTARTS_LIMIT,
    RESTARTS_WINDOW_S,
    Restarts,
    Supervision,
    Work,
    supervise,
)


def test_pauses_double_and_the_sixth_death_within_the_window_is_the_last() -> None:
    restarts = Restarts()
    pauses = [restarts.plan(float(second)) for second in range(RESTARTS_LIMIT)]
    assert pauses == [FIRST_PAUSE_S * 2**number for number in range(RESTARTS_LIMIT)]
    assert restarts.plan(float(RESTARTS_LIMIT)) is None
    assert restarts.plan(RESTARTS_WINDOW_S) is None
    assert restarts.plan(RESTARTS_WINDOW_S + 0.5) is not None, "the first death is out of the window"


def test_deaths_far_apart_are_never_too_many() -> None:
    restarts = Restarts()
    assert {restarts.plan(number * (RESTARTS_WINDOW_S + 1)) for number in range(50)} == {FIRST_PAUSE_S}


@pytest.fixture
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.001)


def supervised(work: Work, notes: Path) -> int:
    """Run a supervisor in a child of ours; what it says goes to a file."""

    def say(level: str, text: str) -> None:
        with notes.open("a") as file:
            file.write(f"{level} {text}\n")

    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = supervise(work, say, lambda: None)
        finally:
            os._exit(code)
    return pid


def end_of(pid: int) -> int:
    """Return the exit status of a child; a supervisor that hangs is killed."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail("the supervisor did not end")


def test_a_master_that_ends_as_told_ends_the_daemon(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert end_of(supervised(lambda _, __: ExitCode.STARTED, notes)) == 0
    assert not notes.exists()


def test_a_master_that_cannot_start_is_not_tried_again(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert end_of(supervised(lambda _, __: ExitCode.BIND, notes)) == ExitCode.BIND
    assert not notes.exists()


@pytest.mark.usefixtures("_short_pauses")
def test_a_master_that_dies_before_it_was_in_service_is_started_again(tmp_path: Path) -> None:
    def work(told: Supervision, _: Callable[[], None]) -> int:
        if not told.restarts:
            os.kill(os.getpid(), signal.SIGKILL)
        return ExitCode.STARTED

    assert end_of(supervised(work, tmp_path / "notes")) == 0
    assert (tmp_path / "notes").read_text().startswith("E the master ended (signal 9), starts again")


@pytest.mark.usefixtures("_short_pauses")
def test_it_tells_each_master_of_the_former_and_gives_up_in_the_end(tmp_path: Path) -> None:
    seen = tmp_path / "seen"

    def work(told: Supervision, in_service: Callable[[], None]) -> int:
        in_service()
        with seen.open("a") as file:
            file.write(f"{told.restarts} {told.last_end or '-'} {told.pid == os.getppid()}\n")
        return ExitCode.SYSTEM

    assert end_of(supervised(work, tmp_path / "notes")) == ExitCode.SYSTEM
    lives = seen.read_text().splitlines()
    assert lives == ["0 - True", *(f"{number} status 30 True" for number in range(1, RESTARTS_LIMIT + 1))]
    assert (
        (tmp_path / "notes").read_text().splitlines()[-1].startswith("F the master ended (status 30) after 5 restarts")
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1], ids=lambda each: each.name)
def test_signals_reach_the_master(tmp_path: Path, number: signal.Signals) -> None:
    ready, got = tmp_path / "ready", tmp_path / "got"

    def work(_: Supervision, __: Callable[[], None]) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        ready.touch()
        got.write_text(str(signal.sigwait({number})))
        return ExitCode.STARTED

    pid = supervised(work, tmp_path / "notes")
    wait_for(ready.exists, "the master")
    os.kill(pid, number)
    assert end_of(pid) == 0
    assert got.read_text() == str(int(number))


def test_told_to_stop_while_it_waits_it_starts_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 600.0)

    def work(_: Supervision, in_service: Callable[[], None]) -> int:
        in_service()
        return ExitCode.SYSTEM

    pid = supervised(work, tmp_path / "notes")
    wait_for((tmp_path / "notes").exists, "the death")
    os.kill(pid, signal.SIGTERM)
    assert end_of(pid) == 0
