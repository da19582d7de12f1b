"""The synchronous core of a shard: group commit, rollback, checkpoint, start and clean end. No threads here.

Owned by exactly one thread (`writer.SqliteSpool` runs it); opened under the shard's lock. It promises: when `commit`
returns without an error for a change, that change is on the disk; when it returns one, nothing of the change is.
"""

import contextlib
import errno
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apsw
import msgspec

from gatepost.model.record import ENCODER as RECORDS
from gatepost.model.record import Record
from gatepost.spool.change import Change, new_messages
from gatepost.spool.content import Staged, content_path, parse_content_name
from gatepost.spool.files import FileLayer
from gatepost.spool.interface import SpoolBroken, SpoolError
from gatepost.spool.reading import Reader
from gatepost.spool.recount import rebuild
from gatepost.spool.schema import ENCODER, PAGE_BYTES, TALLIES, Tally, close_connection, open_connection
from gatepost.spool.transaction import Transaction
from gatepost.spool.write_ahead_log import read_log

CHECKPOINT_BYTES = 4 * 1024 * 1024
"""Write-ahead log at which its pages go home: small enough that it takes a few ms, never grows further (ADR 0001)."""

PRUNE_RECORDS = 4096
"""Confirmed records are deleted in batches of about this many."""

SHRINK_BYTES = 64 * 1024 * 1024
"""A start gives space back when at least this much is free inside the database and at most this much is used."""

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})

REFUSALS = (apsw.Error, SpoolError, msgspec.MsgspecError, TypeError, ValueError, OverflowError)
"""What one change may raise for what it holds (a text that is no UTF-8, an id given twice): it fails alone."""

_FORGET_DESTINATIONS = """DELETE FROM destination WHERE waiting=0 AND paused=0
AND NOT EXISTS(SELECT 1 FROM queue WHERE queue.destination=destination.id)"""
"""A relay forgets the back-off of destinations without mail in time; what it left at a stop goes at the next start."""

_SYNC_ERRORS = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})

Positions = Mapping[str, tuple[int, bytes]]


class Outcome(msgspec.Struct):
    """What a group commit did."""

    errors: list[Exception | None]
    """One for each change of the group, None = done."""
    first: int = 0
    """Number of the first record written, 0 = none."""
    records: list[Record] = []
    rows: list[tuple[int, int, bytes]] = []
    """The same as rows of the outbox: number of the first, count, encoded records."""
    entered: bool = False
    """The free records and positions given are on disk."""


