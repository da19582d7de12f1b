"""Pages of a long queue: each shard answers how far it got, and what is known of all of them up to there is one page.

Used by `relay.queue_view` for the shards of a relay and by `master.calls` for all relays. Pure. Ids rise with time in
all shards, so the page of the whole ends where the first shard that has more to say stopped looking.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec


class Page(msgspec.Struct, frozen=True):
    """One step through the queue."""

    items: list[Any]
    """Ids, or rows with an `id`, rising."""
    upto: int
    """Everything up to this id has been looked at: the next step begins behind it."""
    seen: int
    """Messages looked at."""
    ended: bool
    """There is nothing behind."""


def item_id(item: Any) -> int:
    """Return the id of an item."""
    return int(item["id"]) if isinstance(item, dict) else int(item)


def cut_page(page: Page, limit: int) -> Page:
    """Return the page with at most `limit` items."""
    if len(page.items) <= limit:
        return page
    items = page.items[:limit]
    return Page(items, item_id(items[-1]), page.seen, ended=False)


def merge_pages(pages: Sequence[Page], limit: int, key: Callable[[Any], int] = item_id) -> Page:
    """Return one page of several shards' pages from the same place on, with at most `limit` items."""
    open_ends = [page.upto for page in pages if not page.ended]
    horizon = min(open_ends) if open_ends else max((page.upto for page in pages), default=0)
    items = sorted((i for page in pages for i in page.items if not open_ends or key(i) <= horizon), key=key)
    return cut_page(Page(items, horizon, sum(page.seen for page in pages), ended=not open_ends), limit)
