"""The lock of a store: many use it at once, one alone replaces its index. Ends with the process."""

import contextlib
import fcntl
import os
from collections.abc import Iterator


class StoreLock:
    """A lock file of its own for each opener."""

    def __init__(self, path: str) -> None:
        """Open, or make, the lock file. OSError."""
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Use the store beside others."""
        with self._held(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Use the store while nobody else does."""
        with self._held(fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _held(self, how: int) -> Iterator[None]:
        fcntl.flock(self.descriptor, how)
        try:
            yield
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
