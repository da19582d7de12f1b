"""The schedule: how much it takes up of destinations that failed, and what it leaves to operators and to damage."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import msgspec
import pytest

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.filter.pool import FilterPool
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.record import Record
from gatepost.relay import schedule
from gatepost.relay.admission import SessionTable, create_table
from gatepost.relay.delivery import Delivery
from gatepost.relay.outgoing_tls import OutgoingTls
from gatepost.relay.own_mark import OwnMark
from gatepost.relay.reports import Reports
from gatepost.relay.retry import RetryRules
from gatepost.relay.schedule import Schedule
from gatepost.relay.suspects import Suspects
from gatepost.relay.work import Work
from gatepost.resolver.resolver import Resolver
from gatepost.spool import clock
from gatepost.spool.interface import Corrupt, Destination, NewMessage, Pending, SpoolError, State, Stored
from gatepost.testing.memory_spool import MemorySpool

RULES = RetryRules(minimal_backoff_s=60.0, maximal_backoff_s=3600.0, lifetime_s=86400.0)


class Spool(MemorySpool):
    """A spool with damaged entries that cannot be held, and one whose strikes take their time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.damaged: set[int] = set()
        self.hold_calls = 0
        self.strikes_may_go = asyncio.Event()
        self.strikes_may_go.set()

    async def due(self, *arguments: Any) -> list[Stored | Corrupt]:
        found = await super().due(*arguments)
        return [Corrupt(each.id, "bad page") if each.id in self.damaged else each for each in found]

    def hold(self, message_id: int, reason: str, records: Sequence[Record]) -> asyncio.Future[None]:
        if message_id not in self.damaged:
            return super().hold(message_id, reason, records)
        self.hold_calls += 1
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(SpoolError("database disk image is malformed"))
        return failed

    def strike(self, message_ids: Sequence[int]) -> asyncio.Future[None]:
        async def late() -> None:
            await self.strikes_may_go.wait()
            await MemorySpool.strike(self, message_ids)

        return asyncio.ensure_future(late())


class Sender(Delivery):
    """Takes mail into work, and sends none of it."""

    taken: list[Work]
    told: list[int]

    async def tell_of_delay(self, entry: Stored) -> bool:
        self.told.append(entry.id)
        return True

    def submit(self, work: Work) -> None:
        self.taken.append(work)
        self._enter(work)


class World:
    """A schedule over a spool, its delivery, its suspects."""

    def __init__(self, spool: Spool, suspects_up_to: int) -> None:
        self.spool = spool
        config = load_text(build_default_config(hostname="gw.example.org"), "test.toml").config
        assert config is not None
        self.suspects = Suspects(spool, suspects_up_to, lambda *_: None)
        self.log: list[str] = []
        self.delivery = Sender(
            shard=0,
            spool=spool,
            table=SessionTable(create_table(), 0, alone=True),
            resolver=Resolver(config),
            pool=cast("FilterPool", None),
            reports=cast("Reports", None),
            own=OwnMark(lambda *_: None),
            suspects=self.suspects,
            report=lambda *_: None,
            trouble=lambda _: None,
            count=lambda _: None,
        )
        self.delivery.taken = []
        self.delivery.told = []
        self.delivery.configure(config, OutgoingTls(config))
        self.schedule = Schedule(
            spool,
            self.delivery,
            self.suspects,
            report=lambda level, text: self.log.append(f"{level} {text}"),
            trouble=lambda _: None,
        )
        self.schedule.configure(RULES)

    async def store(self, number: int, domain: str) -> None:
        now = clock.now()
        staged = self.spool.stage(number)
        staged.write(b"Subject: x\r\n\r\nbody\r\n")
        stored = Stored(
            id=number,
            source=number,
            state=State.READY,
            received_at=now,
            envelope=Envelope("from@two.example", (Recipient(f"to@{domain}"),), Client("192.0.2.9")),
            content=staged.ref,
            prefix=b"",
            pending=(Pending(0, domain, now - 10.0 + number),),
        )
        await self.spool.accept(NewMessage(stored, staged), [])

    async def looks(self, until: Callable[[], bool]) -> None:
        """Let the schedule look until then, and some looks longer."""
        task = asyncio.create_task(self.schedule.run())
        try:
            async with asyncio.timeout(100):
                while not until():
                    self.delivery.wake.set()
                    await asyncio.sleep(0)
            for _ in range(200):
                self.delivery.wake.set()
                await asyncio.sleep(0)
        finally:
            task.cancel()

    def taken(self) -> list[int]:
        return [work.stored.id for work in self.delivery.taken]


