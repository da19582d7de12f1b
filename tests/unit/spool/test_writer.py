"""Group commit, hand-over and outbox of the SQLite spool."""

import asyncio

import msgspec
import pytest

from gatepost.spool import database as database_module
from gatepost.spool.database import Database
from gatepost.spool.interface import Destination, Pending, SpoolError
from gatepost.spool.writer import ENTERED_LIMIT, SqliteSpool
from gatepost.testing.faulty_vfs import SimulatedDisk, SimulatedFiles, mounted
from gatepost.testing.spool_suite import LARGE, SMALL, failure_of, new_message, record


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path / "relay-0")


@pytest.fixture
def groups(monkeypatch):
    """Sizes of the groups committed."""
    sizes = []
    commit = Database.commit

    def counting(self, changes, entered, positions):
        sizes.append((len(changes), len(entered), len(positions)))
        return commit(self, changes, entered, positions)

    monkeypatch.setattr(Database, "commit", counting)
    return sizes


def run(directory, scenario, views=()):
    async def whole():
        spool = SqliteSpool.open(directory, asyncio.get_running_loop())
        for name, consumer in views:
            spool.consume(name, consumer)
        await spool.start()
        try:
            await scenario(spool)
        finally:
            await spool.close()

    asyncio.run(whole())


def test_what_one_turn_of_the_loop_asks_for_is_one_commit(directory, groups):
    async def scenario(spool):
        await asyncio.gather(*(spool.accept(new_message(spool, each), []) for each in range(1, 41)))
        await asyncio.gather(*(spool.settle(each, None, []) for each in range(1, 41)))

    run(directory, scenario)
    assert groups == [(40, 0, 0), (40, 0, 0)]


def test_a_group_is_bounded(directory, groups):
    async def scenario(spool):
        await asyncio.gather(*(spool.accept(new_message(spool, each), []) for each in range(1, 301)))
        assert len(await spool.waiting(0, 1000)) == 300

    run(directory, scenario)
    assert groups == [(256, 0, 0), (44, 0, 0)]


def test_free_records_ride_along_with_the_next_commit(directory, groups):
    async def scenario(spool):
        spool.enter([record("refused")])
        spool.confirm("log", 7, b"n")
        await spool.accept(new_message(spool, 1), [])

    run(directory, scenario)
    assert groups == [(1, 1, 1)]


def test_free_records_do_not_wait_for_ever(directory, groups, monkeypatch):
    monkeypatch.setattr("gatepost.spool.writer.IDLE_COMMIT_S", 0.0)
    shown = asyncio.Event()

    async def scenario(spool):
        spool.enter([record("refused")])
        await shown.wait()

    run(directory, scenario, [("log", lambda _first, _records: shown.set())])
    assert groups == [(0, 1, 0)]


def test_free_records_are_bounded_while_the_disk_takes_none(tmp_path):
    async def whole():
        disk = SimulatedDisk()
        with mounted(disk) as vfs:
            spool = SqliteSpool.open(
                str(tmp_path / "relay-0"), asyncio.get_running_loop(), files=SimulatedFiles(disk), vfs=vfs
            )
            seen = []
            spool.consume("log", lambda _first, records: seen.extend(records))
            await spool.start()
            disk.capacity = 0
            for number in range(3):
                spool.enter([record(f"r{number}")] * ENTERED_LIMIT)
                await failure_of(spool.accept(new_message(spool, 1, LARGE[:100_000]), []))
            disk.capacity = None
            await spool.accept(new_message(spool, 2), [])
            await asyncio.sleep(0)
            assert seen == [record("r2")] * ENTERED_LIMIT
            await spool.close()

    asyncio.run(whole())


def test_a_view_that_fails_stops_nobody(directory):
    seen = []
    reported = []

    def failing(_first, _records):
        raise ValueError("view")

    async def scenario(spool):
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["message"]))
        await spool.accept(new_message(spool, 1), [record("in")])
        await asyncio.sleep(0)

    run(directory, scenario, [("bad", failing), ("good", lambda _first, records: seen.extend(records))])
    assert seen == [record("in")]
    assert reported == ["view bad failed at record 1"]


