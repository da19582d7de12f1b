"""Damaged pages of a shard's database and log: what is lost is what was on them, and a repair saves the rest."""

import asyncio
import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.support.spool_pages import PAGE, free_pages, leaf_of, overwrite, pages_of, root_of

from gatepost.cli import queue_repair
from gatepost.model.ids import format_queue_id, parse_queue_id
from gatepost.model.record import Held
from gatepost.spool.files import FileLayer
from gatepost.spool.interface import Corrupt, Pending, SpoolError, State, Stored
from gatepost.spool.repair import LEFT, repair
from gatepost.spool.shard import ShardBusy, ShardLock, list_shards
from gatepost.spool.write_ahead_log import read_log
from gatepost.spool.writer import SqliteSpool
from gatepost.testing.spool_suite import SMALL, failure_of, new_message, record

MAILS = 200
DOMAINS = 20
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


def said(_text):
    """What a repair says of its progress is not looked at here."""


def contents_of(shard):
    return {place.name: place.read_bytes() for place in shard.rglob("*") if place.is_file()}


@pytest.mark.parametrize("flips", [0, 30], ids=["whole page", "some bytes"])
@pytest.mark.parametrize("name", [*TABLES, *INDEXES])
def test_what_can_be_read_is_saved_into_a_new_database(sound, tmp_path, name, flips):
    shard = copy(sound, tmp_path)
    overwrite(shard, leaf_of(shard, name), flips=flips)
    before = contents_of(shard)
    tried = repair(str(shard), said, dry_run=True)
    assert contents_of(shard) == before
    assert not tried.kept
    mending = repair(str(shard), said)
    if mending.sound:  # bytes that no row uses
        assert flips
        return
    assert (mending.messages, mending.lost) == (tried.messages, tried.lost)
    assert {name: data for name, data in contents_of(Path(mending.kept)).items() if name in before} == before
    assert repair(str(shard), said).sound

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
    lost = {parse_queue_id(each) for each in mending.lost}
    assert not lost & (whole | corrupt)
    assert {parse_queue_id(each) for each in mending.incomplete} >= corrupt
    if not flips:  # a page of which a part is left may hold rows that look whole and are not
        assert whole | corrupt | lost == set(range(1, MAILS + 1))
        assert {parse_queue_id(each) for each in mending.incomplete} == corrupt
        assert bool(lost) == (name == "message")
        assert mending.left_over == len(lost)
    if name not in {"message", "content", "queue"}:
        assert whole == set(range(1, MAILS + 1))
        assert not corrupt


def test_a_repair_sees_what_is_in_the_log_only(sound, tmp_path):
    shard = copy(sound, tmp_path, "killed")
    overwrite(shard, 2)
    mending = repair(str(shard), said)
    assert mending.sound or mending.messages == MAILS


def test_content_without_its_message_is_put_aside_and_a_large_one_stays_the_same_file(tmp_path):
    large = b"x" * 300_000 + b"\r\n"
    shard = tmp_path / "relay-0"

    async def fill():
        spool = SqliteSpool.open(str(shard), asyncio.get_running_loop())
        await spool.start()
        for number in range(1, MAILS):
            await spool.accept(new_message(spool, number, large if number in {1, MAILS - 1} else SMALL, []), [])
        await spool.close()

    asyncio.run(fill())
    overwrite(shard, leaf_of(shard, "message"))
    mending = repair(str(shard), said)
    lost = [parse_queue_id(each) for each in mending.lost]
    assert 1 in lost
    assert MAILS - 1 not in lost
    left = Path(mending.kept) / LEFT
    assert {parse_queue_id(place.name) for place in left.iterdir()} == set(lost)
    assert (left / format_queue_id(1)).read_bytes() == large
    assert (left / format_queue_id(lost[-1])).read_bytes() == SMALL
    name = format_queue_id(MAILS - 1)
    assert (shard / "content" / name).samefile(Path(mending.kept) / "content" / name)


