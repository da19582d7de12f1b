"""Background tasks of a stage: kept until they end, and none fails unseen.

Used by the stages of a relay. A task that dies silently would leave its message in work, and so undelivered, for as
long as the relay lives.
"""

import asyncio
from collections.abc import Callable, Coroutine


class Tasks:
    """The tasks of one owner."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        """`failed` is told of whatever a task did not handle itself."""
        self._failed = failed
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        """Run a coroutine beside the caller."""
        task = asyncio.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
