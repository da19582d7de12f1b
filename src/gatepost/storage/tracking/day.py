"""The file of one day as the recorder writes it. Owned by one thread.

Records are gathered in memory by `take`, and written by `write`; `commit` makes that durable together with how far each
outbox has been applied to this file. So a record that comes again, after a kill of anybody, changes nothing.
"""

from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgspec

from gatepost.model.ids import received_ms
from gatepost.model.record import Received, Record
from gatepost.storage.tracking import summary as summaries
from gatepost.storage.tracking.fields import tally_keys, terms_of
from gatepost.storage.tracking.layout import hour_of, open_writer
from gatepost.storage.tracking.postings import SEGMENT_MAILS
from gatepost.storage.tracking.segment import Segment
from gatepost.storage.tracking.summary import Summary

KNOWN_LIMIT: Final = 1000
"""Summaries kept in memory after they were written: most mails are settled a moment after they came."""

RawRecord = bytes | msgspec.Raw
"""A record as it is kept (`model.record.ENCODER`): as it came, or masked."""


class Entry(NamedTuple):
    """A record in its place."""

    source: str
    """The outbox, and its number there."""
    number: int
    record: Record
    raw_record: RawRecord


class Touched(msgspec.Struct, gc=False):
    """A mail with records that are not written yet."""

    summary: Summary
    """As of the latest record."""
    source: str
    number: int
    """Of the first of them."""
    terms: "set[str] | None"
    """What the index has of it, None when it is new ..."""
    counted: "frozenset[str]"
    """... and what it is counted under."""
    raw_records: list[RawRecord] = []

    def add(self, record: Record, raw_record: RawRecord) -> None:
        """Take its next record."""
        self.summary.apply(record)
        self.raw_records.append(raw_record)


def _array_head(count: int) -> bytes:
    """Return what msgpack writes before the elements of an array."""
    if count < 16:
        return bytes((0x90 | count,))
    return b"\xdc" + count.to_bytes(2, "big") if count < 65_536 else b"\xdd" + count.to_bytes(4, "big")


