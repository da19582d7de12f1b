"""Suspects: who gets a strike, who is held, who waits for the last chance."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from gatepost.model.record import Held
from gatepost.relay.suspects import STRIKE_LIMIT, Suspects
from gatepost.spool.interface import State, Stored
from gatepost.testing.memory_spool import MemorySpool
from gatepost.testing.spool_suite import new_message

Scenario = Callable[[MemorySpool, Suspects, list[int]], Awaitable[None]]


def run(scenario: Scenario, messages: int = 3) -> None:
    async def whole() -> None:
        spool = MemorySpool(asyncio.get_running_loop())
        await spool.start()
        for number in range(1, messages + 1):
            await spool.accept(new_message(spool, number), [])
        await scenario(spool, Suspects(spool, messages, lambda _level, _text: None), [])

    asyncio.run(whole())


async def entries(spool: MemorySpool, strikes: int) -> list[Stored]:
    stored = [entry for entry in await spool.waiting(0, 10) if isinstance(entry, Stored)]
    return [msgspec.structs.replace(entry, strikes=strikes) for entry in stored]


async def strikes_of(spool: MemorySpool, message_id: int) -> int:
    entry = await spool.fetch(message_id)
    assert isinstance(entry, Stored)
    return entry.strikes


async def turns() -> None:
    """Let everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_strike_is_written_before_the_start_and_pardoned_after_it() -> None:
    async def scenario(spool: MemorySpool, suspects: Suspects, started: list[int]) -> None:
        await suspects.take(await entries(spool, 0), lambda entry: started.append(entry.id))
        assert started == [1, 2, 3]
        assert await strikes_of(spool, 2) == 1
        assert suspects.knows(2)
        suspects.done(2, remains=True)
        await turns()
        assert await strikes_of(spool, 2) == 0
        assert not suspects.knows(2)
        assert not suspects.is_suspect(2)

    run(scenario)


def test_message_that_had_its_chances_is_held() -> None:
    async def scenario(spool: MemorySpool, suspects: Suspects, started: list[int]) -> None:
        await suspects.take((await entries(spool, STRIKE_LIMIT))[:1], lambda entry: started.append(entry.id))
        held = await spool.fetch(1)
        assert isinstance(held, Stored)
        assert held.state is State.HELD
        assert f"{STRIKE_LIMIT} unclean stops" in held.reason
        assert started == []

    run(scenario)


def test_last_chances_are_taken_one_at_a_time() -> None:
    async def scenario(spool: MemorySpool, suspects: Suspects, started: list[int]) -> None:
        first, second, third = await entries(spool, STRIKE_LIMIT - 1)
        first = msgspec.structs.replace(first, strikes=0)
        await suspects.take([first, third, second], lambda entry: started.append(entry.id))
        await turns()
        assert started == [1]
        assert suspects.knows(2)
        assert suspects.knows(3)
        suspects.done(1, remains=False)
        await turns()
        assert started == [1, 2]
        suspects.done(2, remains=False)
        await turns()
        assert started == [1, 2, 3]

    run(scenario)


def test_later_mail_is_no_suspect() -> None:
    async def scenario(_spool: MemorySpool, suspects: Suspects, _started: list[int]) -> None:
        assert suspects.is_suspect(3)
        assert not suspects.is_suspect(4)

    run(scenario)


def test_record_of_the_hold_goes_with_it() -> None:
    async def scenario(spool: MemorySpool, suspects: Suspects, _started: list[int]) -> None:
        seen: list[object] = []
        spool.consume("test", lambda _first, records: seen.extend(records))
        await suspects.hold(1, "because")
        await turns()
        assert [record.reason for record in seen if isinstance(record, Held)] == ["because"]

    run(scenario)
