"""How much mail went which way, by minute and by hour: what pictures of a day or a year are drawn from.

Written by the recorder from the same records as everything else; a record that comes again is not counted again.
"""

import contextlib
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from gatepost.model.record import (
    Answered,
    Blocked,
    Deferred,
    Delivered,
    Discarded,
    Generated,
    Held,
    Inspected,
    Notified,
    Received,
    Record,
    Refused,
    Scanned,
    SpamChecked,
)
from gatepost.storage.number import check_number
from gatepost.storage.tracking.layout import open_reader

MINUTES_KEPT: Final = 2 * 1440
"""Minutes that are kept, in minutes ..."""
HOURS_KEPT: Final = 400 * 24
"""... and hours, in hours: a year can be compared with the one before."""
POINTS_LIMIT: Final = 3000
DELAYS_S: Final = (
    0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400, 432_000
)  # fmt: skip
"""Upper bounds of the classes of delay, from acceptance to delivery ..."""
ELAPSED_MS: Final = (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
"""... and of the time an inspection took; a last class holds what took longer."""
COUNTS: Final = (
    "received",
    "bytes",
    "refused",
    "delivered",
    "failed",
    "deferred",
    "blocked",
    "discarded",
    "held",
    "generated",
    "scanned",
    "infected",
    "checked",
    "spam",
    "probable_spam",
)
"""Columns of a series: mails; `bytes` of received mail; recipients that were `delivered`, `failed`, `deferred`."""
QUEUE: Final = ("waiting", "ready", "held_now")
PERCENTILES: Final = (50, 95, 99)
_INFECTED: Final = frozenset({"infected", "disinfected"})
VERSION: Final = 1
"""`user_version` of the file; a newer one is refused."""
_TABLES: Final = """
CREATE TABLE minute(at INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT;
CREATE TABLE hour(at INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT;
CREATE TABLE applied(source TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""


class Row(msgspec.Struct, array_like=True):
    """One minute or hour."""

    counts: dict[str, int] = {}
    delays: list[int] = []
    """Deliveries by class of `DELAYS_S`."""
    elapsed: list[int] = []
    """Inspections by class of `ELAPSED_MS`."""
    queue: dict[int, tuple[int, int, int]] = {}
    """Shard: mails that wait for inspection, for delivery and for an operator; the latest sample."""

    def add(self, other: "Row") -> None:
        """Add another row of the same span."""
        for name, amount in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + amount
        self.delays = _sum(self.delays, other.delays)
        self.elapsed = _sum(self.elapsed, other.elapsed)
        self.queue.update(other.queue)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Row)


def _sum(one: list[int], other: list[int]) -> list[int]:
    if not one or not other:
        return list(one or other)
    return [a + b for a, b in zip(one, other, strict=True)]


def _one(name: str) -> Callable[[Row, Any], None]:
    """Return what counts a record as one more of these."""

    def count(row: Row, _: Any) -> None:
        row.counts[name] = row.counts.get(name, 0) + 1

    return count


def _count_received(row: Row, record: Received) -> None:
    counts = row.counts
    counts["received"] = counts.get("received", 0) + 1
    counts["bytes"] = counts.get("bytes", 0) + record.size


def _count_inspected(row: Row, record: Inspected) -> None:
    row.elapsed = row.elapsed or [0] * (len(ELAPSED_MS) + 1)
    row.elapsed[bisect_left(ELAPSED_MS, record.elapsed_ms)] += 1


def _count_scanned(row: Row, record: Scanned) -> None:
    counts = row.counts
    if record.objects:
        counts["scanned"] = counts.get("scanned", 0) + 1
    if not _INFECTED.isdisjoint(record.statuses):
        counts["infected"] = counts.get("infected", 0) + 1


def _count_checked(row: Row, record: SpamChecked) -> None:
    counts = row.counts
    counts["checked"] = counts.get("checked", 0) + 1
    if record.status in _SPAM:
        name = "probable_spam" if record.status == "probable_spam" else "spam"
        counts[name] = counts.get(name, 0) + 1


def _count_delivered(row: Row, record: Delivered) -> None:
    counts = row.counts
    if record.sent:
        counts["delivered"] = counts.get("delivered", 0) + 1
        row.delays = row.delays or [0] * (len(DELAYS_S) + 1)
        row.delays[bisect_left(DELAYS_S, record.delay_s)] += 1
    else:
        counts["failed"] = counts.get("failed", 0) + 1


_ANSWERS: Final = {"deliver": "passed", "reject": "refused", "discard": "discarded"}


def _count_answered(row: Row, record: Answered) -> None:
    name = _ANSWERS.get(record.deed)
    if name is not None:
        row.counts[name] = row.counts.get(name, 0) + 1


_SPAM: Final = frozenset({"spam", "probable_spam", "blacklisted"})
_COUNT: Final[dict[type, Callable[[Row, Any], None]]] = {
    Received: _count_received,
    Inspected: _count_inspected,
    Scanned: _count_scanned,
    SpamChecked: _count_checked,
    Delivered: _count_delivered,
    Answered: _count_answered,
    Refused: _one("refused"),
    Deferred: _one("deferred"),
    Blocked: _one("blocked"),
    Discarded: _one("discarded"),
    Held: _one("held"),
    Generated: _one("generated"),
    Notified: _one("generated"),
}


class History:
    """The file as the recorder writes it."""

    def __init__(self, path: Path) -> None:
        """Open, or make it. apsw.Error, NewerFormat."""
        self._connection = apsw.Connection(str(path))
        self._execute: Callable[..., Any] = self._connection.execute
        try:
            self._execute("PRAGMA journal_mode=WAL")
            self._execute("PRAGMA synchronous=FULL")
            self._execute("PRAGMA cache_size=-512")
            if not check_number(self._connection, path, VERSION):
                with self._connection:
                    self._execute(_TABLES)
                    self._execute(f"PRAGMA user_version={VERSION}")
            self.applied: dict[str, int] = dict(self._execute("SELECT source, number FROM applied"))
            """Outboxes, and the number up to which they are counted and durable."""
        except BaseException:
            self._connection.close(force=True)
            raise
        self._rows: defaultdict[int, Row] = defaultdict(Row)
        self._ends: dict[str, int] = {}

    def apply(self, source: str, first: int, records: Sequence[Record]) -> None:
        """Count records of an outbox."""
        done = self.applied.get(source, 0)
        minute, row = -1, Row()
        for record in records[done + 1 - first :] if done >= first else records:
            now = int(record.at) // 60
            if now != minute:
                minute, row = now, self._rows[now]
            count = _COUNT.get(type(record))
            if count is not None:
                count(row, record)
        self._ends[source] = first + len(records) - 1

    def sample(self, at: float, shard: int, queue: tuple[int, int, int]) -> None:
        """Take note of the state of a shard's queue."""
        self._rows[int(at) // 60].queue[shard] = queue

    def commit(self) -> None:
        """Make it durable. apsw.Error."""
        if not self._rows and not self._ends:
            return
        hours: defaultdict[int, Row] = defaultdict(Row)
        for minute, row in self._rows.items():
            hours[minute // 60].add(row)
        with self._connection:
            self._merge("minute", self._rows)
            self._merge("hour", hours)
            self._connection.executemany("INSERT OR REPLACE INTO applied VALUES(?,?)", list(self._ends.items()))
        self.applied.update(self._ends)
        self._rows.clear()
        self._ends.clear()

    def _merge(self, table: str, rows: "dict[int, Row]") -> None:
        for at, row in rows.items():
            found = self._execute(f"SELECT row FROM {table} WHERE at=?", (at,)).fetchone()  # noqa: S608 - our two tables
            if found is not None:
                known = _DECODER.decode(found[0])
                known.add(row)
                row = known  # noqa: PLW2901 - the sum takes its place
            self._execute(f"INSERT OR REPLACE INTO {table} VALUES(?,?)", (at, _ENCODER.encode(row)))

    def retain(self, now: float) -> None:
        """Forget what is older than is kept. apsw.Error."""
        with self._connection:
            self._execute("DELETE FROM minute WHERE at < ?", (int(now) // 60 - MINUTES_KEPT,))
            self._execute("DELETE FROM hour WHERE at < ?", (int(now) // 3600 - HOURS_KEPT,))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close(force=True)


def read_series(path: Path, since: float, until: float, step_s: int = 0) -> dict[str, Any]:
    """Return {"step", "at": [moment], "columns": {name: [value]}} over a span of time, oldest first.

    `step_s` 0: minutes up to six hours, quarters of an hour up to two days, hours up to a month, then days. Columns:
    `COUNTS`, `QUEUE`, and `delay_p50` … in seconds, `inspection_p50` … in ms; None where nothing is known. apsw.Error;
    ValueError for a span or a step that cannot be drawn.
    """
    span = until - since
    if span <= 0:
        raise ValueError("the span ends before it begins")
    step = step_s or (60 if span <= 6 * 3600 else 900 if span <= 2 * 86400 else 3600 if span <= 31 * 86400 else 86400)
    if step < 60 or step % 60 or (step > 3600 and step % 3600) or span / step > POINTS_LIMIT:
        raise ValueError(f"a step of {step} s does not do: whole minutes or hours, at most {POINTS_LIMIT} of them")
    table, unit = ("minute", 60) if step < 3600 else ("hour", 3600)
    first, last = int(since // step), math.ceil(until / step)
    rows = [Row() for _ in range(first, last)]
    for at, row in _read_rows(path, table, first * step // unit, last * step // unit):
        rows[at * unit // step - first].add(row)
    columns: dict[str, list[Any]] = {name: [row.counts.get(name, 0) for row in rows] for name in COUNTS}
    for index, name in enumerate(QUEUE):
        columns[name] = [sum(queue[index] for queue in row.queue.values()) if row.queue else None for row in rows]
    for percent in PERCENTILES:
        columns[f"delay_p{percent}"] = [find_percentile(row.delays, DELAYS_S, percent) for row in rows]
        columns[f"inspection_p{percent}"] = [find_percentile(row.elapsed, ELAPSED_MS, percent) for row in rows]
    return {"step": step, "at": [number * step for number in range(first, last)], "columns": columns}


def _read_rows(path: Path, table: str, first: int, last: int) -> Iterator[tuple[int, Row]]:
    try:
        connection = open_reader(path)
    except apsw.CantOpenError:
        return
    with contextlib.closing(connection):
        for at, raw in connection.execute(
            f"SELECT at, row FROM {table} WHERE at >= ? AND at < ? ORDER BY at",  # noqa: S608 - our two tables
            (first, last),
        ):
            yield int(at), _DECODER.decode(raw)


def find_percentile(classes: Sequence[int], bounds: Sequence[float], percent: int) -> float | None:
    """Return the value below which `percent` of what was classified lies, between the bounds of its class in
    proportion; None when there is nothing.
    """
    total = sum(classes)
    if not total:
        return None
    wanted = total * percent / 100
    below = 0
    for index, number in enumerate(classes):
        if number and below + number >= wanted:
            low = bounds[index - 1] if index else 0.0
            high = bounds[index] if index < len(bounds) else bounds[-1]
            return low + (high - low) * (wanted - below) / number
        below += number
    return float(bounds[-1])
