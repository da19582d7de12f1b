"""`SqliteSpool`: the asyncio front of a shard and the thread that writes it.

All bookkeeping lives on the event loop; the thread owns the database and sees one group at a time. While it commits a
group, the next one gathers. So there is no lock, one wake-up for each group and one call back to the loop for all its
results: that is the group commit, and its size follows the load by itself.
"""

import asyncio
import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from gatepost.model.record import DECODER, Record
from gatepost.spool.asking import Asking
from gatepost.spool.change import (
    Accept,
    Advance,
    BackOff,
    Change,
    Dispose,
    Hold,
    Pause,
    Release,
    Remove,
    Settle,
    Strike,
)
from gatepost.spool.content import DEFAULT_THRESHOLD, Staged, content_path, read_content_file
from gatepost.spool.database import CHECKPOINT_BYTES, Database, Outcome
from gatepost.spool.durations import Durations
from gatepost.spool.files import FileLayer
from gatepost.spool.handover import Group, Query, View, answer, own_error
from gatepost.spool.interface import (
    Consumer,
    ContentRef,
    Destination,
    Follower,
    NewMessage,
    SpoolBroken,
    SpoolError,
    Stored,
)
from gatepost.spool.reading import Reader
from gatepost.spool.shard import ShardLock

GROUP_LIMIT = 256
"""Changes of one commit at most: bounds the wait of the first of them."""

PATIENCE_S = 0.01
"""How long the removal of finished mail waits for a commit to go along with: halves the commits, and a kill in that
moment may repeat a delivery that its peer has confirmed, as it may at any moment between the two."""

IDLE_COMMIT_S = 1.0
"""How long free records and confirmed positions wait for a commit to ride along with."""

ENTERED_LIMIT = 20_000
"""Free records kept while the disk takes none; beyond it the oldest are dropped, for memory is bounded."""

EARLY_SYNC_BYTES = 1024 * 1024
"""Content from here on is synced before its commit is asked for: below it the commit's own syncs take as long."""

REPLAY_ROWS = 500
"""Outbox rows read at a time for a view that has fallen behind."""


