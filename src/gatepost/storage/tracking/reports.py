"""Counts over a span of time: how many mails of which outcome and status, and the commonest values.

Whole hours of acceptance are counted as mails were written. The commonest values come from those kept of each segment;
where a segment lies across an end of the span, and of mails that are not in the index yet, from the mails themselves.
"""

import struct
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gatepost.storage.tracking.fields import VALUES, tally_keys
from gatepost.storage.tracking.layout import day_at, first_id, hour_of
from gatepost.storage.tracking.readers import Readers
from gatepost.storage.tracking.segment import TOP_FIELDS, TOPS_KEPT
from gatepost.storage.tracking.summary import DECODER, Summary

NAMES: Final = {"s": "senders", "S": "sender_domains", "r": "recipients", "R": "recipient_domains", "a": "clients",
                "v": "threats"}  # fmt: skip
"""What each field of `TOP_FIELDS` is called in a report."""
_TOPS: Final = msgspec.msgpack.Decoder(dict[str, dict[str, int]])


class Report:
    """Counts that add up."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.tops: dict[str, Counter[str]] = {field.value: Counter() for field in TOP_FIELDS}
        self.exact = True
        """No value that is rare in some segments may be missing from the tops."""
        self.back_until = 0.0

    def add(self, summary: Summary) -> None:
        """Count one mail."""
        self.counts.update(tally_keys(summary))
        self.add_tops(summary)

    def add_tops(self, summary: Summary) -> None:
        """Count the values of one mail."""
        for field in TOP_FIELDS:
            self.tops[field.value].update({value for value in VALUES[field](summary) if value})

    def add_counts(self, letter: str, values: Mapping[str, int]) -> None:
        """Add the commonest values of a field among some mails, and in how many each stands."""
        found = self.tops[letter]
        for value, mails in values.items():
            found[value] = found.get(value, 0) + mails
        self.exact &= len(values) < TOPS_KEPT

    def named_tops(self) -> dict[str, Counter[str]]:
        """Return the values by the names of reports."""
        return {name: self.tops[letter] for letter, name in NAMES.items()}


def read_report(readers: Readers, since: float, until: float, *, tops: bool = True) -> Report:
    """Return what was accepted, or refused, in a span of time; its counts go by whole hours. Without `tops`, which are
    nearly all of the work, counts alone. apsw.Error.
    """
    report = Report()
    for day in readers.days():
        if day_at(since) <= day <= day_at(until):
            with readers.reading(day) as connection:
                if connection is not None:
                    _add_counts(report, connection, since, until)
                    if tops:
                        _add_tops(report, connection, since, until)
    return report


def _add_counts(report: Report, connection: Any, since: float, until: float) -> None:
    for key, mails in connection.execute(
        "SELECT key, sum(mails) FROM tally WHERE hour >= ? AND hour <= ? GROUP BY key HAVING sum(mails) > 0",
        (hour_of(since), hour_of(until - 0.001)),
    ):
        report.counts[key] += mails


def _add_tops(report: Report, connection: Any, since: float, until: float) -> None:
    low, high = first_id(since), first_id(until)
    for segment, first, last in connection.execute(
        "SELECT number, low, high FROM segment WHERE low < ? AND high >= ?", (high, low)
    ).fetchall():
        if low <= first and last < high:
            row = connection.execute("SELECT tops FROM segment WHERE number=?", (segment,)).fetchone()
            for letter, values in _TOPS.decode(row[0]).items():
                report.add_counts(letter, values)
        else:
            row = connection.execute("SELECT ids FROM segment WHERE number=?", (segment,)).fetchone()
            for (number,) in struct.iter_unpack("=q", row[0]):
                if low <= number < high:
                    row = connection.execute("SELECT summary FROM mail WHERE id=?", (number,)).fetchone()
                    report.add_tops(DECODER.decode(row[0]))
    for (raw,) in connection.execute(
        "SELECT summary FROM fresh CROSS JOIN mail USING(id) WHERE id >= ? AND id < ?", (low, high)
    ):
        report.add_tops(DECODER.decode(raw))
