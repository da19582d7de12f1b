"""The calls `databases.update` and `databases.rollback`: newer databases now, or those before the last update again.

Registered by `master.calls` for console and API. Both are done by `gatepost update` in a process of its own, as on the
command line: it reads what comes from afar, tries it, and asks this gateway to take it; killed at any line it leaves
sets that are whole.
"""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, Unfit
from gatepost.feeds.manifest import NAME_FORM, Kind

PATIENCE_S: Final = 20.0
"""Less than callers wait for an answer; what takes longer goes on."""
LIMIT_S: Final = 3600.0
"""A run that takes longer is ended."""
TEXT_LIMIT: Final = 2000
"""Characters of what the updater said that are passed on, the last ones."""
NAMES_LIMIT: Final = 50
_LOOK_S: Final = 0.1
_NOTHING: Final = 0
_CHANGED: Final = 1
"""Documented codes of the updater (specification management.md §5.3)."""


class DatabaseUpdates:
    """Runs of the updater, one at a time."""

    def __init__(self, config_file: Path, program: Sequence[str] = (sys.executable, "-m", "gatepost.cli.main")) -> None:
        self._config_file = config_file
        self._program = program
        self._run: asyncio.Task[dict[str, Any]] | None = None

    def register(self, desk: Desk) -> None:
        """Register the calls."""
        desk.add("databases.update", Right.SERVICE, self._update, audited=True)
        desk.add("databases.rollback", Right.SERVICE, self._roll_back, audited=True)

    async def _update(self, _: Arguments, __: Caller) -> Any:
        """Fetch what is newer: {"text", "changed", "under_way"}."""
        return await self._begin("update")

    async def _roll_back(self, arguments: Arguments, _: Caller) -> Any:
        """Take back the sets `names` ("antivirus/base", "base"), or what the last update installed: as
        `databases.update`.
        """
        names = msgspec.convert(arguments.get("names", ()), list[str])
        if len(names) > NAMES_LIMIT or not all(map(_is_set_name, names)):
            raise Unfit("names are those of sets of databases")
        return await self._begin("update", "rollback", *names)

    async def _begin(self, *words: str) -> dict[str, Any]:
        if self._run is not None and not self._run.done():
            raise ControlError("an update is under way: see what came of it in a moment")
        self._run = asyncio.create_task(self._work(words))
        self._run.add_done_callback(lambda run: run.cancelled() or run.exception())  # told below, or by update.json
        done, _ = await asyncio.wait((self._run,), timeout=PATIENCE_S)
        return self._run.result() if done else {"text": "", "changed": False, "under_way": True}

    async def _work(self, words: Sequence[str]) -> dict[str, Any]:
        """Run the updater to its end. ControlError: it did not do it, and why."""
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own program; starting it takes a millisecond
                    [*self._program, *words, "-c", str(self._config_file)],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                raise ControlError(f"the updater cannot be started: {error.strerror}") from error
            try:
                async with asyncio.timeout(LIMIT_S):
                    while process.poll() is None:  # noqa: ASYNC110 - of a process, nothing else tells
                        await asyncio.sleep(_LOOK_S)
            except TimeoutError:
                raise ControlError(f"the updater took longer than {LIMIT_S:.0f} s and was ended") from None
            finally:
                _end(process)
            text = _read_end(said)
        if process.returncode not in {_NOTHING, _CHANGED}:
            raise ControlError(text or f"the updater ended with code {process.returncode}")
        return {
            "text": text or "there is nothing newer",
            "changed": process.returncode == _CHANGED,
            "under_way": False,
        }


def _end(process: "subprocess.Popen[bytes]") -> None:
    """See to it that nothing is left of a run."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
    if process.poll() is None:
        process.kill()
        process.wait()


def _read_end(said: IO[bytes]) -> str:
    size = said.seek(0, 2)
    said.seek(max(0, size - 4 * TEXT_LIMIT))
    return said.read().decode("utf-8", "replace").strip()[-TEXT_LIMIT:]


def _is_set_name(text: str) -> bool:
    kind, slash, name = text.rpartition("/")
    return NAME_FORM.match(name) is not None and (not slash or kind in set(Kind))
