"""Several stores as one: what lies in the stores of a configuration, newest first, found by filter or id.

Used by the commands on stores (`cli.store_choice`) and by the master's calls (`master.stores`); both list, search and
find by this and nothing else. Calls block; one object is for one thread.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from gatepost.spool import clock
from gatepost.storage.container import Damaged
from gatepost.storage.index import Row, Totals
from gatepost.storage.item import StoreKind, parse_item_id
from gatepost.storage.places import StorePlace
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import Store, UnknownItem, UnknownStore

PAGE: Final = 500
"""Items read of one store at a time."""
_ENDED: Final = -1


class Found(msgspec.Struct, frozen=True):
    """An item in a list, and where it lies."""

    directory: str
    row: Row


class ItemPage(msgspec.Struct, frozen=True):
    """A part of a list."""

    items: tuple[Found, ...]
    cursor: str
    """Where the next part begins; "" when there is none."""


class BadCursor(ValueError):  # noqa: N818 - named for what is wrong
    """It is none of ours."""


class Collection:
    """The stores in some places."""

    def __init__(self, places: Sequence[StorePlace], report: Callable[[str, str], None] | None = None) -> None:
        """`report(level, text)` tells of repairs. Nothing is opened before it is needed."""
        self.places = list(places)
        self.kinds: tuple[str, ...] = tuple(dict.fromkeys(place.kind.value for place in places))
        directories = dict.fromkeys(place.directory for place in places)
        self._stores = [Store(each) if report is None else Store(each, report) for each in directories]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for store in self._stores:
            store.close()

    def narrow(self, chosen: ItemFilter) -> ItemFilter:
        """Return the filter for a directory that other kinds of store may share."""
        return msgspec.structs.replace(chosen, stores=self.kinds)

    def each(self) -> Iterator[Store]:
        """Yield the stores there are; one that has never been used is passed over. OSError when one is unreadable."""
        for store in self._stores:
            with contextlib.suppress(UnknownStore):
                store.totals(ItemFilter(), 0.0)
                yield store

    def rows(self, chosen: ItemFilter, limit: int = 0) -> Iterator[tuple[Store, Row]]:
        """Yield the items meant with their stores, the newest first in each; 0 = no limit."""
        found = 0
        for store in self.each():
            before = 0
            while not limit or found < limit:
                size = PAGE if not limit else min(PAGE, limit - found)
                page = store.page(self.narrow(chosen), clock.now(), before, size)
                for row in page:
                    yield store, row
                found += len(page)
                if len(page) < size:
                    break
                before = page[-1].number

    def page(self, chosen: ItemFilter, cursor: str, limit: int) -> ItemPage:
        """Return up to `limit` items behind `cursor` ("" = from the newest), the newest of all stores first.

        BadCursor.
        """
        before = _read_cursor(cursor)
        merged: list[tuple[float, int, int, Row]] = []
        left: dict[int, int] = {}
        for store in self.each():
            place = self._stores.index(store)
            at = before.get(place, 0)
            rows = store.page(self.narrow(chosen), clock.now(), at, limit + 1) if at >= 0 else []
            merged += [(row.saved_at, row.number, place, row) for row in rows]
            left[place] = len(rows)
        merged.sort(key=lambda each: each[:3], reverse=True)
        for _, number, place, _ in merged[:limit]:
            before[place] = number
            left[place] -= 1
        before |= {place: _ENDED for place, count in left.items() if not count}
        items = tuple(Found(self._stores[place].layout.directory, row) for _, _, place, row in merged[:limit])
        return ItemPage(items, msgspec.json.encode(before).decode() if len(merged) > limit else "")

    def totals(self, chosen: ItemFilter) -> Totals:
        """Return number and bytes of the items meant."""
        every = [store.totals(self.narrow(chosen), clock.now()) for store in self.each()]
        return Totals(sum(each.items for each in every), sum(each.bytes for each in every))

    def holding(self, item: str) -> tuple[Store, str] | None:
        """Return the store that holds an item, and its id in the usual spelling; None: none does. ValueError."""
        item_id = parse_item_id(item)
        for store in self.each():
            if Path(store.layout.path_of(item_id)).exists():
                return store, item_id
        return None

    def find(self, item: str) -> tuple[Store, str]:
        """Do as `holding` does. UnknownItem: none does."""
        found = self.holding(item)
        if found is None:
            raise UnknownItem(f"{item}: no such stored message")
        return found

    def items_of(self, queue_id: str) -> list[tuple[Store, Row]]:
        """Return the items of a message, or of a copy, by its queue id in the usual spelling."""
        return [
            (store, row)
            for store in self.each()
            # The id may stand in the subject of others: the files are asked.
            for row in store.page(self.narrow(ItemFilter(text=queue_id)), 0.0, 0, PAGE)
            if row.id.startswith(queue_id) or _is_copy(store, row, queue_id)
        ]


def _is_copy(store: Store, row: Row, queue_id: str) -> bool:
    try:
        item = store.container(row.id).item
    except (OSError, Damaged):
        return False
    return item.queue_id == queue_id


def kinds_named(names: Sequence[str]) -> tuple[StoreKind, ...]:
    """Return kinds of store by name, all when none is named. ValueError."""
    return tuple(map(StoreKind, names)) if names else tuple(StoreKind)


def _read_cursor(cursor: str) -> dict[int, int]:
    """Return how far the list has got in each store, by its place: the number of an item, or `_ENDED`."""
    try:
        return msgspec.json.decode(cursor, type=dict[int, int]) if cursor else {}
    except msgspec.MsgspecError as error:
        raise BadCursor("the place in the list is not one of ours") from error
