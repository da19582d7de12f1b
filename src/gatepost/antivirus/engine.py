"""The interfaces every scanner plugs into, and what it answers.

An `Engine` computes: one class, registered in the entry-point group `gatepost.engines`, made once in the template
process and used in forked filters. A `RemoteEngine` speaks to a scanner elsewhere over connections that the relay opens
and passes in (`Connector`), for a filter can open none. Neither raises for what the content holds, starts a thread
while it is made, or says clean of something that was not scanned.
"""

import enum
import socket
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
    header: bool = False
    """It is the header block of a message, and nothing else of it."""


class Report(msgspec.Struct, frozen=True):
    """One engine's answer for one object."""

    outcome: Outcome
    threat: str = ""
    """Name of what was found; "" when clean."""
    evidence: str = ""
    """In words for an administrator."""
    delete: bool = False
    """The object must go whatever the action says (antivirus.md §8, `DELE-`)."""
    trouble: str = ""
    """Why the engine could not look at the object although it should have: down, slow, over a limit of its own. The
    outcome is `ERROR` then. An object that is the trouble itself (corrupt, protected) is none of the engine's."""
    wait: bool = False
    """With `trouble`: the message is to wait until the engine can look at it, instead of being treated as an error."""


CLEAN = Report(Outcome.CLEAN)
"""The answer for ordinary objects, made once."""


class Overrun(BaseException):
    """The time for the object or the message is over: raised by the filter's alarm. Engines must not catch it; it is
    not an `Exception`, so that none does by accident.
    """


class Engine(Protocol):
    """A scanner in the filter itself."""

    @property
    def name(self) -> str:
        """Return the name it has in records."""

    def version(self) -> str:
        """Return what stands for everything that can change its answers: its own version and its signatures', or a
        digest of them. Constant while the filter lives.
        """

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        """Scan one decoded object. `deadline`: monotonic moment to be back by."""

    def cure(self, subject: ScanObject) -> bytes | None:
        """Return the object without its malware, None when that cannot be done. Called after `INFECTED` only."""

    def health(self) -> str:
        """Return "" when the engine can scan, else in one sentence why it cannot."""


class Connection(msgspec.Struct, frozen=True):
    """The relay's answer to a filter that asked for a connection to a remote engine."""

    sock: socket.socket | None
    """Connected and non-blocking, the receiver's to close; None: there is none to be had."""
    version: str = ""
    """Of the engine and its signatures, as the relay knows it; "" when it does not."""
    reason: str = ""
    """Why there is none, in words for an administrator."""
    wait: bool = False
    """Without a connection: messages are to wait for the engine."""


class Connector(Protocol):
    """Where a remote engine gets its connections from."""

    def connect(self, engine: str) -> Connection:
        """Ask the relay for a connection to this engine; an earlier one given to this filter is taken for lost.

        Blocks until the relay has answered; the message's and the object's time run on (`Overrun`).
        """


class RemoteEngine(Protocol):
    """A scanner elsewhere. Per object: `wants`, and if so `begin`, then (local engines scan meanwhile) `finish`."""

    @property
    def name(self) -> str:
        """Return the name it has in records and in questions to the relay."""

    def attach(self, connector: Connector) -> None:
        """Take the way to connections; called once in each filter, before its first object."""

    def version(self, deadline: float) -> str:
        """Return what `Engine.version` does; may ask for a connection. "" when it cannot be told now: then nothing is
        taken from what was found clean before, nor added to it.
        """

    def wants(self, subject: ScanObject) -> bool:
        """Tell whether it is to see the object."""

    def begin(self, subject: ScanObject, deadline: float) -> None:
        """Send the object off, as far as that goes without waiting. Trouble is kept for `finish`."""

    def finish(self, deadline: float) -> Report:
        """Wait for the answer to what `begin` sent."""

    def abandon(self) -> None:
        """Forget what `begin` sent: nobody waits for it any more. Called instead of `finish`, and after an `Overrun`
        out of either; the connection is not to be used again.
        """
