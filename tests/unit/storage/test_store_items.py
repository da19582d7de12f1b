"""Stores: what is put in is there, found, counted and gone again; damage of any part costs no more than that part."""

import errno
import os
import threading
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.storage.store_items import NOW, new, open_store, put

from gatepost.spool import clock
from gatepost.storage.container import Damaged, Event, read_container
from gatepost.storage.index import Totals
from gatepost.storage.item import StoreKind, parse_item_id, status_code
from gatepost.storage.places import StorePlace
from gatepost.storage.query import ItemFilter
from gatepost.storage.release import begin_release, end_release
from gatepost.storage.retention import plan_sweep, without_doubt
from gatepost.storage.store import New, Store, StoreError, UnknownItem, UnknownStore

ALL = ItemFilter()


def ids(store: Store, chosen: ItemFilter = ALL, limit: int = 100) -> list[str]:
    return [row.id for row in store.page(chosen, NOW, 0, limit)]


def test_what_is_stored_comes_back_as_it_was(tmp_path):
    store = open_store(tmp_path)
    messages = [new(content) for content in (b"", b"\n", b"a\r\n\0\xff" * 5, os.urandom(700_000))]
    for message, item in zip(messages, put(store, *messages), strict=True):
        other = open_store(tmp_path)
        container = other.container(item)
        assert container.item == message.item
        assert b"".join(other.content(item)) == b"".join(message.content())
    assert store.totals(ALL, NOW) == Totals(4, sum(message.item.size for message in messages))


def test_only_the_owner_may_look(tmp_path):
    store = open_store(tmp_path)
    [item] = put(store, new())
    for path in (tmp_path / "store").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert Path(store.layout.path_of(item)).stat().st_mode & 0o777 == 0o600


def test_storing_twice_is_one_item_and_forgets_no_release(tmp_path):
    store = open_store(tmp_path)
    message = new()
    [item] = put(store, message)
    claim, _ = begin_release(store, item, Event("releasing", NOW, shard=0, who="me"))
    end_release(store, item, claim, "0AAAAAAAAAAAA", NOW)
    put(store, message)
    put(open_store(tmp_path), message)
    assert store.totals(ALL, NOW).items == 1
    assert ids(store, ItemFilter(text="invoice")) == [item]
    assert [release.queue_id for release in store.container(item).releases] == ["0AAAAAAAAAAAA"]
    assert store.row(item).state == "released"


def test_a_copy_that_comes_out_otherwise_replaces_the_first(tmp_path):
    store = open_store(tmp_path)
    [item] = put(store, new(b"first", message=1 << 40, subject="first"))
    assert put(store, new(b"other one", message=1 << 40, subject="second")) == [item]
    assert b"".join(store.content(item)) == b"other one"
    assert store.totals(ALL, NOW).bytes == len(b"other one")
    assert ids(store, ItemFilter(text="first")) == []
    assert ids(store, ItemFilter(text="second")) == [item]


def test_each_group_and_each_role_has_its_own_item():
    made = {new(message=1 << 40, group=group, store=store).item.id for group in ("a", "b") for store in StoreKind}
    assert len(made) == 2 * len(StoreKind)
    assert {parse_item_id(item.lower()) for item in made} == made


@pytest.mark.parametrize(
    "text", ["", "nonsense", "0AAAAAAAAAAAA", "0AAAAAAAAAAAA-", "0AAAAAAAAAAAA-UUUUUU", "../../etc/passwd"]
)
def test_what_is_no_id_is_none(text):
    with pytest.raises(ValueError, match=r"."):
        parse_item_id(text)


@pytest.mark.parametrize(
    ("store", "statuses", "blocked", "code"),
    [
        (StoreKind.INCOMING, (), False, "RCV"),
        (StoreKind.OUTGOING, ("infected",), False, "SNT"),
        (StoreKind.OUTGOING, ("infected",), True, "INF"),
        (StoreKind.QUARANTINE, ("clean", "protected", "infected"), False, "INF"),
        (StoreKind.QUARANTINE, ("clean",), False, "CLN"),
        (StoreKind.QUARANTINE, (), False, "CLN"),
        (StoreKind.BACKUP, ("disinfected", "filtered"), False, "FLT"),
        (StoreKind.BACKUP, ("disinfected",), False, "CRD"),
        (StoreKind.BACKUP, ("suspicious", "error"), False, "SSP"),
        (StoreKind.BACKUP, ("protected", "error"), False, "ERR"),
        (StoreKind.SPAM_QUARANTINE, ("spam",), False, "SPM"),
        (StoreKind.SPAM_QUARANTINE, ("probable_spam",), False, "PSP"),
        (StoreKind.SPAM_QUARANTINE, ("formal",), False, "FRM"),
        (StoreKind.SPAM_QUARANTINE, ("blacklisted",), False, "BLK"),
    ],
)
def test_status_codes(store, statuses, blocked, code):
    assert status_code(store, statuses, blocked=blocked) == code


