"""A clock for gateways under test that a test may step: expiry, back-off and delay without waiting for them."""

import mmap
import struct
import time
from pathlib import Path

from gatepost.spool.clock import TEST_CLOCK_BYTES, VARIABLE

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class SteppedClock:
    """Real time plus what it was stepped by. Start a gateway with `env=clock.env` and its queue lives by it.

    Timers of sessions (timeouts, pauses of the event loop) stay on real time.
    """

    def __init__(self, place: Path) -> None:
        file = place / "clock"
        file.write_bytes(struct.pack("2d", 0.0, 0.0))
        with file.open("r+b") as opened:
            self._offset = memoryview(mmap.mmap(opened.fileno(), TEST_CLOCK_BYTES)).cast("d")
        self.env = {VARIABLE: str(file)}

    def now(self) -> float:
        """Return the Unix time that the gateway sees."""
        return time.time() + self._offset[0]

    def step(self, seconds: float) -> None:
        """Let so much time pass (back when negative), at once and for all processes."""
        self._offset[0] += seconds
        self._offset[1] += seconds

    def leap(self, seconds: float) -> None:
        """Set the clock ahead (back when negative) as somebody would do by hand, or a broken time server."""
        self._offset[0] += seconds

    def step_to(self, moment: float) -> None:
        """Put the clock forward to a moment; a moment that has been stays where it is."""
        self.step(max(0.0, moment - self.now()))
