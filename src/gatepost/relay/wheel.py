"""A wheel of times: which sessions are to be looked at now, at a cost that does not grow with those that wait.

Used by `relay.intake`. Ten thousand idle sessions cost nothing until their time has come; one that ends is forgotten
at once.
"""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

TICK_S: Final = 0.25
"""Times are exact to this."""


class Wheel(Generic[T]):
    """Items by the tick in which their time comes. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._slots: dict[int, set[T]] = {}
        self._ticks: dict[T, int] = {}
        self._done = 0

    def put(self, item: T, at: float) -> None:
        """Have `item` come up at `at`, or up to a tick later; an earlier time given for it no longer holds."""
        tick = max(int(at / TICK_S) + 1, self._done + 1)
        before = self._ticks.get(item)
        if before == tick:
            return
        if before is not None:
            self._leave(item, before)
        self._ticks[item] = tick
        self._slots.setdefault(tick, set()).add(item)

    def drop(self, item: T) -> None:
        """Forget an item; harmless when it is not there."""
        tick = self._ticks.pop(item, None)
        if tick is not None:
            self._leave(item, tick)

    def turn(self, now: float) -> list[T]:
        """Return the items whose time has come and forget them."""
        until = int(now / TICK_S)
        if until - self._done > len(self._slots):
            ticks = sorted(tick for tick in self._slots if tick <= until)
        else:
            ticks = [tick for tick in range(self._done + 1, until + 1) if tick in self._slots]
        self._done = max(self._done, until)
        items: list[T] = []
        for tick in ticks:
            slot = self._slots.pop(tick)
            for item in slot:
                del self._ticks[item]
            items.extend(slot)
        return items

    def __len__(self) -> int:
        return len(self._ticks)

    def _leave(self, item: T, tick: int) -> None:
        slot = self._slots[tick]
        slot.discard(item)
        if not slot:
            del self._slots[tick]