def test_filters(tmp_path):
    store = open_store(tmp_path)
    [a] = put(store, new(sender="Alice@One.example", subject="Rechnung für Müller", code="INF", at=NOW - 5000))
    [b] = put(
        store, new(sender="", recipients=("x@two.example", "y@[192.0.2.1]"), code="SSP", group="sales", threat="")
    )
    [c] = put(store, new(sender="bob@sub.one.example", subject='say "hello" 100%', threat="Trojan.X", code="PRT"))
    cases = {
        "all": (ALL, [c, b, a]),
        "sender": (ItemFilter(senders=("alice@one.example",)), [a]),
        "domain": (ItemFilter(senders=("one.example",)), [a]),
        "mask": (ItemFilter(senders=("*one.example",)), [c, a]),
        "null": (ItemFilter(senders=("<>",)), [b]),
        "two": (ItemFilter(senders=("<>", "bob@*")), [c, b]),
        "second recipient": (ItemFilter(recipients=("y@[192.0.2.1]",)), [b]),
        "no recipient": (ItemFilter(recipients=("y@*.example",)), []),
        "code": (ItemFilter(codes=("SSP", "PRT")), [c, b]),
        "group": (ItemFilter(groups=("sales",)), [b]),
        "subject": (ItemFilter(subjects=("RECHNUNG",)), [a]),
        "percent": (ItemFilter(subjects=("100%",)), [c]),
        "threat": (ItemFilter(threats=("trojan",)), [c]),
        "old": (ItemFilter(older_than_s=1000), [a]),
        "young": (ItemFilter(younger_than_s=1000), [c, b]),
        "word": (ItemFilter(text="muller"), [a]),
        "words": (ItemFilter(text='hello "say'), [c]),
        "file name": (ItemFilter(text="invoice"), [c, a]),
        "operators are words": (ItemFilter(text="hello OR rechnung"), []),
        "both": (ItemFilter(text="one", codes=("PRT",)), [c]),
        "stored": (ItemFilter(states=("stored",)), [c, b, a]),
        "released": (ItemFilter(states=("released",)), []),
    }
    for name, (chosen, expected) in cases.items():
        chosen.check()
        assert ids(store, chosen) == expected, name
        assert store.totals(chosen, NOW).items == len(expected), name


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30), mask=st.text(max_size=12))
def test_no_filter_breaks_the_question(tmp_path_factory, text, mask):
    chosen = ItemFilter(senders=(mask,), recipients=(mask,), subjects=(text,), threats=(text,), text=text)
    try:
        chosen.check()
    except ValueError:
        return
    with open_store(tmp_path_factory.getbasetemp() / "any") as store:
        assert store.page(chosen, NOW) == []


@pytest.mark.parametrize(
    "chosen", [ItemFilter(codes=("XXX",)), ItemFilter(states=("gone",)), ItemFilter(text='"" -- ')]
)
def test_a_filter_that_means_nothing_is_refused(chosen):
    with pytest.raises(ValueError, match=r"."):
        chosen.check()


def test_pages_go_from_the_newest_to_the_oldest(tmp_path):
    store = open_store(tmp_path)
    stored = [item for _ in range(5) for item in put(store, *(new() for _ in range(5)))]
    found, before = [], 0
    while page := store.page(ALL, NOW, before, 7):
        found += [row.id for row in page]
        before = page[-1].number
    assert found == stored[::-1]


def test_deleted_is_gone_and_counted_out(tmp_path):
    store = open_store(tmp_path)
    stored = put(store, *(new(b"1234") for _ in range(6)))
    assert store.delete([*stored[:2], "0000000000000-000000"]) == {"0000000000000-000000": "no such message"}
    assert ids(store) == stored[:1:-1]
    assert (store.totals(ALL, NOW).items, store.totals(ALL, NOW).bytes) == (4, 16)
    with pytest.raises(UnknownItem):
        store.container(stored[0])
    assert ids(store, ItemFilter(text="invoice")) == stored[:1:-1]
    assert store.delete(stored[2:]) == {}
    assert list((tmp_path / "store" / "messages").iterdir()) == []


def test_what_is_being_released_is_not_deleted(tmp_path):
    store = open_store(tmp_path)
    [item] = put(store, new())
    begin_release(store, item, Event("releasing", NOW, shard=0))
    assert store.delete([item]) == {item: "it is being released"}
    assert b"".join(store.content(item))


def test_an_item_whose_file_is_gone_can_still_be_deleted(tmp_path):
    store = open_store(tmp_path)
    [item] = put(store, new())
    Path(store.layout.path_of(item)).unlink()
    assert ids(store) == [item]
    assert store.delete([item]) == {}
    assert ids(store) == []


