"""The calls about allow and block lists: `lists.show`, `lists.add`, `lists.add_many`, `lists.remove`.

Registered at the desk for console, API and command line, and used by whoever lists the sender of a mail. Entries made
here live in a file of the state directory and not in the configuration: they are many, made by people who may not
touch that, for one recipient even; they must count at once and without a reload, and not wait for a file that only
root may write. The configuration's own lists are shown beside them, and changed with the configuration.

Callers with domains see and make entries for the mail of these only.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.schema import Config
from gatepost.config.sender_entry import SenderEntry, parse_sender_entry
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError
from gatepost.model.foreign_text import printable
from gatepost.policy.listings import (
    EVERYBODY,
    GROUP_SCOPE,
    LISTINGS_LIMIT,
    LISTS_FILE,
    Listing,
    ListingsFile,
    Side,
    decode_listings,
    parse_scope,
    scope_domain,
)
from gatepost.storage.whole_file import replace_file

NOTE_LIMIT: Final = 300
ENTRY_LIMIT: Final = 400
"""Characters: an address has 254 (RFC 5321 §4.5.3.1.3), a day and its words the rest."""
SCOPED_LIMIT: Final = 2000
"""Entries made by one caller with domains: whoever administers some, or lists senders for their own mail, leaves room
for the others."""
MANY_LIMIT: Final = 500
"""Entries of one call: longer lists come in several."""
PAGE: Final = 500
"""Entries shown at once."""
_YEARS: Final = 100


class ListingRow(msgspec.Struct, frozen=True):
    """An entry as it is shown."""

    id: int
    """0: one of the configuration."""
    side: Side
    entry: str
    """Mask or network."""
    scope: str
    note: str = ""
    by: str = ""
    at: float = 0.0
    until: str = ""
    """Last day, "" for no end."""
    ended: bool = False
    free: bool = False
    """Of the allow list: nothing has to prove the sender."""
    origin: str = ""
    """Where the configuration has it."""


Spread = Callable[[], Awaitable[Any]]


class Lists:
    """The entries, their file, and the calls."""

    def __init__(
        self,
        state_path: str,
        config: Callable[[], Config],
        spread: Spread,
        say: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`spread` has all relays take the file anew. A damaged file is told, and left for people to mend."""
        self._file = Path(state_path) / LISTS_FILE
        self._config = config
        self._spread = spread
        self._clock = clock
        self._turn = asyncio.Lock()
        self._damage = ""
        self._kept = ListingsFile()
        try:
            self._kept = decode_listings(self._file.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self._damage = f"{self._file} cannot be read: {error}"
            say("E", f"{self._damage}; its allow and block entries do not count")

    def register(self, desk: Desk) -> None:
        """Register the calls."""
        desk.add("lists.show", Right.LISTS, self._show, scoped=True)
        desk.add("lists.add", Right.LISTS, self._add, audited=True, scoped=True)
        desk.add("lists.add_many", Right.LISTS, self._add_many, audited=True, scoped=True)
        desk.add("lists.remove", Right.LISTS, self._remove, audited=True, scoped=True)

    async def _show(self, arguments: Arguments, caller: Caller) -> Any:
        """Entries (newest first), a page of them behind `after` of those whose text holds `text`; `list`, `scope`."""
        text = str(arguments.get("text", "")).strip().lower()
        side = str(arguments.get("list", ""))
        wanted = arguments.get("scope")
        scope = None if wanted is None else _scope_of(str(wanted))
        rows = [self._row(listing) for listing in reversed(self._kept.listings) if _may_see(caller, listing.scope)]
        if not caller.domains:
            rows += _configured(self._config(), self._today())
        chosen = [
            row
            for row in rows
            if (not side or row.side == side)
            and (scope is None or row.scope == scope)
            and (not text or any(text in each.lower() for each in (row.entry, row.scope, row.note, row.by)))
        ]
        first = max(0, int(arguments.get("after", 0)))
        page = chosen[first : first + PAGE]
        more = first + PAGE if first + PAGE < len(chosen) else None
        return {"rows": page, "total": len(chosen), "next": more, "damage": self._damage}

    async def _add(self, arguments: Arguments, caller: Caller) -> Any:
        """Put `entry` on `list` (`allow`, `block`) for `scope` ("" all), with `note` and the last day `expires`."""
        listing = self._read_order(arguments, caller)
        async with self._turn:
            (made,), added = await self._put([listing], caller)
        return {"id": made.id, "added": bool(added), "row": self._row(made)}

    async def _add_many(self, arguments: Arguments, caller: Caller) -> Any:
        """Put `entries` on the lists, each as for one: all of them or, when one cannot be, none. `dry_run`: only say;
        `first`: what number the first of them has for who made them.
        """
        orders = msgspec.convert(arguments["entries"], list[dict[str, str]])
        if len(orders) > MANY_LIMIT:
            raise ControlError(f"{MANY_LIMIT} entries in one call")
        listings = []
        for number, order in enumerate(orders, int(arguments.get("first", 1))):
            try:
                listings.append(self._read_order(order, caller))
            except (ControlError, KeyError) as error:
                why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
                raise ControlError(f"entry {number} ({str(order.get('entry', ''))[:60]}): {why}") from None
        if arguments.get("dry_run"):
            return {"added": 0, "known": 0}
        async with self._turn:
            _, added = await self._put(listings, caller)
        return {"added": added, "known": len(listings) - added}

    async def _put(self, listings: Sequence[Listing], caller: Caller) -> tuple[list[Listing], int]:
        """Keep entries that are not there yet; return those there are now, and how many were added. ControlError."""
        known = {(each.side, each.entry, each.scope): each for each in self._kept.listings}
        number = self._kept.last
        made: list[Listing] = []
        fresh: list[Listing] = []
        for listing in listings:
            key = (listing.side, listing.entry, listing.scope)
            if key not in known:
                number += 1
                known[key] = msgspec.structs.replace(listing, id=number)
                fresh.append(known[key])
            made.append(known[key])
        if len(self._kept.listings) + len(fresh) > LISTINGS_LIMIT:
            raise ControlError(f"{LISTINGS_LIMIT} entries are the limit: remove some that have ended")
        if caller.domains and sum(each.by == caller.name for each in known.values()) > SCOPED_LIMIT:
            raise ControlError(f"{SCOPED_LIMIT} entries of yours are the limit: remove some")
        if fresh:
            await self._keep(ListingsFile(number, (*self._kept.listings, *fresh)))
        return made, len(fresh)

    async def _remove(self, arguments: Arguments, caller: Caller) -> Any:
        """Take the entries `ids` off; unknown ones are none any more."""
        ids = frozenset(msgspec.convert(arguments["ids"], list[int]))
        async with self._turn:
            chosen = [listing for listing in self._kept.listings if listing.id in ids]
            for listing in chosen:
                _check_scope(caller, listing.scope)
            rest = tuple(listing for listing in self._kept.listings if listing.id not in ids)
            if chosen:
                await self._keep(ListingsFile(self._kept.last, rest))
        return {"removed": [self._row(listing) for listing in chosen]}

    async def _keep(self, kept: ListingsFile) -> None:
        """Make it durable, then have the relays take it. ControlError."""
        if self._damage:
            raise ControlError(f"{self._damage}: mend or remove the file, then restart")
        try:
            await asyncio.to_thread(replace_file, self._file, msgspec.json.encode(kept))
        except OSError as error:
            raise ControlError(f"{self._file} cannot be written: {error.strerror or error}") from error
        self._kept = kept
        try:
            await self._spread()
        except ControlError as error:
            raise ControlError(f"kept, but not every relay has taken it: {error}") from error

    def _read_order(self, arguments: Arguments, caller: Caller) -> Listing:
        try:
            side = Side(str(arguments["list"]))
        except ValueError:
            raise ControlError("a list is one of: allow, block") from None
        scope = _scope_of(str(arguments.get("scope", "")))
        _check_scope(caller, scope)
        if scope.startswith(GROUP_SCOPE):
            name = scope[len(GROUP_SCOPE) :]
            if name not in {group.name for group in self._config().groups}:
                raise ControlError(f"there is no group {name[:60]!r}")
        entry = self._read_entry(str(arguments["entry"]), str(arguments.get("expires", "") or ""))
        note = " ".join("".join(each if each.isprintable() else " " for each in str(arguments.get("note", ""))).split())
        return Listing(0, side, entry.text, scope, note[:NOTE_LIMIT], caller.name, self._clock())

    def _read_entry(self, text: str, expires: str) -> SenderEntry:
        if len(text) > ENTRY_LIMIT or any(each.isspace() or not each.isprintable() for each in text.strip()):
            raise ControlError("one entry at a time: an address (mask), @domain, or an IP address or network")
        if any(each in ",;#" for each in text):
            raise ControlError("an entry has no comma, semicolon or #")
        try:
            entry = parse_sender_entry(text)
        except ValueError as error:
            raise ControlError(str(error)) from None
        try:
            until = dt.date.fromisoformat(expires) if expires else None
        except ValueError:
            raise ControlError(f"{printable(expires[:40])!r} is no day like 2026-12-31") from None
        today = self._today()
        if until is not None and not today <= until <= today.replace(year=today.year + _YEARS, day=1):
            raise ControlError(f"{expires}: the last day is to be today or later")
        return msgspec.structs.replace(entry, until=until)

    def _today(self) -> dt.date:
        return dt.datetime.fromtimestamp(self._clock(), dt.UTC).date()

    def _row(self, listing: Listing) -> ListingRow:
        entry = parse_sender_entry(listing.entry)
        return msgspec.structs.replace(
            _describe(entry, listing.side, listing.scope, self._today()),
            id=listing.id,
            note=listing.note,
            by=listing.by,
            at=listing.at,
        )


def _describe(entry: SenderEntry, side: Side, scope: str, today: dt.date, origin: str = "") -> ListingRow:
    return ListingRow(
        id=0,
        side=side,
        entry=entry.mask,
        scope=scope,
        until=str(entry.until or ""),
        ended=entry.until is not None and entry.until < today,
        free=entry.free,
        origin=origin,
    )


def _configured(config: Config, today: dt.date) -> list[ListingRow]:
    """Return the entries of the configuration: the common ones, the policy's, and those that groups have instead."""
    policy = config.groups[-1]
    sets: list[tuple[str, str, Mapping[Side, tuple[str, ...]]]] = [
        ("antispam", EVERYBODY, {Side.ALLOW: config.antispam.white_list, Side.BLOCK: config.antispam.black_list}),
        ("policy", EVERYBODY, {Side.ALLOW: policy.white_list, Side.BLOCK: policy.black_list}),
    ]
    for group in config.groups[:-1]:
        own = {
            side: texts
            for side, texts, inherited in (
                (Side.ALLOW, group.white_list, policy.white_list),
                (Side.BLOCK, group.black_list, policy.black_list),
            )
            if texts != inherited
        }
        sets.append((f"group {group.name}", GROUP_SCOPE + group.name, own))
    return [
        _describe(parse_sender_entry(text), side, scope, today, origin)
        for origin, scope, sides in sets
        for side, texts in sides.items()
        for text in texts
    ]


def _scope_of(text: str) -> str:
    try:
        return parse_scope(text)
    except ValueError as error:
        raise ControlError(str(error)) from None


def _may_see(caller: Caller, scope: str) -> bool:
    return not caller.domains or scope_domain(scope) in caller.domains


def _check_scope(caller: Caller, scope: str) -> None:
    if not _may_see(caller, scope):
        raise ControlError(f"{caller.name} makes entries for the mail of its own domains only: name one as scope")
