"""When digests are due: times of day on days of the week, or every so often. Pure: clock and zone are given.

Used by `master.digests`. Times of day are those of the gateway's clock on the wall: a time that a change to summer time
leaves out is due at the moment that follows it, and one that comes twice is due once.
"""

import datetime as dt
from typing import Final

import msgspec

from gatepost.config.grouping import DAYS, Policy
from gatepost.config.user_pages import parse_time

_WEEK_DAYS: Final = 8
"""Days looked back for the last due moment: today's may be still to come, on the only day of the week."""


class Schedule(msgspec.Struct, frozen=True):
    """When a group's recipients hear of what is kept for them."""

    times: tuple[dt.time, ...] = ()
    days: frozenset[int] = frozenset(range(7))
    """0 = Monday."""
    interval_s: float = 0.0
    """Instead of times; 0 = by times."""

    @classmethod
    def of(cls, group: Policy) -> "Schedule":
        """Read the parameters of a group."""
        days = frozenset(DAYS.index(day) for day in group.digest_days) or frozenset(range(7))
        return cls(tuple(sorted(map(parse_time, group.digest_times))), days, group.digest_interval)

    def is_due(self, last: float, now: float, zone: dt.tzinfo | None = None) -> bool:
        """Tell whether a digest is due that was not when the last one was made (Unix times). `zone` None: the host's.

        One that was missed while the gateway was down is due once.
        """
        if self.interval_s:
            return now - last >= self.interval_s
        due = self.due_before(now, zone)
        return due is not None and due > last

    def due_before(self, now: float, zone: dt.tzinfo | None = None) -> float | None:
        """Return the last moment up to now at which a digest was due by times of day; None: there is none."""
        today = dt.datetime.fromtimestamp(now, zone).date()
        for back in range(_WEEK_DAYS):
            day = today - dt.timedelta(days=back)
            if day.weekday() not in self.days:
                continue
            moments = [_moment(day, time, zone) for time in self.times]
            past = [moment for moment in moments if moment <= now]
            if past:
                return max(past)
        return None


def _moment(day: dt.date, time: dt.time, zone: dt.tzinfo | None) -> float:
    return dt.datetime.combine(day, time, zone).timestamp()
