"""What a cure takes and gives: `BadMember`, `Cured`, and `Uncurable`, by which the modules of this package give up.

Called by every module of `antivirus.cure`, and through the package by the anti-virus stage.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from gatepost.model.foreign_text import printable

REMOVED_LISTED: Final = 50
"""Things taken out that are named one by one: enough for a notice; an archive may lose ten thousand members."""
REMOVED_LENGTH: Final = 255
"""Characters of one of them: names come out of the mail."""


class BadMember(msgspec.Struct, frozen=True):
    """A member of a container in which, or in whose own members, something was found."""

    name: str
    """As its opener gave it."""
    digest: bytes
    """SHA-256 of its content: what is taken out is known by it, whatever names say."""
    cured: bytes | None = None
    """Its cured form, which takes its place; None: there is none, and it has to go."""


class Cured(msgspec.Struct, frozen=True):
    """The cured form of an object."""

    data: bytes
    removed: tuple[str, ...]
    """What was taken out or made harmless, in words for the record and the notice; at most `REMOVED_LISTED`."""


class Uncurable(Exception):  # noqa: N818 - what the object is
    """It cannot be cured, or not with certainty. The text is for whoever debugs a cure; nobody else sees it."""


def build_cured(data: bytes, removed: Iterable[str]) -> Cured:
    """Return the cured form, the words cut to what a record may hold. Uncurable when nothing was taken out."""
    words = list(dict.fromkeys(_clean(word) for word in removed))
    if not words:
        raise Uncurable("there is nothing in it that could be taken out")
    if len(words) > REMOVED_LISTED:
        words[REMOVED_LISTED - 1 :] = [f"and {len(words) - REMOVED_LISTED + 1} more"]
    return Cured(data, tuple(words))


def _clean(word: str) -> str:
    return printable(word[:REMOVED_LENGTH])
