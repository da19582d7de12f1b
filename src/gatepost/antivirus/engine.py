"""The interface every scanner plugs into, and what it answers.

An engine is one class behind three methods, registered in the entry-point group `gatepost.engines`, made once in the
template process and used in forked filters. It never raises for what the content holds, starts no thread while it is
made, and never says clean of something it has not scanned.
"""

import enum
from typing import Protocol

import msgspec

from gatepost.antivirus.kinds import Kind


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


class ScanObject(msgspec.Struct, frozen=True):
    """One decoded object as engines see it."""

    data: bytes
    name: str = ""
    """File name without path; "" when it has none."""
    content_type: str = ""
    """Declared type, lower case; of what an opener has made visible (macro text, a link's command), the opener's."""
    kind: Kind | None = None
    """Kind by content."""
    inside: Kind | None = None
    """Kind of the container it was found in; None for an element of the mail itself."""
    secret: bool = False
    """It, or what holds it, was opened with a password: nobody else can look into the container."""


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

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        """Scan one decoded object. `deadline`: monotonic moment to be back by."""

    def cure(self, subject: ScanObject) -> bytes | None:
        """Return the object without its malware, None when that cannot be done. Called after `INFECTED` only."""

    def health(self) -> str:
        """Return "" when the engine can scan, else in one sentence why it cannot."""
