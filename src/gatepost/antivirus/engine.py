"""The interface every scanner plugs into, and what it answers.

An engine is one class behind three methods, registered in the entry-point group `gatepost.engines`, made once in the
template process and used in forked filters. It never raises for what the content holds, starts no thread while it is
made, and never says clean of something it has not scanned.
"""

import enum
from typing import Protocol

import msgspec


class Outcome(enum.StrEnum):
    """What an engine says of one object."""

    CLEAN = "clean"
    """Scanned to the end, nothing found."""
    INFECTED = "infected"
    """Known malware; `cure` may be tried."""
    SUSPICIOUS = "suspicious"
    """Looks like malware."""
    PROTECTED = "protected"
    """A password keeps the engine out."""
    ERROR = "error"
    """Corrupt, too large, timed out, engine failure: not scanned."""


class Report(msgspec.Struct, frozen=True):
    """One engine's answer for one object."""

    outcome: Outcome
    threat: str = ""
    """Name of what was found; "" when clean."""
    evidence: str = ""
    """In words for an administrator."""
    delete: bool = False
    """The object must go whatever the action says (antivirus.md §8, `DELE-`)."""


CLEAN = Report(Outcome.CLEAN)
"""The answer for ordinary objects, made once."""


class Overrun(BaseException):
    """The time for the object or the message is over: raised by the filter's alarm. Engines must not catch it; it is
    not an `Exception`, so that none does by accident.
    """


class Engine(Protocol):
    """A scanner."""

    def scan(self, data: bytes, name: str, deadline: float) -> Report:
        """Scan one decoded object. `name`: its file name or "". `deadline`: monotonic moment to be back by."""

    def cure(self, data: bytes) -> bytes | None:
        """Return the object without its malware, None when that cannot be done. Called after `INFECTED` only."""

    def health(self) -> str:
        """Return "" when the engine can scan, else in one sentence why it cannot."""
