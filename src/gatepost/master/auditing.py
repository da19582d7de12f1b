"""The audit log at work: written by the desk, synced beside, read by those with the right.

Made by `master.process` before any call can be made. When the log cannot be written the act is done all the same (an
administrator must be able to act on a full disk) and the gateway's own log says so.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gatepost.control import audit
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right

SYNC_S = 0.5
"""Entries may be lost to a power failure for so long."""
REFUSALS_A_MINUTE = 600
"""Acts that were refused or failed, written down one by one; of more, how many: else a flood of them, which costs
whoever makes it nothing, would push out of the log what was done."""


class Auditing:
    """The audit log of a running gateway. OSError when it cannot be opened."""

    def __init__(self, directory: Path, say: Callable[[str, str], None]) -> None:
        self._directory = directory
        self._say = say
        self._log = audit.AuditLog(directory)
        self._timer: asyncio.TimerHandle | None = None
        self._minute = float("-inf")
        self._refusals = 0
        """Since then."""
        self.trouble = ""
        """Why the last entry could not be written."""

    def register(self, desk: Desk) -> None:
        """Register the calls, and write down those of the desk."""

        async def show(arguments: Arguments, _: Caller) -> Any:
            return [msgspec.to_builtins(entry) for entry in await asyncio.to_thread(self._read, arguments)]

        async def verify(_: Arguments, __: Caller) -> Any:
            return msgspec.to_builtins(await asyncio.to_thread(audit.verify, self._directory, self._log.head))

        desk.audit = self
        desk.add("audit.list", Right.AUDIT, show)
        desk.add("audit.verify", Right.AUDIT, verify)

    def write(self, caller: Caller, call: str, arguments: Mapping[str, Any], outcome: str) -> None:
        """Write one entry; said in the log when that cannot be."""
        try:
            self._tell_left_out(time.monotonic())
            self._refusals += bool(outcome)
            if outcome and self._refusals > REFUSALS_A_MINUTE:
                return
            self._log.write(caller, call, arguments, outcome)
        except OSError as error:
            self.trouble = str(error)
            self._say("E", f"audit log cannot be written: {error}: {call} by {caller.name or 'nobody'} is not in it")
            return
        self.trouble = ""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SYNC_S, self._sync_soon)

    def close(self) -> None:
        """Sync and close."""
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(OSError):
            self._tell_left_out(time.monotonic(), last=True)
        with contextlib.suppress(OSError):
            self._log.close()

    def _tell_left_out(self, now: float, *, last: bool = False) -> None:
        """Begin to count anew each minute, and write down how many entries the last one has left out. OSError."""
        if now < self._minute + 60.0 and not last:
            return
        left_out, self._minute, self._refusals = self._refusals - REFUSALS_A_MINUTE, now, 0
        if left_out > 0:
            self._log.write(audit.LOG_ITSELF, "audit.left_out", {"refused": left_out}, "")
            self._say("W", f"audit log: {left_out} more acts were refused than a minute's worth, they are not in it")

    def _sync_soon(self) -> None:
        self._timer = None
        asyncio.get_running_loop().run_in_executor(None, self._sync)

    def _sync(self) -> None:
        try:
            self._log.sync()
        except (OSError, ValueError) as error:
            self.trouble = str(error)

    def _read(self, arguments: Arguments) -> list[audit.Entry]:
        return audit.read(
            self._directory,
            before=int(arguments.get("before", 0)),
            limit=int(arguments.get("limit", 50)),
            who=str(arguments.get("who", "")),
            call=str(arguments.get("call", "")),
            text=str(arguments.get("text", "")),
        )
