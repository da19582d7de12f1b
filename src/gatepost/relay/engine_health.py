"""Whether a remote engine answers: a plain state machine. Probes, connections and scans in, "may be asked" out.

Used by `relay.engine_connections`, one for each engine. Sans-I/O: moments are passed in. An engine that could not be
reached is *down*: nobody asks it until a probe succeeds. One that takes connections and then leaves objects without an
answer is *slow* after STRIKES of them in a row, and left alone likewise: it must not cost every mail its time limit.
"""

import enum

import msgspec

PROBE_S = 15.0
"""Pause between probes of an engine that is up: the longest that a change of its databases goes unnoticed."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Bounds of the pause before an engine in trouble is probed again."""
STRIKES = 3
"""Objects without an answer, one after the other, until it counts as slow: one may be the object's own fault."""


class State(enum.StrEnum):
    """How an engine is."""

    UNKNOWN = "unknown"
    """Not asked yet."""
    UP = "up"
    SLOW = "slow"
    """It takes connections and leaves objects unanswered."""
    DOWN = "down"


class Change(msgspec.Struct, frozen=True):
    """A change of state, to be told."""

    state: State
    text: str


class EngineHealth:
    """State of one engine."""

    def __init__(self) -> None:
        self.state = State.UNKNOWN
        self.since = 0.0
        """Wall time of the last change of state."""
        self.reason = ""
        """What was the matter when it last failed."""
        self.version = ""
        self.due = 0.0
        """When the next probe is due, on the monotonic clock."""
        self._pause_s = FIRST_PAUSE_S
        self._strikes = 0
        self._on_trial = False
        """It is slow, and a probe has been answered since: the next objects decide."""

    @property
    def usable(self) -> bool:
        """It may be asked."""
        return self.state is State.UP or self._on_trial

    def probed(self, now: float, wall: float, version: str) -> Change | None:
        """A probe was answered. That does not prove a slow engine mended: it is tried with objects again."""
        self.due = now + PROBE_S
        self.version = version
        if self.state is State.SLOW:
            self._on_trial = True
            return None
        self._pause_s = FIRST_PAUSE_S
        return self._enter(State.UP, wall, version)

    def failed(self, now: float, wall: float, reason: str) -> Change | None:
        """A probe failed, or a connection could not be made."""
        self._rest(now, reason)
        return self._enter(State.DOWN, wall, reason)

    def scanned(self, wall: float) -> Change | None:
        """It has answered for objects."""
        if not self.usable:
            return None
        self._strikes = 0
        self._pause_s = FIRST_PAUSE_S
        self._on_trial = False
        return self._enter(State.UP, wall, self.version)

    def troubled(self, now: float, wall: float, reason: str) -> Change | None:
        """It has left an object unanswered."""
        if not self.usable:
            return None
        self.reason = reason
        self._strikes += 1
        if self._strikes < STRIKES:
            return None
        self._rest(now, reason)
        return self._enter(State.SLOW, wall, reason)

    def _rest(self, now: float, reason: str) -> None:
        self.reason = reason
        self.due = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        self._on_trial = False

    def _enter(self, state: State, wall: float, text: str) -> Change | None:
        if state is self.state:
            return None
        if state is State.DOWN:
            self._strikes = 0
        self.state, self.since = state, wall
        return Change(state, text)
