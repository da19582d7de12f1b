"""Tables of a shard's database, how it is opened, and the encoded forms in its rows.

Content has a table of its own, so that a change of state never rewrites it: content and state share no pages. What
changes with an attempt (`queue`: one row per message and recipient domain) is apart from what does not
(`message.head`).
"""

import contextlib

import apsw
import msgspec

from gatepost.model.envelope import Envelope
from gatepost.model.verdict import Splice
from gatepost.spool.interface import Pending

VERSION = 3
"""`user_version` of the database file; an older one is brought up to it, a newer one is refused."""

PAGE_BYTES = 4096
"""Measured in ADR 0001; fixed when the file is made."""

CACHE_BYTES = 16 * 1024 * 1024
"""Pages held in memory: the upper levels of all trees with a million messages, and the recent rows."""

STATEMENTS = 200
"""Prepared statements kept: all there are, those for 1 to 16 rows included."""

TABLES = """
CREATE TABLE message(
  id INTEGER PRIMARY KEY,
  state INTEGER NOT NULL,
  strikes INTEGER NOT NULL,
  content INTEGER NOT NULL,
  size INTEGER NOT NULL,
  in_file INTEGER NOT NULL,
  shares INTEGER NOT NULL,
  reason TEXT NOT NULL,
  head BLOB NOT NULL
) STRICT;
CREATE INDEX message_state ON message(state);
CREATE TABLE content(id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, data BLOB) STRICT;
CREATE TABLE shared(content INTEGER PRIMARY KEY, copies INTEGER NOT NULL) STRICT;
CREATE TABLE destination(
  id INTEGER PRIMARY KEY,
  domain TEXT NOT NULL UNIQUE,
  waiting INTEGER NOT NULL DEFAULT 0,
  due REAL,
  retry_at REAL NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '',
  paused INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX destination_due ON destination(due) WHERE due IS NOT NULL;
CREATE INDEX destination_paused ON destination(domain) WHERE paused;
CREATE TABLE queue(
  message INTEGER NOT NULL,
  destination INTEGER NOT NULL,
  due REAL,
  pending BLOB NOT NULL,
  PRIMARY KEY(message, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_due ON queue(destination, due);
CREATE TABLE outbox(first INTEGER PRIMARY KEY, count INTEGER NOT NULL, records BLOB NOT NULL) STRICT;
CREATE TABLE view(name TEXT PRIMARY KEY, number INTEGER NOT NULL, note BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE release(id TEXT PRIMARY KEY, message INTEGER NOT NULL, at REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX release_at ON release(at);
CREATE TABLE tally(only INTEGER PRIMARY KEY CHECK(only = 1), numbers BLOB NOT NULL) STRICT;
"""

UPGRADES = {
    1: """
ALTER TABLE destination ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
CREATE INDEX destination_paused ON destination(domain) WHERE paused;
""",
    2: """
CREATE TABLE release(id TEXT PRIMARY KEY, message INTEGER NOT NULL, at REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX release_at ON release(at);
""",
}
"""What brings a database of a version to the next one ..."""

DOWNGRADES = {
    1: "DROP INDEX destination_paused; ALTER TABLE destination DROP COLUMN paused;",
    2: "DROP TABLE release;",
}
"""... and back to it: pauses, and the memory of releases, are lost then."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What of a message does not change between its disposition and its end."""

    source: int
    received_at: float
    envelope: Envelope
    prefix: bytes
    group: str
    splices: tuple[Splice, ...]
    kind: str
    route: str = ""
    told: bool = False


class BriefRecipient(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of a `Recipient`."""

    address: str


class BriefEnvelope(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of an `Envelope`."""

    sender: str
    recipients: tuple[BriefRecipient, ...]


class BriefHead(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of a `Head`: what a search decodes of every message."""

    source: int
    received_at: float
    envelope: BriefEnvelope


class Tally(msgspec.Struct, array_like=True):
    """Numbers kept with every change, so that no start and no question has to count rows."""

    waiting: int = 0
    ready: int = 0
    held: int = 0
    bytes: int = 0
    last_id: int = 0
    """Highest message id ever made durable here."""
    records: int = 0
    """Number of the last record."""
    clean: bool = True
    """False while a relay has the shard open."""


ENCODER = msgspec.msgpack.Encoder()
HEADS = msgspec.msgpack.Decoder(Head)
BRIEF_HEADS = msgspec.msgpack.Decoder(BriefHead)
PENDINGS = msgspec.msgpack.Decoder(tuple[Pending, ...])
TALLIES = msgspec.msgpack.Decoder(Tally)


def open_connection(path: str, vfs: str | None = None, page_bytes: int = PAGE_BYTES) -> apsw.Connection:
    """Open, or make, the database of a shard; apsw.Error when that fails, ValueError when it is of a newer version."""
    connection = apsw.Connection(path, vfs=vfs, statementcachesize=STATEMENTS)
    try:
        _prepare(connection, page_bytes)
    except BaseException:
        close_connection(connection)
        raise
    return connection


def close_connection(connection: apsw.Connection) -> None:
    """Close; a disk that refuses even that has been heard of before, by the commit that it refused."""
    with contextlib.suppress(apsw.Error):
        connection.close(force=True)


def _prepare(connection: apsw.Connection, page_bytes: int) -> None:
    execute = connection.execute
    # One connection, exclusive: no shared-memory index, no lock traffic, and no second reader by accident.
    execute("PRAGMA locking_mode=EXCLUSIVE")
    execute(f"PRAGMA page_size={page_bytes}")
    execute("PRAGMA journal_mode=WAL")
    execute("PRAGMA synchronous=FULL")
    execute("PRAGMA temp_store=MEMORY")
    execute(f"PRAGMA cache_size=-{CACHE_BYTES // 1024}")
    execute("PRAGMA wal_autocheckpoint=0")
    # After a failed sync nothing may be copied home on the way out.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    version = connection.pragma("user_version")
    if version == 0:
        with connection:
            execute(TABLES)
            execute("INSERT INTO tally VALUES(1, ?)", (ENCODER.encode(Tally()),))
            execute(f"PRAGMA user_version={VERSION}")
    elif version > VERSION:
        raise ValueError(f"the database has version {version}; this program knows version {VERSION}")
    elif version < VERSION:
        with connection:
            for number in range(version, VERSION):
                execute(UPGRADES[number])
            execute(f"PRAGMA user_version={VERSION}")
