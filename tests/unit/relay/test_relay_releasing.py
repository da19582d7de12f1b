"""Releases begun by shards that no relay works any more, recovery at the start, and what the spool refuses."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import msgspec
import pytest
from tests.unit.storage.store_items import NOW, new, open_store, put

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.model.ids import QueueIds, format_queue_id
from gatepost.relay.pipeline import Pipeline
from gatepost.relay.releasing import ReleaseOrder, Releases
from gatepost.relay.saving import Saving
from gatepost.spool.interface import SpoolError, State, Stored
from gatepost.spool.shard import shard_directory
from gatepost.spool.writer import SqliteSpool
from gatepost.storage.container import Event
from gatepost.storage.release import begin_release
from gatepost.testing.spool_suite import new_message


class Bench:
    """Relay 0 of two, with a spool of its own and a store that holds one item."""

    def __init__(self, tmp_path: Path) -> None:
        self.queue = str(tmp_path / "queue")
        self.store = open_store(tmp_path)
        [self.item] = put(self.store, new(b"Subject: held\r\n\r\nbody\r\n"))
        text = build_default_config(state_path=str(tmp_path)).replace("relays = 0", "relays = 2")
        text = text.replace("[policy]\n", f'[policy]\nquarantine_path = "{tmp_path}/store"\n', 1)
        config = load_text(text, "gatepost.toml").config
        assert config is not None
        self.config = config
        self.told: list[str] = []
        self.submitted: list[Stored] = []

    async def __aenter__(self) -> Self:
        self.spool = await self.open_shard(0)
        saving = Saving(lambda *_: None)
        saving.configure(self.config)
        pipeline = SimpleNamespace(
            spool=self.spool,
            saving=saving,
            inspection=SimpleNamespace(look_again=lambda _: None),
            delivery=SimpleNamespace(submit=lambda work: self.submitted.append(work.stored)),
        )
        self.releases = Releases(
            index=0,
            config=lambda: self.config,
            pipelines=lambda: [cast("Pipeline", pipeline)],
            ids=QueueIds(0, 0),
            report=lambda level, text: self.told.append(level + text),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.spool.close()

    async def open_shard(self, number: int) -> SqliteSpool:
        spool = SqliteSpool.open(shard_directory(self.queue, number), asyncio.get_running_loop())
        await spool.start()
        return spool

    def claim(self, shard: int) -> Event:
        wanted = Event("releasing", NOW, shard=shard, who="one", recipients=("x@y.example",), checked=False)
        return begin_release(self.store, self.item, wanted)[0]

    async def release(self, **more: Any) -> Any:
        order = ReleaseOrder(self.store.layout.directory, (self.item,), "two", **more)
        return (await self.releases.release(order))[self.item]

    async def messages(self) -> list[Stored]:
        return [each for each in await self.spool.listing(0, 10) if isinstance(each, Stored)]


def run(tmp_path: Path, scenario: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with Bench(tmp_path) as bench:
            await scenario(bench)

    asyncio.run(whole())


def test_checked_and_unchecked(tmp_path):
    async def scenario(bench: Bench) -> None:
        first = await bench.release()
        second = await bench.release(checked=False, again=True, recipients=("other@b.example",))
        waiting, ready = await bench.messages()
        assert [format_queue_id(each.id) for each in (waiting, ready)] == [first.queue_id, second.queue_id]
        assert (waiting.state, waiting.pending, waiting.kind) == (State.WAITING, (), "")
        assert (ready.state, ready.kind, ready.pending[0].domain) == (State.READY, "released", "b.example")
        assert ready.envelope.sender == "from@one.example"
        assert await bench.spool.content(ready.content) == b"Subject: held\r\n\r\nbody\r\n"
        assert bench.submitted == [ready]

    run(tmp_path, scenario)


def test_what_a_shard_without_relay_has_accepted_is_not_accepted_again(tmp_path):
    async def scenario(bench: Bench) -> None:
        claim = bench.claim(4)
        orphan = await bench.open_shard(4)
        await orphan.accept(new_message(orphan, 77), [], release=claim.release)
        await orphan.close()
        outcome = await bench.release()
        assert outcome.queue_id == format_queue_id(77)
        assert await bench.messages() == []
        assert bench.store.row(bench.item).state == "released"

    run(tmp_path, scenario)


@pytest.mark.parametrize("exists", [True, False])
def test_what_it_has_not_accepted_is_taken_over_as_it_was_ordered(tmp_path, exists):
    async def scenario(bench: Bench) -> None:
        bench.claim(4)
        if exists:
            await (await bench.open_shard(4)).close()
        outcome = await bench.release()
        assert (outcome.refused, outcome.who) == ("", "one")
        [message] = await bench.messages()
        assert [each.address for each in message.envelope.recipients] == ["x@y.example"]
        assert message.kind == "released"

    run(tmp_path, scenario)


def test_while_that_shard_is_in_use_nothing_is_decided(tmp_path):
    async def scenario(bench: Bench) -> None:
        bench.claim(4)
        orphan = await bench.open_shard(4)
        outcome = await bench.release()
        assert "in use" in outcome.refused
        assert await bench.messages() == []
        await orphan.close()

    run(tmp_path, scenario)


@pytest.mark.parametrize("shard", [1, 3])
def test_what_another_relay_has_to_say_is_left_to_it(tmp_path, shard):
    async def scenario(bench: Bench) -> None:
        bench.claim(shard)
        assert (await bench.release()).elsewhere == shard
        assert await bench.messages() == []

    run(tmp_path, scenario)


def test_recovery_ends_what_was_broken_off(tmp_path):
    async def scenario(bench: Bench) -> None:
        bench.claim(0)
        await bench.releases.recover()
        await bench.releases.recover()
        [message] = await bench.messages()
        assert bench.store.row(bench.item).state == "released"
        assert [line for line in bench.told if format_queue_id(message.id) in line]

    run(tmp_path, scenario)


def test_a_spool_that_refuses_leaves_the_item_as_it_was(tmp_path, monkeypatch):
    async def scenario(bench: Bench) -> None:
        async def refuse(*_: object, **__: object) -> None:
            raise SpoolError("no space left for the spool")

        with monkeypatch.context() as patch:
            patch.setattr(SqliteSpool, "accept", refuse)
            outcome = await bench.release()
        assert "no space" in outcome.refused
        assert bench.store.row(bench.item).state == "stored"
        assert (await bench.release()).queue_id

    run(tmp_path, scenario)


def test_an_unknown_item_and_a_directory_that_is_no_store_are_refused(tmp_path):
    async def scenario(bench: Bench) -> None:
        bench.store.delete([bench.item])
        assert "no such message" in (await bench.release()).refused
        order = ReleaseOrder(str(tmp_path / "none"), (bench.item,), "two")
        assert (await bench.releases.release(order))[bench.item].refused
        with pytest.raises(ValueError, match="no address"):
            await bench.releases.release(msgspec.structs.replace(order, recipients=("nobody",)))

    run(tmp_path, scenario)
