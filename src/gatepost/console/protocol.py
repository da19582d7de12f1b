"""HTTP/1.1 on one connection, with an end to waiting: a request must have arrived whole within a bounded time; and how
many connections there may be, so that no client takes those of all others.

Used by `console.process`. The server's own limits bound the size of a request's head and the rest between two requests;
a client that sends a byte now and then would else hold its connection for ever.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Collection
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gatepost.control.brake import place_of

CONNECTIONS_LIMIT: Final = 512
"""At the same time, those included that have asked nothing yet ..."""
CONNECTIONS_EACH: Final = 128
"""... and from one place: an office behind one address, whose browsers have six each."""
REQUEST_S: Final = 60.0
"""For all of a request, head and body."""


class Connections:
    """How many there are, from where. Sans-I/O."""

    def __init__(self, proxies: Collection[str] = ()) -> None:
        """`proxies`: addresses and networks whose connections are those of many people."""
        self._proxies = [ipaddress.ip_network(each, strict=False) for each in proxies]
        self._places: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count one more; False, and not counted, when there are enough."""
        place = place_of(address)
        if self._places.total() >= CONNECTIONS_LIMIT:
            return False
        if self._places[place] >= CONNECTIONS_EACH and not self._is_proxy(address):
            return False
        self._places[place] += 1
        return True

    def _is_proxy(self, address: str) -> bool:
        return any(ipaddress.ip_address(address) in network for network in self._proxies)

    def leave(self, address: str) -> None:
        """Count one less."""
        place = place_of(address)
        self._places[place] -= 1
        if not self._places[place]:
            del self._places[place]


class BoundedProtocol(H11Protocol):
    """A connection that is counted, whose requests must not dawdle."""

    def __init__(self, *arguments: Any, connections: Connections, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._connections = connections
        self._counted_as: str | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: of the encryption's handshake, asyncio keeps one of its own."""
        super().connection_made(transport)
        address = str((transport.get_extra_info("peername") or ("",))[0])
        if self._connections.enter(address):
            self._counted_as = address
            self._arm()
        else:
            transport.abort()

    def handle_events(self) -> None:
        """Stop it when the request is there, start it when another has begun."""
        super().handle_events()
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._arm()
        else:
            self._disarm()

    def on_response_complete(self) -> None:
        """Leave the time until the next request to the server's own limit."""
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._disarm()
        if self._counted_as is not None:
            self._connections.leave(self._counted_as)
            self._counted_as = None
        super().connection_lost(exc)

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
