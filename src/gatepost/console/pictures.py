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
    """`count` or `ms`."""


PLANS: Final = (
    Plan("flow", "Mail", (("Received", "received"), ("Delivered", "delivered"), ("Refused", "refused"))),
    Plan(
        "verdicts",
        "Verdicts",
        (
            ("Clean", "clean"),
            ("Spam", "spam"),
            ("Probable spam", "probable"),
            ("Infected", "infected"),
            ("Blocked", "blocked"),
        ),
    ),
    Plan("waiting", "Queue", (("Waiting", "waiting"), ("Held", "held"))),
    Plan(
        "latency",
        "From acceptance to delivery",
        (("Half within", "p50_ms"), ("95 % within", "p95_ms"), ("99 % within", "p99_ms")),
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


def build_pictures(points: Sequence[Mapping[str, Any]]) -> tuple[Picture, ...]:
    """Return all pictures of a series: points with `at` (Unix time of the beginning) and numbers by name."""
    return tuple(
        Picture(
            plan.id,
            plan.heading,
            tuple(label for label, _ in plan.columns),
            tuple((float(point["at"]), tuple(point.get(name) for _, name in plan.columns)) for point in points),
            plan.unit,
        )
        for plan in PLANS
    )


def zone_offset_s(moment: float) -> int:
    """Return how far the gateway's zone is ahead of UTC at a moment."""
    offset = datetime.fromtimestamp(moment, UTC).astimezone().utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0
