"""The log in the system's log: a stand-in for its daemon gets lines by letter; without one nobody waits or fails."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.control import log as log_module
from gatepost.control.log import Log, LogSettings
from gatepost.control.syslog_target import SyslogTarget

LOCAL3 = 19 << 3
NOWHERE = LogSettings("", 9, "mail", "%d", "%H")


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "log")
    monkeypatch.setattr(log_module, "SyslogTarget", lambda facility: SyslogTarget(facility, path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(5)
        yield server


@contextlib.contextmanager
def opened(settings: LogSettings) -> Iterator[Log]:
    log = Log(settings)
    yield log
    log.open(NOWHERE)


def settings(level: int = 4, facility: str = "mail") -> LogSettings:
    return LogSettings("syslog", level, facility, "%d", "%H")


@pytest.mark.feature("F-LOG-02")
def test_lines_come_with_facility_priority_and_the_documented_prefix(daemon: socket.socket):
    with opened(settings(9, "local3")) as log:
        for letter, priority in {"E": 3, "W": 4, "I": 5, "A": 6, "D": 7}.items():
            log.say(letter, f"of {letter}")
            text = daemon.recv(8192).decode()
            assert text.startswith(f"<{LOCAL3 | priority}>")
            head, _, line = text.partition("]: ")
            assert "gatepost[" in head
            assert line.endswith(f" {letter}]: of {letter}")


def test_only_what_the_level_wants_is_sent(daemon: socket.socket):
    with opened(settings(1)) as log:
        log.say("I", "no")
        log.say("E", "yes")
    assert daemon.recv(8192).decode().endswith("yes")


def test_a_daemon_that_was_started_anew_gets_the_next_line(daemon: socket.socket, tmp_path: Path):
    with opened(settings()) as log:
        log.say("E", "one")
        assert daemon.recv(8192).endswith(b"one")
        (tmp_path / "log").unlink()
        daemon.close()
        log.say("E", "lost")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
            again.bind(str(tmp_path / "log"))
            again.settimeout(5)
            log.say("E", "two")
            assert again.recv(8192).endswith(b"two")


def test_a_daemon_that_takes_nothing_makes_nobody_wait(daemon: socket.socket, capfd: pytest.CaptureFixture[str]):
    del daemon
    with opened(settings()) as log:
        for _ in range(2000):
            log.say("E", "x" * 500)
    assert capfd.readouterr().err.count("lines are lost") == 1


@pytest.mark.feature("F-LOG-02")
def test_no_target_means_no_log(capfd: pytest.CaptureFixture[str]):
    log = Log(NOWHERE)
    log.say("E", "unheard")
    log.write([("A", "line\n")])
    assert (log.size(), capfd.readouterr().err) == (0, "")
