"""Does the filters' template answer? The master looks again and again, for a process that hangs does not end.

Called once by `master.process`. A template greets every connection (`filter.dialogue.Hello`). One that greets nobody
for a while is killed and so starts again; its filters end with it, and relays ask anew about the mail they had in hand.
"""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

LOOK_S: Final = 20.0
PATIENCE_S: Final = 30.0
"""For a greeting, which takes a millisecond of an idle machine."""
LOOKS: Final = 2
"""In a row without a greeting that end it: a machine that stood still for a moment is no reason."""


class _Process(Protocol):
    @property
    def pid(self) -> int: ...

    def signal(self, number: int) -> None: ...


class _Templates(Protocol):
    @property
    def current(self) -> _Process | None: ...

    @property
    def work(self) -> bool: ...


async def watch_template(templates: _Templates, path: Path, say: Callable[[str, str], None]) -> None:
    """Look at the template in force, for ever. `path`: where it listens; `say(level, text)` logs."""
    mute = 0
    while True:
        await asyncio.sleep(LOOK_S)
        child = templates.current
        pid = child.pid if child is not None else 0
        if child is None or not pid or not templates.work or await greets(path, PATIENCE_S):
            mute = 0
        elif templates.current is child and child.pid == pid:
            mute += 1
            if mute >= LOOKS:
                mute = 0
                say("E", "the filter template does not answer: it is killed, and starts again")
                child.signal(signal.SIGKILL)


async def greets(path: Path, patience_s: float) -> bool:
    """Tell whether whoever listens at a socket says something; nobody there is nobody who hangs."""
    try:
        async with asyncio.timeout(patience_s):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                await reader.read(1)
            finally:
                writer.close()
    except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
        return True
    except OSError:  # no greeting in time, or so many wait for one that no more are taken
        return False
    return True
