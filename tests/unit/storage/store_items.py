"""Items for tests of stores."""

from pathlib import Path

from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.ids import QueueIds, format_queue_id
from gatepost.storage.item import Item, ItemObject, StoreKind, item_id
from gatepost.storage.store import New, Store

NOW = 1_790_000_000.0
_IDS = QueueIds(0, 1)
opened: list[Store] = []
"""By the test under way."""


def new(
    content: bytes = b"Subject: x\r\n\r\nbody\r\n",
    *,
    store: StoreKind = StoreKind.QUARANTINE,
    at: float = NOW,
    sender: str = "from@one.example",
    recipients: tuple[str, ...] = ("to@example.org",),
    code: str = "INF",
    subject: str = "a subject",
    group: str = "",
    threat: str = "Worm.Test",
    message: int = 0,
) -> New:
    """A message to be stored."""
    message = message or _IDS.next(int(at * 1000))
    text = format_queue_id(message)
    item = Item(
        item_id(message, store, group),
        store,
        text,
        text,
        at,
        at,
        Envelope(sender, tuple(map(Recipient, recipients)), Client("192.0.2.7")),
        len(content),
        code,
        group=group,
        objects=(ItemObject("invoice.exe", "infected", threat),) if threat else (),
        subject=subject,
    )
    return New(item, lambda: [content])


def open_store(tmp_path: Path, told: list[str] | None = None) -> Store:
    """A store of its own process, as it were: several may be open on one directory."""
    opened.append(
        Store(
            str(tmp_path / "store"),
            lambda level, text: (told if told is not None else []).append(level + text),
            create=True,
        )
    )
    return opened[-1]


def put(store: Store, *news: New) -> list[str]:
    """Store messages and return their ids."""
    assert store.put(news) == [None] * len(news)
    return [each.item.id for each in news]
