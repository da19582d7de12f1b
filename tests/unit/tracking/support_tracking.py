"""Records of made-up mails, and a store to put them into."""

from collections.abc import Sequence
from pathlib import Path

from gatepost.model.ids import EPOCH_MS
from gatepost.model.record import (
    ENCODER,
    Blocked,
    Deferred,
    Delivered,
    Inspected,
    Received,
    Record,
    Refused,
    Saved,
    Scanned,
    SpamChecked,
)
from gatepost.storage.tracking.store import TrackingStore

NOON = 1_790_000_000 // 86_400 * 86_400 + 43_200.0
SOURCE = "0123456789abcdef"


def mail_id(number: int, at: float = NOON) -> int:
    return (int(at * 1000) - EPOCH_MS + number) << 22


def received(number: int, at: float = NOON, **changes: object) -> Received:
    fields: dict[str, object] = {
        "id": mail_id(number, at),
        "at": at + number / 1000,
        "sender": f"s{number % 7}@from{number % 3}.example",
        "recipients": 1,
        "size": 1000 + number,
        "ip": f"192.0.2.{number % 50}",
        "helo": "mx.example",
        "message_id": f"<{number}@id.example>",
        "flags": "E",
        "addresses": (f"r{number % 11}@to{number % 4}.example",),
    }
    return Received(**{**fields, **changes})  # type: ignore[arg-type]


def life(number: int, at: float = NOON) -> list[Record]:
    """Return the records of a mail: most are delivered, some are spam, deferred or infected."""
    mail, moment = mail_id(number, at), at + number / 1000 + 0.1
    first = received(number, at)
    recipient = first.addresses[0]
    infected, spam = number % 13 == 5, number % 5 == 2
    made: list[Record] = [
        first,
        Inspected(mail, moment, f"Word{number % 17} of mail {number}", 1.0, 4.0),
        Scanned(
            mail, moment, "policy", 1, ("infected",) if infected else ("clean",), mail, ("Some.Virus",) * infected
        ),
        SpamChecked(
            mail, moment, "policy", 1, "spam" if spam else "not_detected", 90 * spam, (), mail, spam,
            signs=("bad-link",) if spam else (),
        ),
    ]  # fmt: skip
    if spam:
        return [
            *made,
            Saved(mail, moment, "spam-quarantine", "ITEM", ("spam",)),
            Blocked(mail, moment, (recipient,), 1000, "spam"),
        ]
    hop = f"mx{number % 3}.example"
    if number % 4 == 3:
        made.append(Deferred(mail, moment, recipient, hop, "451 later", moment + 900, "203.0.113.1", hop))
    if number % 8 != 7:
        made.append(Delivered(mail, moment + 1, recipient, hop, 1000, True, "250 ok", 1.1, "203.0.113.1", hop))
    return made


def refused(number: int, at: float = NOON) -> Refused:
    return Refused(at + number / 1000, "198.51.100.9", "rcpt", "relaying", 550, "x@bad.example", "y@other.example")


def apply(store: TrackingStore, first: int, records: Sequence[Record], source: str = SOURCE, shard: int = 0) -> None:
    """Have a store take records as a recorder does."""
    store.apply(source, shard, first, records, [ENCODER.encode(record) for record in records])


class Filled:
    """A store with records in it, applied in small commits as a relay would send them."""

    def __init__(self, directory: Path, source: str = SOURCE) -> None:
        self.directory = directory
        self.source = source
        self.said: list[tuple[str, str]] = []
        self.number = 0
        self.store = TrackingStore(directory, lambda level, text: self.said.append((level, text)))

    def add(self, *records: Record, shard: int = 0) -> None:
        apply(self.store, self.number + 1, records, self.source, shard)
        self.number += len(records)

    def lives(self, numbers: range, at: float = NOON) -> None:
        for number in numbers:
            self.add(*life(number, at))
