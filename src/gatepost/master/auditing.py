"""The audit log at work: written by the desk, synced beside, read by those with the right.

Made by `master.process` before any call can be made. When the log cannot be written the act is done all the same (an
administrator must be able to act on a full disk) and the gateway's own log says so.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gatepost.control import audit
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right

SYNC_S = 0.5
"""Entries may be lost to a power failure for so long."""


class Auditing:
    """The audit log of a running gateway. OSError when it cannot be opened."""

    def __init__(self, directory: Path, say: Callable[[str, str], None]) -> None:
        self._directory = directory
        self._say = say
        self._log = audit.AuditLog(directory)
        self._timer: asyncio.TimerHandle | None = None
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
            self._log.close()

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
