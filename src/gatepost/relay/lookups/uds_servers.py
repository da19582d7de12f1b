"""Which UDS server is asked, and when one is left alone: a plain state machine. Moments are passed in.

Used by `relay.lookups.uds`. The server with the shortest round trip comes first. One that does not answer is *dead*:
no mail waits for it again until a probe has been answered; probes come after pauses that grow.
"""

import enum
import math

FIRST_PAUSE_S = 15.0
LONGEST_PAUSE_S = 600.0
"""Bounds of the pause before a dead server is probed again."""
_SMOOTHING = 0.25
"""Share of a new round trip in the remembered one: one slow answer does not change the order."""


class ServerState(enum.StrEnum):
    """How a server is."""

    UNKNOWN = "unknown"
    """Not asked yet."""
    UP = "up"
    DEAD = "dead"


class UdsServer:
    """What is remembered of one server."""

    def __init__(self, name: str) -> None:
        self.name = name
        """host:port, as configured."""
        self.state = ServerState.UNKNOWN
        self.rtt_s = math.inf
        self.reason = ""
        """Why it is dead."""
        self.due = 0.0
        """When it is to be probed next."""
        self._pause_s = FIRST_PAUSE_S


class UdsServers:
    """All configured servers."""

    def __init__(self, names: tuple[str, ...], probe_interval_s: float) -> None:
        self.servers = tuple(UdsServer(name) for name in dict.fromkeys(names))
        self._interval_s = probe_interval_s

    def order(self) -> list[UdsServer]:
        """Return the servers to ask: not dead ones, the fastest first, then in the order of the configuration."""
        return sorted((each for each in self.servers if each.state is not ServerState.DEAD), key=lambda s: s.rtt_s)

    def due(self, now: float) -> list[UdsServer]:
        """Return the servers to be probed now."""
        return [each for each in self.servers if each.due <= now]

    def next_due(self) -> float:
        """Return when the next probe is due."""
        return min((each.due for each in self.servers), default=math.inf)

    def answered(self, server: UdsServer, rtt_s: float, now: float, *, probe: bool = False) -> bool:
        """Note an answer. True: the server was dead, or not known, before."""
        came_up = server.state is not ServerState.UP
        server.rtt_s = rtt_s if came_up else server.rtt_s + (rtt_s - server.rtt_s) * _SMOOTHING
        server.state = ServerState.UP
        server.reason = ""
        server._pause_s = FIRST_PAUSE_S
        if probe or came_up:
            server.due = now + self._interval_s
        return came_up

    def failed(self, server: UdsServer, reason: str, now: float) -> bool:
        """Note that it gave no (useful) answer. True: it was not known to be dead."""
        died = server.state is not ServerState.DEAD
        if died or server.due <= now:
            server.due = now + server._pause_s
            server._pause_s = min(server._pause_s * 2, LONGEST_PAUSE_S)
        server.state = ServerState.DEAD
        server.rtt_s = math.inf
        server.reason = reason
        return died
