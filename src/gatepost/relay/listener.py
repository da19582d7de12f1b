"""Listeners of one relay: sockets the master has bound, and the sessions that come in over them.

Called by `relay.process`. All relays accept from the same sockets.
"""

import asyncio
import socket
from collections.abc import Sequence

from gatepost.config.schema import Listener
from gatepost.relay.intake import Intake
from gatepost.relay.reception import Reception

_POLL_S = 0.02


class Listeners:
    """The open listeners of one relay."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._servers: list[asyncio.Server] = []

    async def open(self, listeners: Sequence[tuple[Listener, int]]) -> None:
        """Accept from these (settings, descriptor of a listening socket); earlier listeners are closed after."""
        before = self._servers
        self._servers = []
        loop = asyncio.get_running_loop()
        for listener, descriptor in listeners:
            sock = socket.socket(fileno=descriptor)
            sock.setblocking(False)
            server = await loop.create_server(
                lambda listener=listener: Reception(self._intake, listener),  # type: ignore[misc]
                sock=sock,
                backlog=listener.backlog,
            )
            self._servers.append(server)
        for server in before:
            server.close()

    def close(self) -> None:
        """Accept no more."""
        for server in self._servers:
            server.close()
        self._servers = []

    async def stop(self, grace_s: float) -> None:
        """Close, answer 421 to open sessions at their next command, and drop those that outlast `grace_s`."""
        self.close()
        # Those that are open now: when reception is switched on again meanwhile, new ones are none of ours.
        sessions = list(self._intake.sessions)
        for session in sessions:
            session.shut_down()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while loop.time() < end and not self._intake.sessions.isdisjoint(sessions):  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(_POLL_S)
        for session in sessions:
            if session in self._intake.sessions:
                session.abort()
