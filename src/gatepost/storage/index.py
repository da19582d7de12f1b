"""The index of a store: what lists, searches and totals are answered from, and who may release what.

Used by `storage.store` only, under the store's lock. The message files are the truth: an index can be made anew from
them (`storage.rebuild`). One SQLite database, several processes at once.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from gatepost.model.envelope import Direction
from gatepost.storage.container import Container, Event
from gatepost.storage.item import Item
from gatepost.storage.query import RELEASED, RELEASING, STATES, STORED, ItemFilter, build_where

VERSION: Final = 3
"""An index of another version is made anew."""
BUSY_MS: Final = 20_000
"""Patience with another process that writes: a batch of a relay takes some ten milliseconds."""
SHOWN_RECIPIENTS: Final = 20

TABLES: Final = """
CREATE TABLE item(
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  store TEXT NOT NULL,
  saved_at REAL NOT NULL,
  received_at REAL NOT NULL,
  code TEXT NOT NULL,
  size INTEGER NOT NULL,
  state INTEGER NOT NULL,
  sender TEXT NOT NULL,
  recipients TEXT NOT NULL,
  client TEXT NOT NULL,
  grp TEXT NOT NULL,
  subject TEXT NOT NULL,
  threats TEXT NOT NULL,
  rate INTEGER NOT NULL,
  outgoing INTEGER NOT NULL,
  event BLOB
) STRICT;
CREATE INDEX item_age ON item(store, saved_at);
CREATE INDEX item_code ON item(code, number);
CREATE INDEX item_releasing ON item(state) WHERE state = 1;
CREATE VIRTUAL TABLE words USING fts5(subject, addresses, names, threats, content='', contentless_delete=1,
  tokenize="unicode61 remove_diacritics 2");
