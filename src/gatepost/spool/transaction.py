"""One transaction's work: changes applied to the tables of a shard.

Called by `database.Database` between BEGIN and COMMIT.

Whatever this raises, the caller rolls back; nothing here outlives the transaction except through `Database` taking
over the tally and the list of files once the commit is done.

Accepts are written together, removals of plain waiting messages too: one statement for many rows, because every
statement hands the interpreter lock to the event loop and has to get it back.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw
import msgspec

from gatepost.spool import clock
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
from gatepost.spool.content import Staged
from gatepost.spool.interface import (
    RELEASES_KEPT_S,
    ContentRef,
    Destination,
    NewMessage,
    Pending,
    ReleasedAlready,
    SpoolError,
    State,
    Stored,
    UnknownMessage,
)
from gatepost.spool.schema import ENCODER, PENDINGS, Head, Tally

ROWS_AT_ONCE = 16
"""Rows of one INSERT: the group size under load; more gains nothing."""

_MESSAGE_ROW = "(?,?,?,?,?,?,?,?,?)"
_INSERT_MESSAGES = [
    f"INSERT INTO message VALUES {','.join([_MESSAGE_ROW] * rows)}"  # noqa: S608 - only question marks
    for rows in range(ROWS_AT_ONCE + 1)
]
_INSERT_CONTENTS = [
    f"INSERT INTO content VALUES {','.join(['(?,?,?)'] * rows)}"  # noqa: S608 - only question marks
    for rows in range(ROWS_AT_ONCE + 1)
]
# A plain message is waiting, the only one with its content, and that content a row: three deletes end it.
_SURVEY = """SELECT count(*), total(size), json_group_array(id) FILTER (WHERE state <> 0 OR in_file OR shares)
FROM message WHERE id IN carray(?)"""


def encode_head(stored: Stored) -> bytes:
    """Return the part of a message that stays the same, as its row keeps it."""
    return ENCODER.encode(
        Head(
            stored.source,
            stored.received_at,
            stored.envelope,
            stored.prefix,
            stored.group,
            stored.splices,
            stored.kind,
            stored.route,
            stored.told,
        )
    )


class Transaction:
    """Applies changes with the cursor of an open transaction; `tally` is a copy of its own."""

    def __init__(self, cursor: apsw.Cursor, tally: Tally) -> None:
        self._execute: Callable[..., Any] = cursor.execute
        # Rows come back untyped: the tables are STRICT, and this module alone writes them.
        self.tally = tally
        self.unlinked: list[int] = []
        """Contents in files that no message refers to any more: to be removed after the commit."""
        self._touched: set[int] = set()

    def apply(self, changes: Sequence[Change]) -> None:
        """Apply all changes; `UnknownMessage`, `SpoolError` or apsw.Error when one cannot be."""
        accepted: list[NewMessage] = []
        settled: list[int] = []
        others: list[Change] = []
        for change in changes:
            kind = type(change)
            if kind is Accept:
                accepted.append(change.new)  # type: ignore[union-attr]
                accepted.extend(change.generated)  # type: ignore[union-attr]
                if change.copies or change.release:  # type: ignore[union-attr]
                    others.append(change)
            elif kind is Settle and change.remaining is None:  # type: ignore[union-attr]
                settled.append(change.message_id)  # type: ignore[union-attr]
                accepted.extend(change.generated)  # type: ignore[union-attr]
            else:
                others.append(change)
        # New messages are unknown to every other change of the group, and a settled one is not touched again: so
        # accepts may come first and settlements last.
        if accepted:
            self._insert(accepted)
        for change in others:
            self._apply_other(change)
        if settled:
            self._remove_many(settled)
        for destination in self._touched:
            self._refresh_destination(destination)

    def _apply_other(self, change: Change) -> None:
        if isinstance(change, Settle):
            assert change.remaining is not None
            self._rewrite(change.message_id, change.remaining)
            self._insert(change.generated)
        elif isinstance(change, Dispose):
            self._dispose(change.message_id, change.copies)
            self._insert(change.generated)
        elif isinstance(change, Accept):
            if change.release:
                self._note_release(change.release, change.new.stored)
            if change.copies:
                self._dispose(change.new.stored.id, change.copies)
        elif isinstance(change, BackOff):
            self._back_off(change.destination)
        elif isinstance(change, Hold):
            self._hold(change.message_id, change.reason)
        elif isinstance(change, Release):
            self._release(change.message_id, change.now)
        elif isinstance(change, Remove):
            self._state_of(change.message_id)
            self._remove(change.message_id)
        elif isinstance(change, Strike):
            if change.message_ids:
                strikes = "0" if change.pardon else "strikes + 1"
                self._execute(
                    f"UPDATE message SET strikes = {strikes} WHERE id IN carray(?)",  # noqa: S608 - one of two words
                    (_carray(change.message_ids),),
                )
        elif isinstance(change, Advance):
            self._advance(change.message_ids, change.due)
        elif isinstance(change, Pause):
            self._pause(change.domain, paused=change.paused)
        else:
            raise TypeError(f"not a change a spool knows: {type(change).__name__}")

    def _note_release(self, release: str, stored: Stored) -> None:
        """Take a release's id, once."""
        found = self._execute("SELECT message FROM release WHERE id=?", (release,)).fetchone()
        if found is not None:
            raise ReleasedAlready(f"release {release} has been accepted before", found[0])
        if clock.is_believed():  # what is forgotten can be accepted twice
            self._execute("DELETE FROM release WHERE at < ?", (stored.received_at - RELEASES_KEPT_S,))
        self._execute("INSERT INTO release VALUES(?,?,?)", (release, stored.id, stored.received_at))

    def _insert(self, messages: Sequence[NewMessage]) -> None:
        for start in range(0, len(messages), ROWS_AT_ONCE):
            block = messages[start : start + ROWS_AT_ONCE]
            rows: list[object] = []
            contents: list[object] = []
            for new in block:
                content = new.content
                if not isinstance(content, Staged):
                    raise TypeError("content was not staged by this spool")
                contents += content.row()
                ref = content.ref
                rows += self._row(new.stored, ref, shares=False)
                self.tally.bytes += ref.size
                if new.stored.pending:
                    self._queue(new.stored)
            self._execute(_INSERT_MESSAGES[len(block)], rows)
            self._execute(_INSERT_CONTENTS[len(block)], contents)

    def _row(self, stored: Stored, ref: ContentRef, *, shares: bool) -> tuple[object, ...]:
        self._count(stored.state, 1)
        self.tally.last_id = max(self.tally.last_id, stored.id)
        return (
            stored.id,
            stored.state.value,
            stored.strikes,
            ref.id,
            ref.size,
            int(ref.in_file),
            int(shares),
            stored.reason,
            encode_head(stored),
        )

    def _count(self, state: int, step: int) -> None:
        tally = self.tally
        if state == State.WAITING:
            tally.waiting += step
        elif state == State.READY:
            tally.ready += step
        else:
            tally.held += step

    def _state_of(self, message_id: int) -> tuple[int, ContentRef, bool]:
        """Return (state, content, shared) of a message that must be there."""
        row = self._execute(
            "SELECT state, content, size, in_file, shares FROM message WHERE id=?", (message_id,)
        ).fetchone()
        if row is None:
            raise UnknownMessage(f"no message {message_id}")
        state, content, size, in_file, shares = row
        return state, ContentRef(content, size, bool(in_file)), bool(shares)

    def _remove_many(self, message_ids: Sequence[int]) -> None:
        ids = _carray(message_ids)
        count, size, special = self._execute(_SURVEY, (ids,)).fetchone()
        if special != "[]":
            others = msgspec.json.decode(special, type=list[int])
            plain = set(message_ids).difference(others)
            for message_id in others:
                self._remove(message_id)
            if not plain:
                return
            ids = _carray(plain)
            count, size, _ = self._execute(_SURVEY, (ids,)).fetchone()
        self._execute("DELETE FROM message WHERE id IN carray(?)", (ids,))
        self._execute("DELETE FROM content WHERE id IN carray(?)", (ids,))
        self.tally.waiting -= count
        self.tally.bytes -= int(size)

    def _remove(self, message_id: int) -> None:
        """Delete a message in any state, and its content with the last copy; nothing happens when it is gone."""
        try:
            state, ref, shares = self._state_of(message_id)
        except UnknownMessage:
            return
        self._unqueue(message_id)
        self._execute("DELETE FROM message WHERE id=?", (message_id,))
        self._count(state, -1)
        if shares:
            copies = self._execute(
                "UPDATE shared SET copies = copies - 1 WHERE content=? RETURNING copies", (ref.id,)
            ).fetchone()
            if copies is not None and copies[0] > 0:
                return
            self._execute("DELETE FROM shared WHERE content=?", (ref.id,))
        self._execute("DELETE FROM content WHERE id=?", (ref.id,))
        self.tally.bytes -= ref.size
        if ref.in_file:
            self.unlinked.append(ref.id)

    def _dispose(self, message_id: int, copies: Sequence[Stored]) -> None:
        if not copies:
            self._state_of(message_id)
            self._remove(message_id)
            return
        state, ref, shares = self._state_of(message_id)
        if len(copies) > 1:
            self._execute(
                "INSERT INTO shared VALUES(?, ?) ON CONFLICT DO UPDATE SET copies = copies + excluded.copies - 1",
                (ref.id, len(copies)),
            )
            shares = True
        self._unqueue(message_id)
        self._execute("DELETE FROM message WHERE id=?", (message_id,))
        self._count(state, -1)
        for copy in copies:
            self._execute(_INSERT_MESSAGES[1], self._row(copy, ref, shares=shares))
            self._queue(copy)

    def _rewrite(self, message_id: int, stored: Stored) -> None:
        """Write a message as given; it is not brought back when an operator has removed it meanwhile."""
        row = self._execute("SELECT state, strikes, reason, head FROM message WHERE id=?", (message_id,)).fetchone()
        if row is None:
            return
        head = encode_head(stored)
        fresh = (stored.state.value, stored.strikes, stored.reason, head)
        if row != fresh:
            self._execute("UPDATE message SET state=?, strikes=?, reason=?, head=? WHERE id=?", (*fresh, message_id))
            self._count(row[0], -1)
            self._count(stored.state, 1)
        self._requeue(stored)

    def _hold(self, message_id: int, reason: str) -> None:
        state, _, _ = self._state_of(message_id)
        self._execute("UPDATE message SET state=?, reason=? WHERE id=?", (State.HELD.value, reason, message_id))
        self._count(state, -1)
        self._count(State.HELD, 1)
        if state == State.READY:
            # Rows stay, without a moment: the index of due mail does not know them any more.
            for (destination,) in self._execute(
                "SELECT destination FROM queue WHERE message=? AND due IS NOT NULL", (message_id,)
            ).fetchall():
                self._leave(destination)
            self._execute("UPDATE queue SET due=NULL WHERE message=?", (message_id,))

    def _release(self, message_id: int, now: float) -> None:
        state, _, _ = self._state_of(message_id)
        if state != State.HELD:
            raise SpoolError(f"message {message_id} is not held")
        rows = self._execute("SELECT destination, pending FROM queue WHERE message=?", (message_id,)).fetchall()
        back = State.READY if rows else State.WAITING
        self._execute("UPDATE message SET state=?, strikes=0, reason='' WHERE id=?", (back.value, message_id))
        self._count(state, -1)
        self._count(back, 1)
        for destination, raw_pending in rows:
            pending = tuple(msgspec.structs.replace(each, due=now) for each in PENDINGS.decode(raw_pending))
            self._execute(
                "UPDATE queue SET due=?, pending=? WHERE message=? AND destination=?",
                (now, ENCODER.encode(pending), message_id, destination),
            )
            self._execute("UPDATE destination SET waiting = waiting + 1 WHERE id=?", (destination,))
            self._touched.add(destination)

    def _back_off(self, destination: Destination) -> None:
        row = self._execute(
            """INSERT INTO destination(domain, retry_at, failures, reason) VALUES(?,?,?,?) ON CONFLICT(domain) DO
            UPDATE SET retry_at=excluded.retry_at, failures=excluded.failures, reason=excluded.reason RETURNING id""",
            (destination.domain, destination.retry_at, destination.failures, destination.reason),
        ).fetchone()
        self._touched.add(row[0])

    def _advance(self, message_ids: Sequence[int], due: float) -> None:
        rows = self._execute(
            """SELECT message, destination, pending FROM queue JOIN message ON message.id = queue.message
            WHERE queue.message IN carray(?) AND state = ?""",
            (_carray(message_ids), State.READY.value),
        ).fetchall()
        for message_id, destination, raw_pending in rows:
            before = PENDINGS.decode(raw_pending)
            if all(each.due <= due for each in before):
                continue
            pending = [msgspec.structs.replace(each, due=min(each.due, due)) for each in before]
            self._execute(
                "UPDATE queue SET due=?, pending=? WHERE message=? AND destination=?",
                (min(each.due for each in pending), ENCODER.encode(pending), message_id, destination),
            )
            self._touched.add(destination)

    def _pause(self, domain: str, *, paused: bool) -> None:
        row = self._execute(
            """INSERT INTO destination(domain, paused) VALUES(?,?) ON CONFLICT(domain)
            DO UPDATE SET paused=excluded.paused RETURNING id""",
            (domain, int(paused)),
        ).fetchone()
        self._touched.add(row[0])

    def _queue(self, stored: Stored) -> None:
        for domain, raw_pending, due in _by_domain(stored):
            self._enter(stored.id, domain, raw_pending, due)

    def _requeue(self, stored: Stored) -> None:
        """Write only the rows of those domains whose recipients changed."""
        present = {
            domain: (destination, due, raw_pending)
            for domain, destination, due, raw_pending in self._execute(
                """SELECT domain, destination, queue.due, pending FROM queue
                JOIN destination ON destination.id = destination WHERE message=?""",
                (stored.id,),
            ).fetchall()
        }
        for domain, raw_pending, due in _by_domain(stored):
            row = present.pop(domain, None)
            if row is None:
                self._enter(stored.id, domain, raw_pending, due)
            elif row[1:] != (due, raw_pending):
                destination = row[0]
                self._execute(
                    "UPDATE queue SET due=?, pending=? WHERE message=? AND destination=?",
                    (due, raw_pending, stored.id, destination),
                )
                step = (due is not None) - (row[1] is not None)
                if step:
                    self._execute("UPDATE destination SET waiting = waiting + ? WHERE id=?", (step, destination))
                self._touched.add(destination)
        for destination, due, _ in present.values():
            self._execute("DELETE FROM queue WHERE message=? AND destination=?", (stored.id, destination))
            if due is not None:
                self._leave(destination)

    def _enter(self, message_id: int, domain: str, raw_pending: bytes, due: float | None) -> None:
        row = self._execute(
            """INSERT INTO destination(domain, waiting) VALUES(?,?) ON CONFLICT(domain)
            DO UPDATE SET waiting = waiting + excluded.waiting RETURNING id""",
            (domain, int(due is not None)),
        ).fetchone()
        destination = row[0]
        self._execute("INSERT INTO queue VALUES(?,?,?,?)", (message_id, destination, due, raw_pending))
        self._touched.add(destination)

    def _unqueue(self, message_id: int) -> None:
        for destination, due in self._execute(
            "SELECT destination, due FROM queue WHERE message=?", (message_id,)
        ).fetchall():
            if due is not None:
                self._leave(destination)
        self._execute("DELETE FROM queue WHERE message=?", (message_id,))

    def _leave(self, destination: int) -> None:
        self._execute("UPDATE destination SET waiting = waiting - 1 WHERE id=?", (destination,))
        self._touched.add(destination)

    def _refresh_destination(self, destination: int) -> None:
        """Bring a destination's moment up to date with its queue; one without mail and back-off is forgotten."""
        self._execute(
            """UPDATE destination SET due = CASE WHEN paused THEN NULL ELSE (
              SELECT max(min(queue.due), retry_at) FROM queue WHERE queue.destination=?1 AND queue.due IS NOT NULL
            ) END WHERE id=?1""",
            (destination,),
        )
        self._execute(
            """DELETE FROM destination WHERE id=?1 AND waiting=0 AND retry_at=0 AND failures=0 AND paused=0
            AND NOT EXISTS(SELECT 1 FROM queue WHERE queue.destination=?1)""",
            (destination,),
        )


def _by_domain(stored: Stored) -> Iterable[tuple[str, bytes, float | None]]:
    """Yield (domain, encoded pending recipients, earliest due or None when held) for every domain of a message."""
    domains: defaultdict[str, list[Pending]] = defaultdict(list)
    for pending in stored.pending:
        domains[pending.domain].append(pending)
    held = stored.state == State.HELD
    for domain, pendings in domains.items():
        yield domain, ENCODER.encode(pendings), None if held else min(pending.due for pending in pendings)


def _carray(values: Iterable[int]) -> object:
    return apsw.carray(array("q", values))
