"""How much all clients of a door together may have it hold: many small ones at once must not fill the memory.

One count a door and process; each connection takes its share of it with what it sends, and gives it back when it ends.
"""

from types import TracebackType
from typing import Final, Self

from gatepost.service.gathered import Gathered

HELD_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of all mails that one door holds at a time: thousands of ordinary ones."""


class NoRoom(Exception):  # noqa: N818 - a state
    """So much is held already that nothing more is taken now."""


class HeldBytes:
    """The count of one door."""

    def __init__(self, limit: int = HELD_LIMIT) -> None:
        self._limit = limit
        self.held = 0

    def take(self, size: int) -> None:
        """Count bytes in. NoRoom."""
        if self.held + size > self._limit:
            raise NoRoom(f"{self.held} bytes are held already")
        self.held += size

    def give(self, size: int) -> None:
        """Count them out."""
        self.held -= size


class Share:
    """What one connection holds, for as long as the context lasts."""

    __slots__ = ("_count", "_size")

    def __init__(self, count: HeldBytes) -> None:
        self._count = count
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def take(self, size: int) -> None:
        """Hold more. NoRoom."""
        self._count.take(size)
        self._size += size

    def release(self) -> None:
        """Hold nothing any more."""
        self._count.give(self._size)
        self._size = 0


def add_held(gathered: Gathered, data: bytes, share: Share) -> None:
    """Take a piece of a content: in memory while it is small and there is room for it, else in its file. OSError."""
    if gathered.in_memory:
        try:
            share.take(len(data))
        except NoRoom:
            gathered.spill()
    gathered.add(data)
    if not gathered.in_memory:
        share.release()
