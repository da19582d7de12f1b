"""How much of a licence is used: addresses that got mail, bytes of a day. Counted by the recorder, read by the master.

`UsageBook` is written where records come by; it survives kills (what comes again is known by its number). `read_usage`
reads beside it. Addresses are kept as keyed hashes only.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import apsw
import msgspec

from gatepost.storage.number import check_number

FILE: Final = "licence.db"
WINDOW_DAYS: Final = 30
"""An address counts for so long after its last mail: who has left makes room."""
KEPT_DAYS: Final = 60
DAY_S: Final = 86400
VERSION: Final = 1
"""`user_version` of the file; the one without any (0) has the same tables."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS address (hash BLOB PRIMARY KEY, day INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS traffic (day INTEGER PRIMARY KEY, bytes INTEGER);
CREATE TABLE IF NOT EXISTS source (name TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS secret (key BLOB);
"""


class Usage(msgspec.Struct, frozen=True):
    """What counts now."""

    users: int = 0
    """Protected addresses that got mail in the last `WINDOW_DAYS`."""
    bytes_today: int = 0
    bytes_yesterday: int = 0
    """Of the whole day."""


class UsageBook:
    """The counts on disk. apsw.Error, NewerFormat when the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL")
        check_number(self._connection, path, VERSION)
        self._connection.execute(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT")
        row = self._connection.execute("SELECT key FROM secret").fetchone()
        if row is None:
            row = (os.urandom(32),)
            self._connection.execute("INSERT INTO secret VALUES (?)", row)
        self._key: bytes = row[0]
        self._ends: dict[str, int] = dict(self._connection.execute("SELECT name, number FROM source"))
        self._addresses: dict[bytes, int] = {}
        self._bytes: dict[int, int] = {}
        self._fresh: set[str] = set()

    def fresh(self, source: str, first: int, count: int) -> int:
        """Return how many of the next `count` records of an outbox are counted already, and take note of them all."""
        known = self._ends.get(source, 0)
        self._ends[source] = max(known, first + count - 1)
        self._fresh.add(source)
        return min(count, max(0, known - first + 1))

    def add_address(self, address: str, at: float) -> None:
        """Count a protected address that got mail."""
        digest = hashlib.blake2b(address.lower().encode("utf-8", "surrogateescape"), key=self._key, digest_size=12)
        self._addresses[digest.digest()] = int(at // DAY_S)

    def add_bytes(self, size: int, at: float) -> None:
        """Count received mail."""
        day = int(at // DAY_S)
        self._bytes[day] = self._bytes.get(day, 0) + size

    def flush(self) -> None:
        """Make durable what was counted."""
        if not self._fresh:
            return
        with self._connection:
            self._connection.executemany(
                "INSERT INTO address VALUES (?, ?) ON CONFLICT DO UPDATE SET day = max(day, excluded.day)",
                self._addresses.items(),
            )
            self._connection.executemany(
                "INSERT INTO traffic VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
                self._bytes.items(),
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO source VALUES (?, ?)", [(name, self._ends[name]) for name in self._fresh]
            )
            if self._bytes:
                oldest = max(self._bytes) - KEPT_DAYS
                self._connection.execute("DELETE FROM address WHERE day < ?", (oldest,))
                self._connection.execute("DELETE FROM traffic WHERE day < ?", (oldest,))
        self._addresses.clear()
        self._bytes.clear()
        self._fresh.clear()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._connection.close()


def read_usage(path: Path, now: float) -> Usage:
    """Return what counts at a moment; nothing when nothing was counted. apsw.Error."""
    if not path.exists():
        return Usage()
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        day = int(now // DAY_S)
        return Usage(
            _one(connection.execute("SELECT count(*) FROM address WHERE day > ?", (day - WINDOW_DAYS,))),
            *(_one(connection.execute("SELECT bytes FROM traffic WHERE day = ?", (each,))) for each in (day, day - 1)),
        )
    finally:
        connection.close()


def _one(rows: Iterable[tuple[int, ...]]) -> int:
    return next((row[0] for row in rows), 0)
