"""The emergency bypass: `bypass.on`, `bypass.off`, `bypass.status`. For some minutes mail passes unscanned, and marked.

Registered at the desk by the master, which keeps the order in a file, has the relays take it (`relay.bypass`), tells
administrators by mail at its beginning and its end, shows it as a problem, and ends it.

Promises: it ends after the minutes of running time it was ordered for, or when they are over by the wall clock,
whichever comes first. What is left of it is written down ahead, by a tick less than there is: a master that dies, or is
stopped, and comes again can only make it shorter. Relays end it by themselves as well.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.schema import Config
from gatepost.control.bypass_order import BYPASS_FILE, MINUTES_LIMIT, REASON_LIMIT, Order, read_order
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError
from gatepost.doctor.finding import Finding, State
from gatepost.model.envelope import Direction
from gatepost.storage.whole_file import replace_file

TICK_S: Final = 5.0
"""Between two looks at the clocks."""
_MAILS_LIMIT: Final = 8
"""Mails that may wait for a relay to take them: the beginning and the end of a few."""

Ask = Callable[..., Awaitable[Any]]


class Emergency:
    """The bypass of one gateway."""

    def __init__(
        self,
        *,
        state_path: str,
        config: Callable[[], Config],
        ask_all: Ask,
        announce: Ask,
        say: Callable[[str, str], None],
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`ask_all(question, **arguments)` asks every relay; `announce(**mail)` has one send a mail of ours."""
        self._file = Path(state_path) / BYPASS_FILE
        self._config = config
        self._ask_all = ask_all
        self._announce = announce
        self._say = say
        self._monotonic = monotonic
        self._wall = wall
        self._turn = asyncio.Lock()
        self._owed = False
        """Some relay may not know of the present state."""
        self._mails: list[tuple[str, str]] = []
        self._order = read_order(state_path)
        self._looked_at = monotonic()
        if self._order is not None:
            self._say("W", f"{self._order.describe()}: mail passes unscanned for {self.left_s() / 60:.1f} more minutes")

    def register(self, desk: Desk) -> None:
        """Register the calls."""
        desk.add("bypass.on", Right.EMERGENCY, self._on, audited=True)
        desk.add("bypass.off", Right.EMERGENCY, self._off, audited=True)
        desk.add("bypass.status", Right.VIEW, self._status)

    def left_s(self) -> float:
        """Return how long it lasts, 0 when there is none."""
        order = self._order
        if order is None:
            return 0.0
        return max(0.0, min(order.left_s - (self._monotonic() - self._looked_at), order.until - self._wall()))

    def findings(self) -> Iterable[Finding]:
        """Yield the problem that a bypass is as long as it lasts."""
        if self._order is not None:
            yield Finding(
                "bypass",
                "process",
                State.ERROR,
                f"mail passes unscanned for {max(1, round(self.left_s() / 60))} more minutes: {self._order.describe()}",
                "end it as soon as its cause is mended: gatepost bypass off",
            )

    async def watch(self) -> None:
        """Look at the clocks, and tell what is to be told, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(min(TICK_S, self.left_s()) if self._order is not None else TICK_S)

    async def look(self) -> None:
        """Look once."""
        async with self._turn:
            if self._order is not None:
                left_s = self.left_s()
                if left_s <= 0:
                    await self._end("its time is over")
                else:
                    self._order = msgspec.structs.replace(self._order, left_s=left_s)
                    self._looked_at = self._monotonic()
                    self._keep_ahead()
            if self._owed:
                await self._spread()
            await self._send_mails()

    # --- calls

    async def _on(self, arguments: Arguments, caller: Caller) -> Any:
        """Let mail pass for `minutes`, for a `reason`; only that of `groups` (names) and `directions`, where given."""
        order = self._read_order(arguments, caller)
        async with self._turn:
            before, self._order, self._looked_at = (self._order, self._looked_at), order, self._monotonic()
            try:
                replace_file(self._file, msgspec.json.encode(_ahead(order)))
            except OSError as error:
                self._order, self._looked_at = before
                raise ControlError(f"{self._file} cannot be written: {error.strerror or error}") from error
            minutes = round(order.left_s / 60)
            self._say("W", f"{order.describe()}: mail passes unscanned for {minutes} minutes ({_extent(order)})")
            self._mail(
                f"mail passes unscanned for {minutes} minutes",
                f"The emergency bypass is on: mail passes without being looked at for {minutes} minutes.\n"
                f"{_extent(order)}\nOrdered by {order.by}: {order.reason}\n\nTo end it: gatepost bypass off\n",
            )
            await self._spread()
            await self._send_mails()
        return self._shown()

    async def _off(self, _: Arguments, caller: Caller) -> Any:
        """End it."""
        async with self._turn:
            if self._order is not None:
                await self._end(f"ended by {caller.name}")
                await self._send_mails()
        return self._shown()

    async def _status(self, _: Arguments, __: Caller) -> Any:
        return self._shown()

    def _read_order(self, arguments: Arguments, caller: Caller) -> Order:
        minutes = float(arguments["minutes"])
        if not 1 <= minutes <= MINUTES_LIMIT:
            raise ControlError(f"a bypass lasts 1 to {MINUTES_LIMIT} minutes")
        text = str(arguments.get("reason", ""))
        reason = " ".join("".join(each if each.isprintable() else " " for each in text).split())[:REASON_LIMIT]
        if not reason:
            raise ControlError("say why: the reason stands in the log, in the audit log and with every mail")
        groups = tuple(dict.fromkeys(msgspec.convert(arguments.get("groups") or (), tuple[str, ...])))
        known = {group.name for group in self._config().groups}
        for name in groups:
            if name not in known:
                raise ControlError(f"there is no group {name[:60]!r}; there are: {', '.join(sorted(known))}")
        try:
            directions = msgspec.convert(arguments.get("directions") or (), tuple[Direction, ...])
        except msgspec.ValidationError:
            raise ControlError(f"a direction is one of: {', '.join(Direction)}") from None
        now = self._wall()
        return Order(now, now + minutes * 60, minutes * 60, reason, caller.name, groups, directions)

    # --- the state

    async def _end(self, why: str) -> None:
        order = self._order
        assert order is not None
        self._order = None
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:  # what it says ends all the same
            self._say("E", f"{self._file} cannot be removed: {error.strerror or error}")
        self._say("W", f"emergency bypass is over, mail is scanned again: {why}")
        self._mail(
            "mail is scanned again",
            f"The emergency bypass is over: {why}.\nOrdered by {order.by}: {order.reason}\n\n"
            "What has passed: gatepost bypass list\nTo look at one of them now: gatepost rescan ID\n",
        )
        await self._spread()

    def _keep_ahead(self) -> None:
        assert self._order is not None
        try:
            replace_file(self._file, msgspec.json.encode(_ahead(self._order)))
        except OSError as error:
            # It must not be longer after a restart than it has a right to be.
            self._file.unlink(missing_ok=True)
            self._say("E", f"{self._file} cannot be written: a restart ends the bypass: {error.strerror or error}")

    async def _spread(self) -> None:
        """Have all relays take the present state; those that cannot are asked again, and read the file at a start."""
        try:
            await self._ask_all("bypass", order=msgspec.to_builtins(self._order))
        except ControlError as error:
            if not self._owed:
                self._say("W", f"not every relay has taken the bypass or its end yet: {error}")
            self._owed = True
        else:
            self._owed = False

    def _shown(self) -> dict[str, Any]:
        order = self._order
        if order is None:
            return {"on": False}
        told = msgspec.to_builtins(order)
        return {**told, "on": True, "left_s": self.left_s(), "every_relay": not self._owed}

    # --- mail to administrators

    def _mail(self, subject: str, text: str) -> None:
        self._mails.append((subject, text))
        del self._mails[:-_MAILS_LIMIT]

    async def _send_mails(self) -> None:
        config = self._config()
        to = config.watch.addresses or config.groups[-1].admin_notify_address
        hostname = config.network.hostname
        sender = config.groups[-1].notify_from_address or f"postmaster@{hostname}"
        while self._mails:
            subject, text = self._mails[0]
            if config.watch.mail and to:
                try:
                    await self._announce(to=to, sender=sender, subject=f"[{hostname}] {subject}", text=text)
                except ControlError:
                    return  # no relay takes it now: tried again
            del self._mails[0]


def _ahead(order: Order) -> Order:
    """Return the order as it is written down: what is left when it is written anew."""
    return msgspec.structs.replace(order, left_s=max(0.0, order.left_s - TICK_S))


def _extent(order: Order) -> str:
    groups = f"groups {', '.join(order.groups)}" if order.groups else "all groups"
    directions = f"{', '.join(order.directions)} mail" if order.directions else "all directions"
    return f"{groups}, {directions}"
