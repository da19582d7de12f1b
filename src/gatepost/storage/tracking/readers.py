"""Files of days open to be read, kept open from one search to the next: opening one costs more than asking it.

Made by whoever answers searches (`recorder.answers`); any number of threads may read at the same time, each with a
connection of its own. What a connection sees is one state of its file for as long as it is lent.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from gatepost.storage.tracking.layout import day_file, list_days, open_reader

KEPT: Final = 96
"""Connections that stay open: the days of three months; with what each has read, some 100 KB."""
_NO_TRANSACTION: Final = 0
"""`sqlite3_txn_state` of a connection on which no statement is open."""


class _Kept(msgspec.Struct, gc=False):
    """A connection nobody uses."""

    connection: Any
    day: int
    file: tuple[int, int]
    """Device and inode: another file of that name has to be opened anew."""


class Readers:
    """The days of one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        """By a number of its own, the one that was used longest ago first."""
        self._by_day: dict[int, list[int]] = {}
        self._last = 0

    def days(self) -> list[int]:
        """Return the days there are files of, the latest first."""
        return list_days(self.directory)

    @contextlib.contextmanager
    def reading(self, day: int) -> Iterator[Any]:
        """Lend a connection to a day's file; None when it is gone, or cannot be read just now. apsw.Error."""
        kept = self._borrow(day)
        try:
            yield kept.connection if kept is not None else None
        finally:
            if kept is not None:
                self._give_back(kept)

    def close(self) -> None:
        """Close what nobody uses."""
        with self._lock:
            kept = list(self._kept.values())
            self._kept.clear()
            self._by_day.clear()
        for each in kept:
            each.connection.close(force=True)

    def _borrow(self, day: int) -> _Kept | None:
        path = day_file(self.directory, day)
        try:
            facts = path.stat()
        except OSError:
            return None
        file = (facts.st_dev, facts.st_ino)
        kept = self._take(day)
        while kept is not None and kept.file != file:
            kept.connection.close(force=True)
            kept = self._take(day)
        with contextlib.suppress(apsw.CantOpenError, apsw.BusyError, apsw.SQLError):
            kept = kept or _Kept(open_reader(path), day, file)
            kept.connection.execute("BEGIN")
        return kept

    def _take(self, day: int) -> _Kept | None:
        with self._lock:
            numbers = self._by_day.get(day)
            if not numbers:
                return None
            number = numbers.pop()
            return self._kept.pop(number)

    def _give_back(self, kept: _Kept) -> None:
        """Keep a connection that is done with; one that still holds the file back is closed."""
        connection = kept.connection
        try:
            connection.execute("COMMIT")
            at_rest = connection.txn_state("main") == _NO_TRANSACTION
        except apsw.Error:  # closed, or the file is broken
            at_rest = False
        if not at_rest:
            connection.close(force=True)
            return
        gone = None
        with self._lock:
            self._last += 1
            self._kept[self._last] = kept
            self._by_day.setdefault(kept.day, []).append(self._last)
            if len(self._kept) > KEPT:
                number, gone = self._kept.popitem(last=False)
                numbers = self._by_day[gone.day]
                numbers.remove(number)
                if not numbers:
                    del self._by_day[gone.day]
        if gone is not None:
            gone.connection.close(force=True)
