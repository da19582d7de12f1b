"""Which format a state directory has: `format.json`, written by the program that works in it.

Read at each start before anything else of the directory, so that a program never meets what a later one wrote. A
directory without it is fresh, or from before there were formats (`parts.FIRST`).
"""

from pathlib import Path
from typing import Final

import msgspec

from gatepost.storage.whole_file import replace_file

FILE: Final = "format.json"
SIZE_LIMIT: Final = 4096
"""Bytes: it has three short fields."""


class StampError(Exception):
    """The stamp cannot be used; the text says why."""


class Stamp(msgspec.Struct, frozen=True):
    """The format of a state directory."""

    format: int
    """One of `parts.FORMATS`."""
    version: str = ""
    """Of the program that wrote it ..."""
    at: float = 0.0
    """... and when (Unix seconds)."""


def read_stamp(state: Path) -> Stamp | None:
    """Return the stamp of a state directory, None when it has none. StampError."""
    path = state / FILE
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(SIZE_LIMIT), type=Stamp)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise StampError(f"{path} cannot be read: {error}") from error


def write_stamp(state: Path, stamp: Stamp) -> None:
    """Put a stamp on a state directory. OSError."""
    owner = state.stat()
    replace_file(state / FILE, msgspec.json.encode(stamp) + b"\n", mode=0o640, owner=owner)
