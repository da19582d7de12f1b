"""A shard written by an earlier version is brought up to date at the start; one of a later version is refused."""

import asyncio

import apsw
import pytest

from gatepost.spool.interface import Pending, SpoolError
from gatepost.spool.schema import VERSION
from gatepost.spool.writer import SqliteSpool
from gatepost.testing.spool_suite import SMALL, new_message


async def write_one(directory):
    spool = SqliteSpool.open(directory, asyncio.get_running_loop())
    await spool.start()
    new = new_message(spool, 5, SMALL, [Pending(0, "one.example", 1.0)])
    await spool.accept(new, [])
    await spool.close()
    return new.stored


def test_version_1_keeps_its_mail_and_learns_to_pause(tmp_path):
    directory = str(tmp_path / "relay-0")

    async def whole():
        stored = await write_one(directory)
        connection = apsw.Connection(f"{directory}/spool.db")
        connection.execute("DROP INDEX destination_paused; ALTER TABLE destination DROP COLUMN paused")
        connection.execute("DROP TABLE release")
        connection.execute("PRAGMA user_version=1")
        connection.close()
        spool = SqliteSpool.open(directory, asyncio.get_running_loop())
        await spool.start()
        assert await spool.fetch(5) == stored
        await spool.pause("one.example", paused=True)
        assert await spool.paused() == ["one.example"]
        assert await spool.destinations(9.0) == []
        assert await spool.released("A#1") is None  # version 3
        await spool.close()

    asyncio.run(whole())


def test_version_to_come_is_refused_and_left_alone(tmp_path):
    directory = str(tmp_path / "relay-0")

    async def whole():
        await write_one(directory)
        connection = apsw.Connection(f"{directory}/spool.db")
        connection.execute(f"PRAGMA user_version={VERSION + 1}")
        connection.close()
        with pytest.raises(SpoolError, match=f"version {VERSION + 1}"):
            SqliteSpool.open(directory, asyncio.get_running_loop())
        connection = apsw.Connection(f"{directory}/spool.db")
        assert connection.pragma("user_version") == VERSION + 1
        connection.close()

    asyncio.run(whole())
