"""Faults of our own: told in a line, and none of them unseen.

Used by the processes that have a log. What a callback raises, or a task that nobody waits for, the event loop would
tell standard error, which of a daemon leads nowhere.
"""

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def describe_fault(error: BaseException) -> str:
    """Return an unexpected exception with the place it came from, as one line for the log."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def log_unhandled(loop: asyncio.AbstractEventLoop, say: Callable[[str, str], None], name: str) -> None:
    """Have what nobody handles in the loop logged by `say(level, text)`, with the process's `name`. That a peer
    hung up is no fault of ours.
    """

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        hung_up = isinstance(error, OSError) and ("transport" in context or "protocol" in context)
        if isinstance(error, Exception) and not hung_up:
            say("E", f"{name}: internal error: {describe_fault(error)}")

    loop.set_exception_handler(handle)
