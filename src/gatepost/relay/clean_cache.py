"""The clean-object cache of one relay (rows F-AV-20, F-AV-21): keys of what was found clean, in memory and on disk.

Used by `filter.pool`, for its filters ask; owned by `relay.process`. What a key stands for is the filters' business
(`antivirus.clean_keys`): with other signatures, engines or options it is another key, so nothing is ever taken back.
Promises: bounded, written whole or not at all, at most a minute behind; a file that cannot be used is an empty cache,
and said. Losing it only costs scans.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from gatepost.config.schema import Config
from gatepost.relay.clean_table import CleanTable, Damaged
from gatepost.storage.whole_file import replace_file

SAVE_S: Final = 60.0
"""Pause between two looks whether there is something to write."""
_SIZE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a file that are read: several times what we write."""

Report = Callable[[str, str], None]


class CleanCache:
    """Satisfies `filter.questions.CleanObjects`. Make it, `configure` it, have `run` work, `close` it."""

    def __init__(self, index: int, report: Report) -> None:
        """`index` of the relay, which has a file of its own; `report(level, text)` logs."""
        self._index = index
        self._report = report
        self._table: CleanTable | None = None
        self._path: Path | None = None
        self._changed = False
        self._failed = False

    async def configure(self, config: Config) -> None:
        """Take a (new) configuration into use; with another file, what that file holds."""
        name = Path(config.options.clean_cache_db_filename)
        path = name.with_name(f"{name.stem}-{self._index}{name.suffix}") if config.ave.use_clean_cache else None
        if path == self._path:
            return
        await self.close()
        self._path = path
        self._table = None
        if path is not None:
            table = CleanTable()
            trouble = await asyncio.to_thread(_load, table, path)
            if trouble:
                self._report("W", f"clean-object cache {path} cannot be used, it begins empty: {trouble}")
            self._table = table

    def known(self, keys: Sequence[bytes]) -> bytes:
        """Return a byte for each key: 1 when it is known, 0 when not."""
        return self._table.known(keys) if self._table is not None else bytes(len(keys))

    def add(self, keys: Iterable[bytes]) -> None:
        """Remember these keys."""
        if self._table is not None:
            self._table.add(keys)
            self._changed = True

    async def run(self) -> None:
        """Write what is new now and then. Runs until cancelled."""
        while True:
            await asyncio.sleep(SAVE_S)
            await self.save()

    async def save(self) -> None:
        """Write the cache if there is something new in it."""
        if not self._changed or self._table is None or self._path is None:
            return
        self._changed = False
        stored, path = self._table.store(), self._path
        try:
            await asyncio.to_thread(_write, path, stored)
        except OSError as error:
            self._changed = True
            if not self._failed:
                self._report("W", f"clean-object cache not written to {path}: {error.strerror}")
            self._failed = True
        else:
            self._failed = False

    async def close(self) -> None:
        """Write what is new, for good."""
        await self.save()


def _load(table: CleanTable, path: Path) -> str:
    """Fill the table from a file; return why that is not possible, "" when it is, or there is none."""
    try:
        with path.open("rb") as file:
            table.load(file.read(_SIZE_LIMIT))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    except Damaged as error:
        return str(error)
    return ""


def _write(path: Path, stored: Callable[[], bytes]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, stored())
