"""Saving beside the event loop: one commit for many, and stores that cannot be written."""

import asyncio
import errno
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import ObjectStatus
from gatepost.model.verdict import ObjectAction, ObjectDecision, Splice, Verdict
from gatepost.relay import saving as saving_module
from gatepost.relay.saving import Saving
from gatepost.relay.work import Work
from gatepost.spool.interface import ContentRef, State, Stored
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import Store, StoreError

CONTENT = b"From: =?utf-8?q?A=C3=A9?= <a@b.example>\r\nSubject: =?utf-8?b?w7w=?= two\r\n lines\r\n\r\nbody\r\n"
BAD = Verdict(
    "policy",
    (ObjectStatus.INFECTED,),
    (ObjectDecision(0, ObjectStatus.INFECTED, ObjectAction.REMOVE, "a.exe", "Worm"),),
    blocked=True,
    reason="because",
)


def work_of(number: int, content: bytes = CONTENT) -> Work:
    envelope = Envelope("a@b.example", (Recipient("c@d.example"),), Client("192.0.2.1"))
    return Work(
        Stored(
            number,
            number,
            State.WAITING,
            5.0,
            envelope,
            ContentRef(number, len(content), in_file=False),
            b"Received: x\r\n",
        ),
        content,
    )


def run(tmp_path: Path, scenario: Callable[[Saving, list[str]], Coroutine[Any, Any, None]]) -> None:
    text = build_default_config(state_path=str(tmp_path)).replace(
        "[path]\n", f'[path]\nincoming_archive_path = "{tmp_path}/in"\noutgoing_archive_path = "{tmp_path}/out"\n'
    )
    config = load_text(text, "gatepost.toml").config
    assert config is not None

    async def whole() -> None:
        told: list[str] = []
        saving = Saving(lambda level, line: told.append(level + line))
        saving.configure(config)
        await scenario(saving, told)
        await saving.close()

    asyncio.run(whole())


def test_an_item_says_what_its_message_is(tmp_path):
    async def scenario(saving: Saving, _: list[str]) -> None:
        work = work_of(1 << 40)
        records = await saving.save(
            [
                *saving.plan_accepted(work, 9.0),
                *saving.plan_disposed(work, work.stored, "policy", BAD, 9.0, changed=False),
            ]
        )
        assert [record.store for record in records] == ["incoming", "backup", "outgoing"]
        with Store(f"{tmp_path}/backup") as store:
            item = store.container(records[1].item).item
            assert (item.subject, item.author) == ("ü two lines", "Aé <a@b.example>")
            assert (item.code, item.statuses, item.reason, item.blocked) == ("INF", ("infected",), "because", True)
            assert (item.objects[0].name, item.objects[0].threat) == ("a.exe", "Worm")
            assert item.prefix == b"Received: x\r\n"
            assert b"".join(store.content(item.id)) == CONTENT
        with Store(f"{tmp_path}/out") as store:
            assert b"".join(store.content(records[2].item)) == CONTENT  # blocked: as it came

    run(tmp_path, scenario)


def test_the_outgoing_archive_holds_what_is_sent(tmp_path):
    async def scenario(saving: Saving, _: list[str]) -> None:
        work = work_of(1 << 40)
        copy = msgspec.structs.replace(work.stored, splices=(Splice(0, 5, b"To: "),))
        verdict = Verdict("policy", (ObjectStatus.CLEAN,))
        [record] = await saving.save(saving.plan_disposed(work, copy, "policy", verdict, 9.0, changed=False))
        with Store(f"{tmp_path}/out") as store:
            assert b"".join(store.content(record.item)) == b"Received: x\r\nTo: " + CONTENT[5:]

    run(tmp_path, scenario)


def test_many_share_commits(tmp_path, monkeypatch):
    batches: list[int] = []
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda self, news: (batches.append(len(news)), put(self, news))[1])

    async def scenario(saving: Saving, _: list[str]) -> None:
        plans = [saving.plan_accepted(work_of(number << 40), 9.0) for number in range(1, 71)]
        await asyncio.gather(*map(saving.save, plans))
        with Store(f"{tmp_path}/in") as store:
            assert store.totals(ItemFilter(), 0.0).items == 70

    run(tmp_path, scenario)
    assert sum(batches) == 70
    assert len(batches) <= 4


def test_a_store_that_fails_is_let_alone_for_a_while_and_told_of_once(tmp_path, monkeypatch):
    monkeypatch.setattr(saving_module, "FIRST_PAUSE_S", 0.05)
    attempts: list[int] = []
    broken = True
    put = Store.put

    def refusing(self: Store, news):
        attempts.append(len(news))
        return [OSError(errno.ENOSPC, "No space left on device")] * len(news) if broken else put(self, news)

    monkeypatch.setattr(Store, "put", refusing)

    async def scenario(saving: Saving, told: list[str]) -> None:
        nonlocal broken
        work = work_of(1 << 40)
        for _ in range(2):
            with pytest.raises(StoreError, match="No space left"):
                await saving.save(saving.plan_accepted(work, 9.0))
        assert len(attempts) == 2
        assert list(saving.troubles()) == [f"{tmp_path}/in"]
        broken = False
        assert len(await saving.save(saving.plan_accepted(work, 9.0))) == 1
        assert saving.troubles() == {}
        assert [line[0] for line in told] == ["E", "I"]
        assert "its mail waits in the queue" in told[0]

    run(tmp_path, scenario)


def test_at_a_stop_nobody_waits_for_a_store(tmp_path, monkeypatch):
    monkeypatch.setattr(saving_module, "FIRST_PAUSE_S", 60.0)
    monkeypatch.setattr(Store, "put", lambda _, news: [OSError(errno.EROFS, "Read-only file system")] * len(news))

    async def scenario(saving: Saving, _: list[str]) -> None:
        work = work_of(1 << 40)
        with pytest.raises(StoreError):
            await saving.save(saving.plan_accepted(work, 9.0))
        waiting = asyncio.ensure_future(saving.save(saving.plan_accepted(work, 9.0)))
        await asyncio.sleep(0)
        assert not waiting.done()
        saving.stop()
        with pytest.raises(StoreError, match="Read-only"):
            await waiting

    run(tmp_path, scenario)


def test_of_those_who_wait_only_some_stay_in_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(saving_module, "FIRST_PAUSE_S", 60.0)
    monkeypatch.setattr(saving_module, "SLEEPERS_LIMIT", 3)
    monkeypatch.setattr(Store, "put", lambda _, news: [OSError(errno.EROFS, "Read-only file system")] * len(news))

    async def scenario(saving: Saving, _: list[str]) -> None:
        work = work_of(1 << 40)
        with pytest.raises(StoreError):
            await saving.save(saving.plan_accepted(work, 9.0))
        waiting = [asyncio.ensure_future(saving.save(saving.plan_accepted(work, 9.0))) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert [each.done() for each in waiting] == [False] * 3 + [True] * 2
        saving.stop()
        assert all(isinstance(each, StoreError) for each in await asyncio.gather(*waiting, return_exceptions=True))

    run(tmp_path, scenario)
