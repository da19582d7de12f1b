"""The clock of the queue: the wall time by which mail is dated, due, rests and expires, and whether it can be believed.

Called by everything that asks what time it is for the queue or the log, always as `clock.now()`, never by a name bound
elsewhere. It is plain `time.time` unless a test has started the process with `GATEPOST_TEST_CLOCK` set: then a
test may step it, a day ahead or back, in the running process. Timers of the event loop do not follow it.

A wall clock may be set wrong, by a year as well as by an hour. Before anything is given up or deleted for its age
`is_believed()` is asked: it compares the clock with what the master last wrote down (`clock_record`).
"""

import math
import mmap
import os
import time
from collections.abc import Callable, Mapping

from gatepost.spool.clock_record import Moment, boot_id, is_doubted, read_record

VARIABLE = "GATEPOST_TEST_CLOCK"
"""Names a file of two native doubles: the seconds this process's clock is ahead of the machine's, and how many of them
are to count as having passed."""
TEST_CLOCK_BYTES = 16
TEST_PAUSE_S = 0.05
"""On a stepped clock no wait for a moment of the queue may last longer: nobody tells the waiter of a step."""

now: Callable[[], float] = time.time
"""Return Unix time in seconds."""
longest_pause_s = math.inf
"""How long one may sleep towards a moment of this clock before looking at it again."""
_boot = boot_id()
_record = ""


def elapsed() -> float:
    """Return the seconds since the machine was started, sleep included. Nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def moment() -> Moment:
    """Return what the clocks show."""
    return Moment(wall=now(), elapsed=elapsed(), boot=_boot)


def follow_record(state_path: str) -> None:
    """Believe the clock, from now on, as far as the record of the gateway with this state says."""
    global _record  # noqa: PLW0603 - one clock a process
    _record = state_path


def is_believed() -> bool:
    """Tell whether what is old by this clock is old. Without a record it is."""
    record = read_record(_record) if _record else None
    return record is None or not is_doubted(record, moment())


def follow_test_clock(environment: Mapping[str, str]) -> str:
    """Run on the clock that a test has named, from now on; return its file, "" when none is named (the rule).

    Call it once, at the start of a process. OSError, ValueError: a clock is named, but is none.
    """
    global now, elapsed, longest_pause_s  # noqa: PLW0603 - the one switch, so that the ordinary clock costs nothing
    path = environment.get(VARIABLE, "")
    if not path:
        return ""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset = memoryview(mmap.mmap(descriptor, TEST_CLOCK_BYTES, prot=mmap.PROT_READ)).cast("d")
    finally:
        os.close(descriptor)
    machine = elapsed
    now = lambda: time.time() + offset[0]  # noqa: E731 - takes the place of a function
    elapsed = lambda: machine() + offset[1]  # noqa: E731
    longest_pause_s = TEST_PAUSE_S
    return path
