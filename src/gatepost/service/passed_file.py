"""Files that a client hands over by a descriptor, or names below allowed directories.

Used by `service.clamd_door`. Promises: nothing outside the allowed directories is ever opened for reading, whatever
links and dots a path has and whoever changes them meanwhile; only regular files are read, so nobody can make a reader
wait.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FILES_LIMIT: Final = 10_000
"""Files and directories looked at for one command."""
DEPTH_LIMIT: Final = 40
"""Directories within each other: each is open while what is below it is looked at."""
READ_BYTES: Final = 256 * 1024
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotAllowed(Exception):  # noqa: N818 - a state
    """This server does not read that."""


class TooLarge(Exception):  # noqa: N818 - a state
    """The file is over the limit."""


def read_descriptor(descriptor: int, limit: int) -> bytes:
    """Return what a regular file holds, from its beginning. NotAllowed, TooLarge, OSError."""
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise NotAllowed("not a regular file")
    if facts.st_size > limit:
        raise TooLarge(f"more than {limit} bytes")
    pieces = []
    at = 0
    while at <= limit and (data := os.pread(descriptor, READ_BYTES, at)):
        pieces.append(data)
        at += len(data)
    if at > limit:
        raise TooLarge(f"more than {limit} bytes")
    return b"".join(pieces)


def open_below(path: str, directories: tuple[str, ...]) -> int:
    """Return a descriptor (O_PATH) of a file or directory that lies below one of the directories; the caller closes it.

    What was really opened is what is looked at, so links on the way lead nowhere else. NotAllowed, FileNotFoundError:
    there is nothing of that name, which is told only of names below them.
    """
    roots = [os.path.realpath(each) for each in directories]
    if not path.startswith("/") or not roots:
        raise NotAllowed("only below scan_paths")
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if _below(os.path.normpath(path), [*roots, *directories]):
            if isinstance(error, FileNotFoundError):
                raise
            if isinstance(error, PermissionError):
                raise NotAllowed("the gateway's user may not open it") from error
        raise NotAllowed("only below scan_paths") from error
    real = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    mode = os.fstat(descriptor).st_mode
    if _below(real, roots) and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return descriptor
    os.close(descriptor)
    raise NotAllowed("only below scan_paths")


def iterate_files(descriptor: int, path: str) -> Iterator[tuple[str, int]]:
    """Yield the regular files of what `open_below` opened: (path as asked for, descriptor to read).

    The caller closes each descriptor. Links within directories are not followed. OSError: one cannot be read. TooLarge:
    there are too many.
    """
    again = f"/proc/self/fd/{descriptor}"
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        yield path, os.open(again, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return
    directory = os.open(again, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from _Walk().files(directory, Path(path), 1)
    finally:
        os.close(directory)


class _Walk:
    """Goes through a tree that others may change, or have made to hold whoever goes through it."""

    def __init__(self) -> None:
        self._seen = 0

    def files(self, directory: int, place: Path, depth: int) -> Iterator[tuple[str, int]]:
        """Yield the files of a directory, then those below. OSError, TooLarge."""
        if depth > DEPTH_LIMIT:
            raise TooLarge(f"more than {DEPTH_LIMIT} directories within each other")
        below = []
        for name in sorted(self._names(directory)):
            try:
                mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    below.append(name)
                if not stat.S_ISREG(mode):
                    continue
                found = os.open(name, _READ | os.O_NONBLOCK, dir_fd=directory)
            except FileNotFoundError:
                continue  # gone meanwhile
            yield str(place / name), found
        for name in below:
            try:
                found = os.open(name, _READ | os.O_DIRECTORY, dir_fd=directory)
            except FileNotFoundError:
                continue
            try:
                yield from self.files(found, place / name, depth + 1)
            finally:
                os.close(found)

    def _names(self, directory: int) -> Iterator[str]:
        with os.scandir(directory) as entries:
            for entry in entries:
                self._seen += 1
                if self._seen > FILES_LIMIT:
                    raise TooLarge(f"more than {FILES_LIMIT} files")
                yield entry.name


def _below(path: str, directories: list[str]) -> bool:
    return any(path == each or path.startswith(each.rstrip("/") + "/") for each in directories)