@pytest.mark.parametrize("damaged", ["destination_due", ""], ids=["damaged", "sound"])
def test_content_that_will_not_be_sent_is_told_before(sound, tmp_path, capsys, damaged):
    shard = copy(sound, tmp_path)
    large = b"x" * 300_000 + b"\r\n"
    numbers = range(5 * MAILS, 5 * MAILS + 4)

    async def fill(spool):
        for number in numbers:
            await spool.accept(new_message(spool, number, large, []), [])

    with_spool(shard, fill)
    files = [shard / "content" / format_queue_id(number) for number in numbers]
    files[0].write_bytes(large.replace(b"x", b"y", 1))
    files[1].write_bytes(large[:-1])
    files[2].unlink()
    database = sqlite3.connect(shard / "spool.db")
    with database:
        database.execute("UPDATE content SET data=? WHERE id=7", (SMALL.swapcase(),))
    database.close()
    if damaged:
        overwrite(shard, leaf_of(shard, damaged))
    expected = sorted(format_queue_id(number) for number in (7, *numbers[:3]))
    tried = repair(str(shard), said, dry_run=True)
    assert (tried.sound, tried.incomplete) == (not damaged, expected)
    mending = repair(str(shard), said)
    assert (mending.sound, mending.incomplete) == (not damaged, expected)
    queue_repair._show(mending, dry_run=False)  # what people are told, of a sound queue, too
    assert f"4 kept, but not whole and never sent, to be removed or exported by you: {' '.join(expected)}" in (
        capsys.readouterr().out
    )

    async def scenario(spool):
        for number in (7, *numbers):
            entry = await spool.fetch(number)
            if format_queue_id(number) in expected:
                assert isinstance(entry, Corrupt) or await failure_of(spool.content(entry.content))
            else:
                assert await spool.content(entry.content) == large

    with_spool(shard, scenario)


def test_a_shard_in_use_one_without_room_and_one_that_cannot_be_read_are_left_alone(sound, tmp_path, monkeypatch):
    shard = copy(sound, tmp_path)
    lock = ShardLock(str(shard))
    with pytest.raises(ShardBusy):
        repair(str(shard), said)
    lock.release()
    overwrite(shard, leaf_of(shard, "queue"))
    before = contents_of(shard)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _place: SimpleNamespace(free=1 << 10))
        with pytest.raises(SpoolError, match="free space"):
            repair(str(shard), said)
    (shard / "spool.db").write_bytes(bytes(64 * PAGE))
    before = contents_of(shard)
    with pytest.raises(SpoolError, match="nothing in it can be read"):
        repair(str(shard), said)
    assert contents_of(shard) == before
    assert [place.name for place in tmp_path.iterdir()] == ["relay-0"]


KILLED = """
import errno, os, sys
from gatepost.spool.files import FileLayer
from gatepost.spool.repair import repair
left = int(sys.argv[2])
def refuse(layer, one, other):
    raise OSError(errno.EINVAL, "Invalid argument", one)
if sys.argv[3] == "no exchange":
    FileLayer.exchange = refuse
def watch(event, arguments):
    global left
    left -= event == "os.rename"
    if left < 0:
        os._exit(9)
sys.addaudithook(watch)
repair(sys.argv[1], lambda text: None)
"""
"""A repair that is killed before its n-th change of a name."""


@pytest.mark.parametrize("names", ["exchange", "no exchange"])
def test_killed_at_any_change_of_a_name_it_leaves_a_shard_that_can_be_mended(sound, tmp_path, monkeypatch, names):
    without = 0
    if names == "no exchange":  # nor for the repair that comes after

        def refuse(_layer, one, _other):
            raise OSError(errno.EINVAL, "Invalid argument", one)

        monkeypatch.setattr(FileLayer, "exchange", refuse)
    for number in range(9):
        place = tmp_path / str(number)
        place.mkdir()
        shard = copy(sound, place)
        overwrite(shard, leaf_of(shard, "message"))
        killed = subprocess.run([sys.executable, "-c", KILLED, shard, str(number), names], check=False).returncode
        without += not shard.exists()
        assert list_shards(str(place)) == [0]  # what a gateway that is started now works with
        again = repair(str(shard), said)
        assert again.sound or again.messages + len(again.lost) == MAILS
        assert again.sound or len(list((Path(again.kept) / LEFT).iterdir())) == len(again.lost)
        assert not [each.name for each in place.iterdir() if each.name.startswith(".")]
        if not killed:
            break
    assert number > 1
    assert not killed
    assert without == (1 if names == "no exchange" else 0)


@pytest.mark.parametrize("finish", [0, 1])
def test_a_start_puts_a_mended_shard_into_an_empty_place(sound, tmp_path, finish):
    """The repair was killed where names cannot be exchanged, between the damaged shard's going and the mended one's coming."""
    for number in range(9):
        place = tmp_path / str(number)
        place.mkdir()
        shard = copy(sound, place)
        overwrite(shard, leaf_of(shard, "destination_due"))
        subprocess.run([sys.executable, "-c", KILLED, shard, str(number), "no exchange"], check=False)
        if not shard.exists():
            break
    assert not shard.exists()
    assert list_shards(str(place)) == [0]
    if finish:  # a repair that is run again does the same
        assert repair(str(shard), said).sound
    whole, corrupt = with_spool(shard, survey)
    assert (len(whole), corrupt) == (MAILS, set())
    assert len(list(place.iterdir())) == 2


