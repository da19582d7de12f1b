"""Full, read-only, failing and damaged disks under the spool."""

import asyncio
import errno
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from gatepost.spool.files import FileLayer
from gatepost.spool.interface import ContentCorrupt, Corrupt, Pending, SpoolBroken, SpoolError, Stored
from gatepost.spool.shard import ShardLock
from gatepost.spool.writer import SqliteSpool
from gatepost.testing.faulty_vfs import (
    CONTENT,
    CONTENT_NAMES,
    DATABASE,
    LOG,
    SimulatedDisk,
    SimulatedFiles,
    mounted,
)
from gatepost.testing.spool_suite import LARGE, SMALL, failure_of, new_message, record


def on_disk(tmp_path, disk, scenario, **options):
    async def whole():
        with mounted(disk) as vfs:
            spool = SqliteSpool.open(
                str(tmp_path),
                asyncio.get_running_loop(),
                files=SimulatedFiles(disk),
                vfs=vfs,
                **options,
            )
            await spool.start()
            await scenario(spool)
            try:
                await spool.close()
            except SpoolError:
                assert disk.failing or disk.read_only

    asyncio.run(whole())


@pytest.mark.parametrize("sync", [LOG, CONTENT, CONTENT_NAMES])
def test_failed_sync_breaks_the_spool_for_good(tmp_path, sync):
    disk = SimulatedDisk()

    async def scenario(spool):
        await spool.accept(new_message(spool, 5, LARGE), [])
        disk.failing = frozenset({sync})
        promised = [spool.accept(new_message(spool, each, LARGE), []) for each in (6, 7)]
        for each in promised:
            assert isinstance(await failure_of(each), SpoolBroken)
        disk.failing = frozenset()
        with pytest.raises(SpoolBroken):
            spool.stage(8)
        assert isinstance(await failure_of(spool.settle(5, None, [])), SpoolBroken)
        assert isinstance(await failure_of(spool.fetch(5)), SpoolBroken)

    on_disk(tmp_path, disk, scenario)

    async def restarted(spool):
        assert spool.unclean
        found = await spool.fetch(5)
        assert await spool.content(found.content) == LARGE

    on_disk(tmp_path, disk, restarted)


def test_failed_sync_of_a_checkpoint_breaks_the_spool(tmp_path):
    disk = SimulatedDisk()

    async def scenario(spool):
        disk.failing = frozenset({DATABASE})
        error = None
        for message_id in range(1, 50):
            try:
                await spool.accept(new_message(spool, message_id, SMALL * 100), [])
            except SpoolError as raised:
                error = raised
                break
        assert isinstance(error, SpoolBroken)

    on_disk(tmp_path, disk, scenario, checkpoint_bytes=32 * 1024)


def test_full_disk_refuses_and_recovers(tmp_path):
    disk = SimulatedDisk()
    accepted = []

    async def scenario(spool):
        disk.capacity = disk.used() + 60_000
        refused = 0
        for message_id in range(1, 60):
            try:
                await spool.accept(new_message(spool, message_id, SMALL * 100), [record(f"in{message_id}")])
            except SpoolBroken:
                raise
            except SpoolError:
                refused += 1
            else:
                accepted.append(message_id)
        assert accepted
        assert refused
        assert [each.id for each in await spool.listing(0, 100)] == accepted
        assert (await spool.counts())["waiting"] == len(accepted)
        disk.capacity = None
        await spool.accept(new_message(spool, 100), [record("in100")])
        accepted.append(100)
        assert [each.id for each in await spool.listing(0, 200)] == accepted

    on_disk(tmp_path, disk, scenario)

    async def restarted(spool):
        assert [each.id for each in await spool.listing(0, 200)] == accepted

    on_disk(tmp_path, disk, restarted)


