"""Who already has a message that its client was told to send again.

Used by `service.proxy_door` where one answer holds for all recipients (SMTP): when the next hop took the message for
some of them only, the client hears a temporary failure, and comes again for all. Whoever is remembered does not get it
twice. A matter of one process, for a bounded time: without it there is a duplicate, never a loss.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

ENTRIES_LIMIT: Final = 4096
"""Messages remembered, some 200 bytes and the addresses each; the oldest go first."""
ADDRESSES_LIMIT: Final = 1000
"""Addresses remembered of one message."""
KEEP_S: Final = 5 * 86_400.0
"""Mail systems try for so long."""


class DeliveredMemory:
    """What was delivered in part."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, tuple[float, frozenset[str]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def note(self, key: bytes, addresses: Iterable[str], now: float) -> None:
        """Remember who has the message with this key; `now` in seconds of any steady clock."""
        have = frozenset(list(addresses)[:ADDRESSES_LIMIT]) | self.recall(key, now)
        if have:
            self._entries[key] = (now, have)
            self._entries.move_to_end(key)
            if len(self._entries) > ENTRIES_LIMIT:
                self._entries.popitem(last=False)

    def recall(self, key: bytes, now: float) -> frozenset[str]:
        """Return who has it already."""
        entry = self._entries.get(key)
        if entry is None or now - entry[0] > KEEP_S:
            return frozenset()
        return entry[1]

    def forget(self, key: bytes) -> None:
        """Everybody has it now."""
        self._entries.pop(key, None)


def message_key(sender: str, pieces: Iterable[bytes]) -> bytes:
    """Return what tells a message from others: its sender and all of its content."""
    digest = hashlib.blake2b(sender.encode() + b"\0", digest_size=16)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
