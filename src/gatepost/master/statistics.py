"""Calls about numbers and lines: `statistics`, `stats` (which writes the statistics file), `metrics`, `log.tail`.

Registered by `master.process`. All numbers come from one answer of the status, so they agree with it.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.log_tail import Wanted, read_tail
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError
from gatepost.control.statistics import build_statistics, render_statistics
from gatepost.storage.whole_file import replace_file

STATISTICS_MODE: Final = 0o640
"""Of the statistics file: other programs of the gateway's group read it."""

Status = Callable[[], Awaitable[dict[str, Any]]]


def register(desk: Desk, *, config: Callable[[], Config], status: Status, say: Callable[[str, str], None]) -> None:
    """Register the calls. `config`: that in force; `status`: the answer of the call of that name; `say` logs."""

    async def statistics(_: Arguments, __: Caller) -> Any:
        return build_statistics(await status(), time.time())

    async def stats(_: Arguments, __: Caller) -> Any:
        values = build_statistics(await status(), time.time())
        path = config().options.stat_filename
        if not path:
            raise ControlError("there is no statistics file: options.stat_filename is empty")
        try:
            await asyncio.to_thread(_write, Path(path), render_statistics(values).encode())
        except OSError as error:
            say("E", f"statistics file {path}: {error.strerror}")
            raise ControlError(f"statistics file {path}: {error.strerror}") from error
        say("I", f"statistics written to {path}")
        return {"file": path, "values": values}

    async def metrics(_: Arguments, __: Caller) -> Any:
        # The library comes with the first question: who is never asked need not have it in memory.
        from gatepost.control.metrics import render_metrics  # noqa: PLC0415
        from gatepost.master.host_facts import read_host_facts  # noqa: PLC0415

        host = await asyncio.to_thread(read_host_facts, config())
        return render_metrics(await status(), host, time.time())

    async def tail(arguments: Arguments, _: Caller) -> Any:
        target = config().options.log_filename
        if target in {"", "syslog"}:
            why = "the log goes to syslog" if target else "there is no log: options.log_filename is empty"
            raise ControlError(why)
        wanted = msgspec.convert(dict(arguments), Wanted)
        try:
            found = await asyncio.to_thread(read_tail, target, wanted)
        except OSError as error:
            raise ControlError(f"log {target}: {error.strerror}") from error
        return msgspec.to_builtins(found)

    desk.add("statistics", Right.VIEW, statistics)
    desk.add("stats", Right.SERVICE, stats)
    desk.add("metrics", Right.VIEW, metrics)
    desk.add("log.tail", Right.LOG, tail)


def _write(path: Path, raw: bytes) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise OSError(0, f"{os.fspath(path)} is no regular file")
    replace_file(path, raw, mode=STATISTICS_MODE)
