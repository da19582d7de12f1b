"""Carries out a migration: first a copy of each file that will be changed, then the files, last the stamp.

Called with the directory's lock held. Each file changes in one transaction, and the stamp names the newer format only
when all have it: a migration that is cut off goes on at the next start, and no file is ever half changed. The copies
stay below `migrations/` until the administrator deletes them; those that were cut off are made anew.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw
import msgspec

from gatepost import __version__
from gatepost.config.schema import Config
from gatepost.migration.parts import Kind, Part
from gatepost.migration.plan import MigrationError, Move, Plan, open_alone
from gatepost.migration.stamp import Stamp, write_stamp
from gatepost.storage.whole_file import replace_file

COPIES: Final = "migrations"
"""Directory below the state directory."""
LIST: Final = "files.json"
"""What each copy is of."""
SPARE: Final = 64 * 1024 * 1024
"""Bytes that must stay free on a disk that copies go to."""
_PAGES: Final = 1024

Say = Callable[[str], None]


class Copy(msgspec.Struct, frozen=True):
    """A file as it was."""

    copy: str
    """Its name beside the list."""
    place: str
    """Where it was."""
    version: int


def carry_out(plan: Plan, config: Config, now: float, *, copies: bool = True, say: Say = lambda _: None) -> Path | None:
    """Do what was planned; return where the copies are, None when there are none. MigrationError.

    `say` is told of each file. After an error those done stay done, and doing it again does the rest.
    """
    state = Path(config.relay.state_path)
    kept = None
    try:
        if plan.moves and copies:
            kept = _copy_all(plan, state, now)
        if plan.end < plan.start:
            # Cut off on the way back it is not of the newer format any more: a newer program brings the rest up again.
            write_stamp(state, Stamp(plan.end, __version__, now))
        for move in plan.moves:
            _move(move)
            say(f"{move.path}: version {move.start} → {move.end}")
        write_stamp(state, Stamp(plan.end, __version__, now))
    except (OSError, apsw.Error) as error:
        where = f"; as it was before: {kept}" if kept is not None else ""
        raise MigrationError(
            f"the state directory could not be brought to format {plan.end}: {error}{where}"
        ) from error
    return kept


def _copy_all(plan: Plan, state: Path, now: float) -> Path:
    needed = sum(_size(move.path) for move in plan.moves)
    free = shutil.disk_usage(state).free
    if needed + SPARE > free:
        raise MigrationError(
            f"copies of what will be changed need {needed // 1024**2 + 1} MiB in {state}, {free // 1024**2} MiB are "
            "free: make room, or go without them (gatepost migrate --no-copies)"
        )
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    (state / COPIES).mkdir(0o700, exist_ok=True)
    for each in (state / COPIES).glob("*-format-*-to-*"):
        if not (each / LIST).exists():
            shutil.rmtree(each, ignore_errors=True)  # of an attempt that was cut off before it had changed anything
    folder = Path(tempfile.mkdtemp(prefix=f"{stamp}-format-{plan.start}-to-{plan.end}-", dir=state / COPIES))
    made = []
    for number, move in enumerate(plan.moves, start=1):
        name = f"{number:04}-{move.part.name}-{move.path.name}"
        _copy(move, folder / name)
        made.append(Copy(name, str(move.path), move.start))
    for path in folder.iterdir():
        sync_path(path)
    # The list last: copies with one are whole.
    replace_file(folder / LIST, msgspec.json.format(msgspec.json.encode(made)) + b"\n")
    _give(state, state / COPIES, folder, *folder.iterdir())
    for path in (folder, state / COPIES, state):
        sync_path(path)
    return folder


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in (path, path.with_name(f"{path.name}-wal")) if each.exists())


def _copy(move: Move, target: Path) -> None:
    if move.part.kind is Kind.JSON:
        shutil.copyfile(move.path, target)
    else:
        with open_alone(move.path) as source:
            connection = apsw.Connection(str(target))
            try:
                with connection.backup("main", source, "main") as work:
                    while not work.done:
                        work.step(_PAGES)
                connection.execute("PRAGMA journal_mode=DELETE")
            finally:
                connection.close()
    target.chmod(0o600)


def _give(state: Path, *paths: Path) -> None:
    """Give what root has made to whose the state directory is."""
    if os.geteuid() == 0:
        owner = state.stat()
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def sync_path(path: Path) -> None:
    """Have a file's bytes, or the names in a directory, on the disk. OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move(move: Move) -> None:
    """Bring one file to its version, in one transaction."""
    if move.part.kind is Kind.JSON:
        raise MigrationError(f"{move.path}: there is no step from version {move.start} to {move.end}")
    statements = plan_steps(move.part, move.start, move.end)
    with open_alone(move.path) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={move.end}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def plan_steps(part: Part, start: int, end: int) -> list[str]:
    """Return the SQL that leads from one version of a part to another, either way. MigrationError: there is none."""
    try:
        if end >= start:
            return [part.steps[number].up for number in range(start, end)]
        return [part.steps[number].down for number in range(start - 1, end - 1, -1)]
    except KeyError as missing:
        raise MigrationError(f"{part.title}: there is no step from version {start} to {end}") from missing
