"""Outcomes on their way to disk: order, retries, and that a failure never goes without its report."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import msgspec
import pytest

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.filter.pool import FilterPool
from gatepost.model.envelope import Client, Envelope, Notify, Recipient
from gatepost.model.ids import QueueIds
from gatepost.model.record import Record
from gatepost.model.reply import reply
from gatepost.notices.template import shipped_template
from gatepost.relay import settlement
from gatepost.relay.admission import SessionTable, create_table
from gatepost.relay.delivery import Delivery
from gatepost.relay.jobs import Job, describe_server
from gatepost.relay.outgoing_tls import OutgoingTls
from gatepost.relay.own_mark import OwnMark
from gatepost.relay.reports import Reports
from gatepost.relay.routing import NextHop, Way
from gatepost.relay.saving import Saving
from gatepost.relay.settlement import Settlement
from gatepost.relay.shares import FIRST_WINDOW
from gatepost.relay.suspects import Suspects
from gatepost.relay.tasks import Tasks
from gatepost.relay.work import Work
from gatepost.resolver.resolver import Resolver
from gatepost.spool.interface import ContentRef, NewMessage, Pending, SpoolError, State, Stored
from gatepost.testing.memory_spool import MemorySpool
from gatepost.testing.spool_suite import record

SERVER = describe_server("192.0.2.1", "192.0.2.1:25")
REPORTING_SERVER = describe_server("192.0.2.1", "192.0.2.1:25", reports=True)
RECIPIENTS = tuple(f"r{number}@one.example" for number in range(3))


class Spool(MemorySpool):
    """A spool whose next settlements, or reads of content, can be made to fail."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.settlements: list[tuple[set[int], list[Record], int]] = []
        """(recipients that remain, records, reports) of each that went well."""
        self.refuse_settlements = 0
        self.refuse_content = False

    def settle(
        self,
        message_id: int,
        remaining: Stored | None,
        records: Sequence[Record],
        generated: Sequence[NewMessage] = (),
    ) -> asyncio.Future[None]:
        if self.refuse_settlements:
            self.refuse_settlements -= 1
            failed = asyncio.get_running_loop().create_future()
            failed.set_exception(SpoolError("no space"))
            return failed
        left = {p.recipient for p in remaining.pending} if remaining is not None else set()
        self.settlements.append((left, list(records), len(generated)))
        return super().settle(message_id, remaining, records, generated)

    async def content(self, ref: ContentRef) -> bytes:
        if self.refuse_content:
            raise SpoolError("no descriptor")
        return await super().content(ref)


@pytest.fixture(scope="module")
def config() -> Config:
    loaded = load_text(build_default_config(hostname="gw.example.org"), "test.toml")
    assert loaded.config is not None
    return loaded.config


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "_RETRY_S", 0.0)


async def stored_work(spool: MemorySpool, notify: tuple[Notify, ...] = ()) -> Work:
    staged = spool.stage(7)
    staged.write(b"Subject: x\r\n\r\nbody\r\n")
    stored = Stored(
        id=7,
        source=7,
        state=State.READY,
        received_at=2e9,
        envelope=Envelope("from@two.example", tuple(Recipient(r, notify) for r in RECIPIENTS), Client("192.0.2.9")),
        content=staged.ref,
        prefix=b"",
        pending=tuple(Pending(index, "one.example", 0.0) for index in range(len(RECIPIENTS))),
    )
    await spool.accept(NewMessage(stored, staged), [])
    return Work(stored, None, durable=True)


