"""What is kept of updates: the last run, sets that were rolled back. Written by the updater, read by the master."""

from pathlib import Path
from typing import Final

import msgspec

from gatepost.storage.whole_file import replace_file

DIRECTORY: Final = "updater"
"""Of the updater, below the state directory."""
FILE: Final = "update.json"
LIMIT: Final = 256 * 1024
RESULTS: Final = ("updated", "not-needed", "error", "rolled-back", "unknown")


class UpdateRun(msgspec.Struct, frozen=True, kw_only=True):
    """The last run, and what it must remember."""

    checked: float = 0.0
    """Unix seconds of its end; 0 = never."""
    result: str = "unknown"
    """One of `RESULTS`."""
    source: str = ""
    error: str = ""
    installed: tuple[str, ...] = ()
    """What the last successful run installed ("antivirus/base 7"; earlier versions wrote no kind)."""
    updated: float = 0.0
    """When anything was last installed."""
    pending: tuple[str, ...] = ()
    """Sets ("antivirus/base") that are installed, and of which nobody knows yet that they are in force."""
    skipped: dict[str, int] = {}
    """"antivirus/base": number up to which sets were rolled back and are not taken again."""


def read_run(directory: Path) -> UpdateRun:
    """Return what is kept; nothing when there is nothing, or nothing readable."""
    try:
        with (directory / FILE).open("rb") as file:
            return msgspec.json.decode(file.read(LIMIT), type=UpdateRun)
    except (OSError, ValueError):
        return UpdateRun()


def write_run(directory: Path, run: UpdateRun) -> None:
    """Keep a run. OSError."""
    directory.mkdir(0o750, parents=True, exist_ok=True)
    replace_file(directory / FILE, msgspec.json.encode(run), mode=0o640)
