"""Questions to the DNS and their answers, as the checks of this package ask them.

Every check is an `Inquiry`: a generator that yields questions, all at a time that can be asked together, is sent the
replies in the same order, and returns its result. Whoever drives it (the relay, a test with a zone) does the asking.
"""

import enum
from collections.abc import Generator
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Record(enum.StrEnum):
    """Kinds of records that are asked for."""

    A = "A"
    """Values are addresses, str."""
    AAAA = "AAAA"
    """Values are addresses, str."""
    MX = "MX"
    """Values are host names, str, best first; "" for a null MX or a name no host can have."""
    PTR = "PTR"
    """Values are host names, str."""
    TXT = "TXT"
    """`Reply.texts`: the strings of one record put together."""


class Status(enum.Enum):
    """How a question ended."""

    FOUND = "found"
    NO_DATA = "no data"
    """The name is there, such a record is not."""
    NO_NAME = "no name"
    FAILED = "failed"
    """Nobody knows now: temporary, always."""


class Question(msgspec.Struct, frozen=True, gc=False):
    """One question."""

    name: str
    record: Record


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The answer to one question; no values unless FOUND."""

    status: Status
    values: tuple[str, ...] = ()
    texts: tuple[bytes, ...] = ()
    """The values of TXT."""

    @property
    def failed(self) -> bool:
        """Whether another try may bring an answer."""
        return self.status is Status.FAILED

    @property
    def void(self) -> bool:
        """Whether it is certain that there is nothing (RFC 7208 §4.6.4)."""
        return self.status is Status.NO_DATA or self.status is Status.NO_NAME


Inquiry = Generator[tuple[Question, ...], tuple[Reply, ...], T]
"""A check that asks as it goes, and returns a T."""


def ask(name: str, record: Record) -> Inquiry[Reply]:
    """Ask one question."""
    (reply,) = yield (Question(name, record),)
    return reply
