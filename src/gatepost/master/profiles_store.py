"""The directory of the rule set, written whole. Called by `master.profiles` and `gatepost rules import`.

A set has many files, and a crash between two of them must not leave a third set that nobody wrote. So all of them are
written to a directory beside (`STAGED`) that gets its name when it is complete; from then on it is what is read
(`config.profiles_files`), until every file is in its place. Files that are none of a set stay as they are.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gatepost.config.profiles_files import STAGED, read_rule_set
from gatepost.model.profile import RuleSet
from gatepost.storage.whole_file import replace_file

DIRECTORIES: Final = ("profiles", "emails", "iplists", "dnsbl", "samples")
_FILES: Final = ("profiles.toml", "settings.toml", "hidden.toml")
_MODE: Final = 0o640
_DIRECTORY_MODE: Final = 0o750
_BEGUN: Final = ".begun"
"""A staged directory that is not complete."""


def put_rule_set(directory: Path, files: Mapping[str, str]) -> None:
    """Have a directory hold exactly this set (`config.profiles_files.build_files`). OSError: all is as it was."""
    if directory.is_dir():
        finish(directory)
        begun, place, owner = directory / _BEGUN, directory / STAGED, directory.stat()
    else:
        directory.parent.mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
        begun, place, owner = directory.with_name(f".{directory.name}{_BEGUN}"), directory, directory.parent.stat()
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(_DIRECTORY_MODE)
    _give(begun, owner)
    for name, text in files.items():
        _write(begun / name, text, owner)
    begun.rename(place)
    _sync(place.parent)
    # It counts from here on. What cannot be put in its place now is tried again with the next save, and at a start.
    with contextlib.suppress(OSError):
        finish(directory)


def finish(directory: Path) -> bool:
    """Bring to its end what was broken off, if anything was; tell whether. OSError."""
    staged = directory / STAGED
    if not staged.is_dir():
        return False
    owner = directory.stat()
    wanted = {path.relative_to(staged): path for path in staged.rglob("*") if path.is_file()}
    for name, path in wanted.items():
        raw = path.read_bytes()
        place = directory / name
        if not place.is_file() or place.read_bytes() != raw:
            _write(place, raw.decode(), owner)
    for path in _members(directory):
        if path.relative_to(directory) not in wanted:
            path.unlink()
    shutil.rmtree(staged)
    return True


def signature_of(directory: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return what tells that nobody has changed the files of a set since; () where there is none. OSError."""
    if not directory.is_dir():
        return ()
    paths = [*_members(directory), directory / STAGED]
    stats = [(path.name, path.stat()) for path in paths if path.exists()]
    return tuple((name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


def read_files(files: Mapping[str, str], scratch: Path) -> tuple[RuleSet, str]:
    """Return the set that these files are, and what is wrong with it in words; `scratch` is a directory to be used up.
    OSError.
    """
    for name, text in files.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    rules, problems = read_rule_set(scratch)
    return rules, "\n".join(str(problem).removeprefix(f"{scratch}/") for problem in problems)


def _members(directory: Path) -> list[Path]:
    """Return the files of a set that are there."""
    found = [directory / name for name in _FILES if (directory / name).is_file()]
    for name in DIRECTORIES:
        found += sorted((directory / name).glob("*.toml"))
    return found


def _write(path: Path, text: str, owner: os.stat_result) -> None:
    if not path.parent.is_dir():
        path.parent.mkdir(_DIRECTORY_MODE)
        _give(path.parent, owner)
    replace_file(path, text.encode(), mode=_MODE, owner=owner)


def _give(path: Path, owner: os.stat_result) -> None:
    """Give what root has made to whom the directory belongs."""
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
