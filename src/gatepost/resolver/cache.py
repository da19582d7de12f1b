"""Answers kept for their life. Sans-I/O: the time is passed in.

Used by `resolver`. Records live as long as their TTL, negative answers as long as their SOA and the configuration
allow, failures for seconds. A record past its life is never handed out; `purge` frees its memory on the documented
periods (specification F-ROUT-10, 12, 13). Bounded by entries and by octets: beyond, the longest unused goes.
"""

import enum
from collections import OrderedDict
from typing import Any, Final

import msgspec

from gatepost.resolver.answers import Answer, Kind, Outcome

ENTRIES_LIMIT: Final = 100_000
"""Answers kept."""
BYTES_LIMIT: Final = 40 * 1024 * 1024
"""Estimated memory of all answers: a third of what a relay may use."""
_ENTRY_COST: Final = 360
"""Octets of an entry besides its name and values (measured: 480 for an address of a host)."""
_VALUE_COST: Final = 100
"""Octets of a value besides its text."""

ANY_KIND: Final = 0
"""Kind under which it is kept that a name does not exist: true of every kind (RFC 8020)."""


class Shelf(enum.IntEnum):
    """What is purged together."""

    ADDRESSES = 0
    """Everything that is neither of the others."""
    MAIL_HOSTS = 1
    UNRESOLVED = 2
    """Negative answers and failures."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A kept answer."""

    answer: Answer[Any]
    """With `through_cache` set."""
    until: float
    shelf: Shelf
    cost: int
    dnssec: bool
    """Signatures were asked for: the answer's `authentic` is the last word."""


class Cache:
    """The answers, least recently used first."""

    def __init__(self, entries_limit: int = ENTRIES_LIMIT, bytes_limit: int = BYTES_LIMIT) -> None:
        self._entries: OrderedDict[tuple[str, int], Entry] = OrderedDict()
        self._entries_limit = entries_limit
        self._bytes_limit = bytes_limit
        self._bytes = 0
        self._last_purge: dict[Shelf, float] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Estimated octets of all entries."""
        return self._bytes

    def find(self, name: str, kind: Kind, now: float, *, dnssec: bool = False) -> Answer[Any] | None:
        """Return the answer kept for a folded name, None when there is none that is alive (and good enough)."""
        key: tuple[str, int] = (name, kind)
        entry = self._entries.get(key)
        if entry is None or entry.until <= now:
            key = (name, ANY_KIND)
            entry = self._entries.get(key)
            if entry is None or entry.until <= now:
                return None
        if dnssec and not entry.dnssec and not entry.answer.authentic:
            return None
        self._entries.move_to_end(key)
        return entry.answer

    def keep(self, name: str, kind: int, answer: Answer[Any], until: float, *, dnssec: bool = False) -> None:
        """Keep an answer until then, in place of what was there."""
        cost = _ENTRY_COST + len(name) + sum(_VALUE_COST + _size(value) for value in answer.values)
        entry = Entry(msgspec.structs.replace(answer, through_cache=True), until, _shelf(kind, answer), cost, dnssec)
        self._drop((name, kind))
        self._entries[name, kind] = entry
        self._bytes += cost
        while len(self._entries) > self._entries_limit or self._bytes > self._bytes_limit:
            self._bytes -= self._entries.popitem(last=False)[1].cost

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0

    def purge(self, now: float, periods: dict[Shelf, float]) -> int:
        """Free what is past its life on each shelf whose period (seconds) is over; return how many entries went."""
        due = {shelf for shelf, period in periods.items() if now - self._last_purge.setdefault(shelf, now) >= period}
        if not due:
            return 0
        ended = [key for key, entry in self._entries.items() if entry.until <= now and entry.shelf in due]
        for key in ended:
            self._drop(key)
        self._last_purge.update(dict.fromkeys(due, now))
        return len(ended)

    def _drop(self, key: tuple[str, int]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.cost


def _shelf(kind: int, answer: Answer[Any]) -> Shelf:
    if answer.outcome is not Outcome.FOUND:
        return Shelf.UNRESOLVED
    return Shelf.MAIL_HOSTS if kind == Kind.MX else Shelf.ADDRESSES


def _size(value: object) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    return sum(_size(part) for part in msgspec.structs.astuple(value)) if isinstance(value, msgspec.Struct) else 0
