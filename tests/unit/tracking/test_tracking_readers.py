"""Files of days that stay open between searches: what was written since is seen, another file is opened anew, nothing
is held back.
"""

from pathlib import Path

from tests.unit.tracking.support_tracking import apply, received

from gatepost.storage.tracking.layout import day_file, day_of
from gatepost.storage.tracking.query import Query
from gatepost.storage.tracking.readers import KEPT, Readers
from gatepost.storage.tracking.search import search
from gatepost.storage.tracking.store import TrackingStore


def _store(place: Path) -> TrackingStore:
    return TrackingStore(place, lambda _, __: None)


def _found(readers: Readers) -> int:
    return len(search(readers, Query(), 100).mails)


def test_a_kept_file_shows_what_was_written_since(tmp_path: Path) -> None:
    """Each search sees the state of its moment, through the same connection."""
    store, readers = _store(tmp_path), Readers(tmp_path)
    for number in range(3):
        apply(store, number + 1, [received(number)])
        store.commit()
        assert _found(readers) == number + 1
    store.close()


def test_another_file_of_that_name_is_opened_anew(tmp_path: Path) -> None:
    """A day that was put aside, or dropped, is not read on."""
    store, readers = _store(tmp_path), Readers(tmp_path)
    apply(store, 1, [received(0), received(1)])
    store.close()
    assert _found(readers) == 2
    day = day_file(tmp_path, day_of(received(0).id))
    for path in tmp_path.glob(f"{day.name}*"):
        path.unlink()
    assert _found(readers) == 0
    again = _store(tmp_path)
    apply(again, 1, [received(5)])
    again.close()
    assert _found(readers) == 1


def test_a_search_that_ends_early_holds_nothing_back(tmp_path: Path) -> None:
    """A page that is full leaves rows unread: the writer's log can be written back and begun anew all the same."""
    store, readers = _store(tmp_path), Readers(tmp_path)
    apply(store, 1, [received(number) for number in range(50)])
    store.commit()
    assert len(search(readers, Query(), 1).mails) == 1
    (day,) = readers.days()
    _, checkpointed = store._days[day]._connection.wal_checkpoint(mode=3)
    log = day_file(tmp_path, day).with_name(day_file(tmp_path, day).name + "-wal")
    assert log.stat().st_size == 0, checkpointed
    store.close()


def test_few_stay_open(tmp_path: Path) -> None:
    """Readers at the same time each have a connection; those that are kept afterwards are bounded."""
    store, readers = _store(tmp_path), Readers(tmp_path)
    apply(store, 1, [received(0)])
    store.commit()
    (day,) = readers.days()
    lent = [readers.reading(day) for _ in range(KEPT + 5)]
    connections = [each.__enter__() for each in lent]
    assert len(set(map(id, connections))) == KEPT + 5
    for each in lent:
        each.__exit__(None, None, None)
    assert len(readers._kept) == KEPT
    readers.close()
    assert not readers._kept
    assert _found(readers) == 1
    store.close()
