"""How many notifications one address gets: the first at once, more up to a limit, the rest in one summary.

Called by `relay.notifying` for each notification that is due. Pure: moments are passed in. Keeps to bounds whatever
comes: addresses, threats and senders are counted up to limits, what is beyond is counted together. An administrator
who has been told of a threat hears of it again in the summary only, so that an outbreak makes one mail and its sum.
"""

from collections import deque
from typing import Final, NamedTuple

import msgspec

from gatepost.notices.group import Role

KEYS_LIMIT: Final = 10_000
"""Addresses kept in mind: some hundred bytes each."""
NAMES_LIMIT: Final = 50
"""Threats and senders told singly in one summary: a person reads it."""
OTHERS: Final = "(others)"
"""Stands for all that are beyond."""


class Told(msgspec.Struct, frozen=True):
    """What a summary keeps of one message."""

    id: int
    at: float
    """Unix time."""
    sender: str
    threats: tuple[str, ...]
    """What was found, or the statuses where it has no name."""
    blocked: bool


class Key(NamedTuple):
    """Whom a limit is for: one address in one role, about one group."""

    role: Role
    address: str
    group: str


class Summary:
    """Messages that one address was not told of singly."""

    def __init__(self, key: Key, first: Told) -> None:
        self.key = key
        self.first = first
        self.last = first
        self.messages = 0
        self.blocked = 0
        self.threats: dict[str, int] = {}
        self.senders: dict[str, int] = {}

    def add(self, told: Told) -> None:
        """Count one more message."""
        self.last = told
        self.messages += 1
        self.blocked += told.blocked
        for threat in told.threats[:NAMES_LIMIT]:
            _count(self.threats, threat)
        _count(self.senders, f"<{told.sender}>")


def _count(counts: dict[str, int], name: str) -> None:
    if name not in counts and len(counts) >= NAMES_LIMIT:
        name = OTHERS
    counts[name] = counts.get(name, 0) + 1


class _Window:
    """An interval of one key."""

    __slots__ = ("known", "since", "single", "summary")

    def __init__(self, since: float, known: dict[str, None]) -> None:
        self.since = since
        self.single = 0
        self.known = known
        """Threats it has been told of, singly or in the last summary."""
        self.summary: Summary | None = None


class NoticeLimiter:
    """All limits of one relay."""

    def __init__(self) -> None:
        self._windows: dict[Key, _Window] = {}
        self._early: deque[Summary] = deque()
        self._limit = 0
        self._interval_s = 0.0

    def configure(self, limit: int, interval_s: float) -> None:
        """Take (new) settings into use; what was gathered stays. `limit` 0: everything is told singly."""
        self._limit = limit
        self._interval_s = interval_s

    def admit(self, key: Key, told: Told, now: float) -> bool:
        """Tell whether a message is told of singly, now; else it has been put down for the summary."""
        if not self._limit:
            return True
        window = self._windows.get(key)
        if window is None:
            window = self._open(key, now)
        repeated = key.role is Role.ADMIN and all(threat in window.known for threat in told.threats)
        if window.single < self._limit and not repeated:
            window.single += 1
            self._know(window, told)
            return True
        if window.summary is None:
            window.summary = Summary(key, told)
        window.summary.add(told)
        return False

    def due(self, now: float) -> list[Summary]:
        """Return the summaries whose interval is over; they are not kept."""
        found = list(self._early)
        self._early.clear()
        ended = [
            (key, window)
            for key, window in self._windows.items()
            if not window.since <= now < window.since + self._interval_s  # a clock that was put back ends it, too
        ]
        for key, window in ended:
            del self._windows[key]
            if window.summary is not None:
                # As long as it goes on it is told of once in an interval.
                found.append(window.summary)
                self._windows[key] = self._go_on(key, window.summary, now)
        return found

    def keep(self, summary: Summary) -> None:
        """Take back a summary that could not be sent; it is due at the next look."""
        self._early.append(summary)

    def drain(self) -> list[Summary]:
        """Return all summaries, due or not: at a stop nothing is to be lost."""
        found = [*self._early, *(window.summary for window in self._windows.values() if window.summary is not None)]
        self._early.clear()
        self._windows.clear()
        return found

    def _go_on(self, key: Key, summary: Summary, now: float) -> _Window:
        """Return the interval behind a summary: what has been summed up is known, and only something new is told an
        administrator singly.
        """
        window = _Window(now, dict.fromkeys(summary.threats))
        if key.role is not Role.ADMIN:
            window.single = self._limit
        return window

    def _open(self, key: Key, now: float) -> _Window:
        if len(self._windows) >= KEYS_LIMIT:
            oldest = next(iter(self._windows))
            gone = self._windows.pop(oldest)
            if gone.summary is not None:
                self._early.append(gone.summary)
        window = self._windows[key] = _Window(now, {})
        return window

    @staticmethod
    def _know(window: _Window, told: Told) -> None:
        for threat in told.threats:
            if len(window.known) < NAMES_LIMIT:
                window.known[threat] = None
