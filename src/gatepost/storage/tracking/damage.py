"""Files of tracking that are damaged on the disk: put aside, so that what comes is written down, and kept, so that
nothing is lost. Called by whoever writes them; a process that has one open must not put it aside.
"""

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

import apsw

from gatepost.storage.whole_file import replace_file

DAMAGED: Final = (apsw.CorruptError, apsw.NotADBError)
"""What SQLite says of a file that no other try will mend."""
ASIDE: Final = ".damaged-"
_NOTE: Final = "suspects"
"""File with the names of those of which one was found damaged while they were open."""

Say = Callable[[str, str], None]
T = TypeVar("T")


def open_sound(path: Path, opener: Callable[[Path], T], say: Say) -> T:
    """Open a file, a new one in the place of one that is damaged. `opener` lets go of what it cannot open. apsw.Error,
    OSError, ValueError.
    """
    try:
        return opener(path)
    except DAMAGED as error:
        _put_aside(path, str(error), say)
        return opener(path)


def note_suspects(directory: Path, paths: Iterable[Path]) -> None:
    """Have these looked through before they are opened again. OSError."""
    replace_file(directory / _NOTE, "\n".join(path.name for path in paths).encode())


def look_at_suspects(directory: Path, say: Say) -> None:
    """Look through what was noted, and put aside what is damaged: a gigabyte takes some seconds. OSError."""
    note = directory / _NOTE
    try:
        names = note.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return
    for path in (directory / Path(name).name for name in names if name):
        trouble = _find_damage(path) if path.is_file() else ""
        if trouble:
            _put_aside(path, trouble, say)
    note.unlink()


def drop_put_aside(directory: Path, before: float, say: Say) -> None:
    """Drop what was put aside before this time: it tells of mail, and is kept no longer than the rest. OSError."""
    for path in directory.glob(f"*{ASIDE}*"):
        since = path.name.rpartition(ASIDE)[2].partition("-")[0]
        if since.isdecimal() and int(since) < before:
            path.unlink(missing_ok=True)
            say("I", f"tracking: {path.name} was put aside as damaged long ago, and was dropped")


def _find_damage(path: Path) -> str:
    connection = apsw.Connection(str(path))
    try:
        [(found,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
    except DAMAGED as error:
        return str(error)
    finally:
        connection.close(force=True)
    return "" if found == "ok" else " ".join(str(found).split())


def _put_aside(path: Path, why: str, say: Say) -> None:
    aside = path.with_name(f"{path.name}{ASIDE}{int(time.time())}")
    for end in ("-shm", "-wal", ""):  # a log that is left behind would be taken for that of the next file
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    say("E", f"tracking: {path.name} is damaged, it was put aside as {aside.name}: {why}")
