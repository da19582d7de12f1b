"""Calls on stored mail: quarantines, backups and archives listed, shown, released and deleted.

Registered by `master.process`. The work blocks and is done on threads, in bounded steps: an act on many items is a row
of calls, each from one cursor to the next. What a caller may see and do is `master.stored_mail`; the stores themselves
are `storage.collection`, as for the command line.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk, Refused
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, NotThere, Unfit
from gatepost.master.relays import Relays
from gatepost.master.releasing import ITEMS_LIMIT, release_items
from gatepost.master.stored_mail import (
    build_item,
    build_row,
    check_delete,
    check_release,
    release_recipients,
    sees,
)
from gatepost.model.ids import format_queue_id, parse_queue_id
from gatepost.storage.collection import Collection, kinds_named
from gatepost.storage.container import Container, Damaged
from gatepost.storage.item import StoreKind
from gatepost.storage.places import store_places
from gatepost.storage.query import ItemFilter
from gatepost.storage.release import check_recipients
from gatepost.storage.store import Store

LIST_LIMIT: Final = 200
"""Items of one part of a list."""
NAMED_LIMIT: Final = 200
"""Items named in one call."""
SHOWN_REFUSALS: Final = 20

T = TypeVar("T")
Say = Callable[[str, str], None]


class Target(msgspec.Struct, frozen=True):
    """An item that is there, and that the caller may know of."""

    id: str
    directory: str
    container: Container


class StoreCalls:
    """Answers about stores."""

    def __init__(self, relays: Relays, config: Callable[[], Config], say: Say) -> None:
        """`config` is the one in force now; `say(level, text)` logs."""
        self._relays = relays
        self._config = config
        self._say = say

    def register(self, desk: Desk) -> None:
        """Register the calls at the desk."""
        desk.add("stores.places", Right.TRACK, self._places, scoped=True)
        desk.add("stores.list", Right.TRACK, self._list, scoped=True)
        desk.add("stores.show", Right.TRACK, self._show, scoped=True)
        desk.add("stores.of", Right.TRACK, self._of, scoped=True)
        desk.add("stores.release", Right.QUARANTINE, self._release, audited=True, scoped=True)
        desk.add("stores.delete", Right.QUARANTINE, self._delete, audited=True, scoped=True)
        desk.add("stores.act", Right.QUARANTINE, self._act, audited=True, scoped=True)

    # --- looking

    async def _places(self, _: Arguments, caller: Caller) -> list[dict[str, Any]]:
        """Say which kinds of store there are, how much is in them, and how long it is kept."""
        places = store_places(self._config())

        def count() -> list[dict[str, Any]]:
            rows = []
            for kind in StoreKind:
                of_kind = [place for place in places if place.kind is kind]
                with Collection(of_kind) as stores:
                    totals = stores.totals(ItemFilter(domains=caller.domains))
                days, size = (of_kind[0].days, of_kind[0].bytes) if of_kind else (0, 0)
                row = {"kind": kind.value, "configured": bool(of_kind), "items": totals.items, "bytes": totals.bytes}
                rows.append(row | {"keep_days": days, "keep_bytes": size})
            return rows

        return await blocking(count)

    async def _list(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Return a part of a list, the newest first: `kinds`, `filter` (`ItemFilter`), `cursor`, `limit`, `totals`."""
        chosen = parse_filter(arguments, caller)
        limit = min(max(int(arguments.get("limit", 50)), 1), LIST_LIMIT)
        cursor = str(arguments.get("cursor", ""))

        def look() -> dict[str, Any]:
            with self._collection(arguments) as stores:
                page = stores.page(chosen, cursor, limit)
                answer: dict[str, Any] = {
                    "rows": [build_row(found, caller) for found in page.items],
                    "cursor": page.cursor,
                }
                if arguments.get("totals"):
                    answer["totals"] = msgspec.structs.asdict(stores.totals(chosen))
                return answer

        return await blocking(look)

    async def _show(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Return everything known of an item (`item`), the content aside."""
        target = await self.target(str(arguments["item"]), caller)
        return build_item(target.container, caller) | {"may_release": self._may_release(caller, target)}

    async def _of(self, arguments: Arguments, caller: Caller) -> list[dict[str, Any]]:
        """Return the items of a message, by its queue id (`queue_id`), the newest first in each store."""
        queue_id = format_queue_id(parse_queue_id(str(arguments["queue_id"])))

        def look() -> list[dict[str, Any]]:
            with self._collection({}) as stores:
                items = [store.container(row.id) for store, row in stores.items_of(queue_id)]
                return [build_item(each, caller) for each in items[:LIST_LIMIT] if sees(caller, each.item)]

        return await blocking(look)

    def _may_release(self, caller: Caller, target: Target) -> bool:
        try:
            check_release(caller, target.container.item, sure=True, malware_allowed=self._malware_allowed())
            release_recipients(caller, target.container.item, ())
        except ControlError:
            return False
        return Right.QUARANTINE in caller.rights

    # --- acting

    async def _release(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Release `items` to their recipients, or `to` others: `checked` again (the rule), `again` though released
        before, `sure` that harmful mail is meant. Return what came of each.
        """
        to = [str(address) for address in arguments.get("to", ())]
        check_recipients(to)
        checked = bool(arguments.get("checked", True))
        if not checked and Right.QUEUE not in caller.rights:
            raise Refused(f"{caller.name} may release mail only when it is checked again")
        outcomes: dict[str, Any] = {}
        orders: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for name in _names(arguments):
            try:
                target = await self.target(name, caller)
                item = target.container.item
                check_release(caller, item, sure=bool(arguments.get("sure")), malware_allowed=self._malware_allowed())
                whom = tuple(release_recipients(caller, item, to))
                orders.setdefault((target.directory, whom), []).append(target.id)
            except ControlError as error:
                outcomes[name] = {"refused": str(error)}
        again = bool(arguments.get("again"))
        for (directory, whom), ids in orders.items():
            for start in range(0, len(ids), ITEMS_LIMIT):
                order = {
                    "directory": directory, "items": ids[start : start + ITEMS_LIMIT], "who": describe(caller),
                    "recipients": list(whom), "checked": checked, "again": again,
                }  # fmt: skip
                outcomes |= await release_items(self._relays, order, self._say)
        return outcomes

    async def _delete(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Delete `items` for good; return what came of each."""
        outcomes: dict[str, Any] = {}
        by_directory: dict[str, list[str]] = {}
        for name in _names(arguments):
            try:
                target = await self.target(name, caller)
                check_delete(caller, target.container.item)
                by_directory.setdefault(target.directory, []).append(target.id)
            except ControlError as error:
                outcomes[name] = {"refused": str(error), "kind": error.kind}
        for directory, ids in by_directory.items():
            refused = await blocking(lambda directory=directory, ids=ids: _delete(directory, ids))  # type: ignore[misc]
            outcomes |= {each: {"refused": refused[each]} if each in refused else {"deleted": True} for each in ids}
        done = sum(1 for outcome in outcomes.values() if outcome.get("deleted"))
        if done:
            self._say("I", f"operator {describe(caller)}: {done} stored message(s) deleted")
        return outcomes

    async def _act(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Do something (`verb`: `release` or `delete`) about the next step of the items that `kinds` and `filter`
        choose, from `cursor` on. With `dry_run` only count them: all, not a step.
        """
        chosen = parse_filter(arguments, caller)
        verbs: dict[str, Callable[[Arguments, Caller], Awaitable[dict[str, Any]]]] = {
            "release": self._release,
            "delete": self._delete,
        }
        verb = str(arguments["verb"])
        if verb not in verbs:
            raise ControlError(f"no act {verb!r}: one of {', '.join(verbs)}")

        def count() -> dict[str, Any]:
            with self._collection(arguments) as stores:
                totals = stores.totals(chosen)
                return {"found": totals.items, "bytes": totals.bytes}

        def step() -> tuple[list[str], str]:
            with self._collection(arguments) as stores:
                page = stores.page(chosen, str(arguments.get("cursor", "")), ITEMS_LIMIT)
                return [found.row.id for found in page.items], page.cursor

        if arguments.get("dry_run"):
            return await blocking(count)
        items, cursor = await blocking(step)
        outcomes = await verbs[verb]({**arguments, "items": items}, caller) if items else {}
        refused = {item: why for item, outcome in outcomes.items() if (why := _why_not(outcome))}
        return {
            "found": len(items),
            "done": len(items) - len(refused),
            "refused": len(refused),
            "why": dict(list(refused.items())[:SHOWN_REFUSALS]),
            "cursor": cursor,
            "ended": not cursor,
        }

    # --- what both need

    async def target(self, name: str, caller: Caller) -> Target:
        """Return an item by its id, or by the queue id of a message that has one item. ControlError: there is none that
        the caller may know of.
        """

        def look() -> list[Target]:
            with self._collection({}) as stores:
                found = _find(stores, name)
                every = [Target(each, store.layout.directory, store.container(each)) for store, each in found]
                return [target for target in every if sees(caller, target.container.item)]

        targets = await blocking(look)
        if len(targets) > 1:
            told = ", ".join(target.id for target in targets[:SHOWN_REFUSALS])
            raise ControlError(f"{name}: {len(targets)} stored messages, name one: {told}")
        if not targets:
            raise NotThere(f"{name}: no such stored message")
        return targets[0]

    def _collection(self, arguments: Arguments) -> Collection:
        kinds = kinds_named([str(kind) for kind in arguments.get("kinds", ())])
        return Collection([place for place in store_places(self._config()) if place.kind in kinds], self._say)

    def _malware_allowed(self) -> bool:
        return self._config().console.quarantine_releases_malware


def describe(caller: Caller) -> str:
    """Return who is at work, as stores and logs name them."""
    return caller.name if caller.via == "cli" else f"{caller.name} ({caller.via})"


def parse_filter(arguments: Arguments, caller: Caller) -> ItemFilter:
    """Return the filter of a call, within the caller's domains. ValueError."""
    given: Mapping[str, Any] = arguments.get("filter", {})
    chosen = msgspec.convert({**given, "domains": caller.domains, "stores": ()}, ItemFilter)
    chosen.check()
    return chosen


async def blocking(work: Callable[[], T]) -> T:
    """Do work on stores on a thread. ControlError says what does not go."""
    try:
        return await asyncio.to_thread(work)
    except Damaged as error:
        raise ControlError(f"damaged: {error}") from error
    except ValueError as error:
        raise Unfit(str(error)) from error
    except OSError as error:
        raise ControlError(f"the store cannot be used now: {error}") from error


def _names(arguments: Arguments) -> Sequence[str]:
    names = list(dict.fromkeys(str(item) for item in arguments["items"]))
    if len(names) > NAMED_LIMIT:
        raise ControlError(f"more than {NAMED_LIMIT} messages at once")
    return names


def _find(stores: Collection, name: str) -> list[tuple[Store, str]]:
    try:
        queue_id = format_queue_id(parse_queue_id(name.strip()))
    except ValueError:
        held = stores.holding(name)
        return [held] if held is not None else []
    return [(store, row.id) for store, row in stores.items_of(queue_id)]


def _delete(directory: str, ids: Sequence[str]) -> dict[str, str]:
    with Store(directory) as store:
        return store.delete(ids)


def _why_not(outcome: Mapping[str, Any]) -> str:
    if outcome.get("refused"):
        return str(outcome["refused"])
    return f"released before by {outcome.get('who', '')}" if outcome.get("before") else ""