class DayFile:
    """One day's file, open to be written."""

    def __init__(self, path: Path) -> None:
        """Open, or make it. apsw.Error, ValueError."""
        self._connection = open_writer(path)
        self._execute = cast("Any", self._connection.execute)
        try:
            self.applied: dict[str, int] = dict(self._execute("SELECT source, number FROM applied"))
            """Outboxes, and the number up to which they are in this file."""
            self.fresh: int = self._execute("SELECT count(*) FROM fresh").fetchall()[0][0]
            """Mails that are not in the index."""
        except BaseException:
            self._connection.close(force=True)
            raise
        self._touched: dict[int, Touched] = {}
        self._known: OrderedDict[int, Summary] = OrderedDict()
        self._copies: dict[int, int] = {}
        self.dirty = False

    def find(self, message_id: int) -> Summary | None:
        """Return a mail's summary as of now, None when there is none of it here."""
        touched = self._touched.get(message_id)
        if touched is not None:
            return touched.summary
        known = self._known.get(message_id)
        if known is not None:
            return known
        row = self._execute("SELECT summary FROM mail WHERE id=?", (message_id,)).fetchone()
        return summaries.DECODER.decode(row[0]) if row is not None else None

    def mail_of(self, message_id: int) -> int:
        """Return the mail a copy was made of, 0 when it is not known as a copy."""
        if message_id in self._copies:
            return self._copies[message_id]
        row = self._execute("SELECT mail FROM copy WHERE id=?", (message_id,)).fetchone()
        return int(row[0]) if row is not None else 0

    def add_copy(self, message_id: int, mail: int) -> None:
        """Take note of a copy."""
        self.dirty = True
        self._copies[message_id] = mail

    def knows(self, message_id: int) -> bool:
        """Tell whether there is a row of a message."""
        if message_id in self._touched or message_id in self._known:
            return True
        return self._execute("SELECT 1 FROM mail WHERE id=?", (message_id,)).fetchone() is not None

    def take(self, message_id: int, entry: Entry, new: Summary | None, written: Callable[[], None]) -> Touched:
        """Take a record of a mail; return what its next ones of this outbox may be added to, until `written` is called.
        `new`: its summary if it has none yet; what is received is new for sure.
        """
        self.dirty = True
        touched = self._touched.get(message_id)
        if touched is not None and touched.source != entry.source:
            self.write()
            written()
            touched = None
        if touched is None:
            touched = self._touched[message_id] = self._touch(message_id, entry, new)
        touched.add(entry.record, entry.raw_record)
        return touched

    def _touch(self, message_id: int, entry: Entry, new: Summary | None) -> Touched:
        found = self._known.get(message_id) if type(entry.record) is Received else self.find(message_id)
        if found is None:
            new = new or Summary(message_id, received_ms(message_id) / 1000)
            return Touched(new, entry.source, entry.number, None, frozenset())
        return Touched(found, entry.source, entry.number, terms_of(found), tally_keys(found))

    def write(self) -> None:
        """Write what was gathered."""
        if not self.dirty:
            return
        if not self._connection.in_transaction:
            self._execute("BEGIN IMMEDIATE")
        mails, lives, fresh = [], [], []
        tally: Counter[tuple[int, str]] = Counter()
        for number, touched in self._touched.items():
            summary = touched.summary
            summary.settle()
            mails.append((number, summaries.ENCODER.encode(summary)))
            records = b"".join((_array_head(len(touched.raw_records)), *touched.raw_records))
            lives.append((number, touched.source, touched.number, records))
            if touched.terms is None or terms_of(summary) != touched.terms:
                fresh.append((number,))
            counted = tally_keys(summary)
            if counted != touched.counted:
                hour = hour_of(received_ms(number) / 1000)
                for key in counted - touched.counted:
                    tally[hour, key] += 1
                for key in touched.counted - counted:
                    tally[hour, key] -= 1
            self._known[number] = summary
        self._execute_many("INSERT OR REPLACE INTO mail VALUES(?,?)", mails)
        self._execute_many("INSERT OR REPLACE INTO life VALUES(?,?,?,?)", lives)
        before = self._connection.total_changes()
        self._execute_many("INSERT OR IGNORE INTO fresh VALUES(?)", fresh)
        self.fresh += self._connection.total_changes() - before
        self._execute_many(
            "INSERT INTO tally VALUES(?,?,?) ON CONFLICT DO UPDATE SET mails=mails+excluded.mails",
            [(hour, key, mails_more) for (hour, key), mails_more in tally.items()],
        )
        if self._copies:
            self._execute_many("INSERT OR REPLACE INTO copy VALUES(?,?)", list(self._copies.items()))
            self._copies.clear()
        self._touched.clear()
        while len(self._known) > KNOWN_LIMIT:
            self._known.popitem(last=False)

    def commit(self, applied: "dict[str, int]") -> None:
        """Make everything durable: all records up to these numbers that belong into this file are in it.

        apsw.Error: nothing since the last commit is.
        """
        if not self.dirty:
            return
        try:
            self.write()
            self._execute_many("INSERT OR REPLACE INTO applied VALUES(?,?)", list(applied.items()))
            self._execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            raise
        self.applied.update(applied)
        self.dirty = False

    def seal(self, at_least: int = SEGMENT_MAILS) -> bool:
        """Put fresh mails into the index when there are enough; tell whether one segment was made."""
        if self.fresh < max(1, at_least):
            return False
        rows = self._execute(
            "SELECT id, summary FROM fresh CROSS JOIN mail USING(id) ORDER BY id LIMIT ?", (SEGMENT_MAILS,)
        ).fetchall()
        made = Segment(raw_summary for _, raw_summary in rows)
        ids = array("q", [number for number, _ in rows])
        with self._connection:
            segment = self._execute("SELECT coalesce(max(number), 0) + 1 FROM segment").fetchone()[0]
            self._execute(
                "INSERT INTO segment VALUES(?,?,?,?,?)", (segment, ids[0], ids[-1], ids.tobytes(), made.tops())
            )
            self._execute_many(f"INSERT INTO posting VALUES({segment:d},?,?)", made.postings())
            self._execute("DELETE FROM fresh WHERE id <= ?", (ids[-1],))
        self.fresh -= len(ids)
        return True

    def close(self) -> None:
        """Let go of the file; what was not committed is gone."""
        self._connection.close(force=True)

    def _execute_many(self, statement: str, rows: Any) -> None:
        self._connection.executemany(statement, rows)
