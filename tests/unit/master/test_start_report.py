"""What `gatepost start` hears of the daemon, and says of it."""

import json
import os
import threading

import pytest

from gatepost.master import daemon
from gatepost.master.exit_code import ExitCode

LONG_S = 120.0


def heard(*pieces: bytes, patience_s: float = LONG_S, end: bool = True) -> tuple[int, str]:
    """Return what comes of a start whose daemon writes these pieces."""
    reading, writing = os.pipe()
    for piece in pieces:
        os.write(writing, piece)
    if end:
        os.close(writing)
    try:
        return daemon._hear(reading, patience_s)
    finally:
        os.close(reading)
        if not end:
            os.close(writing)


def line(code: int | None, text: str) -> bytes:
    return json.dumps([code, text]).encode() + b"\n"


def test_a_start_that_succeeds_is_heard_though_the_daemon_lives_on() -> None:
    assert heard(line(0, ""), end=False) == (0, "")


def test_what_it_waits_for_is_said_once_and_is_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert heard(line(None, "relay 0 cannot start: disk full") + line(0, ""), end=False) == (0, "")
    said = capsys.readouterr().err.splitlines()
    assert said == ["not in service yet, it is tried again and again: relay 0 cannot start: disk full"]


def test_lines_may_come_in_pieces() -> None:
    reading, writing = os.pipe()
    whole = line(None, "disk full") + line(48, "the engines cannot be started")

    def write() -> None:
        for at in range(len(whole)):
            os.write(writing, whole[at : at + 1])
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert daemon._hear(reading, LONG_S) == (48, "the engines cannot be started")
    finally:
        writer.join()
        os.close(reading)


def test_a_failure_keeps_its_code_after_a_wait() -> None:
    master, supervisor = line(55, "port in use"), line(30, "the daemon ended")
    assert heard(line(None, "disk full"), master, supervisor) == (55, "port in use")


@pytest.mark.parametrize("pieces", [(), (line(None, "disk full"),), (b"[0",)])
def test_a_daemon_that_ends_without_a_word_has_failed(pieces: tuple[bytes, ...]) -> None:
    code, text = heard(*pieces)
    assert (code, "ended without a word" in text) == (ExitCode.SYSTEM, True)


def test_patience_that_ends_tells_what_it_waited_for_last() -> None:
    code, text = heard(line(None, "disk full"), line(None, "not permitted"), patience_s=0.0, end=False)
    assert code == ExitCode.SYSTEM
    assert "`gatepost status`" in heard(patience_s=0.0, end=False)[1]
    assert text.endswith("still trying: not permitted")
