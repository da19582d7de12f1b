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
"""Files looked at for one command."""
READ_BYTES: Final = 256 * 1024


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
        if isinstance(error, FileNotFoundError) and _below(os.path.normpath(path), [*roots, *directories]):
            raise
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
        yield path, os.open(again, os.O_RDONLY | os.O_CLOEXEC)
        return
    directory = os.open(again, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    seen = 0
    try:
        for place, _, names, at in os.fwalk(".", dir_fd=directory, follow_symlinks=False):
            for name in sorted(names):
                seen += 1
                if seen > FILES_LIMIT:
                    raise TooLarge(f"more than {FILES_LIMIT} files")
                try:
                    if not stat.S_ISREG(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                        continue
                    found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
                except FileNotFoundError:
                    continue  # gone meanwhile
                yield str(Path(path, place, name)), found
    finally:
        os.close(directory)


def _below(path: str, directories: list[str]) -> bool:
    return any(path == each or path.startswith(each.rstrip("/") + "/") for each in directories)
