"""Pictures over time: what `tracking.series` answers, as columns and rows that `ui.picture` shows. Pure.

Used by the dashboard. A span has few enough points to be read as a table, too.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec


class Span(msgspec.Struct, frozen=True):
    """A choice of time."""

    name: str
    label: str
    length_s: int
    step_s: int
    """Of one point; at most 120 in a span."""
    form: str
    """How a point's time is written."""


SPANS: Final = {
    span.name: span
    for span in (
        Span("hour", "Hour", 3600, 60, "%H:%M"),
        Span("day", "Day", 86400, 900, "%H:%M"),
        Span("month", "Month", 30 * 86400, 6 * 3600, "%m-%d %H:%M"),
    )
}


class Plan(msgspec.Struct, frozen=True):
    """What one picture shows."""

    id: str
    heading: str
    columns: tuple[tuple[str, str], ...]
    """Label and name in the series."""
    unit: str = "count"
    """`count`, `s` or `ms`."""


PLANS: Final = (
    Plan(
        "flow",
        "Mail",
        (
            ("Received", "received"),
            ("Refused", "refused"),
            ("Delivered to recipients", "delivered"),
            ("Failed", "failed"),
        ),
    ),
    Plan(
        "verdicts",
        "Verdicts",
        (("Spam", "spam"), ("Probable spam", "probable_spam"), ("Infected", "infected"), ("Blocked", "blocked")),
    ),
    Plan(
        "waiting",
        "Queue",
        (("Waits for inspection", "waiting"), ("Waits for delivery", "ready"), ("Held", "held_now")),
    ),
    Plan(
        "delay",
        "From acceptance to delivery",
        (("Half within", "delay_p50"), ("95 % within", "delay_p95"), ("99 % within", "delay_p99")),
        "s",
    ),
    Plan(
        "inspection",
        "Inspection",
        (("Half within", "inspection_p50"), ("95 % within", "inspection_p95"), ("99 % within", "inspection_p99")),
        "ms",
    ),
)


class Picture(msgspec.Struct, frozen=True):
    """A picture, ready to be shown."""

    id: str
    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[float, tuple[float | None, ...]], ...]
    unit: str


def build_pictures(series: Mapping[str, Any]) -> tuple[Picture, ...]:
    """Return all pictures of a series: moments `at` (Unix time of the beginning), and `columns` of values by name."""
    moments: Sequence[float] = series["at"]
    columns: Mapping[str, Sequence[float | None]] = series["columns"]
    unknown = [None] * len(moments)
    return tuple(
        Picture(
            plan.id,
            plan.heading,
            tuple(label for label, _ in plan.columns),
            tuple(
                zip(moments, zip(*(columns.get(name, unknown) for _, name in plan.columns), strict=True), strict=True)
            ),
            plan.unit,
        )
        for plan in PLANS
    )


NO_SERIES: Final[Mapping[str, Any]] = {"at": (), "columns": {}}


def zone_offset_s(moment: float) -> int:
    """Return how far the gateway's zone is ahead of UTC at a moment."""
    offset = datetime.fromtimestamp(moment, UTC).astimezone().utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0
