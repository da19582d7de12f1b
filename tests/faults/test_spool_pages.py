"""Damaged pages of a shard's database and log: what is lost is what was on them, and the manual's procedure mends the rest."""

import asyncio
import contextlib
import random
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from gatepost.model.record import Held
from gatepost.spool.interface import Corrupt, Pending, SpoolError, State, Stored
from gatepost.spool.writer import SqliteSpool
from gatepost.testing.spool_suite import SMALL, failure_of, new_message, record

MAILS = 200
DOMAINS = 20
PAGE = 4096
INDEXES = ("message_state", "sqlite_autoindex_destination_1", "destination_due", "queue_due", "destination_paused")
TABLES = ("message", "content", "destination", "queue", "outbox", "view", "tally", "shared")
REFUSING = frozenset({"outbox", "tally", "view"})
"""Without them the shard is not opened at all: nothing is done by half."""


def new(spool, number):
    """Every third is not inspected, the others wait for delivery."""
    pending = [Pending(0, f"d{number % DOMAINS}.example", 5.0)] if number % 3 else []
    return new_message(spool, number, SMALL, pending)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A shard with mail in it, cleanly closed, and a second one that was killed: its last commits are in the log only."""
    place = tmp_path_factory.mktemp("sound")

    async def whole():
        spool = SqliteSpool.open(str(place / "relay-0"), asyncio.get_running_loop())
        spool.consume("log", lambda _first, _records: None)
        await spool.start()
        for number in range(1, MAILS):
            await spool.accept(new(spool, number), [record(f"r{number}")])
        spool.confirm("log", 1)
        await spool.accept(new(spool, MAILS), [record("last")])
        shutil.copytree(place / "relay-0", place / "killed")
        await spool.close()

    asyncio.run(whole())
    return place


def root_of(shard, name):
    database = sqlite3.connect(shard / "spool.db")
    try:
        return database.execute("SELECT rootpage FROM sqlite_schema WHERE name=?", (name,)).fetchone()[0]
    finally:
        database.close()


def leaf_of(shard, name):
    """Return the number of a page with rows: the root itself, or the first child of it."""
    page = root_of(shard, name)
    raw = (shard / "spool.db").read_bytes()
    start = (page - 1) * PAGE
    if raw[start] in (0x02, 0x05):  # an interior page: its first cell begins with the number of a child
        cell = int.from_bytes(raw[start + 12 : start + 14], "big")
        page = int.from_bytes(raw[start + cell : start + cell + 4], "big")
    return page


def overwrite(shard, page, *, flips=0):
    with (shard / "spool.db").open("r+b") as file:
        file.seek((page - 1) * PAGE)
        raw = bytearray(file.read(PAGE))
        dice = random.Random(page)
        for at in dice.sample(range(100, PAGE), flips):
            raw[at] ^= dice.randrange(1, 256)
        file.seek((page - 1) * PAGE)
        file.write(raw if flips else b"\xff" * PAGE)


def copy(sound, tmp_path, which="relay-0"):
    return Path(shutil.copytree(sound / which, tmp_path / "relay-0"))


def with_spool(shard, scenario):
    async def whole():
        spool = SqliteSpool.open(str(shard), asyncio.get_running_loop())
        try:
            await spool.start()
            return await scenario(spool)
        finally:
            with contextlib.suppress(SpoolError):
                await spool.close()

    return asyncio.run(whole())


async def found(awaitable):
    """Return what a question brings; a damaged page may only make it fail as a whole, for now."""
    try:
        return await awaitable
    except SpoolError:
        return []


async def survey(spool):
    """Ask for everything, settle all that can be; return ids by what became of them."""
    entries = {}
    for each in await found(spool.waiting(0, MAILS)):
        entries[each.id] = each
    for number in range(DOMAINS):
        for each in await found(spool.due(f"d{number}.example", 9.0, MAILS)):
            entries[each.id] = each
    for each in await found(spool.listing(0, 2 * MAILS)):
        entries[each.id] = each
    corrupt = {number for number, each in entries.items() if isinstance(each, Corrupt)}
    whole = set()
    for number, each in entries.items():
        if isinstance(each, Stored):
            try:
                assert await spool.content(each.content) == SMALL
            except SpoolError:
                corrupt.add(number)
            else:
                whole.add(number)
    return whole, corrupt


@pytest.mark.parametrize("flips", [0, 30], ids=["whole page", "some bytes"])
@pytest.mark.parametrize("name", [*TABLES, *INDEXES])
def test_a_damaged_page_costs_what_is_on_it_and_nothing_is_made_up(sound, tmp_path, name, flips):
    shard = copy(sound, tmp_path)
    overwrite(shard, leaf_of(shard, name), flips=flips)
    result = None
    with contextlib.suppress(SpoolError):
        result = with_spool(shard, survey)
    if result is None:
        assert name in REFUSING
        return
    whole, corrupt = result
    assert whole | corrupt <= set(range(1, MAILS + 1))
    assert len(whole) > MAILS // 4
    if name in INDEXES:
        assert not corrupt


def test_a_damaged_schema_is_named_and_the_file_left_alone(sound, tmp_path):
    shard = copy(sound, tmp_path)
    overwrite(shard, 1)
    before = (shard / "spool.db").read_bytes()
    with pytest.raises(SpoolError, match="cannot open the spool"):
        with_spool(shard, survey)
    assert (shard / "spool.db").read_bytes() == before


def run(*command, given=None):
    return subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def sqlite_command():
    command = shutil.which("sqlite3")
    if command is None:
        pytest.skip("SKIPPED LOUDLY: no sqlite3 program here: the manual's procedure is not tried")
    return command


@pytest.mark.parametrize("name", [*TABLES, *INDEXES])
def test_what_can_be_read_is_saved_into_a_new_file(sound, tmp_path, sqlite_command, name):
    """As docs/manual/recovery.md says, under "A damaged queue"."""
    shard = copy(sound, tmp_path)
    overwrite(shard, leaf_of(shard, name))
    old, fresh = str(shard / "spool.db"), str(shard / "fresh.db")
    dumped = subprocess.run([sqlite_command, old, ".dump"], check=False, capture_output=True, text=True).stdout
    version = run(sqlite_command, old, "PRAGMA user_version").strip()
    lines = ["COMMIT;" if line.startswith("ROLLBACK") else line for line in dumped.splitlines()]
    run(sqlite_command, fresh, given="\n".join([f"PRAGMA user_version={version};", *lines, "DELETE FROM tally;"]))
    Path(fresh).replace(old)
    assert run(sqlite_command, old, "PRAGMA integrity_check").strip() == "ok"

    async def scenario(spool):
        whole, corrupt = await survey(spool)
        counts = await spool.counts()
        assert counts["waiting"] + counts["ready"] >= len(whole)
        assert spool.last_id >= max(whole)
        destinations = await spool.destinations(9.0)
        due = [await spool.due(each.domain, 9.0, MAILS) for each in destinations]
        assert [len(each) for each in due] == [each.waiting for each in destinations]
        if name != "queue":
            assert sum(each.waiting for each in destinations) == counts["ready"]
        await asyncio.gather(*(spool.settle(number, None, [Held(number, 0.0, "gone")]) for number in whole))
        await asyncio.gather(*(spool.remove(number, []) for number in corrupt))
        await spool.accept(new(spool, 5 * MAILS), [record("again")])
        return whole, corrupt

    whole, corrupt = with_spool(shard, scenario)
    assert len(whole) > MAILS // 4
    if name not in {"message", "content", "queue"}:
        assert whole == set(range(1, MAILS + 1))
        assert not corrupt


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
def test_a_damaged_log_leaves_the_state_of_the_last_sound_commit(sound, tmp_path, share):
    """The kill left everything in the log. Whatever stands before the damage is whole, and nothing behind it is half there."""
    shard = copy(sound, tmp_path, "killed")
    log = shard / "spool.db-wal"
    raw = bytearray(log.read_bytes())
    assert len(raw) > 100 * PAGE
    at = 32 + int(share * (len(raw) - 100))
    raw[at : at + 8] = bytes(byte ^ 0xFF for byte in raw[at : at + 8])
    log.write_bytes(raw)

    async def scenario(spool):
        entries = await spool.listing(0, 2 * MAILS)
        assert [each.id for each in entries] == list(range(1, len(entries) + 1))
        assert not any(isinstance(each, Corrupt) for each in entries)
        for each in entries:
            assert await spool.content(each.content) == SMALL
        counts = await spool.counts()
        assert counts["waiting"] == sum(each.state == State.WAITING for each in entries)
        await spool.accept(new(spool, 5 * MAILS), [record("again")])
        return len(entries)

    left = with_spool(shard, scenario)
    assert left < MAILS or share


def test_a_message_whose_page_is_damaged_does_not_stop_its_neighbours(sound, tmp_path):
    shard = copy(sound, tmp_path)
    overwrite(shard, leaf_of(shard, "content"))

    async def scenario(spool):
        whole, corrupt = await survey(spool)
        assert corrupt
        neighbour = min(number for number in whole if number > max(corrupt))
        await spool.hold(min(corrupt), "content cannot be read", [])
        held = await spool.fetch(min(corrupt))
        assert isinstance(held, Corrupt)
        await spool.settle(neighbour, None, [])
        assert await spool.fetch(neighbour) is None
        assert await failure_of(spool.settle(min(corrupt), None, []))

    with_spool(shard, scenario)
