"""The log as a view of records: what was written but not confirmed is not written twice, what was not is not missing."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from gatepost.control import log as control_log
from gatepost.control.log import Log, LogSettings, LogView
from gatepost.model.record import Blocked, Record, Refused


class Position:
    """The one thing a view asks of a spool: its confirmed position."""

    def __init__(self) -> None:
        self.held: tuple[int, bytes] = (0, b"")

    def position(self, _: str) -> tuple[int, bytes]:
        return self.held

    def confirm(self, _: str, number: int, note: bytes = b"") -> None:
        self.held = (number, note)


def batch(first: int, count: int) -> Sequence[Record]:
    return [
        Blocked(number << 22, 1_795_000_000.0, ("user@example.org",), number) for number in range(first, first + count)
    ]


def sizes(file: Path) -> list[int]:
    return [int(line.partition("size=")[2].partition(",")[0]) for line in file.read_text().splitlines()]


def test_unclean_stop_doubles_no_line_and_loses_none(tmp_path: Path) -> None:
    file = tmp_path / "log"
    settings = LogSettings(str(file), 4, "mail", "%Y-%m-%d", "%H:%M:%S")
    spool = Position()
    view = LogView(Log(settings), spool, 0)  # type: ignore[arg-type]
    view.replayed()
    view.consume(1, batch(1, 3))
    confirmed = spool.held
    view.consume(4, batch(4, 3))
    assert sizes(file) == [1, 2, 3, 4, 5, 6]

    spool.held = confirmed  # the confirmation of the second batch did not reach the disk
    file.write_text(file.read_text().rsplit("\n", 2)[0] + "\n")  # nor did its last line reach the log
    again = LogView(Log(settings), spool, 0)  # type: ignore[arg-type]
    again.consume(4, batch(4, 3))
    again.consume(7, batch(7, 1))
    again.replayed()
    again.consume(8, batch(8, 1))
    assert sizes(file) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert spool.held[0] == 8


def test_another_relays_line_of_the_same_second_is_not_taken_for_its_own(tmp_path: Path) -> None:
    """Refusals have no queue id. A relay killed between commit and line finds in the log what others wrote since."""
    file = tmp_path / "log"
    settings = LogSettings(str(file), 4, "mail", "%Y-%m-%d", "%H:%M:%S")
    refusal = Refused(1_795_000_000.5, "192.0.2.1", "rcpt", "relaying", 554, "a@example.net", "x@example.com")
    other = LogView(Log(settings), Position(), 1)  # type: ignore[arg-type]
    other.replayed()
    other.consume(1, [refusal, refusal])
    again = LogView(Log(settings), Position(), 0)  # type: ignore[arg-type]
    again.consume(1, [refusal])
    again.replayed()
    assert [line.partition("relay=")[2] for line in file.read_text().splitlines()] == ["1", "1", "0"]


def test_a_log_that_cannot_be_begun_anew_goes_on_where_it_was_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(control_log, "LOOK_S", 0.0)
    file = tmp_path / "log"
    log = Log(LogSettings(str(file), 4, "mail", "%Y-%m-%d", "%H:%M:%S"))
    file.rename(tmp_path / "log.1")
    file.mkdir()
    for number in range(5):
        log.say("I", f"line {number}")
    assert len((tmp_path / "log.1").read_text().splitlines()) == 5
    assert capfd.readouterr().err.count("Is a directory") == 1
    file.rmdir()
    log.say("I", "again")
    assert file.read_text().endswith("again\n")


def test_a_log_that_is_renamed_or_removed_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody tells the process; what is named otherwise meanwhile is nobody's any more."""
    monkeypatch.setattr(control_log, "LOOK_S", 0.0)
    file = tmp_path / "log"
    log = Log(LogSettings(str(file), 4, "mail", "%Y-%m-%d", "%H:%M:%S"))
    log.say("I", "one")
    file.rename(tmp_path / "log.1")
    log.say("I", "two")
    (tmp_path / "other").touch()
    (tmp_path / "other").replace(file)  # as with `create` of a rotation
    log.say("I", "three")
    assert [path.read_text().split(": ")[-1] for path in (tmp_path / "log.1", file)] == ["one\n", "three\n"]
    file.unlink()
    log.say("I", "four")
    log.say("I", "five")
    assert [line.split(": ")[-1] for line in file.read_text().splitlines()] == ["four", "five"]
