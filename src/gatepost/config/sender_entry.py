"""Entries of white and black lists, from what people write to one canonical text and back. Pure; ValueError.

A line holds entries, separated by white space, commas or semicolons; from `#` on it is a comment, which may begin with
`until 2026-12-31`: then its entries hold to the end of that day. `!` before an entry, or `auth=no` behind it, takes a
sender's word for who he is (white lists ask for a proof else). Canonical: `[!]mask[ until 2026-12-31]`.
"""

import datetime as dt
import re

import msgspec

from gatepost.config.masks import parse_network

_SEPARATORS = re.compile(r"[\s,;]+")
_UNTIL = re.compile(r"\s*until\s+(\S+)", re.IGNORECASE)
_FREE_WORD = "auth=no"


class SenderEntry(msgspec.Struct, frozen=True):
    """One entry."""

    mask: str
    """Address mask, or network."""
    network: bool
    free: bool = False
    """Nothing has to prove the sender."""
    until: dt.date | None = None
    """Last day; None: no end."""

    @property
    def text(self) -> str:
        """The canonical text."""
        return ("!" if self.free else "") + self.mask + (f" until {self.until}" if self.until else "")


def split_entries(line: str) -> list[str]:
    """Return the entries of a line, each with what is said of it."""
    body, _, comment = line.partition("#")
    entries: list[str] = []
    # A canonical text comes back as it is, so that a dump can be read.
    until = _UNTIL.search(body)
    if until is not None and body[: until.start()].strip():
        body, comment = body[: until.start()], until[0]
    for word in _SEPARATORS.split(body):
        if word.lower() == _FREE_WORD and entries:
            entries[-1] = f"!{entries[-1].removeprefix('!')}"
        elif word:
            entries.append(word)
    ending = _UNTIL.match(comment)
    return [f"{entry} until {ending[1]}" for entry in entries] if ending is not None else entries


def parse_sender_entry(text: str) -> SenderEntry:
    """Return an entry; ValueError says what is wrong."""
    body, _, ending = text.strip().partition(" until ")
    free = body.startswith("!")
    mask = body.removeprefix("!").strip()
    until = None
    if ending:
        try:
            until = dt.date.fromisoformat(ending.strip())
        except ValueError:
            raise ValueError(f"{ending[:20]!r} is not a day like 2026-12-31") from None
    if mask.lower() in ("any", "*", "*@*"):
        return SenderEntry("*@*", network=False, free=free, until=until)
    if "@" in mask:
        return SenderEntry(f"*{mask}" if mask.startswith("@") else mask, network=False, free=free, until=until)
    try:
        return SenderEntry(str(parse_network(mask)), network=True, free=free, until=until)
    except ValueError:
        what = f"{mask[:60]!r} is neither an address (mask), nor @domain, nor an IP address or network"
        raise ValueError(what) from None