# --- the index


@pytest.mark.parametrize("damage", ["gone", "garbage", "empty", "other version"])
def test_a_damaged_index_is_made_anew_by_whoever_meets_it(tmp_path, damage):
    told: list[str] = []
    with open_store(tmp_path) as filled:
        stored = put(filled, *(new() for _ in range(5)))
    first = open_store(tmp_path, told)
    [claimed] = stored[:1]
    claim, _ = begin_release(first, claimed, Event("releasing", NOW, shard=3, who="me"))
    first.close()
    index = tmp_path / "store" / "index.db"
    for part in ("-wal", "-shm"):
        Path(str(index) + part).unlink(missing_ok=True)
    if damage == "gone":
        index.unlink()
    elif damage == "garbage":
        index.write_bytes(os.urandom(20_000))
    elif damage == "empty":
        index.write_bytes(b"")
    else:
        connection = apsw.Connection(str(index))
        connection.execute("PRAGMA user_version=77")
        connection.close()
    store = open_store(tmp_path, told)
    assert sorted(ids(store)) == sorted(stored)
    assert store.totals(ALL, NOW).items == 5
    assert [line for line in told if line.startswith("W") and "made anew from 5 message(s)" in line]
    row = store.row(claimed)
    assert (row.state, row.event) == ("releasing", claim)  # what the file says of releases is not lost


def test_an_open_store_goes_on_with_an_index_that_was_replaced(tmp_path):
    one, other = open_store(tmp_path), open_store(tmp_path)
    first = put(one, new())
    assert ids(other) == first
    assert other.reindex() == 1
    second = put(one, new())
    assert sorted(ids(other)) == sorted(first + second)
    assert sorted(ids(one)) == sorted(first + second)


def test_damaged_items_are_left_out_and_told_of(tmp_path):
    told: list[str] = []
    store = open_store(tmp_path, told)
    good, torn, empty = put(store, new(), new(), new())
    path = Path(store.layout.path_of(torn))
    path.write_bytes(path.read_bytes()[:-200])
    Path(store.layout.path_of(empty)).write_bytes(b"")
    (tmp_path / "store" / "messages" / "notes.txt").write_text("not ours")
    assert store.reindex() == 1
    assert ids(store) == [good]
    assert sum("left out of the index" in line for line in told) == 2


def test_many_use_one_store_at_once(tmp_path):
    failures: list[object] = []

    def work(number: int) -> None:
        store = open_store(tmp_path)
        for turn in range(6):
            mine = put(store, *(new(message=(number << 50) + (turn << 30) + each) for each in range(3)))
            if turn == number:
                store.reindex()
            failures.extend(store.delete(mine[:1]).items())
        store.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    store = open_store(tmp_path)
    assert failures == []
    assert store.totals(ALL, NOW).items == 4 * 6 * 2 == len(list(store.layout.item_ids()))
    assert store.reindex() == 48


# --- trouble


def test_a_content_that_fails_leaves_nothing_behind(tmp_path):
    store = open_store(tmp_path)
    good, bad, short = new(), new(), new(b"short")

    def broken():
        yield b"abc"
        raise OSError(errno.EIO, "cannot be read")

    outcomes = store.put([bad.__class__(bad.item, broken), good, New(short.item, lambda: [b"sho"])])
    assert isinstance(outcomes[0], OSError)
    assert outcomes[1] is None
    assert isinstance(outcomes[2], ValueError)
    assert ids(store) == [good.item.id]
    assert list((tmp_path / "store" / "coming").iterdir()) == []


def test_no_store_is_said_so(tmp_path):
    with pytest.raises(UnknownStore):
        Store(str(tmp_path / "nothing")).totals(ALL, NOW)
    (tmp_path / "file").write_text("")
    [outcome] = Store(str(tmp_path / "file"), create=True).put([new()])
    assert isinstance(outcome, OSError)


