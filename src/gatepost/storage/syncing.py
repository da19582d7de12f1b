"""Many files synced at once: `Syncers`. Used by `storage.store` for the messages of one commit.

A file system writes its journal once for all syncs that wait for it together, and once for each that comes alone: on a
disk that others use as well, 32 files took 164 ms one after the other and 30 ms at once.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

THREADS: Final = 8
"""Syncs that wait together. More gain little: a journal's commit takes in all that came during the last."""


class Syncers:
    """Threads that only wait for the disk; started when there is more than one file to be synced."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    def sync(self, descriptors: Sequence[int]) -> list[OSError | None]:
        """Make what is in these files durable; return for each None, or why it is not."""
        if len(descriptors) < 2:
            return list(map(_sync, descriptors))
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sync")
        return list(self._threads.map(_sync, descriptors))

    def close(self) -> None:
        """End the threads; the next use starts them again."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None


def _sync(descriptor: int) -> OSError | None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        return error
    return None
