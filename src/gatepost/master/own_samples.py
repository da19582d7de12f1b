"""The calls about the administrator's own samples and images: `samples.show`, `samples.add`, `samples.remove`,
`samples.compile`; beside them those about own terms (`own_terms`).

Registered at the desk for the console and the API; the command line does the same itself. Pictures are read by nobody
here: adding and compiling is done by `gatepost spam sample|image` in a process of its own, under limits, for the
master reads no bytes of strangers and stays small.
"""

import asyncio
import base64
import binascii
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError
from gatepost.feeds.own_items import OwnError, OwnItems, Sort
from gatepost.master.own_terms import OwnTerms

ADD_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one item added here; larger ones by the command line."""
SHOWN_LIMIT: Final = 1000
_PATIENCE_S: Final = 25.0
"""Less than callers wait for an answer."""
_WORDS: Final = {Sort.SAMPLE: "sample", Sort.IMAGE: "image"}


class OwnSamples:
    """Samples and images of one gateway."""

    def __init__(self, directory: Path, config_file: Path) -> None:
        self._directory = directory
        self._config_file = config_file
        self._turn = asyncio.Lock()

    def register(self, desk: Desk) -> None:
        """Register the calls."""
        desk.add("samples.show", Right.CONFIGURATION, self._show)
        desk.add("samples.add", Right.CONFIGURE, self._add, audited=True)
        desk.add("samples.remove", Right.CONFIGURE, self._remove, audited=True)
        desk.add("samples.compile", Right.CONFIGURE, self._compile, audited=True)
        OwnTerms(self._directory).register(desk)

    async def _show(self, _: Arguments, __: Caller) -> Any:
        """All items by sort, and whether what filters use is older than they are."""
        return await asyncio.to_thread(self._list)

    def _list(self) -> dict[str, Any]:
        store = OwnItems(self._directory)
        try:
            items = {sort.value: store.items(sort) for sort in Sort}
            stale = self._is_stale()
        except OSError as error:
            raise ControlError(f"{error.filename}: {error.strerror}") from error
        return {
            "counts": {name: len(found) for name, found in items.items()},
            **{name: found[:SHOWN_LIMIT] for name, found in items.items()},
            "stale": stale,
        }

    def _is_stale(self) -> bool:
        """Tell whether something was added or removed since the last compile."""
        for sort, name in ((Sort.SAMPLE, "own.samples"), (Sort.IMAGE, "own.pictures")):
            folder, compiled = self._directory / sort, self._directory / name
            if not folder.is_dir():
                continue
            has_items = any(not path.name.startswith(".") for path in folder.iterdir())
            if compiled.exists() != has_items:
                return True
            if has_items and folder.stat().st_mtime_ns > compiled.stat().st_mtime_ns:
                return True
        return False

    async def _add(self, arguments: Arguments, _: Caller) -> Any:
        """Keep an item: `sort` (`samples`, `images`), `name`, `category`, `text` or base64 `data`, `replace`."""
        sort, name = _sort_of(arguments), _name_of(arguments)
        content = _content_of(arguments)
        if not content:
            raise ControlError("it is empty")
        if len(content) > ADD_LIMIT:
            raise ControlError(f"longer than {ADD_LIMIT} bytes: add it by the command line")
        category = str(arguments.get("category") or ("spam/own" if sort is Sort.SAMPLE else "spam/image"))
        if category.startswith("-"):
            raise ControlError(f"{category[:60]!r} is no category")
        options = [f"--name={name}", f"--category={category}", *(["--replace"] if arguments.get("replace") else [])]
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            return await self._run(_WORDS[sort], "add", file.name, *options)

    async def _remove(self, arguments: Arguments, _: Caller) -> Any:
        """Forget the item `name` of a `sort`."""
        try:
            await asyncio.to_thread(OwnItems(self._directory).remove, _sort_of(arguments), _name_of(arguments))
        except (OwnError, OSError) as error:
            raise ControlError(str(error)) from error
        return "removed; it counts until the next compile"

    async def _compile(self, _: Arguments, __: Caller) -> Any:
        """Put samples and images as they are now in force."""
        return await self._run("sample", "compile")

    async def _run(self, *words: str) -> str:
        """Run `gatepost spam …` on this gateway's configuration; return what it says. ControlError."""
        command = [sys.executable, "-m", "gatepost.cli.main", "spam", *words, "-c", str(self._config_file)]
        async with self._turn:
            try:
                done = await asyncio.to_thread(
                    subprocess.run,
                    command,
                    check=False,
                    capture_output=True,
                    text=True,
                    timeout=_PATIENCE_S,
                    stdin=subprocess.DEVNULL,
                    env=os.environ,
                )
            except subprocess.TimeoutExpired as error:
                raise ControlError(f"gatepost spam {words[0]} {words[1]} took longer than {_PATIENCE_S:g} s") from error
        if done.returncode:
            raise ControlError((done.stderr or done.stdout).strip()[-1000:] or f"ended with {done.returncode}")
        return done.stdout.strip()


def _sort_of(arguments: Arguments) -> Sort:
    try:
        return Sort(str(arguments["sort"]))
    except ValueError:
        raise ControlError("a sort is one of: samples, images") from None


def _name_of(arguments: Arguments) -> str:
    name = str(arguments["name"])
    if not name or name.startswith("-"):
        raise ControlError("an item needs a name that begins with a letter or a digit")
    return name


def _content_of(arguments: Arguments) -> bytes:
    if "data" not in arguments:
        return str(arguments.get("text", "")).encode("utf-8", "replace")
    try:
        return base64.b64decode(str(arguments["data"]), validate=True)
    except binascii.Error as error:
        raise ControlError("the data is no base64") from error
