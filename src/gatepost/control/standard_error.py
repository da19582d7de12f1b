"""Our standard error, for what must not wait for whoever reads it: a terminal that is stopped, a pipe nobody empties.

Used by `control.log` and, for what helpers say, by `master.complaints`. A thread of its own writes, which lives only
while there is something to write; what finds too much waiting is let go, and counted.
"""

import contextlib
import os
import threading
from collections import deque
from typing import Final

WAITING_LIMIT: Final = 256 * 1024
"""Bytes that wait to be written."""
STANDARD_ERROR: Final = 2


class StandardError:
    """One descriptor that is written without waiting."""

    def __init__(self, descriptor: int = STANDARD_ERROR) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._written = threading.Event()
        self._written.set()
        self.lost = 0
        """Bytes that were let go."""

    def put(self, piece: bytes) -> bool:
        """Have a piece written, sometime; False when it is let go."""
        with self._lock:
            if self._bytes + len(piece) > WAITING_LIMIT:
                self.lost += len(piece)
                return False
            self._waiting.append(piece)
            self._bytes += len(piece)
            if not self._written.is_set():
                return True
            self._written.clear()
        # A daemon thread: one that is stuck keeps no process from ending.
        threading.Thread(target=self._write, name="standard-error", daemon=True).start()
        return True

    def settle(self, patience_s: float) -> bool:
        """Wait until all is written, at most so long; tell whether it is."""
        return self._written.wait(patience_s)

    def _write(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._written.set()
                    return
                piece = self._waiting.popleft()
            left = piece
            with contextlib.suppress(OSError):  # it is closed: nobody is there
                while left:
                    left = left[os.write(self._descriptor, left) :]
            with self._lock:
                self._bytes -= len(piece)