def test_records_all_views_confirmed_are_pruned(directory, monkeypatch):
    monkeypatch.setattr(database_module, "PRUNE_RECORDS", 10)
    kept = []

    async def fill(spool):
        for each in range(1, 41):
            await spool.accept(new_message(spool, each), [record(f"in{each}")])
            spool.confirm("log", each)
            if each <= 25:
                spool.confirm("mail", each)

    async def nothing(_spool):
        pass

    ignore = lambda _first, _records: None  # noqa: E731
    run(directory, fill, [("log", ignore), ("mail", ignore)])
    run(directory, nothing, [("late", lambda first, records: kept.extend(range(first, first + len(records))))])
    assert 15 <= kept[0] <= 26
    assert kept == list(range(kept[0], 41))


def test_a_view_far_behind_gets_all_pages(directory, monkeypatch):
    monkeypatch.setattr("gatepost.spool.writer.REPLAY_ROWS", 3)
    seen = []

    async def fill(spool):
        for each in range(1, 12):
            await spool.accept(new_message(spool, each), [record(f"in{each}")] * 2)

    async def nothing(_spool):
        assert [number for first, count in seen for number in range(first, first + count)] == list(range(1, 23))

    run(directory, fill)
    run(directory, nothing, [("new", lambda first, records: seen.append((first, len(records))))])


def test_one_bad_change_spares_its_neighbours(directory):
    async def scenario(spool):
        await spool.accept(new_message(spool, 1), [record("in1")])
        fine = [spool.accept(new_message(spool, each), [record(f"in{each}")]) for each in (2, 3)]
        bad = [spool.hold(99, "", [record("bad")]), spool.accept(new_message(spool, 1), [record("bad")])]
        unwritable = new_message(spool, 7)
        stored = msgspec.structs.replace(unwritable.stored, kind="\udcff")
        bad.append(spool.accept(msgspec.structs.replace(unwritable, stored=stored), [record("bad")]))
        bad.append(spool.hold(1, "\udcff", [record("bad")]))
        also = spool.settle(1, None, [record("out1")])
        for each in bad:
            await failure_of(each)
        await asyncio.gather(*fine, also)
        assert [each.id for each in await spool.waiting(0, 9)] == [2, 3]

    seen = []
    run(directory, scenario, [("log", lambda first, records: seen.extend(enumerate(records, first)))])
    assert [number for number, _ in seen] == [1, 2, 3, 4]
    assert record("bad") not in [each for _, each in seen]


def test_cancelled_waiters_do_not_hurt(directory):
    async def scenario(spool):
        spool.accept(new_message(spool, 1), []).cancel()
        asked = spool.fetch(1)
        asked.cancel()
        await spool.accept(new_message(spool, 2), [])
        assert [each.id for each in await spool.waiting(0, 9)] == [1, 2]

    run(directory, scenario)


def test_after_close_nothing_is_accepted(directory):
    async def whole():
        spool = SqliteSpool.open(directory, asyncio.get_running_loop())
        await spool.start()
        new = new_message(spool, 1)
        await spool.close()
        await spool.close()
        with pytest.raises(SpoolError, match="closed"):
            await spool.accept(new, [])

    asyncio.run(whole())


def test_content_changes_place_at_the_threshold(directory, tmp_path):
    async def whole():
        spool = SqliteSpool.open(directory, asyncio.get_running_loop(), threshold=1000)
        await spool.start()
        for message_id, size in ((1, 999), (2, 1000), (3, 1001), (4, 100_000)):
            new = new_message(spool, message_id, b"x" * size)
            await spool.accept(new, [])
            assert new.stored.content.in_file == (size > 1000)
        ref = (await spool.fetch(4)).content
        with open(spool.content_file(ref), "rb") as file:  # noqa: ASYNC230, PTH123
            assert file.read() == b"x" * 100_000
        await spool.close()

    asyncio.run(whole())


