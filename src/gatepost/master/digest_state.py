"""What the quarantine of recipients remembers below the state directory: keys of links, links that were used, digests
that were sent.

Made by `master.user_front`. Everything is on the disk when a call returns, so that neither a restart nor a crash lets
a link be used again or a digest be sent twice, but for the one under way. One SQLite file and one file of keys, in a
directory only the gateway's user may enter. Calls block for a sync of the disk: they are for threads.
"""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import apsw
import msgspec

from gatepost.control.mail_links import LinkKey, turn_keys
from gatepost.spool import clock
from gatepost.storage.number import check_number
from gatepost.storage.whole_file import replace_file

KEY_TURN_S: Final = 30 * 86400.0
"""How long a key makes links."""
VERSION: Final = 1
"""`user_version` of the database; the one without any (0) has no index of ends."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS used(id BLOB PRIMARY KEY, until REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS run(grp TEXT PRIMARY KEY, since REAL NOT NULL, until REAL NOT NULL, done INTEGER NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told(grp TEXT, recipient TEXT, at REAL NOT NULL, PRIMARY KEY(grp, recipient))
  STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS item(id TEXT PRIMARY KEY, saved_at REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS used_until ON used(until);
"""


class Run(msgspec.Struct, frozen=True):
    """The making of a group's digests: they tell of what was stored from `since` up to `until`."""

    since: float
    until: float
    done: bool


class DigestState:
    """All of it. Threads may share it."""

    def __init__(self, directory: Path) -> None:
        """Open, or begin. OSError, apsw.Error, msgspec.MsgspecError: the files cannot be used."""
        directory.mkdir(0o700, parents=True, exist_ok=True)
        self._key_file = directory / "keys.json"
        database = directory / "state.sqlite"
        database.touch(0o600)
        self._lock = threading.Lock()
        self._keys = self._read_keys()
        self._connection = apsw.Connection(str(database))
        self._connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        check_number(self._connection, database, VERSION)
        self._connection.execute(f"BEGIN; {_TABLES} PRAGMA user_version={VERSION}; COMMIT")

    def close(self) -> None:
        """Close; harmless when repeated."""
        self._connection.close()

    # --- keys

    @property
    def keys(self) -> tuple[LinkKey, ...]:
        """All keys that links may be sealed with, as last turned."""
        return self._keys

    def turn(self, now: float, kept_s: float) -> tuple[LinkKey, ...]:
        """Return the keys, the one to seal with first; make a new one when it is time. `kept_s`: the life of a link."""
        with self._lock:
            turned = turn_keys(self._keys, now, turn_s=KEY_TURN_S, kept_s=kept_s)
            if turned != self._keys:
                replace_file(self._key_file, msgspec.json.encode(turned))
                self._keys = turned
            return turned

    def _read_keys(self) -> tuple[LinkKey, ...]:
        try:
            return msgspec.json.decode(self._key_file.read_bytes(), type=tuple[LinkKey, ...])
        except FileNotFoundError:
            return ()

    # --- links

    def is_used(self, link: bytes) -> bool:
        """Tell whether a link was used."""
        with self._lock:
            return bool(self._connection.execute("SELECT 1 FROM used WHERE id = ?", (link,)).fetchone())

    def note_used(self, link: bytes, until: float, now: float) -> None:
        """Remember that a link was used, as long as it would count; forget those that have ended, unless the clock that
        says so is not believed: put back, it would let them be used again.
        """
        believed = clock.is_believed()
        with self._lock, self._connection:
            self._connection.execute("INSERT OR IGNORE INTO used VALUES(?, ?)", (link, float(until)))
            if believed:
                self._connection.execute("DELETE FROM used WHERE until < ?", (now,))

    # --- digests

    def run_of(self, group: str) -> Run | None:
        """Return the last run of a group, perhaps under way."""
        with self._lock:
            row = self._connection.execute("SELECT since, until, done FROM run WHERE grp = ?", (group,)).fetchone()
        return Run(row[0], row[1], bool(row[2])) if row else None

    def put_run(self, group: str, run: Run) -> None:
        """Keep a run: begun, or done."""
        with self._lock, self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO run VALUES(?, ?, ?, ?)", (group, run.since, run.until, int(run.done))
            )

    def told_at(self, group: str, recipient: str) -> float:
        """Return the end of the run in which a recipient was last told, 0 = never."""
        with self._lock:
            row = self._connection.execute(
                "SELECT at FROM told WHERE grp = ? AND recipient = ?", (group, recipient)
            ).fetchone()
        return float(row[0]) if row else 0.0

    def note_told(self, group: str, recipient: str, at: float) -> None:
        """Remember that a recipient has been told in the run that ends `at`."""
        with self._lock, self._connection:
            self._connection.execute("INSERT OR REPLACE INTO told VALUES(?, ?, ?)", (group, recipient, at))

    def known(self, items: Iterable[str]) -> set[str]:
        """Return which of these items digests have told of lately."""
        with self._lock:
            find = "SELECT id FROM item WHERE id = ?"
            return {item for item in items if self._connection.execute(find, (item,)).fetchone()}

    def finish(self, group: str, run: Run, items: Iterable[tuple[str, float]], forget_before: float) -> None:
        """End a run: keep which items it told of, with the moments they were stored, and forget older ones, unless the
        clock is not believed: put back, what it has dated would be told of again.
        """
        believed = clock.is_believed()
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO item VALUES(?, ?)", list(items))
            if believed:
                self._connection.execute("DELETE FROM item WHERE saved_at < ?", (forget_before,))
            self._connection.execute("DELETE FROM told WHERE grp = ?", (group,))
            self._connection.execute("INSERT OR REPLACE INTO run VALUES(?, ?, ?, 1)", (group, run.since, run.until))
