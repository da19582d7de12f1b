"""Rows out of the tables of a damaged database: all that can be read, and the names of those that cannot.

A damaged page stops a scan. So a table is read from both ends up to the damage, and what lies between is asked for key
by key, where another table or an index still knows the keys.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import apsw

Row = tuple[Any, ...]
UNREADABLE = (apsw.CorruptError, apsw.NotADBError, apsw.IOError, UnicodeDecodeError)
"""What a damaged page, a disk that cannot read one, and a damaged row raise."""


class Table:
    """One table of a damaged database, with one column as its key."""

    def __init__(self, connection: apsw.Connection, name: str, key: str) -> None:
        self._execute: Callable[..., Any] = connection.execute
        self._name = name
        self._key = key
        columns = [row[1] for row in self._execute(f"PRAGMA table_info({name})")]
        self._at = columns.index(key)
        self._insert = f"INSERT OR IGNORE INTO {name} VALUES({','.join('?' * len(columns))})"

    def copy(self, target: apsw.Connection, known: Callable[[], Iterable[Any]]) -> set[Any]:
        """Copy what can be read into the same table of another database; return the keys of what is lost.

        `known` is asked, when a scan breaks off, for the keys that there may be.
        """
        lost: set[Any] = set()
        for row in self._rows(known, lost):
            try:
                target.execute(self._insert, row)
            except (apsw.ConstraintError, apsw.MismatchError):  # damage that SQLite took for a value
                lost.add(row[self._at])
        return lost

    def _rows(self, known: Callable[[], Iterable[Any]], lost: set[Any]) -> Iterator[Row]:
        """Yield the rows, one at the edge of damage perhaps twice. Known keys without a readable row go into `lost`."""
        seen: set[Any] = set()
        if (yield from self._scan("", seen)):
            return
        yield from self._scan(" DESC", seen)
        for key in sorted(set(known()) - seen):
            try:
                found = self._execute(f"SELECT * FROM {self._name} WHERE {self._key}=?", (key,)).fetchall()  # noqa: S608
            except UNREADABLE:
                found = []
            if not found:
                lost.add(key)
            yield from found

    def _scan(self, order: str, seen: set[Any]) -> Generator[Row, None, bool]:
        """Yield rows of keys not seen before; the generator's value is False when damage stopped it."""
        met: set[Any] = set()
        key = None
        statement = f"SELECT * FROM {self._name} ORDER BY {self._key}{order}"  # noqa: S608 - names of ours
        try:
            for row in self._execute(statement):
                key = row[self._at]
                if key not in seen:
                    met.add(key)
                    yield row
        except UNREADABLE:
            met.discard(key)  # more rows may have the key of the last one read
            return False
        finally:
            seen |= met
        return True


def keys(connection: apsw.Connection, statement: str) -> set[Any]:
    """Return the first column of a question, as far as it can be read."""
    found: set[Any] = set()
    try:
        for row in connection.execute(statement):
            found.add(row[0])
    except UNREADABLE:
        pass
    return found
