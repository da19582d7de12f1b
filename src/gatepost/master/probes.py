"""What programs may ask without having signed in: whether the gateway is in service, and, from some addresses, metrics.

Registered by `master.process` for the console's `/readyz` and `/metrics`. Strangers learn yes or no, and no more; what
they can make the gateway do is bounded by keeping answers for a moment.
"""

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk, Refused
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, Request

KEPT_S: Final = 1.0
"""How long an answer is good for everybody who asks."""

Status = Callable[[], Awaitable[Mapping[str, Any]]]


class Probes:
    """The answers."""

    def __init__(
        self, desk: Desk, config: Callable[[], Config], status: Status, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`config` is the one in force now; `status` as `master.calls` answers it."""
        self._desk = desk
        self._config = config
        self._status = status
        self._clock = clock
        self._turn = asyncio.Lock()
        self._readiness: tuple[float, dict[str, Any]] = (float("-inf"), {})
        self._metrics: tuple[float, Any] = (float("-inf"), "")

    def register(self) -> None:
        """Register the calls at the desk."""
        self._desk.add("readiness", Right.NONE, self._tell_readiness)
        self._desk.add("metrics.open", Right.NONE, self._tell_metrics)

    async def _tell_readiness(self, _: Arguments, __: Caller) -> Any:
        """Return `ready`, and in a word each what is missing."""
        async with self._turn:
            if self._clock() - self._readiness[0] >= KEPT_S:
                self._readiness = (self._clock(), await self._look())
            return self._readiness[1]

    async def _look(self) -> dict[str, Any]:
        try:
            status = await self._status()
        except ControlError:
            return {"ready": False, "missing": ["status"]}
        missing = judge_readiness(status)
        return {"ready": not missing, "missing": missing}

    async def _tell_metrics(self, _: Arguments, caller: Caller) -> Any:
        """Return the metrics to callers from `console.metrics_from`. Refused: to others."""
        if not is_among(caller.address, self._config().console.metrics_from):
            raise Refused("metrics need a token with the right view, or an address in console.metrics_from")
        async with self._turn:
            if self._clock() - self._metrics[0] >= KEPT_S:
                asking = Caller("metrics", frozenset({Right.VIEW}), via=caller.via, address=caller.address)
                self._metrics = (self._clock(), await self._desk.handle(Request("metrics"), asking))
            return self._metrics[1]


def judge_readiness(status: Mapping[str, Any]) -> list[str]:
    """Return what keeps the gateway from taking mail now; [] = nothing."""
    missing = [] if status["modules"]["receiver"] else ["receiver"]
    relays = status["relays"]
    if not relays or any("error" in relay or relay["state"] != "running" for relay in relays):
        missing.append("relay")
    if not status["listeners"] and not status["doors"]:
        missing.append("listener")
    return missing


def is_among(address: str, networks: tuple[str, ...]) -> bool:
    """Tell whether an address lies in one of some networks."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in ipaddress.ip_network(network, strict=False) for network in networks)
