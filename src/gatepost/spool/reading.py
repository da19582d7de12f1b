"""Questions to a shard's tables. Called on the writer thread, between commits; each takes milliseconds at most.

Ids are read from the indexes first and each message by itself, so that a damaged row costs that row only: it comes
back as `Corrupt`.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw

from gatepost.spool.content import content_path
from gatepost.spool.files import FileLayer
from gatepost.spool.interface import (
    Brief,
    ContentCorrupt,
    ContentRef,
    Corrupt,
    Destination,
    Found,
    Pending,
    State,
    Stored,
    Wanted,
)
from gatepost.spool.schema import BRIEF_HEADS, HEADS, PENDINGS

_MESSAGE = """SELECT message.id, state, strikes, content, size, in_file, reason, head, length(data), content.id
FROM message LEFT JOIN content ON content.id = message.content WHERE message.id=?"""

_DESTINATION = "SELECT domain, waiting, ifnull(due, 0), retry_at, failures, reason, paused FROM destination"


class Reader:
    """Answers from the tables of one open shard."""

    def __init__(self, connection: apsw.Connection, contents: str, files: FileLayer) -> None:
        self._execute: Callable[..., Any] = connection.execute
        self._contents = contents
        self._files = files

    def released(self, release: str) -> int | None:
        """Return the message a release became, None when it is not known."""
        row = self._execute("SELECT message FROM release WHERE id=?", (release,)).fetchone()
        return row[0] if row is not None else None

    def fetch(self, message_id: int) -> Stored | Corrupt | None:
        """Return one message; what cannot be read back is `Corrupt`, with the reason."""
        try:
            row = self._execute(_MESSAGE, (message_id,)).fetchone()
            if row is None:
                return None
            return self._decode(row)
        except (apsw.CorruptError, ValueError) as error:
            return Corrupt(message_id, f"its row cannot be read: {error}")

    def _decode(self, row: Any) -> Stored | Corrupt:
        message_id, raw_state, strikes, content, size, in_file, reason, head_bytes, length, content_row = row
        head = HEADS.decode(head_bytes)
        state = State(raw_state)
        ref = ContentRef(content, size, bool(in_file))
        if content_row is None:
            return Corrupt(message_id, "its content is missing")
        if ref.in_file:
            try:
                length = self._files.size(content_path(self._contents, ref.id))
            except OSError as error:
                return Corrupt(message_id, f"its content file cannot be read: {error.strerror}")
        if length != size:
            return Corrupt(message_id, f"its content has {length} bytes instead of {size}")
        pending: tuple[Pending, ...] = ()
        if state != State.WAITING:
            rows = self._execute("SELECT pending FROM queue WHERE message=?", (message_id,)).fetchall()
            pending = tuple(sorted((each for (raw,) in rows for each in PENDINGS.decode(raw)), key=_recipient))
            if state == State.READY and not pending:
                return Corrupt(message_id, "it is ready, but no recipient is left")
        return Stored(
            id=message_id,
            source=head.source,
            state=state,
            received_at=head.received_at,
            envelope=head.envelope,
            content=ref,
            prefix=head.prefix,
            group=head.group,
            splices=head.splices,
            pending=pending,
            strikes=strikes,
            reason=reason,
            kind=head.kind,
            route=head.route,
            told=head.told,
        )

    def _fetch_all(self, message_ids: Iterable[int]) -> list[Stored | Corrupt]:
        return [found for each in message_ids if (found := self.fetch(each)) is not None]

    def waiting(self, after_id: int, limit: int) -> list[Stored | Corrupt]:
        """Return WAITING messages in id order."""
        return self.listing(after_id, limit, State.WAITING)

    def listing(self, after_id: int, limit: int, state: State | None) -> list[Stored | Corrupt]:
        """Return messages of any or one state in id order."""
        if state is None:
            rows = self._execute(
                "SELECT id FROM message WHERE id > ? ORDER BY id LIMIT ?", (after_id, limit)
            ).fetchall()
        else:
            rows = self._execute(
                "SELECT id FROM message INDEXED BY message_state WHERE state=? AND id > ? ORDER BY id LIMIT ?",
                (state.value, after_id, limit),
            ).fetchall()
        return self._fetch_all(each for (each,) in rows)

    def search(self, after_id: int, rows: int, state: State | None, wanted: Wanted | None) -> Found:
        """Look at some messages in id order; return those that are wanted."""
        columns = "id" if wanted is None else "id, state, size, reason, head"
        if state is None:
            looked_at = self._execute(
                f"SELECT {columns} FROM message WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608 - one of two texts
                (after_id, rows),
            ).fetchall()
        else:
            looked_at = self._execute(
                f"SELECT {columns} FROM message INDEXED BY message_state "  # noqa: S608 - one of two texts
                "WHERE state=? AND id > ? ORDER BY id LIMIT ?",
                (state.value, after_id, rows),
            ).fetchall()
        ids = (
            tuple(row[0] for row in looked_at)
            if wanted is None
            else tuple(row[0] for row in looked_at if _is_wanted(row, wanted))
        )
        upto = looked_at[-1][0] if looked_at else after_id
        return Found(ids, upto, len(looked_at), ended=len(looked_at) < rows)

    def destination_page(self, after: str, limit: int) -> list[Destination]:
        """Return destinations in order of their names."""
        rows = self._execute(f"{_DESTINATION} WHERE domain > ? ORDER BY domain LIMIT ?", (after, limit))
        return [_destination(row) for row in rows]

    def destinations_named(self, domains: Sequence[str]) -> list[Destination]:
        """Return those of these destinations that are known."""
        rows = (self._execute(f"{_DESTINATION} WHERE domain = ?", (domain,)).fetchone() for domain in domains)
        return [_destination(row) for row in rows if row is not None]

    def paused(self) -> list[str]:
        """Return the destinations an operator lets wait."""
        return [
            domain
            for (domain,) in self._execute("SELECT domain FROM destination INDEXED BY destination_paused WHERE paused")
        ]

    def oldest_waiting(self) -> int | None:
        """Return the lowest id of all WAITING messages."""
        oldest: int | None = self._execute(
            "SELECT min(id) FROM message INDEXED BY message_state WHERE state=?", (State.WAITING.value,)
        ).fetchone()[0]
        return oldest

    def due(
        self, domain: str, now: float, limit: int, skip: frozenset[int], latest: float = math.inf
    ) -> list[Stored | Corrupt]:
        """Return messages with something due at a destination, oldest due first."""
        found: list[int] = []
        for comparison, moment in _due(now, latest):
            if len(found) >= limit:
                break
            for (message_id,) in self._execute(
                f"""SELECT message FROM queue INDEXED BY queue_due
                WHERE destination=(SELECT id FROM destination WHERE domain=?) AND due {comparison} ?
                ORDER BY due LIMIT ?""",  # noqa: S608 - one of two operators
                (domain, moment, limit + len(skip)),
            ):
                if message_id not in skip:
                    found.append(message_id)
                    if len(found) >= limit:
                        break
        return self._fetch_all(found)

    def destinations(self, now: float, limit: int, latest: float = math.inf) -> list[Destination]:
        """Return destinations with something due, earliest first."""
        found: list[Destination] = []
        for comparison, moment in _due(now, latest):
            rows = self._execute(
                f"""SELECT domain, waiting, due, retry_at, failures, reason FROM destination
                WHERE due {comparison} ? ORDER BY due LIMIT ?""",  # noqa: S608 - one of two operators
                (moment, limit - len(found)),
            )
            found += [Destination(*row) for row in rows]
        return found

    def next_due(self) -> float | None:
        """Return the earliest moment at which something is due."""
        due: float | None = self._execute("SELECT min(due) FROM destination WHERE due IS NOT NULL").fetchone()[0]
        return due

    def content(self, ref: ContentRef) -> bytes | int:
        """Return content from its row, its checksum compared; for content in a file, the checksum to expect."""
        try:
            row = self._execute("SELECT crc, data FROM content WHERE id=?", (ref.id,)).fetchone()
        except apsw.CorruptError as error:
            raise ContentCorrupt(f"content {ref.id} cannot be read: {error}") from error
        if row is None:
            raise ContentCorrupt(f"content {ref.id} is missing")
        crc: int = row[0]
        data: bytes | None = row[1]
        if data is None:
            return crc
        if zlib.crc32(data) != crc:
            raise ContentCorrupt(f"content {ref.id} does not have the checksum it was accepted with")
        return data

    def outbox(self, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Return up to `limit` rows (first number, count, encoded records) holding records after number `after`."""
        start = self._execute("SELECT max(first) FROM outbox WHERE first <= ?", (after + 1,)).fetchone()[0]
        rows: list[tuple[int, int, bytes]] = self._execute(
            "SELECT first, count, records FROM outbox WHERE first >= ? AND first + count > ? ORDER BY first LIMIT ?",
            (after + 1 if start is None else start, after + 1, limit),
        ).fetchall()
        return rows


def _due(now: float, latest: float) -> list[tuple[str, float]]:
    """Return the ranges of moments that are due: up to now, and those too late to be believed."""
    return [("<=", now)] if latest == math.inf else [("<=", now), (">", max(latest, now))]


def _is_wanted(row: Any, wanted: Wanted) -> bool:
    message_id, state, size, reason, raw_head = row
    try:
        head = BRIEF_HEADS.decode(raw_head)
    except ValueError:  # DecodeError is one, text that is no UTF-8 another
        return False
    recipients = tuple([each.address for each in head.envelope.recipients])
    return wanted(Brief(message_id, State(state), size, head.received_at, head.envelope.sender, recipients, reason))


def _destination(row: Any) -> Destination:
    domain, waiting, due, retry_at, failures, reason, paused = row
    return Destination(domain, waiting, due, retry_at, failures, reason, bool(paused))


def _recipient(pending: Pending) -> int:
    return pending.recipient
