"""Which sets of a database directory are used: `choose_sets`; and the first one, `seed`.

Called by the master at its start and for every reload. Of sets with one name the highest number within the licence's
term is used. The filters' template is told the digests of the chosen manifests (`PinnedSet`), so that what it loads,
now or after a crash, is what was verified here.
"""

import datetime as dt
import enum
import os
import shutil
from importlib.resources import as_file, files
from pathlib import Path

import msgspec

from gatepost.feeds.keys import Keys
from gatepost.feeds.manifest import BadSet, DatabaseSet, Kind, check_set, read_set
from gatepost.feeds.pinned import PinnedSet

MENDING = (
    "Put a good copy in its place (`gatepost bases verify` names what is wrong), or move the directory away: one that "
    "does not exist is made anew with the databases the product comes with."
)


ROLLED_BACK = ".rolled-back"
"""Below a directory of sets: those that were taken back."""


class Trouble(enum.Enum):
    """Why there is no database to work with."""

    UNUSABLE = "unusable"
    """None is there, or none that may be trusted."""
    OUT_OF_TERM = "out of term"
    """All that could be used were issued after the licence's end."""


class BasesError(Exception):
    """No databases can be used. The text says why, and how to mend it."""

    def __init__(self, trouble: Trouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble


class Choice(msgspec.Struct, frozen=True):
    """The sets in use, and what was wrong with others."""

    sets: tuple[PinnedSet, ...]
    troubles: tuple[str, ...] = ()


def choose_sets(bases: Path, trusted: Keys, expiry: dt.date | None, kind: Kind = Kind.ANTIVIRUS) -> Choice:
    """Verify every set below `bases` to its last byte and choose. BasesError when none is left."""
    good: list[DatabaseSet] = []
    troubles: list[str] = []
    for directory in list_sets(bases):
        try:
            database = read_set(directory, trusted)
            check_set(database)
            check_kind(database, kind)
        except BadSet as error:
            troubles.append(f"databases not used: {error}")
        else:
            good.append(database)
    best: dict[str, DatabaseSet] = {}
    for database in good:
        manifest = database.manifest
        if expiry is not None and manifest.issued > expiry:
            troubles.append(
                f"databases not used: {database.directory} was issued on {manifest.issued}, after the licence's end on "
                f"{expiry}"
            )
        elif manifest.name not in best or best[manifest.name].manifest.number < manifest.number:
            best[manifest.name] = database
    if not best:
        raise _no_sets(bases, troubles, Trouble.OUT_OF_TERM if good else Trouble.UNUSABLE)
    chosen = (best[name] for name in sorted(best))
    return Choice(tuple(PinnedSet(str(each.directory), each.facts) for each in chosen), tuple(troubles))


def check_kind(database: DatabaseSet, kind: Kind) -> None:
    """Refuse a set that lies among those of another kind. BadSet."""
    if database.manifest.kind is not kind:
        raise BadSet(f"{database.directory}: a set for {database.manifest.kind}, where those for {kind} lie")


def list_sets(bases: Path) -> list[Path]:
    """Return the directories that should be sets. BasesError."""
    try:
        return sorted(entry for entry in bases.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise BasesError(Trouble.UNUSABLE, f"{bases}: {error.strerror}. {MENDING}") from error


def seed(bases: Path, kind: Kind = Kind.ANTIVIRUS) -> str:
    """Put the packaged set into a directory that is not there yet, or an older one of them into the background.

    Return what was done, "" for nothing. A directory without any packaged set is left alone: somebody wanted it so.
    OSError.
    """
    folder = files(f"gatepost.{kind}") / "rules"
    with as_file(folder) as packaged:
        shipped = read_set(packaged, None).manifest
        place = f"{shipped.name}-{shipped.number}"
        if not bases.exists():
            temporary = bases.with_name(f".{bases.name}.new")
            _copy(packaged, temporary / place)
            temporary.rename(bases)
            return f"{bases} made with the databases the product comes with: {place}"
        numbers = [number for directory in bases.iterdir() if (number := _number(directory, shipped.name)) is not None]
        taken_back = (bases / ROLLED_BACK / place).exists()
        if not numbers or max(numbers) >= shipped.number or (bases / place).exists() or taken_back:
            return ""
        temporary = bases / f".{place}.new"
        _copy(packaged, temporary)
        temporary.rename(bases / place)
    return f"{bases}: {place} of this version of the product added"


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (target, *target.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _number(directory: Path, name: str) -> int | None:
    """Return the number of a set of that name, None when it is none."""
    try:
        manifest = read_set(directory, None).manifest
    except BadSet:
        return None
    return manifest.number if manifest.name == name else None


def _no_sets(bases: Path, troubles: list[str], trouble: Trouble) -> BasesError:
    reason = "\n".join(troubles) or f"{bases} holds no databases"
    if trouble is Trouble.OUT_OF_TERM:
        return BasesError(trouble, f"{reason}\nInstall a licence that covers them, or databases issued before its end.")
    return BasesError(trouble, f"{reason}\n{MENDING}")