def run(scenario: Callable[[Spool], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        spool = Spool(asyncio.get_running_loop())
        await spool.start()
        await scenario(spool)

    asyncio.run(whole())


async def turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def jobs_of(work: Work) -> list[Job]:
    jobs = [Job(work, None, [pending]) for pending in work.stored.pending]
    work.jobs = len(jobs)
    return jobs


def test_repeated_write_does_not_bring_back_what_was_delivered_meanwhile() -> None:
    async def scenario(spool: Spool) -> None:
        done: list[Work] = []
        settle = Settlement(
            spool, settled=done.append, reported=lambda _: None, report=lambda *_: None, trouble=lambda _: None
        )
        work = await stored_work(spool)
        jobs = jobs_of(work)
        spool.refuse_settlements = 1  # the first job's part has to be written again ...
        for job in jobs:  # ... while the others end
            later = [p for p in job.pendings if p.recipient == 2]
            settle.outcome(work).records.append(record("tried"))
            work.change(job.pendings, later)
            settle.job_done(work)
        await turns()
        assert [left for left, _, _ in spool.settlements] == [{1, 2}, {2}]
        entry = await spool.fetch(7)
        assert isinstance(entry, Stored)
        assert [p.recipient for p in entry.pending] == [2]
        assert done == [work]

    run(scenario)


def test_a_disk_that_refuses_all_night_is_told_once_for_each_message() -> None:
    async def scenario(spool: Spool) -> None:
        told: list[str] = []
        troubles: list[BaseException] = []
        settle = Settlement(
            spool,
            settled=lambda _: None,
            reported=lambda _: None,
            report=lambda level, text: told.append(f"{level} {text}"),
            trouble=troubles.append,
        )
        work = await stored_work(spool)
        spool.refuse_settlements = 5
        await settle.store(work, None, [])
        assert len(troubles) == 5
        assert len(told) == 1
        assert "outcome not stored, trying again" in told[0]

    run(scenario)


def delivery(spool: Spool, config: Config, troubles: list[BaseException]) -> Delivery:
    reports = Reports(
        spool, QueueIds(1, 0), Saving(lambda *_: None), OwnMark(lambda *_: None), lambda: 1_700_000_000_000
    )
    reports.configure(hostname="gw.example.org", template=shipped_template("dsn"), entire=False, on_relaying=False)
    stage = Delivery(
        spool=spool,
        shard=0,
        table=SessionTable(create_table(), 0, alone=True),
        resolver=Resolver(config),
        pool=cast("FilterPool", None),  # nothing is re-encoded here
        reports=reports,
        own=OwnMark(lambda *_: None),
        suspects=Suspects(spool, 0, lambda *_: None),
        report=lambda *_: None,
        trouble=troubles.append,
        count=lambda _: None,
    )
    stage.configure(config, OutgoingTls(config))
    stage.running = False  # reports stay in the spool
    return stage


REFUSED = reply(550, "5.1.1", "no such user")
TAKEN = reply(250, "2.0.0", "ok")


def test_failure_is_never_settled_before_its_report(config: Config) -> None:
    async def scenario(spool: Spool) -> None:
        troubles: list[BaseException] = []
        stage = delivery(spool, config, troubles)
        work = await stored_work(spool)
        first, second, third = jobs_of(work)
        stage.finished(first, [REFUSED], SERVER, None)  # its report is being made ...
        stage.finished(second, [TAKEN], REPORTING_SERVER, None)  # ... while this is settled at once
        await turns()
        stage.finished(third, [TAKEN], REPORTING_SERVER, None)
        await turns()
        gone_at = next(i for i, (left, _, _) in enumerate(spool.settlements) if 0 not in left)
        assert spool.settlements[gone_at][2] == 1
        assert sum(reports for _, _, reports in spool.settlements) == 1
        assert troubles == []

    run(scenario)


def test_failure_without_its_report_waits_again(config: Config) -> None:
    async def scenario(spool: Spool) -> None:
        stage = delivery(spool, config, [])
        work = await stored_work(spool)
        work.jobs = 1
        spool.refuse_content = True
        stage.finished(Job(work, None, work.stored.pending), [REFUSED, TAKEN, TAKEN], REPORTING_SERVER, None)
        await turns()
        ((left, _, reports),) = spool.settlements
        assert left == {0}
        assert reports == 0

    run(scenario)


def test_recipient_that_was_served_is_not_served_again_for_want_of_a_report(config: Config) -> None:
    async def scenario(spool: Spool) -> None:
        stage = delivery(spool, config, [])
        work = await stored_work(spool, (Notify.SUCCESS,))
        work.jobs = 1
        spool.refuse_content = True
        stage.finished(Job(work, None, work.stored.pending), [TAKEN] * 3, SERVER, None)
        await turns()
        ((left, _, _),) = spool.settlements
        assert left == set()
        assert await spool.fetch(7) is None

    run(scenario)


def test_content_is_counted_once_however_many_jobs_load_it(config: Config) -> None:
    async def scenario(spool: Spool) -> None:
        stage = delivery(spool, config, [])
        work = await stored_work(spool)
        stage._enter(work)
        assert all(await asyncio.gather(*(stage.load(work) for _ in range(3))))
        assert stage._shares.size == work.stored.content.size
        stage._leave(work)
        assert stage._shares.size == 0
        late = Work(work.stored, None, durable=True)
        await stage.load(late)  # a load that ends when the message has left
        assert stage._shares.size == 0

    run(scenario)


def test_task_that_fails_is_heard_of() -> None:
    async def scenario() -> None:
        failures: list[BaseException] = []
        tasks = Tasks(failures.append)

        async def fault() -> None:
            raise KeyError("nobody caught this")

        async def fine() -> None:
            await asyncio.sleep(0)

        tasks.spawn(fault())
        tasks.spawn(fine())
        await turns()
        assert [type(each) for each in failures] == [KeyError]

    asyncio.run(scenario())


def test_slow_destination_leaves_room_for_others(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(spool: Spool) -> None:
        stage = delivery(spool, config, [])
        stage.running = True
        begun: list[int] = []
        monkeypatch.setattr(stage, "_begin", lambda work, _jobs, _hopeless: begun.append(work.stored.id))
        monkeypatch.setattr(stage, "_way_of", lambda _stored, _pending: Way((NextHop("192.0.2.1"),)))
        model = (await stored_work(spool)).stored
        for number in range(FIRST_WINDOW + 5):
            slow = msgspec.structs.replace(model, id=100 + number, pending=(Pending(0, "slow.example", 0.0),))
            stage.submit(Work(slow, None, durable=True))
        assert len(begun) == stage.in_work() == FIRST_WINDOW
        assert stage.room_for("slow.example") == 0
        stage.submit(
            Work(msgspec.structs.replace(model, pending=(Pending(0, "fast.example", 0.0),)), None, durable=True)
        )
        assert begun[-1] == model.id
        assert stage.room() > 0
        stage._leave(stage._work[100])
        assert stage.room_for("slow.example") == 1

    run(scenario)


def test_a_stop_writes_what_peers_have_taken_of_mail_that_is_not_finished(config: Config) -> None:
    async def scenario(spool: Spool) -> None:
        stage = delivery(spool, config, [])
        work = await stored_work(spool)
        first, second, _ = jobs_of(work)
        stage.finished(first, [TAKEN], REPORTING_SERVER, None)  # written at once ...
        await turns()
        stage.finished(second, [TAKEN], REPORTING_SERVER, None)  # ... and this a second later, if there is one
        await stage.stop(0.0)  # the third is under way
        entry = await spool.fetch(7)
        assert isinstance(entry, Stored)
        assert [p.recipient for p in entry.pending] == [2]

    run(scenario)
