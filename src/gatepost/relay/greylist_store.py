"""What greylisting remembers: pairs of strangers and what they send, in one SQLite file that all relays share.

Used by `relay.greylisting`, on a thread of its own: calls may wait for another relay's write. A retry may come to
another relay, so each call is one transaction. Promises: bounded, and a file that cannot be used is set aside and begun
anew; to lose it only costs retries. The times are passed in.
"""

import contextlib
import math
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

WAIT_S: Final = 2.0
"""How long a call waits for the writes of other relays: SQLite's are done in milliseconds."""
ROWS_LIMIT: Final = 1_000_000
"""Triplets, and clients, that are kept: some 100 MB. Beyond it the longest unused go, the unproven first."""
PURGE_EVERY_S: Final = 60.0
PURGE_ROWS: Final = 20_000
"""Rows deleted in one transaction: other relays wait for it."""
_VERSION: Final = 1

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS triplet (
    key BLOB PRIMARY KEY, first REAL NOT NULL, last REAL NOT NULL, passed INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS triplet_age ON triplet (passed, last);
CREATE TABLE IF NOT EXISTS client (
    key BLOB PRIMARY KEY, last REAL NOT NULL, passes INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS client_age ON client (last);
PRAGMA user_version = {_VERSION};
COMMIT;
"""


class Terms(msgspec.Struct, frozen=True):
    """By what it is judged, in seconds."""

    delay_s: float
    retry_within_s: float
    lifetime_s: float
    known_good_after: int
    """0 = never."""

    def without_ends(self) -> "Terms":
        """Return terms by which nothing is too old."""
        return msgspec.structs.replace(self, retry_within_s=math.inf, lifetime_s=math.inf)


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What is known of a stranger's attempt."""

    wait_s: float
    """0: it may pass; else how long it has to wait."""
    known_good: bool = False
    """All its mail may pass."""


class GreylistStore:
    """The file. Use it from one thread."""

    def __init__(self, path: Path) -> None:
        """OSError or sqlite3.Error when there can be no such file."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self.trouble = ""
        """Why the former file was set aside, "" as a rule."""
        self._db = self._open()
        self._purged_at = 0.0

    def _open(self, *, check: bool = False) -> sqlite3.Connection:
        """Return a connection; `check`: to a file that is whole."""
        try:
            return _connect(self._path, check=check)
        except sqlite3.OperationalError:
            raise  # busy, no rights, a full disk: the file is not to blame
        except sqlite3.DatabaseError as error:
            self._set_aside(str(error))
            return _connect(self._path)

    def _set_aside(self, why: str) -> None:
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).unlink()
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._path.with_name(self._path.name + ".bad"))
        self.trouble = why

    def judge(self, keys: Sequence[bytes], client: bytes, now: float, terms: Terms) -> Standing:
        """Take note of an attempt and tell whether it may pass. sqlite3.Error when that cannot be done now.

        `keys`: names of the attempt, of which any may be known; `client`: that of the client's network.
        """
        try:
            return self._judge(keys, client, now, terms)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            # Another relay may have begun a new file already: what stands there now is looked at.
            self._db.close()
            self._db = self._open(check=True)
            return self._judge(keys, client, now, terms)

    def _judge(self, keys: Sequence[bytes], client: bytes, now: float, terms: Terms) -> Standing:
        with self._writing():
            if now - self._purged_at >= PURGE_EVERY_S or now < self._purged_at:
                self._purge(now, terms)
            if terms.known_good_after and self._is_known_good(client, now, terms):
                self._db.execute("UPDATE client SET last = ? WHERE key = ?", (now, client))
                return Standing(0.0, known_good=True)
            first, passed = self._find(keys, now, terms)
            wait_s = 0.0 if passed else max(0.0, first + terms.delay_s - now)
            if not wait_s and not passed:
                self._db.execute(
                    "INSERT INTO client VALUES (?1, ?2, 1) ON CONFLICT (key) DO UPDATE SET "
                    "passes = iif(last < ?3, 1, passes + 1), last = ?2",
                    (client, now, now - terms.lifetime_s),
                )
            self._db.executemany(
                "INSERT INTO triplet VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE SET "
                "first = ?2, last = ?3, passed = ?4",
                [(key, first, now, not wait_s) for key in keys],
            )
            return Standing(wait_s)

    def _is_known_good(self, client: bytes, now: float, terms: Terms) -> bool:
        row = self._db.execute("SELECT last, passes FROM client WHERE key = ?", (client,)).fetchone()
        return row is not None and row[1] >= terms.known_good_after and row[0] >= now - terms.lifetime_s

    def _find(self, keys: Sequence[bytes], now: float, terms: Terms) -> tuple[float, bool]:
        """Return when the attempt was first seen, and whether it has passed before; what is too old was never seen.

        A first attempt in the future, as after a step of the clock, is one of now.
        """
        first = now
        for key in keys:
            row = self._db.execute("SELECT first, last, passed FROM triplet WHERE key = ?", (key,)).fetchone()
            if row is None:
                continue
            if row[2] and row[1] >= now - terms.lifetime_s:
                return row[0], True
            if not row[2] and row[0] >= now - terms.retry_within_s:
                first = min(first, row[0])
        return first, False

    def _purge(self, now: float, terms: Terms) -> None:
        """Forget what is past its time, and, when there is too much, the longest unused."""
        self._purged_at = now
        run = self._db.execute
        limited = f"LIMIT {PURGE_ROWS}"
        for passed, oldest in ((0, now - terms.retry_within_s), (1, now - terms.lifetime_s)):
            run(
                "DELETE FROM triplet WHERE key IN "  # noqa: S608 - nothing but our own number is put in
                f"(SELECT key FROM triplet WHERE passed = ? AND last < ? {limited})",
                (passed, oldest),
            )
        run(
            f"DELETE FROM client WHERE key IN (SELECT key FROM client WHERE last < ? {limited})",  # noqa: S608 - as above
            (now - terms.lifetime_s,),
        )
        for table, order in (("triplet", "passed, last"), ("client", "last")):
            over = run(f"SELECT count(*) FROM {table}").fetchone()[0] - ROWS_LIMIT  # noqa: S608 - as above
            if over > 0:
                run(
                    f"DELETE FROM {table} WHERE key IN (SELECT key FROM {table} ORDER BY {order} LIMIT ?)",  # noqa: S608 - as above
                    (max(over, PURGE_ROWS),),
                )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def counts(self) -> tuple[int, int]:
        """Return (triplets, clients) that are remembered."""
        run = self._db.execute
        return (
            run("SELECT count(*) FROM triplet").fetchone()[0],
            run("SELECT count(*) FROM client").fetchone()[0],
        )

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _connect(path: Path, *, check: bool = False) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        _verify(db, whole=check)
        db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    path.chmod(0o600)
    return db


def _verify(db: sqlite3.Connection, *, whole: bool) -> None:
    """Raise DatabaseError unless the file is ours, or new; `whole`: and undamaged."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _VERSION):
        raise sqlite3.DatabaseError(f"version {version} is not ours")
    if whole and (told := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(told)