def test_without_an_exchange_of_names_two_changes_do(sound, tmp_path, monkeypatch):
    shard = copy(sound, tmp_path)
    overwrite(shard, leaf_of(shard, "message"))
    before = contents_of(shard)

    def refuse(_layer, one, _other):
        raise OSError(errno.EINVAL, "Invalid argument", one)

    monkeypatch.setattr(FileLayer, "exchange", refuse)
    mending = repair(str(shard), said)
    assert {name: data for name, data in contents_of(Path(mending.kept)).items() if name in before} == before
    assert repair(str(shard), said).sound
    assert sorted(place.name for place in tmp_path.iterdir()) == ["relay-0", Path(mending.kept).name]


def test_a_file_that_was_cut_off_gives_what_is_left_of_it(sound, tmp_path):
    shard = copy(sound, tmp_path)
    database = shard / "spool.db"
    os.truncate(database, database.stat().st_size * 9 // 10)
    mending = repair(str(shard), said)
    assert mending.messages > MAILS // 2
    assert mending.messages + len(mending.lost) + mending.nameless == MAILS


def test_messages_of_which_not_even_the_names_are_left_are_counted(sound, tmp_path):
    shard = copy(sound, tmp_path)
    for name in ("message", "message_state", "queue", "queue_due"):
        for page in pages_of(shard, name):
            overwrite(shard, page)
    mending = repair(str(shard), said)
    assert (mending.messages, mending.lost, mending.nameless) == (0, [], MAILS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_run_by_root_it_follows_no_link_of_the_queues_owner(sound, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="gatepost-repair-") as name:
        place = Path(name)
        place.chmod(0o755)
        of_root = place / "of-root"
        of_root.write_text("root's")
        queue = place / "state" / "queue"
        queue.mkdir(parents=True)
        shard = copy(sound, queue)
        overwrite(shard, leaf_of(shard, "message"))
        (shard / "content").mkdir(exist_ok=True)
        (shard / "content" / format_queue_id(10**12)).symlink_to(of_root)
        for each in (queue.parent, *queue.parent.rglob("*")):
            os.chown(each, 65534, 65534, follow_symlinks=False)
        config = SimpleNamespace(path=SimpleNamespace(queue_path=str(queue)))
        monkeypatch.setattr(queue_repair, "load", lambda _file: SimpleNamespace(config=config))
        pid = os.fork()
        if not pid:
            code = 99
            with contextlib.suppress(Exception):
                code = queue_repair.repair_queue(yes=True)
            os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert (of_root.stat().st_uid, of_root.stat().st_mode & 0o777) == (0, 0o644)
        assert {each.lstat().st_uid for each in queue.rglob("*")} == {65534}
        assert repair(str(shard), said).sound


def damage(log, at, length=8):
    raw = bytearray(log.read_bytes())
    assert len(raw) > 100 * PAGE
    raw[at : at + length] = bytes(byte ^ 0xFF for byte in raw[at : at + length])
    log.write_bytes(raw)


def frame(log, share):
    """Return where a frame of the log begins."""
    step = 24 + PAGE
    return 32 + int(share * ((log.stat().st_size - 32) // step)) * step


@pytest.mark.parametrize("place", ["page", "header of the frame", "whole frame"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.5])
def test_a_damaged_log_is_not_cut_off_in_silence_and_a_repair_reads_what_is_behind(sound, tmp_path, share, place):
    """The kill left everything in the log. SQLite would take all behind the damage for never written."""
    shard = copy(sound, tmp_path, "killed")
    log = shard / "spool.db-wal"
    at = frame(log, share)
    damage(log, *{"page": (at + 1000,), "header of the frame": (at,), "whole frame": (at, 24 + PAGE)}[place])
    before = contents_of(shard)
    with pytest.raises(SpoolError, match=rf"damaged at byte {at}.* queue repair"):
        with_spool(shard, survey)
    mending = repair(str(shard), said)
    assert mending.log_commits > 0
    assert {name: data for name, data in contents_of(Path(mending.kept)).items() if name in before} == before
    assert repair(str(shard), said).sound
    whole, corrupt = with_spool(shard, survey)
    assert whole | corrupt <= set(range(1, MAILS + 1))
    assert len(whole) >= MAILS - 40  # the rows of one page, and no more
    assert MAILS in whole | corrupt


def test_a_log_without_its_header_is_read(sound, tmp_path):
    shard = copy(sound, tmp_path, "killed")
    damage(shard / "spool.db-wal", 0, 32)
    with pytest.raises(SpoolError, match="damaged at byte 0"):
        with_spool(shard, survey)
    mending = repair(str(shard), said)
    assert (mending.messages, mending.lost) == (MAILS, [])


def test_a_last_commit_that_is_not_whole_is_what_a_power_failure_leaves(sound, tmp_path):
    shard = copy(sound, tmp_path, "killed")
    log = shard / "spool.db-wal"
    damage(log, max(read_log(log.read_bytes(), PAGE).frames.values()))
    assert repair(str(shard), said).sound
    whole, _ = with_spool(shard, survey)
    assert len(whole) >= MAILS - 1


@pytest.mark.parametrize("name", ["message", "content", "queue", "outbox"])
def test_leaves_behind_a_damaged_inner_page_are_read(sound, tmp_path, name):
    shard = copy(sound, tmp_path)
    inner = root_of(shard, name)
    assert inner != leaf_of(shard, name)
    overwrite(shard, inner)
    mending = repair(str(shard), said)
    assert (mending.messages, mending.lost, mending.nameless, mending.doubtful) == (MAILS, [], 0, [])
    assert mending.left_over == 0
    rows_inside = name == "queue"  # a table without row numbers has rows on its inner pages, too
    assert bool(mending.incomplete) == rows_inside
    whole, corrupt = with_spool(shard, survey)
    assert len(whole) + len(corrupt) == MAILS
    assert len(corrupt) == len(mending.incomplete) < MAILS // 10


def with_half_delivered(sound, tmp_path):
    """A shard in which every other message has been delivered and removed: pages of it are free."""
    shard = copy(sound, tmp_path)

    async def settle(spool):
        for number in range(1, MAILS // 2 + 1):
            await spool.settle(number, None, [])

    with_spool(shard, settle)
    assert free_pages(shard)
    return shard


@pytest.mark.parametrize("name", ["message", "content", "queue", "message_state"])
def test_delivered_mail_on_pages_that_are_free_does_not_come_back(sound, tmp_path, name):
    shard = with_half_delivered(sound, tmp_path)
    for page in pages_of(shard, name)[:1]:
        overwrite(shard, page)
    mending = repair(str(shard), said)
    assert mending.messages <= MAILS // 2
    assert mending.doubtful == []
    whole, corrupt = with_spool(shard, survey)
    assert min(whole | corrupt | {parse_queue_id(each) for each in mending.lost}) > MAILS // 2


def test_without_the_first_page_everything_is_kept_and_held(sound, tmp_path):
    """Which pages are free is not known any more: what is found may have been delivered before."""
    shard = with_half_delivered(sound, tmp_path)
    overwrite(shard, 1)
    with pytest.raises(SpoolError, match="cannot open the spool"):
        with_spool(shard, survey)
    mending = repair(str(shard), said)
    there = {format_queue_id(number) for number in range(MAILS // 2 + 1, MAILS + 1)}
    assert there <= set(mending.doubtful)
    assert len(mending.doubtful) == mending.messages

    async def scenario(spool):
        assert await spool.destinations(9.0) == []
        assert await spool.waiting(0, MAILS) == []
        for number in range(MAILS // 2 + 1, MAILS + 1):
            held = await spool.fetch(number)
            assert (held.state, held.reason) == (State.HELD, "found in a damaged queue: perhaps delivered before")
            assert await spool.content(held.content) == SMALL
            await spool.release(number, 5.0, [])
        return sum([len(await spool.due(f"d{number}.example", 9.0, MAILS)) for number in range(DOMAINS)])

    assert with_spool(shard, scenario) == sum(number % 3 > 0 for number in range(MAILS // 2 + 1, MAILS + 1))


def test_a_damaged_list_of_free_pages_leaves_what_the_trees_lead_to_in_no_doubt(sound, tmp_path):
    shard = with_half_delivered(sound, tmp_path)
    overwrite(shard, free_pages(shard)[0])
    mending = repair(str(shard), said)
    assert mending.messages - len(mending.doubtful) == MAILS // 2
    assert max(map(parse_queue_id, mending.doubtful), default=0) <= MAILS // 2


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


def test_a_database_that_cannot_be_opened_is_named(tmp_path):
    shard = tmp_path / "relay-0"
    (shard / "spool.db").mkdir(parents=True)
    with pytest.raises(SpoolError, match=r"cannot open .*/spool\.db"):
        repair(str(shard), said)
    assert [place.name for place in tmp_path.iterdir()] == ["relay-0"]
