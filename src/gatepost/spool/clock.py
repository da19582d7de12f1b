"""The clock of the queue: the wall time by which mail is dated, due, rests and expires.

Called by everything that asks what time it is for the queue or the log, always as `clock.now()`, never by a name bound
elsewhere. It is plain `time.time` unless a test has started the process with `GATEPOST_TEST_CLOCK` set: then a
test may step it, a day ahead or back, in the running process. Timers of the event loop do not follow it.
"""

import math
import mmap
import os
import time
from collections.abc import Callable, Mapping

VARIABLE = "GATEPOST_TEST_CLOCK"
"""Names a file of one native double: the seconds this process's clock is ahead of the machine's."""
TEST_PAUSE_S = 0.05
"""On a stepped clock no wait for a moment of the queue may last longer: nobody tells the waiter of a step."""

now: Callable[[], float] = time.time
"""Return Unix time in seconds."""
longest_pause_s = math.inf
"""How long one may sleep towards a moment of this clock before looking at it again."""


def follow_test_clock(environment: Mapping[str, str]) -> str:
    """Run on the clock that a test has named, from now on; return its file, "" when none is named (the rule).

    Call it once, at the start of a process. OSError, ValueError: a clock is named, but is none.
    """
    global now, longest_pause_s  # noqa: PLW0603 - the one switch, so that the ordinary clock costs nothing
    path = environment.get(VARIABLE, "")
    if not path:
        return ""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset = memoryview(mmap.mmap(descriptor, 8, prot=mmap.PROT_READ)).cast("d")
    finally:
        os.close(descriptor)
    now = lambda: time.time() + offset[0]  # noqa: E731 - takes the place of a function
    longest_pause_s = TEST_PAUSE_S
    return path
