"""When SNMP notifications are due (specification management.md §10, F-SNMP-05, F-SNMP-06). Pure: moments are passed in.

`TrapPlan` is shown how things are, again and again, by `master.snmp`, and returns what has happened since.
"""

import enum
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

HOUR_S: Final = 3600.0
SAMPLE_S: Final = 30.0
"""Pause between two samples of the counters: 120 of them make the hour."""
OBSOLETE_DAYS: Final = 5
"""Databases older than this are obsolete."""
OBSOLETE_AGAIN_S: Final = 86400.0
LEAST_MESSAGES: Final = 20
"""Scanned in the last hour for a share to mean anything: one infected mail of two is no outbreak."""
ERRORS_LIMIT: Final = 10
"""Notifications about errors at once; what is beyond stands in the log."""


class Trap(enum.IntEnum):
    """Notifications, by their number below the traps' node, ..."""

    CONFIG_RELOADED = 1
    BASES_RELOADED = 2
    PRODUCT_START = 3
    PRODUCT_STOP = 4
    PRODUCT_ERROR = 5
    OUTBREAK_ALERT = 6
    UPDATE_STATUS = 7
    OBSOLETE_BASES = 8


GROUP_OF: Final = {
    Trap.CONFIG_RELOADED: "config",
    Trap.BASES_RELOADED: "config",
    Trap.PRODUCT_START: "admin",
    Trap.PRODUCT_STOP: "admin",
    Trap.PRODUCT_ERROR: "admin",
    Trap.OUTBREAK_ALERT: "admin",
    Trap.UPDATE_STATUS: "update",
    Trap.OBSOLETE_BASES: "update",
}
"""... and the group of `SNMPTraps` each belongs to."""


class Happened(msgspec.Struct, frozen=True):
    """One notification."""

    trap: Trap
    text: str = ""
    """PRODUCT_ERROR: what it is. UPDATE_STATUS: the result."""
    percent: int = 0
    """OUTBREAK_ALERT: share of infected messages in the last hour."""
    released: str = ""
    """UPDATE_STATUS, OBSOLETE_BASES: day of issue of the databases in use."""
    new: bool = False
    """UPDATE_STATUS: databases were updated."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """How things are."""

    now: float
    """Unix seconds."""
    config: int = 0
    """Changes when another configuration is in force ..."""
    bases: int = 0
    """... and when other databases are."""
    scanned: int = 0
    """Messages scanned since the start."""
    infected: int = 0
    errors: Sequence[tuple[str, str]] = ()
    """Standing errors: (key, text)."""
    update_checked: float = 0.0
    update_result: str = ""
    released: str = ""
    age_days: int | None = None
    """Days since the databases in use were issued; None: there are none."""


class TrapPlan:
    """What has happened between two views."""

    def __init__(self) -> None:
        self._before: View | None = None
        self._samples: deque[tuple[float, int, int]] = deque()
        self._alerted_at: float | None = None
        self._obsolete_at: float | None = None
        self._told: set[str] = set()

    def look(self, view: View, threshold: int) -> list[Happened]:
        """Return what has happened. `threshold`: percent of infected messages in an hour; 0 = no alert."""
        before, self._before = self._before, view
        happened: list[Happened] = []
        if before is None:
            happened.append(Happened(Trap.PRODUCT_START))
        else:
            happened += _changes(before, view)
        happened += self._errors(view)
        happened += self._outbreak(view, threshold)
        happened += self._obsolete(view)
        return happened

    def _errors(self, view: View) -> Iterator[Happened]:
        standing = dict(view.errors)
        fresh = [key for key in standing if key not in self._told]
        for key in fresh[:ERRORS_LIMIT]:
            yield Happened(Trap.PRODUCT_ERROR, text=standing[key])
        self._told = set(standing)

    def _outbreak(self, view: View, threshold: int) -> Iterator[Happened]:
        """Alert when the share rises above the threshold, and every hour again until it is below."""
        samples = self._samples
        if not threshold:  # nobody counts meanwhile: what comes later is no matter of one hour
            samples.clear()
            self._alerted_at = None
            return
        if samples and view.scanned < samples[-1][1]:  # counted anew
            samples.clear()
        if not samples or view.now - samples[-1][0] >= SAMPLE_S or view.now < samples[-1][0]:
            samples.append((view.now, view.scanned, view.infected))
        while len(samples) > 1 and samples[1][0] <= view.now - HOUR_S:
            samples.popleft()
        scanned, infected = view.scanned - samples[0][1], view.infected - samples[0][2]
        share = 100 * infected / scanned if scanned else 0.0
        if share <= threshold or scanned < LEAST_MESSAGES:
            self._alerted_at = None if share <= threshold else self._alerted_at
            return
        if self._alerted_at is None or view.now - self._alerted_at >= HOUR_S:
            self._alerted_at = view.now
            yield Happened(Trap.OUTBREAK_ALERT, percent=round(share))

    def _obsolete(self, view: View) -> Iterator[Happened]:
        if view.age_days is None or view.age_days <= OBSOLETE_DAYS:
            self._obsolete_at = None
        elif self._obsolete_at is None or view.now - self._obsolete_at >= OBSOLETE_AGAIN_S:
            self._obsolete_at = view.now
            yield Happened(Trap.OBSOLETE_BASES, released=view.released)


def _changes(before: View, view: View) -> Iterator[Happened]:
    if view.config != before.config:
        yield Happened(Trap.CONFIG_RELOADED)
    if view.bases != before.bases:
        yield Happened(Trap.BASES_RELOADED)
    if view.update_checked > before.update_checked:
        new = view.update_result == "updated"
        yield Happened(Trap.UPDATE_STATUS, text=view.update_result, released=view.released, new=new)
