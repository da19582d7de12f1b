"""The calls about the administrator's own terms: `terms.show`, `.check`, `.save`, `.history`, `.rollback`.

Registered beside the samples (`master.own_samples`) for console and API. The terms are one text file among the own
anti-spam files; each version that was saved is kept. What is saved is read as filters read it first, and put back when
they do not take it.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.file_text import digest_of
from gatepost.control.desk import Arguments, Desk, Refused
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, NotThere, Request, Stale
from gatepost.master.bases_in_force import BASES_STAY
from gatepost.master.configuration_history import History, build_diff
from gatepost.storage.whole_file import replace_file

FILE: Final = "own.terms"
VERSIONS: Final = "terms-history"
TEXT_LIMIT: Final = 256 * 1024
"""Characters: some 10,000 terms. Longer lists are sets of databases (`gatepost bases build`)."""
HISTORY_LIMIT: Final = 50
_MODE: Final = 0o640
_PATIENCE_S: Final = 20.0
"""Less than callers wait for an answer."""


class OwnTerms:
    """The own terms of one gateway."""

    def __init__(
        self,
        directory: Path,
        check: "Callable[[str], dict[str, Any]] | None" = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`directory`: of the own anti-spam files. `check` says of a text what `terms.check` answers."""
        self._read_terms = check or check_by_command
        self._directory = directory
        self._file = directory / FILE
        self._history = History(directory / VERSIONS)
        self._clock = clock
        self._turn = asyncio.Lock()
        self._looks = asyncio.Lock()
        """One text at a time is looked at: each takes a process, and a thread that others need, too."""

    def register(self, desk: Desk) -> None:
        """Register the calls; databases are reloaded by the desk's own call, for whoever saves."""

        async def save(arguments: Arguments, caller: Caller) -> Any:
            return await self._save(desk, str(arguments["text"]), arguments, caller)

        async def roll_back(arguments: Arguments, caller: Caller) -> Any:
            version = await asyncio.to_thread(self._history.read, int(arguments["number"]))
            if version is None:
                raise NotThere(f"version {arguments['number']} is not kept")
            why = {**arguments, "comment": str(arguments.get("comment") or f"back to version {version.number}")}
            return await self._save(desk, version.text, why, caller)

        desk.add("terms.show", Right.CONFIGURATION, self._show)
        desk.add("terms.check", Right.CONFIGURATION, self._check)
        desk.add("terms.history", Right.CONFIGURATION, self._versions)
        desk.add("terms.save", Right.CONFIGURE, save, audited=True, noted=_noted)
        desk.add("terms.rollback", Right.CONFIGURE, roll_back, audited=True)

    async def _show(self, _: Arguments, __: Caller) -> Any:
        """Return {"text", "digest"}."""
        text = await asyncio.to_thread(self._read)
        return {"text": text, "digest": digest_of(text)}

    async def _check(self, arguments: Arguments, _: Caller) -> Any:
        """Return {"problem": "" when `text` can be, "line": where it cannot, "terms", "categories": their numbers}."""
        return await self._look(str(arguments["text"]))

    async def _look(self, text: str) -> dict[str, Any]:
        if len(text) > TEXT_LIMIT:
            told = f"longer than {TEXT_LIMIT} characters: make a set of databases of it (gatepost bases build)"
            return {"problem": told, "line": 0, "terms": 0, "categories": {}}
        async with self._looks:
            return await asyncio.to_thread(self._read_terms, text)

    async def _versions(self, arguments: Arguments, _: Caller) -> Any:
        """Return the newest versions (`limit`), or version `number` with what it changed."""
        number = arguments.get("number")
        return await asyncio.to_thread(
            self._history.rows,
            digest_of(await asyncio.to_thread(self._read)),
            None if number is None else int(number),
            min(HISTORY_LIMIT, int(arguments.get("limit", HISTORY_LIMIT))),
            partial(build_diff, old="before", new="after"),
        )

    async def _save(self, desk: Desk, text: str, arguments: Arguments, caller: Caller) -> Any:
        """Put `text` in the place of the terms with this `digest`, and have filters take it. Stale, ControlError."""
        text = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
        text = f"{text}\n" if text else ""
        found = await self._look(text)
        if found["problem"]:
            raise ControlError(f"line {found['line']}: {found['problem']}" if found["line"] else found["problem"])
        async with self._turn:
            before = await asyncio.to_thread(self._read)
            if digest_of(before) != str(arguments.get("digest", "")):
                raise Stale("the terms have been changed since: look at them anew")
            number = await asyncio.to_thread(self._keep, before, text, arguments, caller)
            try:
                await asyncio.to_thread(self._write, text)
                told = await desk.handle(Request("reloadbases"), caller)
            except ControlError as error:
                if isinstance(error, Refused) or BASES_STAY in str(error):
                    await asyncio.to_thread(self._go_back, number, before)
                raise
            except OSError as error:
                await asyncio.to_thread(self._history.drop, number)
                raise ControlError(f"{self._file}: {error.strerror}") from error
        return {"number": number, "digest": digest_of(text), "told": str(told), **found}

    def _keep(self, before: str, text: str, arguments: Arguments, caller: Caller) -> int:
        try:
            if before:
                self._history.note_found(before, self._clock())
            return self._history.add(
                text, at=self._clock(), who=caller.name, via=caller.via, comment=str(arguments.get("comment", ""))
            )
        except OSError as error:
            raise ControlError(f"{self._directory / VERSIONS}: {error.strerror}") from error

    def _go_back(self, number: int, before: str) -> None:
        self._write(before)
        self._history.drop(number)

    def _read(self) -> str:
        try:
            with self._file.open("rb") as file:
                return file.read(TEXT_LIMIT * 4 + 1).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ControlError(f"{self._file}: {error.strerror}") from error

    def _write(self, text: str) -> None:
        if not text:
            self._file.unlink(missing_ok=True)
            return
        self._directory.mkdir(0o750, parents=True, exist_ok=True)
        replace_file(self._file, text.encode(), mode=_MODE)


def check_by_command(text: str) -> dict[str, Any]:
    """Have `gatepost spam terms check` look at a text: what reads terms has tables the master need not hold."""
    command = [sys.executable, "-m", "gatepost.cli.main", "spam", "terms", "check", "-", "--json"]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, input=text.encode("utf-8", "replace"), check=False, capture_output=True, timeout=_PATIENCE_S
        )
        found: dict[str, Any] = msgspec.json.decode(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise ControlError(f"the terms were not read within {_PATIENCE_S:g} s") from error
    except (OSError, msgspec.MsgspecError) as error:
        raise ControlError(f"the terms cannot be checked: {error}") from error
    return found


def _noted(arguments: Arguments) -> Mapping[str, Any]:
    """Return what the audit log has of a save: the version that is kept has the text."""
    return {"characters": len(str(arguments.get("text", ""))), "comment": str(arguments.get("comment", ""))}
