"""Rates: how much one client, sender or user may send in an interval, exact over all relays.

The counts stand in the memory the relays share (`relay.admission.create_table`), under a lock of their own. Called by
`relay.access`, which says who is counted for what and gives the time; nothing here waits or decides.

An interval slides: the count of the running interval and, for the share that still lies within, the one before. A
burst therefore never gets twice the limit by standing on the edge between two.
"""

import functools
import hashlib
import mmap
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from gatepost.relay.admission import RATES_AT, RATES_BYTES, TABLE_BYTES, TableLock, spared_lock

SLOT: Final = struct.Struct("<8sIxxxxQQ")
"""Key, number of the interval, count in it, count in the one before."""
SLOTS: Final = RATES_BYTES // SLOT.size
"""Counts kept at once."""
PROBES: Final = 32
"""Places a count may stand at. When all are taken by counts that still matter the smallest is forgotten: whoever comes
near a limit stays counted, and strangers by the million can neither fill the table nor lock others out."""
_EMPTY: Final = bytes(8)


class Share(msgspec.Struct, frozen=True, gc=False):
    """What somebody wants to add to a count."""

    key: bytes
    """Of `key_of`."""
    limit: int
    amount: int = 1
    looked_at_only: bool = False
    """It must fit, but is not added."""


@functools.lru_cache(maxsize=4096)  # each recipient counts for the same few
def key_of(what: str, who: str) -> bytes:
    """Return the key of a count: `what` is the limit's name, `who` the client, sender or user."""
    digest = hashlib.blake2b(f"{what} {who}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return digest if digest != _EMPTY else b"\1" + digest[1:]


class RateTable:
    """One process's view of the counts."""

    def __init__(self, fd: int, *, alone: bool = False) -> None:
        """`fd` as `create_table` gives it. `alone`: no other process counts while this one lives."""
        self._map = mmap.mmap(fd, TABLE_BYTES)
        self._lock = TableLock(fd, RATES_AT)
        self.alone = alone

    def take(self, shares: Sequence[Share], now: float, interval_s: float) -> int:
        """Add all shares, or none when one of them would go beyond its limit: return its index, -1 when all fit.

        `now` is a monotonic time, the same for all processes.
        """
        number = int(now / interval_s)
        remains = 1.0 - (now / interval_s - number)  # share of the former interval that the sliding one still covers
        taken: list[int] = []
        rows: list[tuple[int, bytes, int, int, int]] = []
        with spared_lock if self.alone else self._lock:
            for index, share in enumerate(shares):
                at, current, before = self._find(share.key, number, taken)
                if current + share.amount + before * remains > share.limit:
                    return index
                if not share.looked_at_only:
                    taken.append(at)
                    rows.append((at, share.key, number, current + share.amount, before))
            for row in rows:
                SLOT.pack_into(self._map, *row)
        return -1

    def add(self, shares: Sequence[Share], now: float, interval_s: float) -> None:
        """Add what cannot be refused any more, whatever the limits."""
        number = int(now / interval_s)
        with spared_lock if self.alone else self._lock:
            for share in shares:
                at, current, before = self._find(share.key, number, ())
                SLOT.pack_into(self._map, at, share.key, number, current + share.amount, before)

    def _find(self, key: bytes, number: int, taken: Sequence[int]) -> tuple[int, int, int]:
        """Return (offset, count of this interval, of the one before) of a key, or of the place it takes, none of
        `taken`.
        """
        start = int.from_bytes(key, "little")
        place, least = -1, -1
        for probe in range(PROBES):
            at = RATES_AT + ((start + probe) % SLOTS) * SLOT.size
            stored, interval, current, before = SLOT.unpack_from(self._map, at)
            if stored == key:
                return at, *_slid(number - interval, current, before)
            if at in taken:
                continue
            # An unused or outlived place is the best; else the one with the smallest count.
            weight = current + before if number - interval in (0, 1) and stored != _EMPTY else 0
            if place < 0 or weight < least:
                place, least = at, weight
            if stored == _EMPTY:
                break
        return place, 0, 0


def _slid(intervals: int, current: int, before: int) -> tuple[int, int]:
    """Return (this interval's count, the former's) of a count written `intervals` intervals ago."""
    if intervals == 0:
        return current, before
    return 0, current if intervals == 1 else 0
