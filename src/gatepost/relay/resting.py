"""Messages that wait in the spool because an engine that must see them, or a store that must have them, cannot now; and
why others were put back.

Used by `relay.inspection`. Those that wait for the same cause rest together, for what keeps one waiting mostly keeps
all: one timer for all of them, with pauses that double as long as none goes on, and a few in turn are tried when it
ends, so that a queue of any length costs a few tries now and then. One that goes on wakes all.
What keeps a message is known here until it has gone on, so that operators can be told.
"""

import asyncio
import enum
import heapq
from collections import Counter
from collections.abc import Callable
from typing import Final

FIRST_PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 60.0
"""Longest pause: how late mail may be after the engine has come back."""
TRIED: Final = 10
"""Messages tried when a pause ends: one alone might be kept by something of its own."""


class Cause(enum.Enum):
    """What messages rest for."""

    ENGINE = enum.auto()
    """An engine must see them."""
    STORE = enum.auto()
    """Their disposition cannot be stored: a store, or the spool, takes nothing."""


class _Group:
    """The messages that rest for one cause, by id."""

    def __init__(self, wake: Callable[[int], None]) -> None:
        self._wake = wake
        self._tried = 0
        """Highest id of those tried last: the next are behind it."""
        self.sizes: dict[int, int] = {}
        self._told: set[int] = set()
        """Those that have rested before and did not go on since."""
        self._pause_s = FIRST_PAUSE_S
        self._timer: asyncio.TimerHandle | None = None

    def add(self, message_id: int, size: int) -> bool:
        self.sizes[message_id] = size
        self._wait()
        new = message_id not in self._told
        self._told.add(message_id)
        return new

    def succeeded(self, message_id: int) -> None:
        if message_id in self._told:
            self._told.discard(message_id)
            self._pause_s = FIRST_PAUSE_S
            if self.sizes:
                oldest = min(self.sizes)
                self.sizes.clear()
                self._wake(oldest)

    def discard(self, message_id: int) -> None:
        self.sizes.pop(message_id, None)
        self._told.discard(message_id)

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._end)
            self._pause_s = min(self._pause_s * 2, MOST_PAUSE_S)

    def _end(self) -> None:
        self._timer = None
        behind = heapq.nsmallest(TRIED, (message_id for message_id in self.sizes if message_id > self._tried))
        chosen = behind or heapq.nsmallest(TRIED, self.sizes)
        if not chosen:
            return
        self._tried = chosen[-1]
        for message_id in chosen:
            del self.sizes[message_id]
        if self.sizes:  # whatever becomes of the chosen ones, the others are not forgotten
            self._wait()
        self._wake(chosen[0])


class Resting:
    """The resting messages of one spool, by id."""

    def __init__(self, wake: Callable[[int], None]) -> None:
        """`wake(oldest id)` is called when some of them are to be tried again; those rest no longer then."""
        self._groups = {cause: _Group(wake) for cause in Cause}
        self._reasons: dict[int, str] = {}
        """What keeps messages that have not gone on since."""
        self._last = ""

    def __contains__(self, message_id: int) -> bool:
        return any(message_id in group.sizes for group in self._groups.values())

    def add(self, message_id: int, size: int, why: str, cause: Cause) -> bool:
        """Let a message of `size` bytes rest. True when that is new, not only a try that failed again."""
        self.note(message_id, why)
        return self._groups[cause].add(message_id, size)

    def note(self, message_id: int, why: str) -> bool:
        """Note what keeps a message. True when that is new."""
        if why != self._last:  # one string for all that wait for the same
            self._last = why
        new = self._reasons.get(message_id) != why
        self._reasons[message_id] = self._last
        return new

    def reason(self, message_id: int) -> str:
        """Return what keeps a message, "" when nothing is known to."""
        return self._reasons.get(message_id, "")

    def reasons(self) -> Counter[str]:
        """Return how many messages each reason keeps."""
        return Counter(self._reasons.values())

    def succeeded(self, message_id: int, cause: Cause) -> None:
        """Note that a message got what others may wait for. If it had rested for it, the others are tried now."""
        self._groups[cause].succeeded(message_id)

    def discard(self, message_id: int) -> None:
        """Forget a message: it has gone on, or somebody else sees to it."""
        for group in self._groups.values():
            group.discard(message_id)
        self._reasons.pop(message_id, None)

    def clear(self) -> None:
        """Forget all of them: they are about to be read anew."""
        for group in self._groups.values():
            group.sizes.clear()

    def measure(self) -> tuple[int, int, int]:
        """Return how many rest, their bytes, and the oldest id (0: none)."""
        sizes = [group.sizes for group in self._groups.values() if group.sizes]
        return sum(map(len, sizes)), sum(sum(each.values()) for each in sizes), min(map(min, sizes), default=0)
