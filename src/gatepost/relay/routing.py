"""Routing: recipient → next hop, by the `route` objects in order (specification F-ROUT-01, 03). Pure.

A route names either a host to connect to or a domain whose mail hosts are to be asked for at sending time; the latter
needs the resolver and until it exists is answered with `Unroutable`, a temporary trouble.
"""

import msgspec

from gatepost.config.items import parse_next_hop
from gatepost.config.masks import FirstMatch
from gatepost.config.schema import Config, Route
from gatepost.model.address import bracketed, domain_of


class NextHop(msgspec.Struct, frozen=True, array_like=True):
    """Where to connect."""

    host: str
    port: int = 25

    @property
    def label(self) -> str:
        """`host:port`, as log lines and the session table name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Unroutable(msgspec.Struct, frozen=True, array_like=True):
    """No next hop now; `reason` goes to the operator."""

    reason: str


class RoutingTable:
    """The routes of one configuration. First match wins."""

    def __init__(self, config: Config) -> None:
        self._routes: FirstMatch[Route] = FirstMatch((route.mask, route) for route in config.routes)
        self._cache: dict[str, NextHop | Unroutable] = {}

    def resolve(self, recipient: str) -> NextHop | Unroutable:
        """Return the next hop of one recipient."""
        if len(self._cache) > _CACHE_LIMIT:
            self._cache.clear()
        hop = self._cache.get(recipient)
        if hop is None:
            hop = self._cache[recipient] = self._walk(recipient)
        return hop

    def override(self, route: str) -> NextHop | Unroutable:
        """Return the next hop an operator has chosen for a message (`Stored.route`)."""
        hop = parse_next_hop(route)
        if hop.host is not None:
            return NextHop(hop.host, hop.port)
        return Unroutable(f"route to domain {hop.domain} needs mail-host look-up, which this version lacks")

    def _walk(self, recipient: str) -> NextHop | Unroutable:
        route = self._routes.find(recipient)
        if route is not None:
            hop = route.hops[0]
            if hop.host is not None:
                return NextHop(hop.host, hop.port)
            return Unroutable(f"route to domain {hop.domain} needs mail-host look-up, which this version lacks")
        domain = domain_of(recipient)
        return Unroutable(f"no route matches {bracketed(recipient)}: add a [[route]] for {domain or 'it'}")


_CACHE_LIMIT = 10_000  # recipients remembered; cleared whole, a walk is cheap
