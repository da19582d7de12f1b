"""Reverse DNS of the client (F-AS-08): whether it has a name that leads back to it, and what the name looks like.

A name that the session has confirmed already is not asked for again; what it has asked for is in the resolver's cache.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from gatepost.authn.psl import registrable_domain
from gatepost.model.spam import Method, SpamFacts
from gatepost.relay.lookups.base import EnvelopeFacts, NetworkNotes, Query
from gatepost.relay.lookups.hops import is_public
from gatepost.relay.lookups.zones import Counts
from gatepost.resolver.answers import Answer, Kind, Outcome
from gatepost.resolver.names import build_reverse_name, parse_address

NO_NAME_WEIGHT: Final = 0.8
UNCONFIRMED_WEIGHT: Final = 0.4
"""Half of no name at all: forgotten records are common among small, honest servers."""
DYNAMIC_WEIGHT: Final = 0.6
NOT_IN_DNS: Final = "DNS: not in DNS"
"""Documented detail token."""

_KIND_PTR: Final = Kind.PTR
_DYNAMIC: Final = re.compile(
    r"(?:^|[.0-9_-])(?:dyn|dynamic|dynip|dhcp|dial|dialup|dialin|ppp|pppoe|pool|adsl|[vx]?dsl|cable|broadband|"
    r"catv|ftth|fttx|wimax|cpe|modem|residential|cust|customer|subscriber|gprs|lte)"
    r"(?:[.0-9_-]|$)"
)
_SERVER: Final = re.compile(
    r"(?:^|[.0-9_-])(?:mail|smtp|mx|mta|out|outbound|relay|server|srv|static|mailer|news)(?:[.0-9_-]|$)"
)
"""What a name says that somebody has given to a server on purpose."""


class Names(Protocol):
    """What is asked of the resolver."""

    def cached(self, name: str, kind: Kind) -> Answer[Any] | None:
        """Return the answer that needs no packet."""

    def prefetch(self, name: str, kind: Kind) -> bool:
        """Send a question that will be asked soon; tell whether that was needed."""

    async def confirmed_name(self, ip: str, *, deadline_s: float | None = None) -> Answer[str]:
        """Ask for the name of an address that has this address."""


class ReverseDnsLookup:
    """Asks for the client's name."""

    name = "reverse DNS"
    methods = frozenset((Method.REVERSE_DNS,))

    def __init__(self, names: Names, clock: Callable[[], float]) -> None:
        self.names = names
        self.clock = clock
        self.counts = Counts()

    def begin(self, facts: EnvelopeFacts) -> Query | None:
        """Ask for the name unless the session knows it."""
        client = facts.envelope.client
        address = parse_address(client.ip)
        if address is None or not is_public(client.ip):
            return None
        if not client.name:
            self.counts.sent += self.names.prefetch(build_reverse_name(address), _KIND_PTR)
        return _ReverseQuery(self, client.ip, client.name, build_reverse_name(address))

    def status(self) -> dict[str, object]:
        """Return the counters; listed are clients without a confirmed name."""
        return self.counts.show()


class _ReverseQuery:
    """One message."""

    __slots__ = ("_ip", "_lookup", "_name", "_reverse_name")

    def __init__(self, lookup: ReverseDnsLookup, ip: str, name: str, reverse_name: str) -> None:
        self._lookup = lookup
        self._ip = ip
        self._name = name
        self._reverse_name = reverse_name

    def finish(self, spam: SpamFacts, notes: NetworkNotes, deadline: float) -> Awaitable[None] | None:  # noqa: ARG002 - nothing here depends on the content
        """Judge the name; without one at hand, ask."""
        if self._name:
            _note_name(self._ip, self._name, notes)
            return None
        counts = self._lookup.counts
        counts.asked += 1
        answer = self._lookup.names.cached(self._reverse_name, _KIND_PTR)
        if answer is not None and answer.outcome is not Outcome.FOUND:
            self._note(answer, answer, notes)
            return None
        return self._ask(notes, deadline)

    async def _ask(self, notes: NetworkNotes, deadline: float) -> None:
        names, clock = self._lookup.names, self._lookup.clock
        confirmed = await names.confirmed_name(self._ip, deadline_s=max(0.0, deadline - clock()))
        claimed = names.cached(self._reverse_name, _KIND_PTR)
        self._note(claimed if claimed is not None else confirmed, confirmed, notes)

    def _note(self, claimed: Answer[Any], confirmed: Answer[Any], notes: NetworkNotes) -> None:
        counts = self._lookup.counts
        if confirmed.outcome is Outcome.FAILED:
            counts.failed += 1
            notes.trouble(f"name of {self._ip}: {confirmed.reason}")
        elif confirmed.outcome is Outcome.FOUND:
            _note_name(self._ip, confirmed.values[0], notes)
        elif claimed.outcome is Outcome.FOUND:
            counts.listed += 1
            told = f"the client {self._ip} calls itself {claimed.values[0]} in DNS, but that name does not lead to it"
            notes.sign(Method.REVERSE_DNS, "name-unconfirmed", told, UNCONFIRMED_WEIGHT)
        else:
            counts.listed += 1
            told = f"the client {self._ip} has no name in DNS"
            notes.sign(Method.REVERSE_DNS, "no-name", told, NO_NAME_WEIGHT, NOT_IN_DNS)

    def cancel(self) -> None:
        """Questions under way end by themselves, and others may want their answers."""


def looks_dynamic(ip: str, name: str) -> bool:
    """Tell whether a name looks like one that a provider has made out of the address of a home or a phone."""
    name = name.lower()
    if _SERVER.search(name):
        return False
    # What the domain itself is called says nothing of its hosts.
    own = name.removesuffix(registrable_domain(name))
    return _DYNAMIC.search(own) is not None or _holds_address(ip, own)


def _holds_address(ip: str, name: str) -> bool:
    """Tell whether the octets of an IPv4 address stand in a name, in either order, or all of it in hexadecimal."""
    octets = ip.split(".")
    if len(octets) != 4:
        return False
    if bytes(map(int, octets)).hex() in name:
        return True
    numbers = [number.lstrip("0") or "0" for number in re.findall(r"\d+", name)]
    three = (octets[1:], octets[:3], octets[:0:-1], octets[2::-1])
    wanted = [list(map(str, each)) for each in three]
    return any(numbers[at : at + 3] in wanted for at in range(len(numbers) - 2))


def _note_name(ip: str, name: str, notes: NetworkNotes) -> None:
    if looks_dynamic(ip, name):
        told = f"the name of the client {ip}, {name}, looks like that of a home or a phone, not of a mail server"
        notes.sign(Method.HEADERS_PLUS, "dynamic-name", told, DYNAMIC_WEIGHT)
