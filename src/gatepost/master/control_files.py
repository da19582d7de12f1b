"""Control files: an empty file of a known name in `control_path` is a wish of an operator (specification management.md
§3).

`watch` is run by `master.process` for as long as the gateway runs. A file is deleted before its wish is carried out, so
that none is carried out twice; names that are not known are left alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from gatepost.control.socket import ControlError, Request

POLL_S = 2.0
"""Documented: at most 5 s."""
WISHES: Final[Mapping[str, Request]] = {
    ".c_stats": Request("stats", {}),
    ".c_db_reload": Request("reloadbases", {}),
    ".c_recv_on": Request("switch", {"module": "recv", "on": True}),
    ".c_recv_off": Request("switch", {"module": "recv", "on": False}),
    ".c_send_on": Request("switch", {"module": "send", "on": True}),
    ".c_send_off": Request("switch", {"module": "send", "on": False}),
    ".c_avir_on": Request("switch", {"module": "virus", "on": True}),
    ".c_avir_off": Request("switch", {"module": "virus", "on": False}),
}


async def watch(
    directory: Callable[[], str], handle: Callable[[Request], Awaitable[Any]], say: Callable[[str, str], None]
) -> None:
    """Carry out the wishes that appear in the directory, for ever. `handle` answers control calls; `say` logs."""
    while True:
        for name in take_files(directory()):
            say("I", f"control file {name}")
            try:
                await handle(WISHES[name])
            except ControlError as error:
                say("E", f"control file {name}: {error}")
        await asyncio.sleep(POLL_S)


def take_files(directory: str) -> list[str]:
    """Delete the known control files and return their names, in the order of the table."""
    taken = []
    for name in WISHES:
        try:
            Path(directory, name).unlink()
        except OSError:
            continue
        taken.append(name)
    return taken