class Database:
    """One shard's database and content files."""

    def __init__(
        self,
        directory: str,
        files: FileLayer,
        vfs: str | None = None,
        *,
        page_bytes: int = PAGE_BYTES,
        checkpoint_bytes: int = CHECKPOINT_BYTES,
    ) -> None:
        """Open the shard below `directory` and clear away what no message refers to.

        SpoolError says why it cannot be opened; it is then as it was.
        """
        self.contents = f"{directory}/content"
        self._files = files
        self._broken: str | None = None
        self._wal_pages = 0
        self._checkpoint_bytes = checkpoint_bytes
        self.views: tuple[str, ...] = ()
        """Views that exist in this run: records wait for their confirmation, for no other's."""
        try:
            files.make_directory(self.contents)
            _check_log(f"{directory}/spool.db-wal", files, page_bytes)
            self._connection = open_connection(f"{directory}/spool.db", vfs, page_bytes)
            files.sync_directory(directory)
        except (apsw.Error, OSError, ValueError) as error:
            raise SpoolError(f"cannot open the spool in {directory}: {error}") from error
        self._cursor = self._connection.cursor()
        self._execute: Callable[..., Any] = self._cursor.execute
        self._page_bytes = int(self._connection.pragma("page_size"))
        self.reader = Reader(self._connection, self.contents, files)
        try:
            self.tally = self._read_tally()
            self.unclean = not self.tally.clean
            self.positions: dict[str, tuple[int, bytes]] = {
                name: (number, note) for name, number, note in self._execute("SELECT name, number, note FROM view")
            }
            self._oldest_record = self._find_oldest_record()
            self._remove_orphans()
            with contextlib.suppress(apsw.FullError):
                self._shrink()
            if self.tally.clean:
                # Not written again after an unclean stop: a start must not need space on a disk that has none.
                self._mark(clean=False)
                with contextlib.suppress(apsw.FullError, apsw.CorruptError):
                    self._execute(_FORGET_DESTINATIONS)
            # The log of an unclean stop goes home before anything is added to it.
            with contextlib.suppress(apsw.FullError):
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except (apsw.Error, OSError, ValueError) as error:
            close_connection(self._connection)
            raise SpoolError(f"cannot read the spool in {directory}: {error}") from error

    def _read_tally(self) -> Tally:
        raw_tally = self._execute("SELECT numbers FROM tally").fetchone()
        if raw_tally is not None:
            return TALLIES.decode(raw_tally[0])
        with self._connection:
            tally = rebuild(self._execute)
            self._execute("INSERT INTO tally VALUES(1, ?)", (ENCODER.encode(tally),))
        return tally

    def _mark(self, *, clean: bool) -> None:
        self.tally.clean = clean
        self._execute("UPDATE tally SET numbers=?", (ENCODER.encode(self.tally),))

    def _shrink(self) -> None:
        """Give back the space of a past flood of mail, when what is left is little enough to be copied at once."""
        pages = self._value("SELECT page_count FROM pragma_page_count")
        free = self._value("SELECT freelist_count FROM pragma_freelist_count")
        if free * self._page_bytes >= SHRINK_BYTES and (pages - free) * self._page_bytes <= SHRINK_BYTES:
            self._execute("VACUUM")

    def _remove_orphans(self) -> None:
        """Remove content files whose commit never came, or whose removal did not: known by no content row."""
        for name in self._files.names(self.contents):
            content_id = parse_content_name(name)
            if content_id is None:
                continue
            if not self._execute("SELECT 1 FROM content WHERE id=? AND data IS NULL", (content_id,)).fetchall():
                self._files.unlink(f"{self.contents}/{name}")

    def commit(self, changes: Sequence[Change], entered: Sequence[Record], positions: Positions) -> Outcome:
        """Make a group of changes durable in one transaction, with free records and view positions.

        When a change cannot be applied, its neighbours are committed without it. SpoolBroken when an fsync failed,
        now or earlier.
        """
        self.check()
        outcome = Outcome([None] * len(changes))
        sound = self._seal(changes, outcome)
        try:
            self._transact([changes[index] for index in sound], entered, positions, outcome)
        except REFUSALS as error:
            self._fail_when_unsynced(error)
            if isinstance(error, apsw.FullError):
                # Once its pages are home the log begins anew in the space it has: settlements may still go through.
                self.checkpoint(at_bytes=0)
                self.check()
        else:
            outcome.entered = True
            return outcome
        # One of them spoils the transaction: each by itself, so that it fails alone.
        for index in sound:
            try:
                self._transact([changes[index]], (), {}, outcome)
            except REFUSALS as error:
                self._fail_when_unsynced(error)
                outcome.errors[index] = _spool_error(error)
        if entered or positions:
            try:
                self._transact([], entered, positions, outcome)
                outcome.entered = True
            except apsw.Error as error:
                self._fail_when_unsynced(error)
        return outcome

    def _seal(self, changes: Sequence[Change], outcome: Outcome) -> list[int]:
        """Sync the content files of new messages, and their names; return the indexes of the changes to go on with."""
        sound = []
        unnamed = False
        for index, change in enumerate(changes):
            try:
                for new in new_messages(change):
                    if isinstance(new.content, Staged):
                        unnamed |= new.content.seal()
                sound.append(index)
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise self._break(f"syncing a content file failed: {error}") from error
                outcome.errors[index] = SpoolError(f"no space for content: {error.strerror}")
        if unnamed:
            try:
                self._files.sync_directory(self.contents)
            except OSError as error:
                raise self._break(f"syncing {self.contents} failed: {error}") from error
        return sound

    def _transact(
        self, changes: Sequence[Change], entered: Sequence[Record], positions: Positions, outcome: Outcome
    ) -> None:
        records = list(entered)
        for change in changes:
            records += change.records
        execute = self._execute
        execute("BEGIN IMMEDIATE")
        try:
            work = Transaction(self._cursor, msgspec.structs.replace(self.tally))
            work.apply(changes)
            first = work.tally.records + 1
            row = (first, len(records), RECORDS.encode(records)) if records else None
            if row is not None:
                execute("INSERT INTO outbox VALUES(?,?,?)", row)
                work.tally.records += len(records)
            for name, (number, note) in positions.items():
                execute(
                    """INSERT INTO view VALUES(?,?,?)
                    ON CONFLICT DO UPDATE SET number=excluded.number, note=excluded.note""",
                    (name, number, note),
                )
            execute("UPDATE tally SET numbers=?", (ENCODER.encode(work.tally),))
            oldest = self._prune()
            # Here the promise is made: with synchronous=FULL this returns after the log has been synced.
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        self.tally = work.tally
        self._oldest_record = oldest
        self.positions.update(positions)
        for change in changes:
            for new in new_messages(change):
                new.content.keep()  # type: ignore[attr-defined]
        for content_id in work.unlinked:
            try:
                self._files.unlink(content_path(self.contents, content_id))
            except OSError:
                # Nobody refers to it any more; the next start removes it.
                continue
        if row is not None:
            outcome.first = outcome.first or first
            outcome.records += records
            outcome.rows.append(row)

    def _prune(self) -> int:
        """Delete a batch of records that all views have confirmed; return the number of the oldest that stays."""
        done = min((self.positions.get(name, (0, b""))[0] for name in self.views), default=0)
        if done - self._oldest_record < PRUNE_RECORDS:
            return self._oldest_record
        last = min(done, self._oldest_record + 2 * PRUNE_RECORDS)
        self._execute("DELETE FROM outbox WHERE first <= ? AND first + count - 1 <= ?", (last, last))
        return self._find_oldest_record()

    def _find_oldest_record(self) -> int:
        return int(self._value("SELECT min(first) FROM outbox") or self.tally.records + 1)

    def _value(self, query: str) -> Any:
        # All rows, so that the statement is over: an open one would lock the tables against a checkpoint.
        return self._execute(query).fetchall()[0][0]

    def checkpoint(self, at_bytes: int | None = None) -> None:
        """Copy the log's pages home when it has grown to `at_bytes`. Called after the results are delivered.

        No other connection reads, so a passive checkpoint is a whole one, and the log starts anew.
        """
        written, _ = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE, True)
        self._wal_pages += written
        limit = self._checkpoint_bytes if at_bytes is None else at_bytes
        if self._wal_pages * self._page_bytes < limit or self._broken is not None:
            return
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._wal_pages = 0
        except apsw.Error as error:
            # No room at home: the pages stay in the log, and the next commit tries again.
            self._fail_when_unsynced(error, quiet=True)

    def check(self) -> None:
        """SpoolBroken once an fsync has failed."""
        if self._broken is not None:
            raise SpoolBroken(self._broken)

    def _break(self, reason: str) -> SpoolBroken:
        self._broken = reason
        return SpoolBroken(reason)

    def _fail_when_unsynced(self, error: Exception, *, quiet: bool = False) -> None:
        if isinstance(error, apsw.Error) and getattr(error, "extendedresult", 0) in _SYNC_ERRORS:
            broken = self._break(f"syncing the database failed: {error}")
            if not quiet:
                raise broken from error

    def close(self) -> None:
        """End cleanly: the next start finds `unclean` False. After a failed fsync the mark is not set."""
        try:
            if self._broken is None:
                self._mark(clean=True)
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:
            raise SpoolError(f"the spool could not be closed cleanly: {error}") from error
        finally:
            close_connection(self._connection)


def _check_log(path: str, files: FileLayer, page_bytes: int) -> None:
    """Look at the log of an unclean stop: ValueError when SQLite would leave out mail for damage in it."""
    try:
        log = read_log(files.read(path), page_bytes)
    except FileNotFoundError:
        return
    if log.damaged_at >= 0:
        raise ValueError(
            f"spool.db-wal is damaged at byte {log.damaged_at}, and {log.behind} commit(s) behind that would be lost: "
            "gatepost stop, then gatepost queue repair"
        )


def _spool_error(error: Exception) -> Exception:
    if isinstance(error, SpoolError):
        return error
    if isinstance(error, apsw.FullError):
        return SpoolError("no space left for the spool")
    return SpoolError(f"{type(error).__name__}: {error}")