def test_an_update_of_state_does_not_rewrite_content(tmp_path):
    async def whole():
        disk = SimulatedDisk()
        with mounted(disk) as vfs:
            spool = SqliteSpool.open(
                str(tmp_path / "relay-0"), asyncio.get_running_loop(), files=SimulatedFiles(disk), vfs=vfs
            )
            await spool.start()
            await spool.accept(new_message(spool, 1, SMALL * 5000), [])
            written = []
            write = disk.write
            disk.write = lambda file, offset, data: (written.append(len(data)), write(file, offset, data))
            await spool.strike([1])
            await spool.hold(1, "because", [])
            assert sum(written) < 40_000
            await spool.close()

    asyncio.run(whole())


def test_the_log_does_not_grow_without_end(tmp_path):
    directory = tmp_path / "relay-0"

    async def whole():
        spool = SqliteSpool.open(str(directory), asyncio.get_running_loop(), checkpoint_bytes=200_000)
        await spool.start()
        for message_id in range(1, 200):
            await spool.accept(new_message(spool, message_id, SMALL * 500), [])
            await spool.settle(message_id, None, [])
        assert (directory / "spool.db-wal").stat().st_size < 400_000
        await spool.close()

    asyncio.run(whole())


def test_a_start_gives_back_the_space_of_a_flood(tmp_path, monkeypatch):
    directory = tmp_path / "relay-0"
    monkeypatch.setattr(database_module, "SHRINK_BYTES", 500_000)

    async def flood(spool):
        await asyncio.gather(*(spool.accept(new_message(spool, each, SMALL * 1000), []) for each in range(1, 101)))
        await asyncio.gather(*(spool.settle(each, None, []) for each in range(1, 100)))

    async def after(spool):
        [found] = await spool.waiting(0, 9)
        assert await spool.content(found.content) == SMALL * 1000

    run(str(directory), flood)
    flooded = (directory / "spool.db").stat().st_size
    run(str(directory), after)
    assert (directory / "spool.db").stat().st_size < flooded / 10


def test_very_large_content_is_synced_beside_the_commits(directory, groups):
    data = LARGE * 4

    async def scenario(spool):
        new = new_message(spool, 1, data)
        await spool.accept(new, [record("in")])
        assert await spool.content(new.stored.content) == data

    run(directory, scenario)
    assert groups == [(1, 0, 0)]
    assert len(data) > 1024 * 1024


def test_an_id_in_use_cannot_overwrite_content(directory):
    async def scenario(spool):
        first = new_message(spool, 1, LARGE)
        await spool.accept(first, [])
        second = spool.stage(1)
        with pytest.raises(FileExistsError):
            second.write(LARGE[::-1])
        second.discard()
        assert await spool.content(first.stored.content) == LARGE

    run(directory, scenario)


def test_back_off_of_destinations_without_mail_ends_with_the_next_start(directory):
    """However many domains failed, nothing of those that nobody writes to any more stays for ever."""

    def resting(domain):
        return Destination(domain, 0, 0.0, 4e9, 3, "451 nobody there")

    async def first(spool):
        await spool.accept(new_message(spool, 5, SMALL, [Pending(0, "mail.example", 1.0)]), [])
        await spool.accept(new_message(spool, 6, SMALL, [Pending(0, "held.example", 1.0)]), [])
        await spool.hold(6, "why", [])
        for domain in ("mail.example", "held.example", "empty.example", "paused.example"):
            await spool.back_off(resting(domain))
        await spool.pause("paused.example", paused=True)

    async def second(spool):
        known = await spool.destination_page("", 10)
        assert [each.domain for each in known] == ["held.example", "mail.example", "paused.example"]
        assert all(each.failures == 3 for each in known)

    run(directory, first)
    run(directory, second)
