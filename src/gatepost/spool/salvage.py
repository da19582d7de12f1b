"""Rows of a spool's tables out of a damaged database: all that are on pages that can be read.

Called by `repair`. Pages do not say of which table they are, and what says it may be damaged, so a page is known by
what its rows look like: the tables of `schema` all differ in number and kind of columns, or in what the columns hold.
"""

import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apsw
import msgspec

from gatepost.spool.interface import State
from gatepost.spool.page_file import Page, PageFile, Values

_RECORDS_TOGETHER = 1 << 20
"""Records in a row of the outbox are fewer; a checksum, in that place in a row of content, hardly ever is."""

_NUMBER, _TEXT, _BYTES = (int,), (str,), (bytes,)
_MOMENT, _MOMENT_OR_NONE = (int, float), (int, float, type(None))

_TABLES = {
    "message": (*[_NUMBER] * 7, _TEXT, _BYTES),
    "content": (_NUMBER, _NUMBER, (bytes, type(None))),
    "destination": (_NUMBER, _TEXT, _NUMBER, _MOMENT_OR_NONE, _MOMENT, _NUMBER, _TEXT, _NUMBER),
    "tally": (_NUMBER, _BYTES),
}
_INDEXES = {
    "queue": (_NUMBER, _NUMBER, _MOMENT_OR_NONE, _BYTES),
    "queue_due": (_NUMBER, _MOMENT_OR_NONE, _NUMBER),
    "view": (_TEXT, _NUMBER, _BYTES),
    "release": (_TEXT, _NUMBER, _MOMENT),
    "message_state": (_NUMBER, _NUMBER),
}
"""Indexes, and tables without row numbers, which are stored like one."""
_ADDED = {"destination": 1}
"""Columns that rows written under an earlier version lack; they are 0 there."""

_STATES = frozenset(State)

_COLUMNS = {"message": 9, "content": 3, "destination": 8, "outbox": 3, "queue": 4, "view": 3, "release": 3}
"""What is copied; the rest is made anew from it."""


class Salvage(msgspec.Struct, kw_only=True):
    """What a pass over all pages found, beside the rows it wrote."""

    named: set[int] = set()
    """Ids of messages that any row names."""
    doubtful: set[int] = set()
    """Ids of messages from pages that may have been given up: they may have been delivered long ago."""
    tally: bytes = b""
    """The row of numbers, as it is stored."""


def copy_rows(source: PageFile, target: apsw.Connection) -> Salvage:
    """Write every row that can be read into the same, empty tables of another database."""
    found = Salvage()
    states: set[Any] = set()
    moments: set[Any] = set()
    for page in source.pages():
        for name, row in _rows_of_one_table(page):
            match name:
                case "message_state":
                    states.add(row)
                case "destination":
                    moments.add((row[3], row[0]))
                case "queue_due":
                    found.named.add(row[2])
                case "queue" | "message":
                    found.named.add(row[0])
                case "tally":
                    found.tally = row[1]
            if name in _COLUMNS and _insert(target, name, row) and name == "message" and not page.sure:
                found.doubtful.add(row[0])
    # The index of destinations by their moments looks the same where a moment is a small whole number.
    found.named.update(message for _, message in states - moments)
    return found


def _insert(target: apsw.Connection, name: str, row: tuple[Any, ...]) -> bool:
    columns = _COLUMNS[name]
    statement = f"INSERT OR IGNORE INTO {name} VALUES({','.join('?' * columns)})"
    try:
        target.execute(statement, (*row, *[0] * (columns - len(row))))
    except apsw.ConstraintError:  # damage that looks like a value
        return False
    return target.changes() == 1


def _rows_of_one_table(page: Page) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the rows of the table that most rows of the page are of: what else there is, damage has made."""
    rows = [each for number, values in page.rows for each in _name(number, values, of_table=page.of_table)]
    if not rows:
        return []
    [(winner, _)] = Counter(name for name, _ in rows).most_common(1)
    return [each for each in rows if each[0] == winner]


def _name(number: int, values: Values, *, of_table: bool) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the table a row looks to be of, with the row; nothing when it looks like none."""
    row = (number, *values[1:]) if of_table and values[:1] == (None,) else values
    for name, columns in (_TABLES if of_table else _INDEXES).items():
        missing = len(columns) - len(row)
        if 0 <= missing <= _ADDED.get(name, 0) and all(
            type(value) in kinds for value, kinds in zip(row, columns, strict=False)
        ):
            if name == "content" and _is_outbox(row):
                name = "outbox"  # noqa: PLW2901
            if name != "message_state" or row[0] in _STATES:
                yield name, row
            return


def _is_outbox(row: tuple[Any, ...]) -> bool:
    _, number, data = row
    return data is not None and 0 < number < _RECORDS_TOGETHER and zlib.crc32(data) != number
