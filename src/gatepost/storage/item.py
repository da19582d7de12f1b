"""A stored message as a value: whose copy it is, why it was put away, and the names it goes by.

Made by `relay.saving`, kept by `storage.store`. An item's id follows from the message, the copy and the role, so that
storing the same thing twice is one item.
"""

import enum
import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from gatepost.model.envelope import Envelope
from gatepost.model.finding import SEVERITY
from gatepost.model.ids import ALPHABET, format_queue_id, parse_queue_id

_TAG_LENGTH: Final = 6
"""Thirty bits tell the copies of one message apart: of a hundred groups two meet once in 200,000 messages."""


class StoreKind(enum.StrEnum):
    """What a store is for."""

    INCOMING = "incoming"
    """Archive of everything accepted."""
    OUTGOING = "outgoing"
    """Archive of everything handed to delivery, blocked, or written by the gateway."""
    QUARANTINE = "quarantine"
    """Originals a group wants kept apart."""
    BACKUP = "backup"
    """Originals kept in case they are asked for."""
    SPAM_QUARANTINE = "spam-quarantine"
    """Quarantine of the anti-spam verdicts."""


_CODES: Final = {
    "infected": "INF",
    "suspicious": "SSP",
    "error": "ERR",
    "protected": "PRT",
    "filtered": "FLT",
    "disinfected": "CRD",
    "clean": "CLN",
    "spam": "SPM",
    "probable_spam": "PSP",
    "formal": "FRM",
    "blacklisted": "BLK",
}
CODES: Final = ("RCV", "SNT", *_CODES.values())
"""Status codes of lists (specification management.md §5.5)."""


class ItemObject(msgspec.Struct, frozen=True, array_like=True):
    """One object of a stored message that was not clean."""

    name: str
    status: str
    threat: str = ""
    action: str = ""


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything known of a stored message but its bytes."""

    id: str
    store: StoreKind
    queue_id: str
    """Of the message (or copy) it is."""
    source: str
    """Of the message that copy was made from; its own when it is none."""
    saved_at: float
    received_at: float
    envelope: Envelope
    """Sender, the recipients this copy was for, and the client."""
    size: int
    """Bytes of the content."""
    code: str
    """Status code of lists: one of `CODES`."""
    group: str = ""
    statuses: tuple[str, ...] = ()
    """Worst first; () when it was not scanned."""
    objects: tuple[ItemObject, ...] = ()
    """Those that were not clean; at most `OBJECTS_LIMIT`."""
    reason: str = ""
    """The verdict in one sentence."""
    rate: int = 0
    """Spam rating in percent."""
    methods: tuple[str, ...] = ()
    """Anti-spam methods that decided."""
    blocked: bool = False
    """It is not delivered to these recipients."""
    kind: str = ""
    """"" for received mail, else what the gateway made (`dsn-failed`, …)."""
    subject: str = ""
    author: str = ""
    """The From field as it is shown."""
    message_id: str = ""
    prefix: bytes = b""
    """Header fields of ours that stand in front of the content when it is delivered, and are not part of it."""


OBJECTS_LIMIT: Final = 200
"""Objects told of in an item: a bomb of a million infected members must not become an index of them."""


def item_id(message_id: int, role: StoreKind, copy: str = "") -> str:
    """Return the id of the item that a message, or its copy for the group `copy`, becomes in a store of this kind."""
    number = int.from_bytes(hashlib.sha256(f"{role.value}\0{copy}".encode()).digest()[:4]) >> 2
    tag = "".join(ALPHABET[number >> shift & 31] for shift in range(5 * (_TAG_LENGTH - 1), -1, -5))
    return f"{format_queue_id(message_id)}-{tag}"


def parse_item_id(text: str) -> str:
    """Return an item's id in its usual spelling; ValueError says what is wrong with it."""
    queue_id, dash, tag = text.strip().upper().partition("-")
    if not dash or len(tag) != _TAG_LENGTH or any(character not in ALPHABET for character in tag):
        raise ValueError(f"an item's id looks like 0ABCDEFGHJKMN-0A1B2C, not {text[:40]!r}; its queue id will do, too")
    return f"{format_queue_id(parse_queue_id(queue_id))}-{tag}"


def status_code(store: StoreKind, statuses: Iterable[str], *, blocked: bool = False) -> str:
    """Return the code a list shows: what an archive holds it for, else the worst status.

    Mail in the outgoing archive that was blocked shows why.
    """
    if store is StoreKind.INCOMING:
        return "RCV"
    if store is StoreKind.OUTGOING and not blocked:
        return "SNT"
    ranked = [*_CODES]
    order = {status.value: rank for rank, status in enumerate(SEVERITY)}
    worst = min(
        (status for status in statuses if status in _CODES),
        key=lambda status: order.get(status, len(order) + ranked.index(status)),
        default="clean",
    )
    return _CODES[worst]
