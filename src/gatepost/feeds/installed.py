"""Sets of databases where they are installed: put in place, taken back, copied, thinned out.

Used by `feeds.updating` and `gatepost update`. Promises: a set is there whole or not at all; nothing that is in use is
changed, only renamed away.
"""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatepost.feeds.bases import ROLLED_BACK
from gatepost.feeds.manifest import MANIFEST_FILE, SIGNATURE_FILE, BadSet, DatabaseSet, Kind, read_set

STAGING: Final = ".update"
"""Below the databases' directories: the rename that installs stays on one file system. Dots are no sets."""
DOWNLOADS: Final = "download"
"""Below the updater's directory: what has come of a file so far."""
KEPT_NUMBERS: Final = 3
"""Of each set, the latest stay installed: what a roll-back goes to."""


class Place(msgspec.Struct, frozen=True):
    """Where things are."""

    directory: Path
    """The updater's own."""
    bases: dict[Kind, Path]


def install(bases: Path, staged: Path) -> Path:
    """Put a staged set in place, by one rename; return where it is. OSError."""
    target = bases / staged.name
    if target.exists():
        _remove(target)  # a broken one of that number, or it would not have been wanted
    _sync(staged)
    staged.rename(target)
    _sync(bases)
    return target


def prune(bases: Path, name: str, in_force: int | None = None) -> list[Path]:
    """Remove all but the latest sets of a name, never the one in force; return what went. OSError."""
    gone = [each for number, each in numbers_of(bases, name)[KEPT_NUMBERS:] if number != in_force]
    for directory in gone:
        _remove(directory)
    return gone


def _remove(directory: Path) -> None:
    """Remove a set: at no moment half of one lies where sets are looked for, which would keep the rest from use."""
    aside = directory.parent / STAGING / f"removed-{directory.name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(exist_ok=True)
    directory.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(OSError):  # others are staged there
        aside.parent.rmdir()


def clear_staging(place: Place, kept: Collection[tuple[Kind, str, int]] = ()) -> None:
    """Remove what runs have left that broke off, but for these sets; without any, what has come of files, too."""
    for kind, bases in place.bases.items():
        names = {f"{name}-{number}" for each, name, number in kept if each is kind}
        staging = bases / STAGING
        for left in staging.iterdir() if staging.is_dir() else ():
            if left.name not in names:
                shutil.rmtree(left, ignore_errors=True)
        with contextlib.suppress(OSError):
            staging.rmdir()
    if not kept:
        shutil.rmtree(place.directory / DOWNLOADS, ignore_errors=True)


def roll_back(place: Place, names: Sequence[tuple[Kind, str]] = (), *, to_nothing: bool = False) -> dict[str, int]:
    """Take back the newest set of each name, or of these, where there is an older one or `to_nothing`; return what is
    not to be taken again ("antivirus/base": number). OSError.
    """
    skipped = {}
    for kind, bases in place.bases.items():
        for name in sorted(set_names(bases)):
            if names and (kind, name) not in names:
                continue
            numbers = numbers_of(bases, name)
            if len(numbers) < (1 if to_nothing else 2):
                continue
            number, directory = numbers[0]
            aside = bases / ROLLED_BACK
            aside.mkdir(exist_ok=True)
            for former in aside.iterdir():
                if former.name.rpartition("-")[0] == name:
                    shutil.rmtree(former, ignore_errors=True)
            directory.rename(aside / directory.name)
            _sync(bases)
            skipped[f"{kind}/{name}"] = number
    return skipped


def copy_bases(place: Place, target: Path) -> list[Path]:
    """Copy the newest set of each name to a directory (`-b DIR`, `BackUpPath`); return the copies. OSError."""
    copies = []
    for kind, bases in place.bases.items():
        for name in sorted(set_names(bases)):
            _, directory = numbers_of(bases, name)[0]
            copy = target / kind / directory.name
            if copy.exists():
                continue
            temporary = copy.with_name(f".{copy.name}.new")
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(directory, temporary)
            temporary.rename(copy)
            copies.append(copy)
    return copies


def _installed(bases: Path) -> Iterator[tuple[str, int, DatabaseSet]]:
    if not bases.is_dir():
        return
    for directory in sorted(bases.iterdir()):
        if directory.is_dir() and not directory.name.startswith("."):
            try:
                database = read_set(directory, None)
            except BadSet:
                continue
            yield database.manifest.name, database.manifest.number, database


def find_kinds(place: Place, text: str) -> list[tuple[Kind, str]]:
    """Return what a person means by "antivirus/base", or by "base": that name among databases of every kind."""
    said, _, name = text.rpartition("/")
    return [(kind, name) for kind in place.bases if said in {"", kind}]


def set_names(bases: Path) -> set[str]:
    """Return the names of the installed sets."""
    return {name for name, _, _ in _installed(bases)}


def numbers_of(bases: Path, name: str) -> list[tuple[int, Path]]:
    """Return the installed sets of a name, the newest first."""
    return sorted(
        ((number, each.directory) for known, number, each in _installed(bases) if known == name), reverse=True
    )


def installed_number(bases: Path, name: str) -> int:
    """Return the highest number of a name, 0 when there is none."""
    return max((number for number, _ in numbers_of(bases, name)), default=0)


def files_of(bases: Path, name: str) -> dict[str, Path]:
    """Return the files of the newest installed set of a name."""
    numbers = numbers_of(bases, name)
    if not numbers:
        return {}
    directory = numbers[0][1]
    database = read_set(directory, None)
    paths = (MANIFEST_FILE, SIGNATURE_FILE, *(entry.path for entry in database.manifest.files))
    return {path: directory / path for path in paths if (directory / path).is_file()}


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
