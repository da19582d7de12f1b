"""White and black lists (rows F-AS-01 to F-AS-03), compiled: whether a sender or an address of the way is listed. Pure.

Made for each group, from the common lists and its own; asked by `policy.spam` for every message. Entries come in the
form of `config.sender_entry`: an address mask, which is compared with the envelope sender and with the author, or a
network, for the client and, on black lists, the hops before it. An entry of a white list that names addresses trusts
only mail whose sender is proved, unless it is marked as free of that.
"""

import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from gatepost.config.masks import MaskSet, Network, NetworkSet, compile_mask, normalise_mask, parse_network
from gatepost.config.sender_entry import SenderEntry, parse_sender_entry
from gatepost.model.address import domain_of

Proof = Callable[[str], bool]
"""Tells whether an address is proved to be the sender's."""

_DAY_S = 86_400.0


class Match(msgspec.Struct, frozen=True):
    """An entry that matches."""

    entry: str
    """As it is written."""
    value: str
    """What matched."""
    network: bool
    """It is about an address of the way, not about a sender."""
    proved: bool = True
    """False: it is a sender's, and nothing proves that it is his mail."""


class SenderList:
    """One list. What matches nothing costs a set look-up or two, however long the list."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Compile entries in their canonical form."""
        self._exact: dict[str, list[SenderEntry]] = {}
        """By address, or `*@domain`."""
        self._masks: list[tuple[re.Pattern[str], SenderEntry]] = []
        self._by_network: dict[Network, list[SenderEntry]] = {}
        entries = [parse_sender_entry(text) for text in dict.fromkeys(texts)]
        for entry in entries:
            mask = normalise_mask(entry.mask)
            if entry.network:
                self._by_network.setdefault(parse_network(mask), []).append(entry)
            elif "*" in mask.removeprefix("*@") or "?" in mask:
                self._masks.append((compile_mask(mask), entry))
            else:
                self._exact.setdefault(mask, []).append(entry)
        self._prefixes = {(net.version, net.prefixlen) for net in self._by_network}
        self._senders = MaskSet(entry.mask for entry in entries if not entry.network)
        self._networks = NetworkSet(entry.mask for entry in entries if entry.network)
        self.empty = not entries

    def find(
        self, addresses: Sequence[str], ips: Iterable[str], now: float, proved: Proof | None = None
    ) -> Match | None:
        """Return the entry that counts most: one for a network, or for a sender who is proved, before one that is not.

        `addresses`: envelope sender and author; `ips`: client and hops, "" for one unknown; `proved` None: nobody need
        be. An entry holds to the end of its last day (UTC); `now` in Unix seconds.
        """
        for ip in ips:
            if ip and self._networks.contains(ip):
                for entry in self._of_network(ip):
                    if not _expired(entry, now):
                        return Match(entry.text, ip, network=True)
        unproved = None
        for address in addresses:
            if not address or not self._senders.matches(address):
                continue
            entries = [entry for entry in self._of_sender(address.lower()) if not _expired(entry, now)]
            if not entries:
                continue
            free = next((entry for entry in entries if entry.free), None)
            if free is not None or proved is None or proved(address):
                return Match((free or entries[0]).text, address, network=False)
            unproved = unproved or Match(entries[0].text, address, network=False, proved=False)
        return unproved

    def matching(self, addresses: Sequence[str], ips: Iterable[str], now: float) -> Iterator[SenderEntry]:
        """Yield every entry that names one of these senders or addresses of the way, proved or not."""
        for ip in ips:
            if ip and self._networks.contains(ip):
                yield from (entry for entry in self._of_network(ip) if not _expired(entry, now))
        for address in addresses:
            if address and self._senders.matches(address):
                yield from (entry for entry in self._of_sender(address.lower()) if not _expired(entry, now))

    def joined(self, texts: Sequence[str]) -> "SenderList":
        """Return a list that has these entries, too."""
        return _JoinedList(self, texts) if texts else self

    def _of_sender(self, address: str) -> Iterator[SenderEntry]:
        yield from self._exact.get(address, ())
        yield from self._exact.get(f"*@{domain_of(address)}", ())
        yield from (entry for pattern, entry in self._masks if pattern.fullmatch(address))

    def _of_network(self, ip: str) -> Iterator[SenderEntry]:
        address = ipaddress.ip_address(ip.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        for version, prefix in self._prefixes:
            if version == address.version:
                yield from self._by_network.get(ipaddress.ip_network((address, prefix), strict=False), ())


class _JoinedList(SenderList):
    """A few entries in front of a list."""

    def __init__(self, rest: SenderList, texts: Sequence[str]) -> None:
        super().__init__(texts)
        self._rest = rest

    def find(
        self, addresses: Sequence[str], ips: Iterable[str], now: float, proved: Proof | None = None
    ) -> Match | None:
        ips = tuple(ips)
        own = super().find(addresses, ips, now, proved)
        if own is not None and own.proved:
            return own
        return self._rest.find(addresses, ips, now, proved) or own


def _expired(entry: SenderEntry, now: float) -> bool:
    if entry.until is None:
        return False
    return now >= dt.datetime.combine(entry.until, dt.time(), dt.UTC).timestamp() + _DAY_S