def run(scenario: Callable[[World], Coroutine[Any, Any, None]], suspects_up_to: int = 0) -> None:
    async def whole() -> None:
        spool = Spool(asyncio.get_running_loop())
        await spool.start()
        async with asyncio.timeout(100):
            await scenario(World(spool, suspects_up_to))

    asyncio.run(whole())


def test_a_destination_that_failed_has_one_message_in_hand_until_it_answers() -> None:
    async def scenario(w: World) -> None:
        for number in (1, 2, 3):
            await w.store(number, "dead.example")
        await w.store(4, "well.example")
        await w.spool.back_off(Destination("dead.example", 0, 0.0, 1.0, 3, "451 nobody there"))
        await w.looks(lambda: 4 in w.taken())
        assert sorted(w.taken()) == [1, 4]

    run(scenario)


def test_damage_that_cannot_be_held_delays_no_other_mail() -> None:
    async def scenario(w: World) -> None:
        w.spool.damaged = {1}
        await w.store(1, "one.example")
        await w.store(2, "one.example")
        await w.store(3, "two.example")
        await w.looks(lambda: {2, 3} <= set(w.taken()))
        assert w.spool.hold_calls == 1
        assert any("neither read nor held" in line for line in w.log)

    run(scenario)


def test_a_message_an_operator_acts_on_is_not_taken_up_as_a_suspect() -> None:
    async def scenario(w: World) -> None:
        await w.store(1, "one.example")
        await w.store(2, "one.example")
        w.delivery.claimed.add(1)
        await w.looks(lambda: 2 in w.taken())
        assert w.taken() == [2]

    run(scenario, suspects_up_to=2)


def test_a_suspect_is_in_work_from_the_moment_its_strike_is_asked_for() -> None:
    async def scenario(w: World) -> None:
        await w.store(1, "one.example")
        w.spool.strikes_may_go.clear()
        entry = await w.spool.fetch(1)
        assert isinstance(entry, Stored)
        taking = asyncio.create_task(w.suspects.take([entry], lambda _: None))
        await asyncio.sleep(0)
        assert w.suspects.knows(1)
        w.spool.strikes_may_go.set()
        await taking
        assert w.suspects.knows(1)

    run(scenario, suspects_up_to=1)


def test_of_expired_suspects_none_is_given_up_by_what_was_read_before_an_operator_acted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(w: World) -> None:
        given_up: list[int] = []
        monkeypatch.setattr(w.delivery, "give_up", lambda entry, **_: given_up.append(entry.id))
        for number in (1, 2):
            await w.store(number, "one.example")
            entry = await w.spool.fetch(number)
            assert isinstance(entry, Stored)
            await w.spool.settle(number, msgspec.structs.replace(entry, received_at=1.0), [])
        w.spool.strikes_may_go.clear()  # the first one's strike is being written ...
        task = asyncio.create_task(w.schedule.run())
        while not w.suspects.knows(1):  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)
        await w.spool.hold(2, "wait", [])  # ... when the second is held
        w.spool.strikes_may_go.set()
        while not given_up:  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        task.cancel()
        assert given_up == [1]

    assert schedule.BATCH > 1
    run(scenario, suspects_up_to=1)


def test_senders_of_mail_that_was_held_when_its_turn_came_hear_of_its_delay_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(w: World) -> None:
        w.schedule.configure(msgspec.structs.replace(RULES, delay_report_s=3600.0))
        w.delivery.running = False
        for number in (1, 2):
            await w.store(number, "one.example")
        await w.spool.hold(1, "wait", [])
        start = clock.now()
        monkeypatch.setattr(clock, "now", lambda: start + 4000)
        await w.looks(lambda: bool(w.delivery.told))
        assert set(w.delivery.told) == {2}
        await w.spool.release(1, clock.now(), [])
        monkeypatch.setattr(clock, "now", lambda: start + 8000)
        await w.looks(lambda: 1 in w.delivery.told)

    run(scenario)


def test_mail_dated_by_a_clock_that_was_ahead_hides_none_that_came_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(w: World) -> None:
        w.schedule.configure(msgspec.structs.replace(RULES, delay_report_s=3600.0))
        w.delivery.running = False
        given_up: list[int] = []
        monkeypatch.setattr(w.delivery, "give_up", lambda entry, **_: given_up.append(entry.id))
        start = clock.now()
        for number, ahead_s in ((1, 3 * 86400), (2, 0)):
            at = start + ahead_s
            monkeypatch.setattr(clock, "now", lambda at=at: at)
            await w.store(number, "one.example")
        monkeypatch.setattr(clock, "now", lambda: start + 4000)
        await w.looks(lambda: bool(w.delivery.told))
        assert set(w.delivery.told) == {2}
        monkeypatch.setattr(clock, "now", lambda: start + 86500)
        await w.looks(lambda: bool(given_up))
        assert set(given_up) == {2}

    run(scenario)
