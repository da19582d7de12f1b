"""The journal of what was learned: who taught what and when, and the step it meant, so that it can be taken back.

One SQLite database below the state directory, written by the learner alone. Durable when a call returns.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
import numpy as np

from gatepost.antispam.classifier.training import Step

VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE lesson(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB NOT NULL,
  spam INTEGER NOT NULL,
  at REAL NOT NULL,
  who TEXT NOT NULL,
  source TEXT NOT NULL,
  domain TEXT NOT NULL,
  opinion REAL NOT NULL,
  packed BLOB NOT NULL,
  step BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX lesson_digest ON lesson(digest, domain);
CREATE INDEX lesson_who ON lesson(who, at);
"""
_COLUMNS: Final = "id, digest, spam, at, who, source, domain, opinion, packed, step"


class JournalError(Exception):
    """The journal cannot be used; the text says why."""


class Entry(msgspec.Struct, frozen=True):
    """One message that was taught."""

    id: int
    digest: bytes
    spam: bool
    at: float
    who: str
    source: str
    """operator, quarantine, folder, automatic."""
    domain: str
    """Recipient domain it was taught for, "" for all."""
    opinion: float
    """Weight the classifier gave it before."""
    packed: bytes
    """The lesson."""
    step: Step


class _StoredStep(msgspec.Struct, frozen=True, array_like=True):
    spam: bool
    text: float
    header: bytes
    squared: float
    slopes: tuple[float, float, float]


class Journal:
    """The open journal."""

    def __init__(self, path: Path) -> None:
        """Open or make it. JournalError."""
        try:
            self._connection = apsw.Connection(str(path))
            self._execute: Any = self._connection.execute
            (version,) = next(self._execute("PRAGMA user_version"))
            if version == 0:
                self._execute("PRAGMA journal_mode=WAL")
                with self._connection:
                    self._execute(_TABLES)
                    self._execute(f"PRAGMA user_version={VERSION}")
            elif version != VERSION:
                raise JournalError(f"{path}: version {version}, this program reads {VERSION}")
            self._execute("PRAGMA synchronous=FULL")
        except apsw.Error as error:
            raise JournalError(f"{path}: {error}") from error

    def close(self) -> None:
        self._connection.close()

    def find(self, digest: bytes, domain: str) -> Entry | None:
        """Return the entry of a message, None when it was not taught."""
        return next(self._select("WHERE digest = ? AND domain = ?", digest, domain), None)

    def replace(self, old: Entry | None, new: Entry | None) -> None:
        """Take an entry out, put another in: one commit. The id of `new` is not used."""
        with self._connection:
            if old is not None:
                self._execute("DELETE FROM lesson WHERE id = ?", (old.id,))
            if new is not None:
                self._execute(
                    f"INSERT INTO lesson({_COLUMNS}) VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        new.digest, int(new.spam), new.at, new.who, new.source, new.domain, new.opinion, new.packed,
                        _pack_step(new.step),
                    ),
                )  # fmt: skip

    def entries(self, after: int = 0, limit: int = -1) -> Iterator[Entry]:
        """Yield entries in the order in which they were taught."""
        return self._select("WHERE id > ? ORDER BY id LIMIT ?", after, limit)

    def latest(self, limit: int) -> list[Entry]:
        """Return the newest entries, newest first."""
        return list(self._select("ORDER BY id DESC LIMIT ?", limit))

    def of(self, who: str, since: float) -> list[Entry]:
        """Return what somebody taught since a moment, newest first; `auto`: what was learned by itself."""
        chosen = "WHERE (who = ? OR (source = 'auto' AND ? = 'auto')) AND at >= ? ORDER BY id DESC"
        return list(self._select(chosen, who, who, since))

    def taught_from(self, source: str, since: float, *, spam: bool) -> int:
        """Return how many messages of a kind a source taught since a moment."""
        chosen = "SELECT count(*) FROM lesson WHERE source = ? AND at >= ? AND spam = ?"
        return int(self._execute(chosen, (source, since, int(spam))).fetchone()[0])

    def taught_by(self, who: str, since: float) -> int:
        """Return how many messages somebody taught since a moment."""
        return int(self._execute("SELECT count(*) FROM lesson WHERE who = ? AND at >= ?", (who, since)).fetchone()[0])

    def count(self) -> int:
        return int(self._execute("SELECT count(*) FROM lesson").fetchone()[0])

    def drop_until(self, last: int) -> None:
        """Forget entries up to an id: they are in the snapshot and can no longer be taken back."""
        self._execute("DELETE FROM lesson WHERE id <= ?", (last,))

    def clear(self) -> None:
        """Forget all."""
        self._execute("DELETE FROM lesson")

    def _select(self, rest: str, *values: object) -> Iterator[Entry]:
        for row in self._execute(f"SELECT {_COLUMNS} FROM lesson {rest}", values):  # noqa: S608 - words of ours only
            number, digest, spam, at, who, source, domain, opinion, packed, step = row
            yield Entry(
                number, digest, bool(spam), at, who, source, domain, opinion, packed, _parse_step(step)
            )  # fmt: skip


def _pack_step(step: Step) -> bytes:
    stored = _StoredStep(step.spam, step.text, step.header.astype("<f2").tobytes(), step.squared, step.slopes)
    return msgspec.msgpack.encode(stored)


def _parse_step(raw: bytes) -> Step:
    stored = msgspec.msgpack.decode(raw, type=_StoredStep)
    header = np.frombuffer(stored.header, "<f2").astype(np.float16)
    return Step(stored.spam, stored.text, header, stored.squared, stored.slopes)
