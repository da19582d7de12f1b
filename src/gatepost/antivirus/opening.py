"""What the stage and the openers say to each other: `Member`, `Opening`, and the shape of an opener.

Shared by `antivirus.stage`, `antivirus.unpack` and every module of `antivirus.openers`.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from gatepost.antivirus.budget import Budget
from gatepost.model.finding import ScanOptions


class Member(msgspec.Struct, frozen=True):
    """One thing inside a container: its content as far as it could be had, and what is wrong with it."""

    name: str
    """Without path components that lead anywhere; "" when it has none. "" and no data: it is about the container."""
    data: bytes | None = None
    protected: bool = False
    """A password keeps it shut, and none of those known opens it."""
    trouble: str = ""
    """Why it cannot be called clean even when nothing is found in `data`."""
    content_type: str = ""
    """Declared type, where the container states one (mail, web pages, OLE packages)."""
    secret: bool = False
    """It was opened with a password: what is found depends on more than the bytes, so it is never remembered."""
    encrypted: str = ""
    """One of `ENCRYPTIONS` with "" as name and no data: the container is encrypted for somebody's key, or, with
    `protected`, by a password."""


class Opening:
    """What an opener may know and use: the budget of the message, the options, the passwords to try."""

    __slots__ = ("budget", "options", "passwords")

    def __init__(self, budget: Budget, options: ScanOptions, passwords: Sequence[str] = ()) -> None:
        self.budget = budget
        self.options = options
        self.passwords = passwords
        """Found in the texts of this mail first, then those configured; the likeliest first, bounded in number."""


Opener = Callable[[bytes, str, Opening], Iterator[Member]]
"""(data, file name of the container, opening) -> its members. Raises OverBudget only."""
