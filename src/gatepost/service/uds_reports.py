"""What gateways reported to a UDS server: fingerprint, reporter, verdict, time. One SQLite database.

Used by `service.uds_desk` from the server's one thread. Promises: a report counts once for each gateway, the last one
holds; reports end `keep_s` after they were last made; what all and what one gateway may store is bounded. What was
reported in the last second before a power cut may be lost.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from gatepost.wire.uds import COUNT_LIMIT, VALUES_LIMIT, Report

ENTRIES_LIMIT: Final = 5_000_000
"""Reports of all gateways: about 250 MB on the disk."""
CLIENT_ENTRIES_LIMIT: Final = 500_000
"""Reports of one gateway: some 15,000 mails; one that goes wild must not push out the others."""
KEEP_S: Final = 14 * 86_400.0
"""A wave of spam is over by then."""
EXPIRY_SLICE: Final = 2_000
"""Reports removed at a time: questions wait no longer than some 10 ms."""
_CACHE_KIB: Final = 64 * 1024
_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE reporter(number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, entries INTEGER NOT NULL) STRICT;
CREATE TABLE report(
  value INTEGER NOT NULL,
  reporter INTEGER NOT NULL,
  verdict INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY(value, reporter)
) STRICT, WITHOUT ROWID;
CREATE INDEX report_age ON report(at);
CREATE INDEX report_reporter ON report(reporter);
CREATE TRIGGER report_came AFTER INSERT ON report BEGIN
  UPDATE reporter SET entries = entries + 1 WHERE number = new.reporter;
END;
CREATE TRIGGER report_went AFTER DELETE ON report BEGIN
  UPDATE reporter SET entries = entries - 1 WHERE number = old.reporter;
END;
"""
_KNOWN: Final = (
    f"SELECT value, sum(verdict = {Report.SPAM}), sum(verdict = {Report.WANTED}) FROM report "  # noqa: S608 - constants
    f"WHERE value IN ({', '.join('?' * VALUES_LIMIT)}) GROUP BY value"
)
_STORE: Final = (
    "INSERT INTO report(value, reporter, verdict, at) VALUES(?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET verdict = excluded.verdict, at = excluded.at"
)


class StateError(Exception):
    """The database cannot be used; the text says why."""


class ReportStore:
    """The open database. Its changes are durable after `commit`, and seen at once."""

    def __init__(self, path: Path, keep_s: float = KEEP_S) -> None:
        """Open or make the database. StateError."""
        self._keep_s = keep_s
        try:
            self._connection = apsw.Connection(str(path))
            self._execute: Any = self._connection.execute
            self._execute("PRAGMA locking_mode=EXCLUSIVE")
            self._execute("PRAGMA journal_mode=WAL")
            self._execute("PRAGMA synchronous=NORMAL")
            self._execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            self._prepare()
        except apsw.Error as error:
            raise StateError(f"{path}: {error}") from error
        self._reporters: dict[bytes, int] = {
            bytes(key): number for number, key in self._execute("SELECT number, key FROM reporter")
        }

    def _prepare(self) -> None:
        version = self._execute("PRAGMA user_version").get
        if version not in {0, _VERSION}:
            raise StateError(f"state of version {version}; wanted is {_VERSION}")
        if version == 0:
            with self._connection:
                self._execute(_TABLES)
                self._execute(f"PRAGMA user_version={_VERSION}")

    def close(self) -> None:
        self.commit()
        self._connection.close()

    def keep_only(self, keys: Iterable[bytes]) -> int:
        """Forget the reports of gateways whose key is not among these any more; return how many gateways."""
        wanted = set(keys)
        gone = [key for key in self._reporters if key not in wanted]
        self._begin()
        for key in gone:
            number = self._reporters.pop(key)
            self._change("DELETE FROM report WHERE reporter = ?", (number,))
            self._change("DELETE FROM reporter WHERE number = ?", (number,))
        self.commit()
        return len(gone)

    def known(self, values: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return (reported as spam, as wanted), both at most COUNT_LIMIT, for those that anybody reported."""
        if not values:
            return {}
        numbers = [_number(value) for value in values[:VALUES_LIMIT]]
        numbers += numbers[-1:] * (VALUES_LIMIT - len(numbers))
        return {
            value.to_bytes(8, signed=True): (min(spam, COUNT_LIMIT), min(wanted, COUNT_LIMIT))
            for value, spam, wanted in self._execute(_KNOWN, numbers)
        }

    def store(self, key: bytes, values: Sequence[bytes], report: Report, now: float) -> bool:
        """Take down what the gateway with this key says. False: it, or all together, have too much stored.

        StateError: the database takes nothing.
        """
        self._begin()
        number = self._reporters.get(key)
        if number is None:
            self._change("INSERT INTO reporter(key, entries) VALUES(?, 0)", (key,))
            number = self._reporters[key] = self._connection.last_insert_rowid()
        if report is Report.WITHDRAWN:
            for value in values:
                self._change("DELETE FROM report WHERE value = ? AND reporter = ?", (_number(value), number))
            return True
        own = self._execute("SELECT entries FROM reporter WHERE number = ?", (number,)).get
        if own + len(values) > CLIENT_ENTRIES_LIMIT or self.entries + len(values) > ENTRIES_LIMIT:
            return False
        for value in values:
            self._change(_STORE, (_number(value), number, int(report), int(now)))
        return True

    @property
    def entries(self) -> int:
        """Reports stored."""
        return int(self._execute("SELECT coalesce(sum(entries), 0) FROM reporter").get)

    def reporters(self) -> dict[bytes, int]:
        """Return how many reports are stored, by key id."""
        return {bytes(key): entries for key, entries in self._execute("SELECT key, entries FROM reporter")}

    def expire(self, now: float) -> int:
        """Remove reports that are too old, at most EXPIRY_SLICE; return how many."""
        self._begin()
        self._change(
            "DELETE FROM report WHERE (value, reporter) IN (SELECT value, reporter FROM report WHERE at < ? LIMIT ?)",
            (int(now - self._keep_s), EXPIRY_SLICE),
        )
        return int(self._connection.changes())

    def commit(self) -> None:
        """Make what was stored durable. StateError."""
        if self._connection.in_transaction:
            self._change("COMMIT")

    def _begin(self) -> None:
        if not self._connection.in_transaction:
            self._change("BEGIN IMMEDIATE")

    def _change(self, statement: str, values: Sequence[object] = ()) -> None:
        try:
            self._execute(statement, values)
        except apsw.Error as error:
            raise StateError(str(error)) from error


def _number(value: bytes) -> int:
    return int.from_bytes(value, signed=True)