CREATE TABLE total(store TEXT PRIMARY KEY, items INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER item_came AFTER INSERT ON item BEGIN
  INSERT INTO total VALUES(new.store, 1, new.size)
    ON CONFLICT DO UPDATE SET items = items + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER item_went AFTER DELETE ON item BEGIN
  UPDATE total SET items = items - 1, bytes = bytes - old.size WHERE store = old.store;
END;
"""

_COLUMNS: Final = (
    "number, id, store, saved_at, received_at, code, size, state, sender, recipients, client, grp, subject, "
    "threats, rate, event"
)
_EVENTS: Final = msgspec.json.Decoder(Event)
_RECIPIENTS: Final = msgspec.json.Decoder(list[str])
DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
"""What SQLite raises for a database that is none, or none any more."""


class Row(msgspec.Struct, frozen=True):
    """An item as lists show it."""

    number: int
    """Place in the index: rises with the time of storing."""
    id: str
    store: str
    saved_at: float
    received_at: float
    code: str
    size: int
    state: str
    sender: str
    recipients: tuple[str, ...]
    """The first `SHOWN_RECIPIENTS` of them."""
    recipient_count: int
    client: str
    group: str
    subject: str
    threats: str
    rate: int
    """Spam rating in percent."""
    event: Event | None
    """The release that is under way, or the last one."""


class Totals(msgspec.Struct, frozen=True):
    """How much there is."""

    items: int
    bytes: int


class Index:
    """An open index."""

    def __init__(self, path: str, *, fresh: bool = False) -> None:
        """Open the database; `fresh`: make it, for filling at once (it is synced by the caller when it is full)."""
        self._connection = apsw.Connection(path)
        try:
            self._connection.set_busy_timeout(BUSY_MS)
            self._execute: Any = self._connection.execute
            (self._make if fresh else self._check)()
        except BaseException:
            self.close()
            raise
        self.inode = Path(path).stat().st_ino

    def _make(self) -> None:
        self._execute("PRAGMA journal_mode=OFF")
        self._execute("PRAGMA synchronous=OFF")
        self._execute(TABLES)
        self._execute(f"PRAGMA user_version={VERSION}")

    def _check(self) -> None:
        if self._connection.pragma("user_version") != VERSION:
            raise apsw.NotADBError(f"not an index of version {VERSION}")
        self._execute("PRAGMA synchronous=FULL")

    def filled(self) -> None:
        """Finish a fresh index: from now on it is written with a log, as several processes need it."""
        self._execute("PRAGMA journal_mode=WAL")

    def close(self) -> None:
        """Close; harmless when repeated."""
        with contextlib.suppress(apsw.Error):
            self._connection.close(force=True)

    def sound(self) -> bool:
        """Tell whether the database is whole; reads all of it. Damage may be raised as well."""
        return bool(self._execute("PRAGMA quick_check(1)").fetchall() == [("ok",)])

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction that nobody else writes in."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    # --- changes, inside `writing`

    def put(self, item: Item, container: Container | None = None) -> None:
        """Enter an item, or enter it again as it is now; `container` tells of its releases."""
        known = self._execute("SELECT number FROM item WHERE id=?", (item.id,)).fetchone()
        if known is not None:
            self._remove(known[0])
        recipients = [recipient.address for recipient in item.envelope.recipients]
        threats = ", ".join(dict.fromkeys(each.threat for each in item.objects if each.threat))
        names = " ".join(dict.fromkeys(each.name for each in item.objects if each.name))
        state, event = _state_of(container)
        row = (
            known[0] if known is not None else None,
            item.id,
            item.store.value,
            item.saved_at,
            item.received_at,
            item.code,
            item.size,
            state,
            _storable(item.envelope.sender.lower()),
            _storable(msgspec.json.encode(recipients).decode()),
            item.envelope.client.ip,
            item.group,
            _storable(item.subject),
            _storable(threats),
            item.rate,
            item.envelope.direction is not Direction.INBOUND,
            msgspec.json.encode(event) if event is not None else None,
        )
        marks = ",".join("?" * len(row))
        self._execute(f"INSERT INTO item VALUES({marks})", row)
        addresses = " ".join([item.envelope.sender, item.author, *recipients])
        subject = f"{item.subject} {item.message_id} {item.queue_id} {item.source}"
        self._execute(
            "INSERT INTO words(rowid, subject, addresses, names, threats) VALUES(last_insert_rowid(), ?, ?, ?, ?)",
            tuple(map(_storable, (subject, addresses, names, threats))),
        )

    def remove(self, item_id: str) -> bool:
        """Forget an item; False when it is not known."""
        known = self._execute("SELECT number FROM item WHERE id=?", (item_id,)).fetchone()
        if known is None:
            return False
        self._remove(known[0])
        return True

    def _remove(self, number: int) -> None:
        self._execute("DELETE FROM item WHERE number=?", (number,))
        self._execute("DELETE FROM words WHERE rowid=?", (number,))

    def note(self, item_id: str, container: Container) -> None:
        """Take over what the file of an item says of its releases."""
        state, event = _state_of(container)
        encoded = msgspec.json.encode(event) if event is not None else None
        self._execute("UPDATE item SET state=?, event=? WHERE id=?", (state, encoded, item_id))

    # --- questions

    def row(self, item_id: str) -> Row | None:
        """Return one item, None when it is not known."""
        found = self._execute(f"SELECT {_COLUMNS} FROM item WHERE id=?", (item_id,)).fetchone()  # noqa: S608 - constant
        return _row(found) if found is not None else None

    def page(self, chosen: ItemFilter, now: float, before: int, limit: int) -> list[Row]:
        """Return up to `limit` items in front of number `before` (0 = from the end), the newest first."""
        where, values = build_where(chosen, now)
        if before:
            where, values = f"number < ? AND {where}", [before, *values]
        query = f"SELECT {_COLUMNS} FROM item WHERE {where} ORDER BY number DESC LIMIT ?"  # noqa: S608 - own terms
        return [_row(found) for found in self._execute(query, (*values, limit)).fetchall()]

    def totals(self, chosen: ItemFilter, now: float) -> Totals:
        """Return number and bytes of the items meant: kept for all, counted for a part."""
        plain = msgspec.structs.replace(chosen, stores=()) == ItemFilter()
        where, values = build_where(chosen, now)
        columns = "total(items), total(bytes) FROM total" if plain else "count(*), total(size) FROM item"
        items, size = self._execute(f"SELECT {columns} WHERE {where}", values).fetchone()
        return Totals(int(items), int(size))

    def releasing(self) -> list[Row]:
        """Return the items whose release is under way, or was broken off."""
        query = f"SELECT {_COLUMNS} FROM item WHERE state = {RELEASING}"  # noqa: S608 - constants
        return [_row(found) for found in self._execute(query).fetchall()]

    def oldest(self, store: str, until: float, limit: int) -> Sequence[tuple[str, int]]:
        """Return (id, bytes) of the oldest items of a kind stored before `until`; none that is being released."""
        found: list[tuple[str, int]] = self._execute(
            "SELECT id, size FROM item WHERE store=? AND saved_at < ? AND state <> ? ORDER BY saved_at LIMIT ?",
            (store, until, RELEASING, limit),
        ).fetchall()
        return found


def _state_of(container: Container | None) -> tuple[int, Event | None]:
    if container is None:
        return STORED, None
    if container.claim is not None:
        return RELEASING, container.claim
    releases = container.releases
    return (RELEASED, releases[-1]) if releases else (STORED, None)


def _row(found: Sequence[Any]) -> Row:
    number, item_id, store, saved_at, received_at, code, size, state, sender, recipients, *rest = found
    client, group, subject, threats, rate, event = rest
    everybody = _RECIPIENTS.decode(recipients)
    return Row(
        number,
        item_id,
        store,
        saved_at,
        received_at,
        code,
        size,
        STATES[state],
        sender,
        tuple(everybody[:SHOWN_RECIPIENTS]),
        len(everybody),
        client,
        group,
        subject,
        threats,
        rate,
        _EVENTS.decode(event) if event is not None else None,
    )


def _storable(text: str) -> str:
    """Return text as SQLite takes it: no halves of surrogate pairs, no NUL."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
