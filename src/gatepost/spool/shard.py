"""Shards: one directory per relay below the queue path, owned under an exclusive lock that ends with the process.

`relay-0`, `relay-1`, … A shard whose relay no longer exists is adopted whole: another relay locks it and runs a second
spool on it until it is empty (ADR 0001). Nothing is copied, so nothing can be half copied.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from gatepost.spool.files import FileLayer
from gatepost.spool.interface import SpoolError

PREFIX = "relay-"
_MENDED = ".mended-"


class ShardBusy(SpoolError):  # noqa: N818 - a state, named for what it is
    """Another process owns the shard."""


class ShardLock:
    """The exclusive lock on a shard directory, held until `release` or the end of the process."""

    def __init__(self, directory: str) -> None:
        """Create the directory when needed and lock it at once: `ShardBusy` when somebody else has it."""
        self.directory = directory
        try:
            finish_mending(directory)
            _make_durably(Path(directory))
            descriptor = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(f"cannot use the spool directory {directory}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise ShardBusy(f"{directory} is in use by another process") from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the shard up. Harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def mended_name(directory: str) -> str:
    """Return the name under which a mended shard waits for the damaged one to be out of its place."""
    parent, _, name = directory.rpartition("/")
    return f"{parent}/{_MENDED}{name}"


def finish_mending(directory: str) -> None:
    """Put a mended shard in its place when there is none: the repair ended in between. OSError: it cannot be."""
    if not Path(directory).exists():
        with contextlib.suppress(FileNotFoundError):  # there is none, or somebody else was quicker
            Path(mended_name(directory)).rename(directory)
            FileLayer().sync_directory(str(Path(directory).parent))


def _make_durably(directory: Path) -> None:
    """Create a directory and its parents; without their names all mail below is out of reach after a power cut."""
    if not directory.is_dir():
        _make_durably(directory.parent)
        FileLayer().make_directory(str(directory))
        FileLayer().sync_directory(str(directory.parent))


def shard_directory(queue_path: str, relay: int) -> str:
    """Return the directory of relay number `relay`."""
    return f"{queue_path}/{PREFIX}{relay}"


def shard_number(directory: str) -> int:
    """Return the number of the relay a shard's directory belongs to."""
    return int(directory.rpartition(PREFIX)[2])


def list_shards(queue_path: str) -> list[int]:
    """Return the numbers of the shards that exist below the queue path, rising; a mended one on its way counts."""
    numbers = set()
    with contextlib.suppress(FileNotFoundError):
        for name in FileLayer().names(queue_path):
            shard = name.removeprefix(_MENDED)
            number = shard.removeprefix(PREFIX)
            if shard.startswith(PREFIX) and number.isdecimal() and str(int(number)) == number:
                numbers.add(int(number))
    return sorted(numbers)
