"""Lanes: recipient domains of their own, each with a next hop of its own, so that many delivery tests share a gateway.

A lane's domain is routed from the start to its loopback address; nothing listens there until the test opens a sink.
"""

import itertools
import os
import socket
from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.sink import Script, Sink

LANES = 60
_NETWORK = "127.25"
_ROUTE_COMMENT = "# Where mail goes on to;"


class Lane:
    """One domain and its next hop."""

    def __init__(self, number: int, port: int) -> None:
        self.domain = f"lane{number}.example.org"
        self.host = f"{_NETWORK}.{number // 200}.{number % 200 + 1}"
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
    ) -> None:
        port = _port_outside_ephemeral_range()
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
        super().__init__(state, sink_port, relays=relays, settings=settings, replace=changes)
        self._free = itertools.chain(lanes)

    def lane(self) -> Lane:
        """Return a lane no test has used."""
        return next(self._free)


def _port_outside_ephemeral_range() -> int:
    """Return a port nobody listens on and no outgoing connection will be given; another one in each process."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in range(low - 1 - os.getpid() % 5000, 1024, -1):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise OSError("no free port below the ephemeral range")
