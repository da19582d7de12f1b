"""Standard error is written without waiting for whoever reads it; what is let go is counted."""

import contextlib
import os
import threading
import time

from gatepost.control.log import Log, LogSettings
from gatepost.control.standard_error import WAITING_LIMIT, StandardError


def read_until_settled(reading: int, *written: StandardError) -> None:
    """Empty a pipe until all is written and read. It never waits in a read: behind the last byte there is none to come."""
    os.set_blocking(reading, False)
    end = time.monotonic() + 120
    settled = False
    while not settled:
        settled = all(each.settle(0.001) for each in written)
        with contextlib.suppress(BlockingIOError):
            while os.read(reading, 65536):
                pass
        assert time.monotonic() < end


def test_all_is_written_in_order_once_somebody_reads() -> None:
    reading, writing = os.pipe()
    ours = StandardError(writing)
    pieces = [bytes([65 + number % 26]) * 4000 for number in range(40)]
    assert all(ours.put(piece) for piece in pieces)
    heard = bytearray()
    while len(heard) < sum(map(len, pieces)):
        heard += os.read(reading, 65536)
    assert heard == b"".join(pieces)
    assert ours.settle(120)
    assert ours.lost == 0
    os.close(reading)
    os.close(writing)


def test_what_finds_no_room_is_counted() -> None:
    reading, writing = os.pipe()
    ours = StandardError(writing)
    taken = [ours.put(b"x" * 4096) for _ in range(2 * WAITING_LIMIT // 4096)]
    assert taken[0]
    assert not taken[-1]
    assert ours.lost == 4096 * taken.count(False)
    assert not ours.settle(0)
    read_until_settled(reading, ours)
    assert ours.put(b"again")
    assert ours.settle(120)
    os.close(reading)
    os.close(writing)


def test_a_closed_one_stops_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    ours = StandardError(writing)
    assert ours.put(b"nobody hears it")
    assert ours.settle(120)


def test_a_fatal_line_is_said_also_where_nobody_reads(tmp_path: object) -> None:
    """A relay that ends because its spool is broken must end, whoever reads its standard error."""
    reading, writing = os.pipe()
    log = Log(LogSettings(f"{tmp_path}/log", 4, "mail", "%Y-%m-%d", "%H:%M:%S"))
    log._standard_error = StandardError(writing)
    filling = StandardError(writing)
    while not filling.lost:
        filling.put(b"x" * 65536)
    said = threading.Thread(target=log.say, args=("F", "the spool is broken"), daemon=True)
    said.start()
    said.join(60)
    assert not said.is_alive()
    with open(f"{tmp_path}/log", encoding="utf-8") as file:  # noqa: PTH123 - one line
        assert "the spool is broken" in file.read()
    read_until_settled(reading, log._standard_error, filling)
    os.close(reading)
    os.close(writing)
