"""Shares: how much of the room in delivery each destination may take. Pure.

Used by `relay.delivery`. Two bounds hold for every destination:

- its window: small at first, one message more for each that was answered, half as many after trouble;
- as many messages and bytes as are free, less a reserve that is for destinations with few messages in hand: it takes
  dozens of slow ones to fill it.
"""

from typing import Final

WORK_LIMIT: Final = 1000
"""Messages in delivery at once; beyond it fresh mail is parked in the spool."""
MEMORY_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of content held for delivery."""
READ_BACK_LIMIT: Final = 500
"""Messages in delivery beyond which none are read back: the other half of the limit is for fresh mail."""
RESERVE: Final = 200
"""Messages of the work limit that only destinations with less than `LEAST_WINDOW` in hand may take."""
FIRST_WINDOW: Final = 100
"""Messages of a destination of which nothing is known yet."""
LEAST_WINDOW: Final = 10
"""Messages of one that had nothing but trouble: enough for its next attempts."""
DESTINATION_LIMIT: Final = 400
"""Messages in delivery for one destination, however fast it is."""
_KNOWN_LIMIT: Final = 10_000
"""Destinations whose windows are remembered."""


class Share:
    """What one destination has in delivery, and may have."""

    __slots__ = ("messages", "size", "window")

    def __init__(self) -> None:
        self.messages = 0
        self.size = 0
        self.window = FIRST_WINDOW


class Shares:
    """The shares of all destinations with mail in delivery, or lately."""

    def __init__(self) -> None:
        self._shares: dict[str, Share] = {}
        self.messages = 0
        """Messages in delivery."""
        self.size = 0
        """Bytes of content in memory."""

    @property
    def full(self) -> bool:
        """Nothing more can be taken."""
        return self.messages > WORK_LIMIT or self.size > MEMORY_LIMIT

    def room_to_read_back(self) -> int:
        """Return how many messages may be read back from the spool now."""
        return max(0, READ_BACK_LIMIT - self.messages) if self.size <= MEMORY_LIMIT else 0

    def room_for(self, domain: str) -> int:
        """Return how many more messages a destination may have in delivery; below 0 it has too many."""
        share = self._shares.get(domain)
        free = WORK_LIMIT - self.messages
        if share is None:
            return min(FIRST_WINDOW, max(free - RESERVE, min(free, LEAST_WINDOW)))
        if share.size and share.size > MEMORY_LIMIT - self.size:
            return -1
        return min(share.window, max(free - RESERVE, min(free, LEAST_WINDOW))) - share.messages

    def in_hand(self, domain: str) -> int:
        """Return how many messages a destination has in delivery."""
        share = self._shares.get(domain)
        return share.messages if share is not None else 0

    def enter(self, domains: frozenset[str], size: int) -> None:
        """Count a message for its destinations, with the bytes of it that are in memory."""
        self.messages += 1
        self.size += size
        shares = self._shares
        for domain in domains:
            share = shares.get(domain)
            if share is None:
                share = shares[domain] = Share()
            share.messages += 1
            share.size += size

    def grow(self, domains: frozenset[str], size: int) -> None:
        """Count bytes that were read into memory."""
        self.size += size
        for domain in domains:
            self._shares[domain].size += size

    def leave(self, domains: frozenset[str], size: int) -> None:
        """Count a message less."""
        self.messages -= 1
        self.size -= size
        for domain in domains:
            share = self._shares[domain]
            share.messages -= 1
            share.size -= size

    def succeeded(self, domain: str) -> None:
        """A message was answered for good: there may be one more at a time."""
        share = self._shares.get(domain)
        if share is not None and share.window < DESTINATION_LIMIT:
            share.window += 1

    def failed(self, domain: str) -> None:
        """It was put off, or nobody was reached: there may be half as many."""
        share = self._shares.get(domain)
        if share is not None:
            share.window = max(LEAST_WINDOW, share.window // 2)

    def forget_unused(self) -> None:
        """Forget windows of destinations without mail in delivery when there are many."""
        if len(self._shares) > _KNOWN_LIMIT:
            self._shares = {domain: share for domain, share in self._shares.items() if share.messages}
