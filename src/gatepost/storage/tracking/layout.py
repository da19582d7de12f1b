"""Files and tables of the tracking store: where a mail's row is, and how a day's file is opened.

One file for each day (UTC) of acceptance. A mail's row is its `summary`; `life` holds its records in batches as they
came, `copy` the copies that groups got of it. Rows that are not in the index yet are `fresh`; once they are many they
become a `segment`: its mails, numbered, and for each term (`posting`) which of them have it. Postings are written in
their order and never changed, so that the index grows at its end only. `tally` counts mails by the hour of acceptance.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import apsw

from gatepost.model.ids import EPOCH_MS, received_ms
from gatepost.storage.number import check_number

VERSION: Final = 1
"""`user_version` of a file; a newer one is refused."""
DAY_MS: Final = 86_400_000
CACHE_KB: Final = 2048
"""Pages a writer holds: what it writes goes to the ends of its tables."""
READER_CACHE_KB: Final = 256
"""Pages a reader holds: the inner ones of its tables; what it reads once comes from the system's cache as fast."""
BUSY_MS: Final = 5000
_SUFFIX: Final = ".tracking"
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()

TABLES = """
CREATE TABLE mail(id INTEGER PRIMARY KEY, summary BLOB NOT NULL) STRICT;
CREATE TABLE life(
  id INTEGER NOT NULL, source TEXT NOT NULL, number INTEGER NOT NULL, records BLOB NOT NULL,
  PRIMARY KEY(id, source, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE copy(id INTEGER PRIMARY KEY, mail INTEGER NOT NULL) STRICT;
CREATE TABLE fresh(id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE segment(
  number INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL, ids BLOB NOT NULL, tops BLOB NOT NULL
) STRICT;
CREATE TABLE posting(
  segment INTEGER NOT NULL, term TEXT NOT NULL, places BLOB NOT NULL, PRIMARY KEY(segment, term)
) STRICT, WITHOUT ROWID;
CREATE TABLE tally(hour INTEGER NOT NULL, key TEXT NOT NULL, mails INTEGER NOT NULL, PRIMARY KEY(hour, key))
STRICT, WITHOUT ROWID;
CREATE TABLE applied(source TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""


def day_of(message_id: int) -> int:
    """Return the day (counted since 1970) in whose file a message's row is."""
    return received_ms(message_id) // DAY_MS


def day_at(moment: float) -> int:
    """Return the day of a moment (Unix seconds)."""
    return int(moment * 1000) // DAY_MS


def hour_of(moment: float) -> int:
    """Return the hour (counted since 1970) of a moment."""
    return int(moment) // 3600


def first_id(moment: float) -> int:
    """Return the lowest id that can have been given out at a moment."""
    return max(0, int(moment * 1000) - EPOCH_MS) << 22


def day_file(directory: Path, day: int) -> Path:
    """Return the file of a day."""
    return directory / f"{datetime.fromtimestamp(day * DAY_MS / 1000, UTC):%Y-%m-%d}{_SUFFIX}"


def list_days(directory: Path) -> list[int]:
    """Return the days there are files of, the latest first."""
    return sorted(_days(directory), reverse=True)


def _days(directory: Path) -> Iterator[int]:
    for path in directory.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(ValueError):
            yield date.fromisoformat(path.name.removesuffix(_SUFFIX)).toordinal() - _FIRST_DAY


def open_writer(path: Path) -> apsw.Connection:
    """Open, or make, a day's file. apsw.Error, NewerFormat."""
    connection = apsw.Connection(str(path))
    try:
        execute = connection.execute
        connection.set_busy_timeout(BUSY_MS)
        execute("PRAGMA page_size=8192")
        execute("PRAGMA journal_mode=WAL")
        # What is confirmed to relays must survive a power cut.
        execute("PRAGMA synchronous=FULL")
        execute("PRAGMA temp_store=MEMORY")
        execute(f"PRAGMA cache_size=-{CACHE_KB}")
        if not check_number(connection, path, VERSION):
            with connection:
                execute(TABLES)
                execute(f"PRAGMA user_version={VERSION}")
    except BaseException:
        connection.close(force=True)
        raise
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """Open a day's file to read. apsw.Error, CantOpenError while it is being made; NewerFormat."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.execute(f"PRAGMA cache_size=-{READER_CACHE_KB}")
        made = check_number(connection, path, VERSION)
    except BaseException:
        connection.close(force=True)
        raise
    if not made:
        connection.close(force=True)
        raise apsw.CantOpenError(f"{path} is only being made")
    return connection


def remove_day(directory: Path, day: int) -> None:
    """Delete a day's file. OSError."""
    path = day_file(directory, day)
    for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        each.unlink(missing_ok=True)
