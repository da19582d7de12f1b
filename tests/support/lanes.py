"""Lanes: recipient domains of their own, each with a next hop of its own, so that many delivery tests share a gateway.

A lane's domain is routed from the start to its loopback address; nothing listens there until the test opens a sink.
"""

import itertools
from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.ports import free_port, loopback_network
from tests.support.sink import Script, Sink

LANES = 60
_ROUTE_COMMENT = "# Where mail goes on to;"


class Lane:
    """One domain and its next hop."""

    def __init__(self, number: int, port: int) -> None:
        self.domain = f"lane{number}.example.org"
        self.host = f"{loopback_network()}.{number // 200}.{number % 200 + 1}"
        self.port = port

    @property
    def label(self) -> str:
        return f"{self.host}:{self.port}"

    def address(self, name: str = "user") -> str:
        return f"{name}@{self.domain}"

    def sink(self, script: Script | None = None, extensions: tuple[str, ...] | None = None) -> Sink:
        """Listen at the lane's next hop."""
        return Sink(self.port, script, extensions, self.host)

    def route(self) -> str:
        port = "" if self.port == 25 else f":{self.port}"
        return f'[[route]]\nrecipients = ["{self.domain}"]\nnext_hop = "[{self.host}{port}]"\n\n'


class LaneGateway(Gateway):
    """A gateway with lanes; everything that matches none goes to the sink at `sink_port`."""

    def __init__(
        self,
        state: Path,
        sink_port: int,
        *,
        relays: int = 1,
        settings: str = "",
        replace: dict[str, str] | None = None,
        default_route: bool = True,
        env: dict[str, str] | None = None,
    ) -> None:
        port = free_port()
        lanes = [Lane(number, port) for number in range(LANES)]
        self.standard_port_lane = Lane(LANES, 25)
        """Its route names no port."""
        routes = "".join(lane.route() for lane in (*lanes, self.standard_port_lane))
        changes = {
            _ROUTE_COMMENT: routes + _ROUTE_COMMENT,
            'protected_domains = ["example.org"]': 'protected_domains = ["example.org", "*.example.org"]',
            **(replace or {}),
        }
        if not default_route:
            changes['recipients = ["*"]'] = 'recipients = ["example.net"]'
        super().__init__(state, sink_port, relays=relays, settings=settings, replace=changes, env=env)
        self._free = itertools.chain(lanes)

    def lane(self) -> Lane:
        """Return a lane no test has used."""
        return next(self._free)
