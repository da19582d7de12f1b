"""The pid file: says which process takes the daemon's signals, and keeps a second daemon from using the same file.

Made by `master.daemon`. A lock on the file tells whether its process lives, not the number in it: after a power cut the
number may be another program's, and a gateway must start then without anybody's help.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Self

from gatepost.master.exit_code import ExitCode, StartError

_READ_LIMIT = 64
"""Bytes read of a file that should hold one number."""


class PidFile:
    """A pid file that this process holds."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._fd = descriptor

    @classmethod
    def take(cls, path: Path) -> Self:
        """Make the file and lock it. StartError: another process holds it (41), or it cannot be made (42)."""
        try:
            path.parent.mkdir(0o755, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise StartError(ExitCode.PID_FILE, f"pid file {path} cannot be made: {error.strerror or error}") from error
        try:
            _lock(path, descriptor)
        except StartError:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def write(self, pid: int) -> None:
        """Put a process id in. StartError 42 when the disk does not take it."""
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % pid, 0)
        except OSError as error:
            raise StartError(
                ExitCode.PID_FILE, f"pid file {self._path} cannot be written: {error.strerror or error}"
            ) from error

    def forget(self) -> None:
        """Close it without releasing: in a child, whose parent goes on to hold it."""
        os.close(self._fd)

    def release(self) -> None:
        """Remove it. A directory that this user may not write keeps the file, emptied: nobody is signalled by it."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
        os.close(self._fd)


def read_pid(path: Path) -> int:
    """Return the process id in a pid file, 0 when there is none."""
    try:
        with path.open("rb") as file:
            text = file.read(_READ_LIMIT).strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _lock(path: Path, descriptor: int) -> None:
    text = os.pread(descriptor, _READ_LIMIT, 0).strip()
    if text and not text.isdigit():
        raise StartError(ExitCode.PID_FILE, f"{path} is no pid file: name another with --pid-file")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StartError(
            ExitCode.PID_FILE_EXISTS,
            f"pid file {path} exists, process {text.decode() or '?'} works with it: stop it first",
        ) from error
    if not path.exists() or not os.path.samestat(path.stat(), os.fstat(descriptor)):
        raise StartError(ExitCode.PID_FILE_EXISTS, f"pid file {path}: another start came first")