def test_a_directory_that_went_away_is_made_again(tmp_path):
    store = open_store(tmp_path)
    put(store, new())
    store.layout.directory = str(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    [item] = put(store, new())
    assert ids(store) == [item]


@settings(max_examples=80, deadline=None)
@given(cut=st.integers(min_value=0, max_value=2000), flip=st.integers(min_value=0, max_value=2000))
def test_a_torn_or_changed_file_is_damaged_and_never_taken_for_whole(tmp_path_factory, cut, flip):
    store = open_store(tmp_path_factory.getbasetemp() / "torn")
    content = b"Subject: x\r\n\r\n" + b"body\r\n" * 50
    message = new(content, message=1 << 40)
    item = message.item.id
    path = Path(store.layout.path_of(item))
    kept = store.layout.directory + ".whole"
    if not Path(kept).exists():
        put(store, message)
        Path(kept).write_bytes(path.read_bytes())
    whole = Path(kept).read_bytes()
    path.write_bytes(whole)
    start = store.container(item).start
    torn = bytearray(whole[: min(cut, len(whole))])
    if start <= flip < min(start + len(content), len(torn)):
        torn[flip] ^= 0x55
    path.write_bytes(bytes(torn))
    try:
        found = b"".join(store.content(item))
    except (Damaged, ValueError):
        return
    assert found == content


def test_a_torn_event_is_passed_over_and_the_next_one_stands_by_itself(tmp_path):
    store = open_store(tmp_path)
    [item] = put(store, new())
    with Path(store.layout.path_of(item)).open("ab") as file:
        file.write(b'{"what":"relea')
    claim, container = begin_release(store, item, Event("releasing", NOW, shard=0, who="me"))
    assert container.claim == claim
    with Path(store.layout.path_of(item)).open("rb") as file:
        assert read_container(file.fileno()).claim == claim


# --- retention


def test_what_is_past_its_time_goes_and_then_the_oldest_of_what_is_too_much(tmp_path):
    store = open_store(tmp_path)
    old = put(store, *(new(b"x" * 100, at=NOW - 10 * 86400 + each) for each in range(3)))
    young = put(store, *(new(b"x" * 100, at=NOW - 1000 + each) for each in range(4)))
    put(store, new(b"x" * 1000, at=NOW - 100 * 86400, store=StoreKind.BACKUP))  # another kind in the same directory
    place = StorePlace(StoreKind.QUARANTINE, store.layout.directory, days=5, bytes=250)

    def sweep(limit: int) -> list[str]:
        chosen = [item for item, _ in plan_sweep(store, place, NOW, limit)]
        store.delete(chosen)
        return chosen

    assert sweep(2) == old[:2]
    assert sweep(2) == old[2:]
    begin_release(store, young[0], Event("releasing", NOW, shard=0))
    assert sweep(10) == young[1:3]  # 400 bytes, 250 may stay; what is being released is not touched
    assert sweep(10) == []
    assert store.totals(ALL, NOW).items == 3
    assert not plan_sweep(store, StorePlace(StoreKind.QUARANTINE, store.layout.directory), NOW, 10)


def test_store_errors_are_system_errors():
    assert issubclass(StoreError, OSError)  # what waits for a disk catches it


def test_an_event_is_whole_or_not_there_when_the_disk_takes_only_a_part(tmp_path, monkeypatch):
    store = open_store(tmp_path)
    (item,) = put(store, new())
    path = Path(store.layout.path_of(item))
    before = path.read_bytes()
    write = os.write
    room = [5]

    def short(descriptor: int, data: bytes) -> int:
        taken = min(room[0], len(data))
        if not taken:
            raise OSError(errno.ENOSPC, "full")
        room[0] -= taken
        return write(descriptor, bytes(data[:taken]))

    with monkeypatch.context() as full:
        full.setattr(os, "write", short)
        with pytest.raises(OSError, match="full"):
            begin_release(store, item, Event("releasing", NOW, shard=0, who="one"))
    assert path.read_bytes() == before
    begin_release(store, item, Event("releasing", NOW, shard=0, who="one"))
    assert store.container(item).events[-1].what == "releasing"


def test_a_file_that_cannot_be_synced_is_not_stored_and_the_others_are(tmp_path, monkeypatch):
    store = open_store(tmp_path)
    messages = [new(bytes((number,)) * 100) for number in range(20)]
    real = os.fsync

    def failing(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".7":  # the eighth of the messages being written
            raise OSError(errno.EIO, "disk trouble")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    outcomes = store.put([New(message.item, message.content) for message in messages])
    assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [7]
    assert isinstance(outcomes[7], OSError)
    assert store.totals(ALL, NOW).items == 19
    assert not list(Path(store.layout.coming).iterdir())
    assert messages[7].item.id not in ids(store)


def test_the_threads_that_sync_end_with_the_store(tmp_path):
    before = set(threading.enumerate())
    store = open_store(tmp_path)
    put(store, *(new() for _ in range(3)))
    assert set(threading.enumerate()) - before
    store.close()
    assert not set(threading.enumerate()) - before
    put(store, new(), new())
    store.close()


def test_under_a_doubted_clock_only_what_is_too_much_goes(tmp_path, monkeypatch):
    store = open_store(tmp_path)
    items = put(store, *(new(b"x" * 100, at=NOW - 10 * 86400 + each) for each in range(3)))
    place = StorePlace(StoreKind.QUARANTINE, store.layout.directory, days=5, bytes=250)
    assert without_doubt(place) == place
    monkeypatch.setattr(clock, "is_believed", lambda: False)
    assert [item for item, _ in plan_sweep(store, without_doubt(place), NOW, 10)] == items[:1]
