"""Entries of allow and block lists that people make while the gateway runs: `Listing`, and `Listings`, all of them
compiled. Pure.

Beside the lists of the configuration, which are the administrator's and change with it: these are made one by one
("allow this sender"), also by people who may not touch the configuration and for one recipient alone, and count at
once. They are kept in one file of the state directory (`LISTS_FILE`): `master.lists` writes it, relays read it.

For mail that none of them is about they change nothing. What one is about, for some recipients, is shared out: these
get a share of their group's message with its lists joined by the entry (`Listings.share`), then everything goes on as
ever, the same rules and the same precedence (white before black).
"""

import enum
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gatepost.config.sender_entry import SenderEntry, parse_sender_entry
from gatepost.model.address import domain_of
from gatepost.model.envelope import Envelope
from gatepost.model.finding import Analysis
from gatepost.model.spam import Method
from gatepost.policy.group import GroupPolicy
from gatepost.policy.lists import SenderList

LISTS_FILE: Final = "lists.json"
"""Below the state directory."""
LISTINGS_LIMIT: Final = 20_000
"""Entries in all: every relay compiles them anew when one changes. Longer lists belong into the configuration."""
MATCHES_LIMIT: Final = 200
"""Entries that are about one sender: people of a large house may each list it."""
GROUP_SCOPE: Final = "group:"
EVERYBODY: Final = ""
"""The scope of an entry for all mail."""

Shares = Sequence[tuple[GroupPolicy, Sequence[int]]]
"""Groups of one message with the indices of their recipients."""


class Side(enum.StrEnum):
    """Which list an entry is on."""

    ALLOW = "allow"
    """Trusted whatever is found; of addresses only where the sender is proved."""
    BLOCK = "block"
    """Blacklisted."""


class Listing(msgspec.Struct, frozen=True):
    """One entry."""

    id: int
    side: Side
    entry: str
    """Canonical text of `config.sender_entry`: mask or network, with the last day it holds."""
    scope: str = EVERYBODY
    """For whose mail it holds: "" all, `group:NAME`, a domain, or the address of one recipient."""
    note: str = ""
    by: str = ""
    at: float = 0.0
    """Unix time."""

    def holds_for(self, group: str, recipient: str) -> bool:
        """Tell whether it is for this recipient, who is in this group."""
        scope = self.scope
        if scope == EVERYBODY:
            return True
        if scope.startswith(GROUP_SCOPE):
            return scope[len(GROUP_SCOPE) :] == group
        recipient = recipient.lower()
        return recipient == scope if "@" in scope else domain_of(recipient) == scope


class ListingsFile(msgspec.Struct, frozen=True):
    """What the file holds."""

    last: int = 0
    """The highest id ever given."""
    listings: tuple[Listing, ...] = ()


class Listings:
    """All entries, ready to be asked. What matches none costs a few look-ups, however many they are."""

    def __init__(self, listings: Iterable[Listing] = ()) -> None:
        """Compile entries. ValueError: one is faulty."""
        self._by_entry: dict[SenderEntry, list[Listing]] = {}
        for listing in listings:
            self._by_entry.setdefault(parse_sender_entry(listing.entry), []).append(listing)
        self._all = SenderList(entry.text for entry in self._by_entry)

    def share(self, partition: Shares, envelope: Envelope, analysis: Analysis | None, now: float) -> Shares:
        """Return the groups of a message, those apart for whose recipients entries hold. `now` in Unix seconds."""
        if not self._by_entry:
            return partition
        found = self._find(envelope, analysis, now)
        if not found:
            return partition
        shares: list[tuple[GroupPolicy, Sequence[int]]] = []
        for group, indices in partition:
            shares += _split(group, indices, envelope, found) if _uses_lists(group) else [(group, indices)]
        return shares

    def _find(self, envelope: Envelope, analysis: Analysis | None, now: float) -> list[Listing]:
        facts = analysis.spam if analysis is not None else None
        addresses: dict[str, None] = {envelope.sender: None}
        ips = [envelope.client.ip]
        if facts is not None:
            addresses |= dict.fromkeys(facts.authn.authors)
            ips += facts.hops
        found: dict[int, Listing] = {}
        for entry in self._all.matching(tuple(addresses), ips, now):
            found |= {listing.id: listing for listing in self._by_entry[entry]}
        return list(found.values())[:MATCHES_LIMIT]


NO_LISTINGS: Final = Listings()


def _uses_lists(group: GroupPolicy) -> bool:
    return group.spam.check and Method.WHITE_EMAIL in group.spam.methods


def _split(
    group: GroupPolicy, indices: Sequence[int], envelope: Envelope, found: Sequence[Listing]
) -> list[tuple[GroupPolicy, Sequence[int]]]:
    parts: dict[tuple[Listing, ...], list[int]] = {}
    for index in indices:
        address = envelope.recipients[index].address
        own = tuple(listing for listing in found if listing.holds_for(group.name, address))
        parts.setdefault(own, []).append(index)
    return [
        (_with_entries(group, own, f"/{part[0]}" if len(parts) > 1 else "") if own else group, tuple(part))
        for own, part in parts.items()
    ]


def _with_entries(group: GroupPolicy, listings: Sequence[Listing], share: str) -> GroupPolicy:
    spam = group.spam
    white = [listing.entry for listing in listings if listing.side is Side.ALLOW]
    black = [listing.entry for listing in listings if listing.side is Side.BLOCK]
    joined = msgspec.structs.replace(spam, lists=True, white=spam.white.joined(white), black=spam.black.joined(black))
    return msgspec.structs.replace(group, spam=joined, share=share)


def parse_scope(text: str) -> str:
    """Return a scope in its canonical form; ValueError says what is wrong."""
    scope = text.strip()
    if scope.lower() in ("", "all", "*"):
        return EVERYBODY
    if scope.startswith(GROUP_SCOPE):
        if not scope[len(GROUP_SCOPE) :].strip():
            raise ValueError("a group has a name")
        return scope
    scope = scope.lower()
    local, at, domain = scope.rpartition("@")
    if (at and not local) or not domain or any(each.isspace() or each in "*?<>,;:/" for each in scope):
        raise ValueError(f"{text[:60]!r} is neither all, group:NAME, a domain, nor one recipient's address")
    return scope


def scope_domain(scope: str) -> str:
    """Return the domain within which a scope lies, "" for one that is wider."""
    return "" if scope == EVERYBODY or scope.startswith(GROUP_SCOPE) else scope.rpartition("@")[2]


def decode_listings(raw: bytes) -> ListingsFile:
    """Return what the file holds. ValueError: it is damaged."""
    return msgspec.json.decode(raw, type=ListingsFile)