class FullForContent(FileLayer):
    """Has no space when a content file is synced, as a file system with delayed allocation."""

    def sync(self, descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("times", [1, 5])
def test_content_without_space_fails_alone(tmp_path, times):
    async def whole():
        spool = SqliteSpool.open(str(tmp_path / "relay-0"), asyncio.get_running_loop(), files=FullForContent())
        await spool.start()
        large = new_message(spool, 5, LARGE * times)
        refused, fine = spool.accept(large, []), spool.accept(new_message(spool, 6), [])
        error = await failure_of(refused)
        assert not isinstance(error, SpoolBroken)
        await fine
        assert not isinstance(await failure_of(spool.accept(large, [])), SpoolBroken)
        large.content.discard()
        assert [each.id for each in await spool.listing(0, 9)] == [6]
        assert list((tmp_path / "relay-0" / "content").iterdir()) == []
        await spool.close()

    asyncio.run(whole())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_full_tmpfs_refuses_and_recovers(tmp_path):
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "spool-test", str(tmp_path)], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:

        async def whole():
            (tmp_path / "ballast").write_bytes(bytes(400_000))
            spool = SqliteSpool.open(str(tmp_path / "relay-0"), asyncio.get_running_loop())
            await spool.start()
            accepted = []
            refusals = set()
            for message_id in range(1, 100):
                try:
                    new = new_message(spool, message_id, (LARGE if message_id % 5 == 0 else SMALL * 1000))
                except OSError as error:
                    refusals.add(error.errno)
                    continue
                try:
                    await spool.accept(new, [])
                except SpoolBroken:
                    raise
                except SpoolError:
                    new.content.discard()
                else:
                    accepted.append(message_id)
            assert 0 < len(accepted) < 99
            assert refusals <= {errno.ENOSPC}
            found = await spool.listing(0, 200)
            assert [each.id for each in found] == accepted
            for each in found:
                assert len(await spool.content(each.content)) == each.content.size
            (tmp_path / "ballast").unlink()
            for message_id in accepted:
                await spool.settle(message_id, None, [])
            await spool.accept(new_message(spool, 1000), [])
            assert (await spool.counts())["bytes"] == len(SMALL)
            await spool.close()

        asyncio.run(whole())
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_read_only_disk_is_named_at_the_start(tmp_path):
    disk = SimulatedDisk()
    disk.read_only = True

    async def opening():
        with mounted(disk) as vfs, pytest.raises(SpoolError, match="cannot open the spool"):
            SqliteSpool.open(str(tmp_path), asyncio.get_running_loop(), files=SimulatedFiles(disk), vfs=vfs)

    asyncio.run(opening())


def test_disk_that_turns_read_only_refuses_but_still_answers(tmp_path):
    disk = SimulatedDisk()

    async def scenario(spool):
        await spool.accept(new_message(spool, 5), [])
        disk.read_only = True
        error = await failure_of(spool.accept(new_message(spool, 6), []))
        assert not isinstance(error, SpoolBroken)
        found = await spool.fetch(5)
        assert await spool.content(found.content) == SMALL

    on_disk(tmp_path, disk, scenario)


def fill(directory, mails):
    async def whole():
        spool = SqliteSpool.open(directory, asyncio.get_running_loop(), threshold=100_000)
        await spool.start()
        for message_id, data in mails.items():
            await spool.accept(new_message(spool, message_id, data, [Pending(0, "one.example", 5.0)]), [])
        await spool.close()

    asyncio.run(whole())


def ask(directory, scenario):
    async def whole():
        spool = SqliteSpool.open(directory, asyncio.get_running_loop(), threshold=100_000)
        await spool.start()
        await scenario(spool)
        await spool.close()

    asyncio.run(whole())


def test_undecodable_row_is_a_value_and_can_be_held_and_removed(tmp_path):
    directory = str(tmp_path / "relay-0")
    fill(directory, {5: SMALL, 6: SMALL, 7: SMALL})
    with sqlite3.connect(f"{directory}/spool.db") as database:
        database.execute("UPDATE message SET head=? WHERE id=6", (b"\xc1 nonsense",))
    database.close()

    async def scenario(spool):
        found = await spool.due("one.example", 9.0, 10)
        assert [type(each) for each in found] == [Stored, Corrupt, Stored]
        assert found[1].id == 6
        assert "cannot be read" in found[1].what
        await spool.hold(6, found[1].what, [])
        assert [each.id for each in await spool.due("one.example", 9.0, 10)] == [5, 7]
        await spool.remove(6, [])
        assert [each.id for each in await spool.listing(0, 10)] == [5, 7]

    ask(directory, scenario)


