"""Load shedding: who gets no new session when there are too many, or too much to do. Pure; the rules are the manual's.

Asked by `relay.intake` for every new session that is not one of ours. In order: from `limits.shed_load_at` percent of
the session limit on the addresses with most sessions get no more of them; at the limit nobody does.
"""

from typing import Final

import msgspec

FLOOR: Final = 4
"""Sessions that every address may have for as long as there is a place: the documented default for one address."""
LAG_S: Final = 2.0
"""Delay of the event loop at which it has too much to do: mail still flows, but every reply takes this long."""
LAG_CALM_S: Final = 0.5
"""Delay at which that is over."""
MEMORY_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of content in memory that is still arriving, in one relay; beyond it new content goes to the disk at once."""
MEMORY_CALM: Final = MEMORY_LIMIT // 2


class Strain(msgspec.Struct):
    """What the relay has too much of just now. Each has two marks, so that it does not flicker."""

    lag_s: float = 0.0
    """Delay of the event loop, as measured last."""
    slow: bool = False
    memory: int = 0
    """Bytes of arriving content in memory, as measured last."""
    short: bool = False

    def measure(self, lag_s: float, memory: int) -> None:
        """Take new measurements."""
        self.slow = min(lag_s, self.lag_s) > LAG_S or (self.slow and lag_s > LAG_CALM_S)  # one hiccup says nothing
        self.lag_s = lag_s
        self.short = memory > MEMORY_LIMIT or (self.short and memory > MEMORY_CALM)
        self.memory = memory

    @property
    def any(self) -> bool:
        """The relay is strained."""
        return self.slow or self.short


def shedding_start(total_limit: int, shed_at_percent: int) -> int:
    """Return at how many open sessions shedding begins, `total_limit` when it never does."""
    return total_limit * shed_at_percent // 100 if shed_at_percent else total_limit


def plan_address_limit(
    open_sessions: int, *, total_limit: int, address_limit: int, shed_at_percent: int, strained: bool
) -> int:
    """Return how many sessions one address may have now.

    From the share on it sinks evenly from the configured limit to `FLOOR`, which it reaches with the last place; a
    strained relay is as if that were taken.
    """
    if address_limit <= FLOOR:
        return address_limit
    if strained:
        return FLOOR
    start = shedding_start(total_limit, shed_at_percent)
    if open_sessions < start or total_limit <= start:
        return address_limit
    left = max(0, total_limit - open_sessions)
    return FLOOR + (address_limit - FLOOR) * left // (total_limit - start)
