"""What a service manager is told: that the gateway is in service, reloads, stops, and still lives (sd_notify(3)).

Used by `master.process`. Without a manager nothing is sent. The watchdog is fed only while the master's loop runs and
every relay that has come up answers: a gateway that hangs is started anew by its manager.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Final, Self

FEEDS_A_PERIOD: Final = 3
"""The manager waits a whole period: one feeding that comes late is no reason to end the gateway."""
STARTING_S: Final = 20.0
"""How often the manager is asked for more time while the gateway starts; it grants three times as much."""


class ServiceManager:
    """The way to the service manager, if there is one."""

    def __init__(self, address: str, watchdog_s: float) -> None:
        """`address` as in NOTIFY_SOCKET, "" for none; `watchdog_s` 0 for no watchdog."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Self:
        """Take the manager's variables out of the environment: children have no business with it."""
        address = environment.pop("NOTIFY_SOCKET", "")
        period = environment.pop("WATCHDOG_USEC", "")
        who = environment.pop("WATCHDOG_PID", "")
        ours = period.isdigit() and who in {"", str(os.getpid())}
        return cls(address, int(period) / 1e6 if ours else 0.0)

    def tell(self, *lines: str) -> None:
        """Send `NAME=value` lines as one message. A manager that does not listen keeps nobody waiting."""
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self._address)

    def ready(self, status: str) -> None:
        """Say that the gateway is in service, or is again after a reload."""
        self.tell("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    @contextlib.contextmanager
    def reload(self) -> Iterator[None]:
        """Say that a configuration is being taken into force, and, whatever comes of it, that the gateway works on."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self.ready("in service")

    def stopping(self) -> None:
        """Say that the gateway ends."""
        self.tell("STOPPING=1", "STATUS=stopping")

    async def keep_patient(self, status: Callable[[], str]) -> None:
        """Ask for more time, and say why, for as long as the gateway starts."""
        while self._address:
            self.tell(f"EXTEND_TIMEOUT_USEC={int(3 * STARTING_S * 1e6)}", f"STATUS={status()}")
            await asyncio.sleep(STARTING_S)

    async def feed(self, trouble: Callable[[], Awaitable[str]]) -> None:
        """Feed the watchdog for ever; `trouble` returns who does not answer, "" when all do."""
        while self.watchdog_s:
            await asyncio.sleep(self.watchdog_s / FEEDS_A_PERIOD)
            why = await trouble()
            self.tell("WATCHDOG=1" if not why else f"STATUS={why}")
