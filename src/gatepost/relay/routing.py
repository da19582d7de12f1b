"""Routing: recipient → way, by the `route` objects in order (specification F-ROUT-01, 03). Pure, and without DNS.

A way says by configuration where mail goes: to hosts that are named with their ports, or to the mail hosts of domains,
which `relay.planning` asks for when the mail is sent. Recipients that no route matches go to those of their own domain.
"""

import ipaddress

import msgspec

from gatepost.config.items import parse_next_hop
from gatepost.config.masks import FirstMatch
from gatepost.config.schema import Config, Route
from gatepost.config.transport import HopOrder, Transport
from gatepost.model.address import bracketed, domain_of

SMTP_PORT = 25


class NextHop(msgspec.Struct, frozen=True, array_like=True):
    """A host to connect to."""

    host: str
    """Its name or address."""
    port: int = SMTP_PORT

    @property
    def label(self) -> str:
        """`host:port`, as log lines and the session table name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class MailDomain(msgspec.Struct, frozen=True, array_like=True):
    """A domain whose mail hosts (MX) are to be asked for."""

    domain: str


Target = NextHop | MailDomain


class Way(msgspec.Struct, frozen=True, cache_hash=True):
    """Where mail goes by configuration: one target or several, in order."""

    targets: tuple[Target, ...]
    in_turn: bool = False
    """Each attempt begins with the next target; False: always with the first."""
    lmtp: bool = False


class Unroutable(msgspec.Struct, frozen=True, array_like=True):
    """No way; `reason` goes to the operator."""

    reason: str


class RoutingTable:
    """The routes of one configuration. First match wins."""

    def __init__(self, config: Config) -> None:
        self._routes: FirstMatch[Way] = FirstMatch((route.mask, _way_of(route)) for route in config.routes)
        self._cache: dict[str, Way | Unroutable] = {}

    def resolve(self, recipient: str) -> Way | Unroutable:
        """Return the way to one recipient."""
        way = self._cache.get(recipient)
        if way is None:
            if len(self._cache) > _CACHE_LIMIT:
                self._cache.clear()
            way = self._cache[recipient] = self._routes.find(recipient) or _own_way(recipient)
        return way


def parse_way(next_hop: str) -> Way | Unroutable:
    """Return the way an operator has chosen for a message, written as `next_hop` of a route is."""
    try:
        hop = parse_next_hop(next_hop)
    except ValueError as error:
        return Unroutable(f"the next hop chosen for it cannot be used: {error}")
    return Way((_target_of(hop.host, hop.port, hop.domain),))


def _way_of(route: Route) -> Way:
    targets = tuple(_target_of(hop.host, hop.port, hop.domain) for hop in route.hops)
    in_turn = route.order is HopOrder.ROUND_ROBIN and len(targets) > 1
    return Way(targets, in_turn, route.transport is Transport.LMTP)


def _target_of(host: str | None, port: int, domain: str | None) -> Target:
    return NextHop(host, port) if host is not None else MailDomain(domain or "")


def _own_way(recipient: str) -> Way | Unroutable:
    """Return the way to the mail hosts of the recipient's own domain, or to the address that stands for a domain
    (RFC 5321 §4.1.3).
    """
    domain = domain_of(recipient)
    if not domain:
        return Unroutable(f"no route matches {bracketed(recipient)}, which has no domain: add a [[route]] for it")
    if domain.startswith("["):
        try:
            ipaddress.ip_address(domain.strip("[]").removeprefix("ipv6:"))
        except ValueError:
            return Unroutable(f"{domain} is no address to send to")
    return Way((MailDomain(domain),))


_CACHE_LIMIT = 10_000  # recipients remembered; cleared whole, a walk is cheap
