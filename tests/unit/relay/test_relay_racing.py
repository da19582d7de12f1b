"""A race: who wins, who is given up, and that nothing is left over."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.support.loop import in_loop

from gatepost.relay.racing import Finish, race

LONG_S = 3600.0
"""A head start that no test waits for."""


class Course:
    """Ways whose ends a test decides; remembers what was begun, cancelled and dropped."""

    def __init__(self, count: int) -> None:
        self.ends = [asyncio.get_running_loop().create_future() for _ in range(count)]
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.dropped: list[str] = []
        self._more = asyncio.Event()

    def starts(self) -> list[Callable[[], Coroutine[Any, Any, str]]]:
        return [lambda place=place: self._run(place) for place in range(len(self.ends))]

    async def _run(self, place: int) -> str:
        self.begun.append(place)
        self._more.set()
        try:
            return await self.ends[place]
        except asyncio.CancelledError:
            self.cancelled.append(place)
            raise

    def race(self, head_start_s: float) -> "asyncio.Task[Finish[str]]":
        return asyncio.create_task(race(self.starts(), head_start_s, self.dropped.append))

    async def until_begun(self, count: int) -> None:
        while len(self.begun) < count:
            self._more.clear()
            await self._more.wait()


@in_loop
async def test_the_first_alone_while_it_has_its_head_start() -> None:
    course = Course(3)
    running = course.race(LONG_S)
    await course.until_begun(1)
    course.ends[0].set_result("first")
    assert await running == Finish(0, "first", {}, [])
    assert course.begun == [0]


@in_loop
async def test_the_next_begins_as_soon_as_one_has_failed() -> None:
    course = Course(3)
    running = course.race(LONG_S)
    await course.until_begun(1)
    refused = ConnectionRefusedError("no")
    course.ends[0].set_exception(refused)
    await course.until_begun(2)
    course.ends[1].set_result("second")
    assert await running == Finish(1, "second", {0: refused}, [])
    assert course.begun == [0, 1]


@in_loop
async def test_a_slow_one_loses_and_is_ended() -> None:
    course = Course(2)
    running = course.race(0.0)
    await course.until_begun(2)
    course.ends[1].set_result("second")
    assert await running == Finish(1, "second", {}, [0])
    assert course.cancelled == [0]
    assert course.dropped == []


@in_loop
async def test_a_slow_one_may_still_win_over_those_begun_after_it() -> None:
    course = Course(3)
    running = course.race(0.0)
    await course.until_begun(3)
    course.ends[0].set_result("first")
    assert await running == Finish(0, "first", {}, [1, 2])
    assert course.cancelled == [1, 2]


@in_loop
async def test_of_two_at_the_same_time_one_is_dropped() -> None:
    course = Course(2)
    running = course.race(0.0)
    await course.until_begun(2)
    course.ends[1].set_result("second")
    course.ends[0].set_result("first")
    assert (await running).result == "first"
    assert course.dropped == ["second"]


@in_loop
async def test_all_fail() -> None:
    course = Course(2)
    running = course.race(0.0)
    await course.until_begun(2)
    errors = [TimeoutError(), ConnectionResetError()]
    for end, error in zip(course.ends, errors, strict=True):
        end.set_exception(error)
    assert await running == Finish(None, None, dict(enumerate(errors)), [])


@in_loop
async def test_a_fault_of_ours_is_raised_and_the_others_are_ended() -> None:
    course = Course(2)
    running = course.race(0.0)
    await course.until_begun(2)
    course.ends[1].set_exception(ValueError("ours"))
    with pytest.raises(ValueError, match="ours"):
        await running
    assert course.cancelled == [0]


@in_loop
async def test_whoever_gives_up_the_race_ends_all_of_it() -> None:
    course = Course(2)
    running = course.race(0.0)
    await course.until_begun(2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert course.cancelled == [0, 1]