def test_lost_short_and_changed_content_is_noticed(tmp_path):
    directory = str(tmp_path / "relay-0")
    fill(directory, {5: LARGE, 6: LARGE, 7: LARGE, 8: SMALL, 9: SMALL, 10: SMALL})
    lost, short, changed_file = sorted(Path(directory, "content").iterdir())
    lost.unlink()
    os.truncate(short, 1000)
    with changed_file.open("r+b") as file:
        file.seek(50)
        file.write(b"\xff")
    with sqlite3.connect(f"{directory}/spool.db") as database:
        database.execute("DELETE FROM content WHERE id=8")
        database.execute("UPDATE content SET data=? WHERE id=9", (SMALL.swapcase(),))
    database.close()

    async def scenario(spool):
        found = await spool.listing(0, 10)
        assert [type(each) for each in found] == [Corrupt, Corrupt, Stored, Corrupt, Stored, Stored]
        for changed in (found[2], found[4]):
            assert isinstance(await failure_of(spool.content(changed.content)), ContentCorrupt)
        assert await spool.content(found[5].content) == SMALL
        for gone in (5, 6, 7, 8, 9):
            await spool.remove(gone, [])
        assert await spool.counts() == {"waiting": 0, "ready": 1, "held": 0, "bytes": len(SMALL)}

    ask(directory, scenario)


def test_damaged_page_costs_only_the_messages_on_it(tmp_path):
    directory = str(tmp_path / "relay-0")
    fill(directory, dict.fromkeys(range(1, 200), SMALL))
    with sqlite3.connect(f"{directory}/spool.db") as database:
        root = database.execute("SELECT rootpage FROM sqlite_schema WHERE name='message'").fetchone()[0]
        page_bytes = database.execute("PRAGMA page_size").fetchone()[0]
    database.close()
    with Path(directory, "spool.db").open("r+b") as file:
        file.seek((root - 1) * page_bytes + 12)
        leaf = int.from_bytes(file.read(2), "big")
        file.seek((root - 1) * page_bytes + leaf)
        child = int.from_bytes(file.read(4), "big")
        file.seek((child - 1) * page_bytes)
        file.write(bytes([0xFF]) * page_bytes)

    async def scenario(spool):
        found = []
        while page := await spool.due("one.example", 9.0, 500, frozenset(each.id for each in found)):
            found += page
        broken = [each for each in found if isinstance(each, Corrupt)]
        assert len(found) == 199
        assert 0 < len(broken) < 30
        sound = [each for each in found if isinstance(each, Stored)]
        assert await spool.content(sound[0].content) == SMALL
        refused = spool.settle(broken[0].id, None, [])
        fine = spool.settle(sound[0].id, None, [])
        assert await failure_of(refused)
        await fine
        await spool.accept(new_message(spool, 1000), [])

    ask(directory, scenario)


def test_file_that_is_no_database_is_named(tmp_path):
    directory = tmp_path / "relay-0"
    directory.mkdir()
    (directory / "spool.db").write_bytes(b"certainly no database at all" * 500)

    async def opening():
        with pytest.raises(SpoolError, match="cannot open the spool"):
            SqliteSpool.open(str(directory), asyncio.get_running_loop())

    asyncio.run(opening())
    ShardLock(str(directory)).release()


def test_database_of_a_newer_version_is_left_alone(tmp_path):
    directory = str(tmp_path / "relay-0")
    fill(directory, {5: SMALL})
    with sqlite3.connect(f"{directory}/spool.db") as database:
        database.execute("PRAGMA user_version=99")
    database.close()

    async def opening():
        with pytest.raises(SpoolError, match="version 99"):
            SqliteSpool.open(directory, asyncio.get_running_loop())

    asyncio.run(opening())
