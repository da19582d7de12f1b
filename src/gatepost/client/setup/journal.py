"""What set-up has changed, so that it can be undone: `apply_plan`, `undo`, `applied`.

Below the state directory each mail system has a directory with a copy of every file as it was and as it became, and
`journal.json`, which is complete and synced before the first file changes. Promises: whenever set-up is interrupted,
`undo` puts every file back byte for byte, with mode and owner; a file that somebody has edited since is never
overwritten unless that is forced, and is then kept below `edited` of the state directory. What others can write is not
believed: whoever calls `undo`, as a rule root, would write what they say where they say.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gatepost.client.setup.files import describe_difference, read_state, write_state
from gatepost.client.setup.values import FileState, Plan, SetupError

JOURNAL: Final = "journal.json"
EDITED: Final = "edited"
_PLAN_FILES: Final = 100
_DIRECTORY_MODE: Final = 0o755
"""Of directories made for a mail system: its programs and ours read them as other users."""


class Side(msgspec.Struct, frozen=True):
    """A file's state without its content, which is in a file of its own."""

    sha256: str
    mode: int
    uid: int
    gid: int


class Step(msgspec.Struct, frozen=True):
    """One file of the journal."""

    path: str
    before: Side | None
    after: Side | None
    ours: bool = False


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What was done for one mail system."""

    system: str
    mode: str
    at: int
    """Unix seconds."""
    steps: tuple[Step, ...]
    directories: tuple[str, ...] = ()
    """Made for it, the outer first; removed with it when nothing else is in them."""
    complete: bool = False
    """False: it was interrupted; undo it."""


class Conflict(msgspec.Struct, frozen=True):
    """A file that is neither as set-up left it nor as it was before."""

    path: str
    difference: str
    """From what set-up left to what is there."""
    copy: Path
    """Where a forced undo keeps what is there; only when there is something."""


def applied(state: Path) -> list[Journal]:
    """Return the journals of all mail systems that are set up. SetupError."""
    try:
        directories = sorted(state.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(state, error) from None
    return [_read(each) for each in directories if _is_begun(each)]


def journal_of(state: Path, system: str) -> Journal | None:
    """Return the journal of a mail system, None when it is not set up. SetupError."""
    return _read(state / system) if _is_begun(state / system) else None


def apply_plan(plan: Plan, state: Path, now: int, *, after_step: Callable[[int], None] = lambda _: None) -> None:
    """Do what a plan says. `after_step` is told the number of files changed so far. SetupError: nothing was changed.

    OSError: it broke off; `undo` puts back what was changed.
    """
    directory = state / plan.system
    if journal_of(state, plan.system) is not None:
        raise SetupError(f"{plan.system} is set up already; undo that first: gatepost client undo {plan.system}")
    _require_own(state)
    if len(plan.changes) > _PLAN_FILES:
        raise SetupError("more files than set-up ever changes")
    for change in plan.changes:
        if Path(change.path).is_symlink():
            # Undo would leave a file where the link was.
            raise SetupError(f"{change.path} is a symbolic link: put the file itself there, or name its directory")
        if read_state(Path(change.path)) != change.before:
            raise SetupError(f"{change.path} has changed meanwhile; look at the difference again")
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.mkdir(exist_ok=True, mode=0o700)
        steps = tuple(Step(each.path, _side(each.before), _side(each.after), each.ours) for each in plan.changes)
        for number, each in enumerate(plan.changes):
            for name, side in (("before", each.before), ("after", each.after)):
                if side is not None:
                    write_state(directory / f"{number}.{name}", _private(side.content))
        journal = Journal(
            system=plan.system, mode=plan.mode, at=now, steps=steps, directories=_missing_directories(plan)
        )
        _write(directory, journal)
    except OSError as error:
        raise SetupError(f"{directory} cannot be written: {error.strerror}; run this as root") from None
    for name in journal.directories:
        Path(name).mkdir(exist_ok=True)
        Path(name).chmod(_DIRECTORY_MODE)
    for number, change in enumerate(plan.changes, start=1):
        write_state(Path(change.path), change.after)
        after_step(number)
    _write(directory, msgspec.structs.replace(journal, complete=True))


def conflicts(state: Path, journal: Journal) -> list[Conflict]:
    """Return the files that somebody has edited since. SetupError."""
    found = []
    for number, step in enumerate(journal.steps):
        there = read_state(Path(step.path))
        if not step.ours and _side(there) not in {step.before, step.after}:
            left = _load(state / journal.system, number, "after", step.after)
            copy = state / EDITED / f"{_digest(there.content if there else b'')[:12]}-{Path(step.path).name}"
            found.append(Conflict(step.path, describe_difference(step.path, left, there), copy))
    return found


def undo(state: Path, journal: Journal, *, force: bool = False) -> list[str]:
    """Put all files back as they were; return which. SetupError: somebody has edited one since, and not `force`.

    OSError: it broke off; called again it goes on.
    """
    edited = conflicts(state, journal)
    if edited and not force:
        names = ", ".join(each.path for each in edited)
        raise SetupError(f"edited since set-up: {names}. Nothing was changed; --force puts them back all the same")
    for each in edited:
        if (there := read_state(Path(each.path))) is not None:
            each.copy.parent.mkdir(mode=0o700, exist_ok=True)
            write_state(each.copy, _private(there.content))
    directory = state / journal.system
    copies = [_load(directory, number, "before", step.before) for number, step in enumerate(journal.steps)]
    changed = []
    for step, before in zip(reversed(journal.steps), reversed(copies), strict=True):
        there = read_state(Path(step.path))
        if step.ours and _side(there) not in {step.before, step.after}:
            continue
        if there != before:
            write_state(Path(step.path), before)
            changed.append(step.path)
    for name in reversed(journal.directories):
        path = Path(name)
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    # First the journal: without it the copies mean nothing, with it they all must be there.
    (directory / JOURNAL).unlink()
    shutil.rmtree(directory)
    return changed


def _missing_directories(plan: Plan) -> tuple[str, ...]:
    missing: dict[str, None] = {}
    for change in plan.changes:
        above = [each for each in Path(change.path).parents if not each.exists()]
        missing |= {str(each): None for each in reversed(above)}
    return tuple(missing)


def _load(directory: Path, number: int, name: str, side: Side | None) -> FileState | None:
    if side is None:
        return None
    kept = read_state(directory / f"{number}.{name}")
    if kept is None or _digest(kept.content) != side.sha256:
        raise SetupError(f"{directory}/{number}.{name} is damaged: nothing was changed")
    return FileState(kept.content, side.mode, side.uid, side.gid)


def _private(content: bytes) -> FileState:
    return FileState(content, 0o600, os.geteuid(), os.getegid())


def _side(state: FileState | None) -> Side | None:
    return None if state is None else Side(_digest(state.content), state.mode, state.uid, state.gid)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(directory: Path, journal: Journal) -> None:
    write_state(directory / JOURNAL, _private(msgspec.json.format(msgspec.json.encode(journal)) + b"\n"))


def _require_own(path: Path) -> None:
    """SetupError: somebody else can write there, who could have whoever undoes it write any file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if found.st_uid not in {0, os.geteuid()} or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SetupError(f"{path} can be written by others: it is not believed (chown root, chmod go-w, or --state)")


def _is_begun(directory: Path) -> bool:
    try:
        return stat.S_ISREG((directory / JOURNAL).lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(directory, error) from None


def _unreadable(path: Path, error: OSError) -> SetupError:
    return SetupError(f"{path}: {error.strerror}; run this as root")


def _read(directory: Path) -> Journal:
    for each in (directory.parent, directory, directory / JOURNAL):
        _require_own(each)
    try:
        return msgspec.json.decode((directory / JOURNAL).read_bytes(), type=Journal)
    except OSError as error:
        raise _unreadable(directory, error) from None
    except ValueError as error:
        raise SetupError(f"{directory / JOURNAL} is damaged: {error}") from None
