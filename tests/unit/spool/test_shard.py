"""Shards are owned by one process each, found again, and adopted when their relay is gone."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gatepost.spool.files import FileLayer
from gatepost.spool.shard import ShardBusy, ShardLock, list_shards, shard_directory
from gatepost.spool.writer import SqliteSpool
from gatepost.testing.spool_suite import LARGE, SMALL, new_message, record


def test_a_shard_has_one_owner(tmp_path):
    directory = shard_directory(str(tmp_path), 0)
    lock = ShardLock(directory)
    with pytest.raises(ShardBusy, match="in use by another process"):
        ShardLock(directory)
    lock.release()
    lock.release()
    ShardLock(directory).release()


def test_the_name_of_a_new_shard_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(FileLayer, "sync_directory", lambda _self, path: synced.append(path))
    ShardLock(f"{tmp_path}/queue/relay-3").release()
    assert synced == [f"{tmp_path}", f"{tmp_path}/queue"]
    ShardLock(f"{tmp_path}/queue/relay-3").release()
    assert len(synced) == 2


def test_only_shards_are_listed_in_number_order(tmp_path):
    assert list_shards(str(tmp_path / "absent")) == []
    for name in ("relay-10", "relay-2", "relay-02", "relay-x", "relay-", "other", "relay-²"):
        (tmp_path / name).mkdir()
    assert list_shards(str(tmp_path)) == [2, 10]


def test_a_shard_that_nobody_holds_opens_with_its_mail(tmp_path):
    queue = str(tmp_path)

    async def leave(relay, message_id, data):
        spool = SqliteSpool.open(shard_directory(queue, relay), asyncio.get_running_loop())
        await spool.start()
        await spool.accept(new_message(spool, message_id, data), [record("in")])
        await spool.close()

    async def whole():
        for relay, message_id, data in ((0, 10, SMALL), (1, 11, LARGE), (2, 12, SMALL)):
            await leave(relay, message_id, data)
        busy = ShardLock(shard_directory(queue, 2))
        assert list_shards(queue) == [0, 1, 2]
        with pytest.raises(ShardBusy):
            SqliteSpool.open(shard_directory(queue, 2), asyncio.get_running_loop())
        spool = SqliteSpool.open(shard_directory(queue, 1), asyncio.get_running_loop())
        await spool.start()
        [found] = await spool.waiting(0, 10)
        assert await spool.content(found.content) == LARGE
        await spool.settle(found.id, None, [])
        await spool.close()
        ShardLock(shard_directory(queue, 1)).release()
        busy.release()

    asyncio.run(whole())


def test_an_owner_that_is_killed_leaves_an_unclean_shard(tmp_path):
    directory = str(tmp_path / "relay-0")
    program = f"""
import asyncio
from gatepost.spool.writer import SqliteSpool
from gatepost.testing.spool_suite import SMALL, LARGE, new_message, record
async def whole():
    spool = SqliteSpool.open({directory!r}, asyncio.get_running_loop())
    await spool.start()
    await spool.accept(new_message(spool, 5, LARGE), [record("in")])
    new_message(spool, 6, LARGE)
    print("accepted", flush=True)
    await asyncio.sleep(60)
asyncio.run(whole())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"accepted\n"
        assert len(list(Path(directory, "content").iterdir())) == 2
        with pytest.raises(ShardBusy):
            ShardLock(directory)
        process.send_signal(signal.SIGKILL)

    async def again():
        spool = SqliteSpool.open(directory, asyncio.get_running_loop())
        assert spool.unclean
        assert spool.last_id == 5
        await spool.start()
        [found] = await spool.waiting(0, 10)
        assert await spool.content(found.content) == LARGE
        await spool.close()
        spool = SqliteSpool.open(directory, asyncio.get_running_loop())
        assert not spool.unclean
        await spool.start()
        await spool.close()

    asyncio.run(again())
    assert len(list(Path(directory, "content").iterdir())) == 1
