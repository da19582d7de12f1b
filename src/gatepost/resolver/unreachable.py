"""Hosts that could not be reached a moment ago (specification F-ROUT-11): no connection is tried while the note lives.

Used by delivery: `note` after a failed connection, `is_unreachable` before the next. Times are seconds of the clock the
caller uses throughout; nothing here looks at one.
"""

from collections import OrderedDict
from typing import Final

HOSTS_LIMIT: Final = 50_000
"""Hosts remembered, a few MB; beyond it the longest noted is forgotten, which costs one more attempt."""


class UnreachableHosts:
    """The notes. `ttl_s` 0: none are kept."""

    def __init__(self, ttl_s: float, purge_period_s: float) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()
        self._last_purge = float("-inf")
        self.configure(ttl_s, purge_period_s)

    def configure(self, ttl_s: float, purge_period_s: float) -> None:
        """Use other times from now on; notes present end when they would have."""
        self._ttl_s = ttl_s
        self._purge_period_s = purge_period_s

    def __len__(self) -> int:
        return len(self._until)

    def note(self, host: str, now: float) -> None:
        """Remember that `host` (an address, or address and port) could not be reached."""
        if self._ttl_s <= 0:
            return
        self._until[host] = now + self._ttl_s
        self._until.move_to_end(host)
        if len(self._until) > HOSTS_LIMIT:
            self._until.popitem(last=False)

    def is_unreachable(self, host: str, now: float) -> bool:
        """Tell whether to leave `host` alone. Cheap when there are no notes."""
        if not self._until:
            return False
        until = self._until.get(host)
        if until is None:
            return False
        if now < until:
            return True
        del self._until[host]
        return False

    def forget(self, host: str) -> None:
        """Drop the note: the host was reached, or an operator wants a try."""
        self._until.pop(host, None)

    def clear(self) -> None:
        """Drop all notes."""
        self._until.clear()

    def purge(self, now: float) -> int:
        """Drop the notes that have ended, at most once in the configured period; return how many."""
        if now - self._last_purge < self._purge_period_s:
            return 0
        self._last_purge = now
        ended = [host for host, until in self._until.items() if until <= now]
        for host in ended:
            del self._until[host]
        return len(ended)
