"""HTTP/1.1 on one connection, with an end to waiting: a request must have arrived whole within a bounded time.

Used by `console.process`. The server's own limits bound the size of a request's head and the rest between two requests;
a client that sends a byte now and then would else hold its connection for ever.
"""

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S: Final = 60.0
"""For all of a request, head and body."""


class BoundedProtocol(H11Protocol):
    """A connection whose requests must not dawdle."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: of the encryption's handshake, asyncio keeps one of its own."""
        super().connection_made(transport)
        self._arm()

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
        super().connection_lost(exc)

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
