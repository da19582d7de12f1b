"""How much programs may ask for: a bucket of requests for each token and each address, filled at a steady rate. Pure.

Used by `routes`. Bounded: of more buckets than `BUCKETS` the one unused for longest goes, and was full again long ago.
"""

from typing import Final

BURST_S: Final = 10.0
"""How many seconds' worth may come at once."""
BUCKETS: Final = 20_000


class Rates:
    """All buckets of one kind."""

    def __init__(self, rate: float) -> None:
        """`rate`: requests a second."""
        self._rate = rate
        self._size = rate * BURST_S
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str, now: float) -> float:
        """Take a request out of a bucket; return 0, or how many seconds until one is there. `now`: a steady clock."""
        level, at = self._buckets.pop(name, (self._size, now))
        level = min(self._size, level + (now - at) * self._rate)
        missing = max(0.0, 1.0 - level)
        self._buckets[name] = (level if missing else level - 1.0, now)
        if len(self._buckets) > BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        return missing / self._rate
