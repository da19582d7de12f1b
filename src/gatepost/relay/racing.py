"""A race: several ways to one thing, each begun a while after the one before it, or as soon as one has failed
(RFC 8305 §5); the first that comes about counts.

Used by `relay.dialling` for the addresses of a host. Knows nothing of what is raced for. Promises: one result at most
is handed out, every other one is dropped, and nothing runs on when `race` has returned or was cancelled.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Finish(msgspec.Struct, Generic[T], frozen=True):
    """How a race ended; places are those of `starts`."""

    winner: int | None
    """None: every way failed."""
    result: T | None
    failed: dict[int, OSError]
    """Why, of those that had failed by then."""
    given_up: list[int]
    """Begun, and not done when another was."""


async def race(
    starts: Sequence[Callable[[], Coroutine[Any, Any, T]]], head_start_s: float, drop: Callable[[T], None]
) -> Finish[T]:
    """Return how it ended. A way fails by OSError; anything else it raises is raised. `drop`: puts away a result that
    came too late.
    """
    running: dict[asyncio.Task[T], int] = {}
    failed: dict[int, OSError] = {}
    begun = 0
    try:
        while begun < len(starts) or running:
            if begun < len(starts):
                running[asyncio.create_task(starts[begun]())] = begun
                begun += 1
            pause_s = head_start_s if begun < len(starts) else None
            await asyncio.wait(running, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            for task, place in list(running.items()):
                if not task.done():
                    continue
                del running[task]
                try:
                    result = task.result()
                except OSError as error:
                    failed[place] = error
                else:
                    return Finish(place, result, failed, list(running.values()))
        return Finish(None, None, failed, [])
    finally:
        await _give_up(running, drop)


async def _give_up(running: dict[asyncio.Task[T], int], drop: Callable[[T], None]) -> None:
    for task in running:
        task.cancel()
    for late in await asyncio.gather(*running, return_exceptions=True):
        if not isinstance(late, BaseException):
            drop(late)