class SqliteSpool(Asking):
    """Implements `Spool` on SQLite. Made by `open`; use on one event loop only."""

    def __init__(
        self,
        lock: ShardLock,
        database: Database,
        loop: asyncio.AbstractEventLoop,
        files: FileLayer,
        threshold: int,
        early_sync_bytes: int,
    ) -> None:
        """Take over an open database; call `open` instead."""
        self._lock = lock
        self._database = database
        self._loop = loop
        self._threshold = threshold
        self._early_sync_bytes = early_sync_bytes
        self._files = files
        self.directory = lock.directory
        self.unclean = database.unclean
        self.last_id = database.tally.last_id
        self._counts = database.tally
        self._positions = dict(database.positions)
        self._confirmed: dict[str, tuple[int, bytes]] = {}
        self._views: dict[str, View] = {}
        self._followers: dict[str, Follower] = {}
        self._changes: list[tuple[Change, asyncio.Future[None]]] = []
        self._queries: list[tuple[Query, asyncio.Future[Any]]] = []
        self._entered: list[Record] = []
        self._busy = False
        self._scheduled = False
        self._urgent = False
        self._patience: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._broken: str | None = None
        self.on_broken: Callable[[str], None] | None = None
        """Called once the spool is broken (SpoolBroken), whoever met it first, and after those who waited were told."""
        self._idle: asyncio.Future[None] | None = None
        self.commit_times = Durations()
        self._inbox: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="spool-writer", daemon=True)

    @classmethod
    def open(
        cls,
        directory: str,
        loop: asyncio.AbstractEventLoop,
        *,
        threshold: int = DEFAULT_THRESHOLD,
        files: FileLayer | None = None,
        vfs: str | None = None,
        checkpoint_bytes: int = CHECKPOINT_BYTES,
        early_sync_bytes: int = EARLY_SYNC_BYTES,
    ) -> Self:
        """Lock and open a shard. Blocks for the recovery of the log.

        `threshold`: bytes of content beyond which it becomes a file. `ShardBusy` or SpoolError when it cannot be had.
        """
        lock = ShardLock(directory)
        files = files or FileLayer()
        try:
            database = Database(lock.directory, files, vfs, checkpoint_bytes=checkpoint_bytes)
        except BaseException:
            lock.release()
            raise
        return cls(lock, database, loop, files, threshold, early_sync_bytes)

    async def start(self) -> None:
        """Start the writer; return when every view has got the records it had not confirmed."""
        self._database.views = (*self._views, *self._followers)
        self._thread.start()
        for view in self._views.values():
            await self._replay(view)

    async def close(self) -> None:
        """Finish what was asked for, mark the shard as cleanly left, and give it up. Harmless when repeated."""
        if self._closed:
            return
        if self._thread.is_alive():
            if self._entered or self._confirmed:
                self._schedule()
            while self._busy or self._scheduled or self._changes or self._queries:
                self._idle = self._loop.create_future()
                await self._idle
        self._closed = True
        for timer in (self._timer, self._patience):
            if timer is not None:
                timer.cancel()
        if self._thread.is_alive():
            self._inbox.put(None)
            await self._loop.run_in_executor(None, self._thread.join)
        try:
            self._database.close()
        finally:
            self._lock.release()

    # Changes

    def stage(self, message_id: int, *, in_file: bool = False) -> Staged:
        """Open content for a message that is coming in; `in_file`: in a file whatever its size."""
        if self._broken is not None:
            raise SpoolBroken(self._broken)
        threshold = 0 if in_file else self._threshold
        return Staged(message_id, self._database.contents, threshold, self._files)

    def accept(
        self,
        new: NewMessage,
        records: Sequence[Record],
        copies: Sequence[Stored] = (),
        generated: Sequence[NewMessage] = (),
        *,
        release: str = "",
    ) -> asyncio.Future[None]:
        """Make a message durable, or `copies` in its place."""
        change = Accept(new, records, copies, generated, release)
        if new.content.size >= self._early_sync_bytes:
            return self._loop.create_task(self._accept_large(change))
        return self._submit(change)

    async def _accept_large(self, change: Accept) -> None:
        """Sync large content beside the writer thread, so that nobody's commit waits for its many bytes."""
        if isinstance(change.new.content, Staged):
            with contextlib.suppress(OSError):
                # The content keeps the error, and the commit meets it again.
                await self._loop.run_in_executor(None, change.new.content.seal)
        await self._submit(change)

    def dispose(
        self,
        message_id: int,
        copies: Sequence[Stored],
        records: Sequence[Record],
        generated: Sequence[NewMessage] = (),
    ) -> asyncio.Future[None]:
        """Replace a message by its copies."""
        return self._submit(Dispose(message_id, copies, records, generated))

    def settle(
        self,
        message_id: int,
        remaining: Stored | None,
        records: Sequence[Record],
        generated: Sequence[NewMessage] = (),
    ) -> asyncio.Future[None]:
        """Note the outcome of an attempt. Nobody waits for a message's removal: it goes along with another commit."""
        patient = remaining is None and not generated
        return self._submit(Settle(message_id, remaining, records, generated), patient=patient)

    def back_off(self, destination: Destination) -> asyncio.Future[None]:
        """Write a destination's back-off."""
        return self._submit(BackOff(destination))

    def hold(self, message_id: int, reason: str, records: Sequence[Record]) -> asyncio.Future[None]:
        """Put a message into HELD."""
        return self._submit(Hold(message_id, reason, records))

    def release(self, message_id: int, now: float, records: Sequence[Record]) -> asyncio.Future[None]:
        """Take a HELD message back to where it was."""
        return self._submit(Release(message_id, now, records))

    def remove(self, message_id: int, records: Sequence[Record]) -> asyncio.Future[None]:
        """Delete a message in any state."""
        return self._submit(Remove(message_id, records))

    def advance(self, message_ids: Sequence[int], due: float, records: Sequence[Record] = ()) -> asyncio.Future[None]:
        """Make messages due earlier."""
        return self._submit(Advance(message_ids, due, records))

    def pause(self, domain: str, *, paused: bool) -> asyncio.Future[None]:
        """Let a destination wait, or no longer."""
        return self._submit(Pause(domain, paused))

    def strike(self, message_ids: Sequence[int]) -> asyncio.Future[None]:
        """Count a strike against messages."""
        return self._submit(Strike(message_ids))

    def pardon(self, message_ids: Sequence[int]) -> asyncio.Future[None]:
        """Forget the strikes of messages."""
        return self._submit(Strike(message_ids, pardon=True))

    # Content

    async def content(self, ref: ContentRef) -> bytes:
        """Return content whole, its checksum compared."""
        found: bytes | int = await self._ask(lambda reader: reader.content(ref))
        if isinstance(found, bytes):
            return found
        # A large file holds up neither the loop nor the commits.
        return await self._loop.run_in_executor(None, read_content_file, self._files, self.content_file(ref), found)

    def content_file(self, ref: ContentRef) -> str:
        """Return the path of content that lies in a file."""
        return content_path(self._database.contents, ref.id)

    async def counts(self) -> dict[str, int]:
        """Return {"waiting", "ready", "held", "bytes"} as of the last commit."""
        counts = self._counts
        return {"waiting": counts.waiting, "ready": counts.ready, "held": counts.held, "bytes": counts.bytes}

    # Records

    def consume(self, name: str, consumer: Consumer) -> None:
        """Register a view before `start`."""
        self._views[name] = View(name, consumer)

    def follow(self, name: str, follower: Follower) -> None:
        """Register, before `start`, a view that takes rows of the outbox as they are stored: `follower` gets each as it
        is committed, and reads by `outbox` what it missed.
        """
        self._followers[name] = follower

    async def outbox(self, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Return up to `limit` rows (first number, count, encoded records) that hold records after number `after`.

        What was confirmed before has become durable with the answer, if the disk takes anything.
        """
        rows: list[tuple[int, int, bytes]] = await self._ask(functools.partial(Reader.outbox, after=after, limit=limit))
        return rows

    def confirm(self, name: str, number: int, note: bytes = b"") -> None:
        """Record that a view is done up to `number` inclusive."""
        self._positions[name] = self._confirmed[name] = (number, note)
        self._arm()

    def position(self, name: str) -> tuple[int, bytes]:
        """Return the last confirmed number and note of a view."""
        return self._positions.get(name, (0, b""))

    @property
    def last_record(self) -> int:
        """Number of the last record that was committed."""
        return self._counts.records

    def enter(self, records: Sequence[Record]) -> None:
        """Add records that belong to no change of state."""
        self._entered += records
        if len(self._entered) > ENTERED_LIMIT:
            del self._entered[: len(self._entered) - ENTERED_LIMIT]
        self._arm()

    async def _replay(self, view: View) -> None:
        after, _ = self.position(view.name)
        while True:
            rows = await self._ask(functools.partial(Reader.outbox, after=after, limit=REPLAY_ROWS))
            if not rows:
                # Nothing can have been committed between this answer and here that `_complete` would not deliver.
                view.live = True
                return
            for first, count, raw_records in rows:
                try:
                    records = DECODER.decode(raw_records)
                except ValueError as error:  # DecodeError is one, text that is no UTF-8 another
                    self._report(f"records {first} to {first + count - 1} cannot be read", error)
                else:
                    start = max(after + 1, first)
                    self._deliver(view, start, records[start - first :])
                after = first + count - 1

    def _deliver(self, view: View, first: int, records: Sequence[Record]) -> None:
        try:
            view.consumer(first, records)
        except Exception as error:  # noqa: BLE001 - a view that fails must not stop the mail
            self._report(f"view {view.name} failed at record {first}", error)

    def _hand_rows(self, name: str, follower: Follower, rows: Sequence[tuple[int, int, bytes]]) -> None:
        try:
            for first, count, raw_records in rows:
                follower(first, count, raw_records)
        except Exception as error:  # noqa: BLE001 - a view that fails must not stop the mail
            self._report(f"view {name} failed at record {rows[0][0]}", error)

    def _report(self, message: str, error: Exception) -> None:
        self._loop.call_exception_handler({"message": message, "exception": error})

    # The hand-over, on the loop

    def _submit(self, change: Change, *, patient: bool = False) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._changes.append((change, future))
        if not patient:
            self._urgent = True
        if not self._busy and not self._scheduled:
            self._schedule_next()
        return future

    def _schedule_next(self) -> None:
        """Have what has gathered written: at once when somebody waits for it, else in a moment."""
        if self._urgent or self._queries:
            self._schedule()
        elif self._changes and self._patience is None:
            self._patience = self._loop.call_later(PATIENCE_S, self._lose_patience)

    def _lose_patience(self) -> None:
        self._patience = None
        if self._changes:
            self._schedule()

    def _ask(self, query: Query) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queries.append((query, future))
        if not self._busy and not self._scheduled:
            self._schedule()
        return future

    def _arm(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(IDLE_COMMIT_S, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._entered or self._confirmed:
            self._schedule()

    def _schedule(self) -> None:
        """Hand over at the end of this turn of the loop: what the turn still asks for goes along."""
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._scheduled = False
        if self._closed:
            for _, future in (*self._changes, *self._queries):
                if not future.done():
                    future.set_exception(SpoolError("the spool is closed"))
            return
        group = Group(self._changes[:GROUP_LIMIT], self._queries, self._entered, self._confirmed)
        del self._changes[:GROUP_LIMIT]
        self._urgent = bool(self._changes)
        self._queries = []
        self._entered = []
        self._confirmed = {}
        self._busy = True
        self._inbox.put(group)

    def _complete(self, group: Group) -> None:
        """Deliver the results of a group: the only call back from the thread."""
        self._busy = False
        outcome = group.outcome
        if outcome is None:
            error = group.error
            if isinstance(error, SpoolBroken):
                self._broken = str(error)
            for _, future in group.changes:
                if not future.done():
                    future.set_exception(own_error(error))
        else:
            self._counts = self._database.tally
            for (_, future), failure in zip(group.changes, outcome.errors, strict=True):
                if not future.done():
                    if failure is None:
                        future.set_result(None)
                    else:
                        future.set_exception(failure)
        for (_, asked), (found, failure) in zip(group.queries, group.answers, strict=True):
            if not asked.done():
                if failure is None:
                    asked.set_result(found)
                else:
                    asked.set_exception(failure)
        if outcome is None or not outcome.entered:
            self._entered = [*group.entered, *self._entered][-ENTERED_LIMIT:]
            self._confirmed = {**group.positions, **self._confirmed}
        if outcome is not None and outcome.records:
            for view in self._views.values():
                if view.live:
                    self._deliver(view, outcome.first, outcome.records)
            for name, follower in self._followers.items():
                self._hand_rows(name, follower, outcome.rows)
        self._schedule_next()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        if self._broken is None:
            self._broken = next((str(e) for _, e in group.answers if isinstance(e, SpoolBroken)), None)
        if self._broken is not None and self.on_broken is not None:
            self.on_broken(self._broken)

    # The thread

    def _write(self) -> None:
        database = self._database
        while (group := self._inbox.get()) is not None:
            if group.changes or group.entered or group.positions:
                began = time.perf_counter()
                try:
                    group.outcome = database.commit(
                        [change for change, _ in group.changes], group.entered, group.positions
                    )
                except Exception as error:  # noqa: BLE001 - goes to everybody who waits
                    group.error = error
                self.commit_times.note(time.perf_counter() - began)
            else:
                group.outcome = Outcome([], entered=True)
            group.answers = [answer(database, query) for query, _ in group.queries]
            self._loop.call_soon_threadsafe(self._complete, group)
            # The results are out: what has to be copied home delays nobody who waits for them.
            database.checkpoint()
