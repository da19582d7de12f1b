"""How long commits took: a histogram that costs half a microsecond a commit and nothing to keep.

Filled by `spool.writer`, shown by `gatepost status`: a disk that grows slow is seen before clients see it.
"""

import math

_STEP = 1.15
"""Width of a bucket: quantiles are exact to 15 %."""
_LEAST_S = 1e-5
_BUCKETS = 120
_SCALE = 1 / math.log(_STEP)


class Durations:
    """A histogram of durations from 10 µs to three minutes."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.longest_s = 0.0

    def note(self, seconds: float) -> None:
        """Count one."""
        bucket = int(math.log(seconds / _LEAST_S) * _SCALE) + 1 if seconds > _LEAST_S else 0
        self._counts[min(bucket, _BUCKETS - 1)] += 1
        self.count += 1
        self.longest_s = max(self.longest_s, seconds)

    def quantile(self, share: float) -> float:
        """Return the duration that `share` (0 to 1) of all do not exceed, in seconds; 0 when there are none."""
        rest = share * self.count
        for bucket, count in enumerate(self._counts):
            rest -= count
            if count and rest <= 0:
                return min(_LEAST_S * _STEP**bucket, self.longest_s)
        return self.longest_s
