"""The few file operations the spool makes beside SQLite's own.

Everything the spool does to content files and directories goes through a `FileLayer`, so that a test can put a disk
underneath that loses power, fills up or refuses to sync. The database reaches the same disk through its VFS.
"""

# The calls below are the system calls, on purpose.
# ruff: noqa: PTH102, PTH108, PTH116, PTH208

import contextlib
import ctypes
import errno
import os

READ_CHUNK = 1 << 20
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_RENAME = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
"""Not in every C library."""


class FileLayer:
    """The real disk. All paths are absolute or relative to the process; all errors are `OSError`."""

    def create(self, path: str) -> int:
        """Create a file that is not there yet, readable by the owner only; return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, data: bytes) -> None:
        """Append all of `data`."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int) -> None:
        """Make the bytes of the file durable (not its name: `sync_directory`)."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor of `create`."""
        os.close(descriptor)

    def read(self, path: str) -> bytes:
        """Return the whole file."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            chunks = []
            while chunk := os.read(descriptor, READ_CHUNK):
                chunks.append(chunk)
            return b"".join(chunks)
        finally:
            os.close(descriptor)

    def size(self, path: str) -> int:
        """Return the length of the file in bytes."""
        return os.stat(path).st_size

    def unlink(self, path: str) -> None:
        """Remove the file; one that is gone already is no error."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory."""
        return os.listdir(directory)

    def make_directory(self, path: str) -> None:
        """Create a directory for the owner only, unless it is there."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable: what was created, renamed and removed there."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def exchange(self, one: str, other: str) -> None:
        """Let two names change what they name, in one step. EINVAL or ENOSYS: this file system or C library cannot."""
        if _RENAME is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), one)
        if _RENAME(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), one)
