"""What of the spam quarantine is a recipient's own: whose an item is, what may be done with it, lists of it.

Used by `master.digests` and `master.user_desk`; nothing else decides what recipients see. Spam only: what anti-virus
has not called clean (infected, suspicious, protected, filtered, in error, or not scanned at all) is not theirs to see
or release, nor what was delivered to them anyway, nor our own people's mail to others. The functions on stores block.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from gatepost.config.grouping import Group
from gatepost.config.masks import MaskSet
from gatepost.config.schema import Config
from gatepost.master.stores import Target
from gatepost.model.envelope import Direction
from gatepost.model.finding import ObjectStatus
from gatepost.model.verdict import NOTABLE
from gatepost.storage.collection import Collection
from gatepost.storage.container import Container, Damaged
from gatepost.storage.index import Row
from gatepost.storage.item import Item, StoreKind
from gatepost.storage.places import store_places
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import Store, UnknownItem

PAGE: Final = 50
"""Items of a recipient's list shown at once."""
LOOKED_AT: Final = 2000
"""Items looked at for one page: what is not the recipient's to see must not make it take for ever."""
_CLEAN: Final = ObjectStatus.CLEAN.value
_SPAM: Final = frozenset(status.value for status in NOTABLE)
_WILD: Final = frozenset('*?[]!",;:<>()\\')
"""Characters that masks, lists or header fields read as more than themselves."""


class Whose(msgspec.Struct, frozen=True):
    """For whom there is such a quarantine: by the names of groups, and without the addresses that never have one."""

    never: Mapping[str, MaskSet]
    protected: MaskSet
    """Our own people: mail of ours to others is nobody's here."""

    @classmethod
    def of(cls, config: Config) -> "Whose":
        """Read the configuration."""
        never = {group.name: MaskSet(group.digest_never) for group in config.groups if group.user_quarantine}
        return cls(never, MaskSet(f"*@{domain}" for domain in config.network.protected_domains))

    def has(self, group: str, address: str) -> bool:
        """Tell whether a recipient of a group has one."""
        never = self.never.get(group)
        if never is None or not is_plain(address) or never.matches(address):
            return False
        return self.protected.matches(address)


def is_plain(address: str) -> bool:
    """Tell whether an address means nothing but itself wherever it is written; only such get links and entries."""
    local, at, domain = address.rpartition("@")
    return (
        bool(local and at and domain)
        and len(address) <= 320
        and address.isprintable()
        and not (_WILD & set(address) or " " in address)
    )


def is_spam_only(item: Item) -> bool:
    """Tell whether an item is one that users may know of: withheld as spam alone, scanned, and found clean."""
    return (
        item.store is StoreKind.SPAM_QUARANTINE
        and item.blocked
        and not item.kind
        and item.envelope.direction is not Direction.OUTBOUND
        and _CLEAN in item.statuses
        and _SPAM.issuperset(status for status in item.statuses if status != _CLEAN)
    )


def address_in(item: Item, address: str) -> str:
    """Return a recipient of an item as the envelope spells it, "" when it is none."""
    found = (each.address for each in item.envelope.recipients if each.address.lower() == address)
    return next(found, "")


def is_own(whose: Whose, item: Item, address: str) -> bool:
    """Tell whether an item is this recipient's (lower case) to see and release."""
    return is_spam_only(item) and whose.has(item.group, address) and bool(address_in(item, address))


def is_released(container: Container, address: str) -> bool:
    """Tell whether an item has gone to this recipient."""
    return any(
        not release.recipients or address in {each.lower() for each in release.recipients}
        for release in container.releases
    )


def may_be_listed(sender: str) -> bool:
    """Tell whether an envelope sender can stand on a list as itself: strangers write masks into addresses."""
    return is_plain(sender)


def describe(own: Target, address: str) -> dict[str, Any]:
    """Return what a recipient is told of an item: nothing of others it is for, nor where it lies."""
    item = own.container.item
    return {
        "id": item.id,
        "subject": item.subject,
        "sender": item.envelope.sender,
        "author": item.author,
        "received_at": item.received_at,
        "size": item.size,
        "rate": item.rate,
        "released": is_released(own.container, address),
        "can_list": may_be_listed(item.envelope.sender),
    }


def find_own(config: Config, address: str, name: str) -> Target | None:
    """Return an item by its id, when it is this recipient's; None: there is none. OSError."""
    with _stores(config) as stores:
        try:
            store, item_id = stores.find(name)
            container = store.container(item_id)
        except (UnknownItem, Damaged, ValueError):
            return None
        own = Target(item_id, store.layout.directory, container)
    return own if is_own(Whose.of(config), container.item, address) else None


def list_own(config: Config, address: str, cursor: str, limit: int = PAGE) -> tuple[list[Target], str]:
    """Return a recipient's items behind a cursor, the newest first, and the cursor behind them. OSError, BadCursor."""
    whose = Whose.of(config)
    if not is_plain(address):
        return [], ""
    chosen = ItemFilter(recipients=(address,), groups=tuple(whose.never))
    found: list[Target] = []
    if not whose.never:
        return found, ""
    with _stores(config) as stores:
        for _ in range(LOOKED_AT // limit):
            page = stores.page(chosen, cursor, limit - len(found))
            cursor = page.cursor
            for each in page.items:
                own = _read(stores, each.row)
                if own is not None and is_own(whose, own.container.item, address):
                    found.append(own)
            if not cursor or len(found) >= limit:
                break
    return found, cursor


def each_new(config: Config, group: Group, since: float, until: float = 0.0) -> Iterator[Target]:
    """Yield what recipients of a group may be told of that was stored in a span of time (`until` 0: without end), the
    newest first of each store. OSError.
    """
    chosen = ItemFilter(groups=(group.name,), since=since, until=until)
    with _stores(config) as stores:
        for store, row in stores.rows(chosen):
            own = _open(store, row)
            if own is not None and is_spam_only(own.container.item):
                yield own


def _stores(config: Config) -> Collection:
    return Collection([place for place in store_places(config) if place.kind is StoreKind.SPAM_QUARANTINE])


def _read(stores: Collection, row: Row) -> Target | None:
    found = stores.holding(row.id)
    return _open(found[0], row) if found is not None else None


def _open(store: Store, row: Row) -> Target | None:
    with contextlib.suppress(Damaged, UnknownItem, FileNotFoundError):
        return Target(row.id, store.layout.directory, store.container(row.id))
    return None
