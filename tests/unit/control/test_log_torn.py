"""A line that a full disk or a kill has cut off: the next one begins a line of its own."""

import errno
import os
from pathlib import Path

import pytest

from gatepost.control.log import Log, LogSettings


@pytest.fixture
def settings(tmp_path: Path) -> LogSettings:
    return LogSettings(str(tmp_path / "gatepost.log"), 9, "mail", "%d/%m/%y", "%H:%M:%S")


def test_a_line_that_a_full_disk_cut_off_does_not_swallow_the_next(
    settings: LogSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, real, room = Log(settings), os.write, 10

    def write(descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, data[:room])
        room -= written
        return written

    log.write([("I", "before\n")])
    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        log.write([("I", "cut off by the disk\n")])
        log.write([("I", "lost\n")])
    log.write([("I", "after\n")])
    log.write([("I", "and on\n")])
    assert Path(settings.target).read_text() == "before\ncut off by\nafter\nand on\n"


def test_a_process_that_opens_a_log_that_ends_within_a_line_begins_a_new_one(settings: LogSettings) -> None:
    path = Path(settings.target)
    path.write_text("cut off by a ki")
    log = Log(settings)
    log.write([("I", "after\n")])
    assert path.read_text() == "cut off by a ki\nafter\n"
    path.write_text("whole\n")
    log.open(settings)
    log.write([("I", "after\n")])
    assert path.read_text() == "whole\nafter\n"


def test_the_first_line_of_a_new_log_is_its_first(settings: LogSettings) -> None:
    Log(settings).write([("I", "first\n")])
    assert Path(settings.target).read_text() == "first\n"
