"""Files of tracking that are damaged on the disk: put aside with their logs, told, and begun anew."""

import contextlib
from pathlib import Path

import apsw
import pytest
from tests.unit.recorder.test_recorder_books import Recorded
from tests.unit.tracking.support_tracking import NOON, mail_id, received

from gatepost.model.record import Delivered
from gatepost.recorder.books import HISTORY_FILE
from gatepost.storage.tracking.damage import DAMAGED, note_suspects, open_sound
from gatepost.storage.tracking.history import read_series
from gatepost.storage.tracking.query import Query
from gatepost.storage.tracking.readers import Readers
from gatepost.storage.tracking.search import search

PAGES = 400
"""Mails that fill some pages."""


def fill(place: Path) -> Path:
    """Have a day and the history written, and closed; return the directory."""
    recorded = Recorded(place)
    recorded.add(*(received(number) for number in range(PAGES)))
    recorded.books.close()
    return recorded.books.directory


def damage(path: Path, first: int, size: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(first)
        stream.write(b"\xa5" * size)


def mails_in(directory: Path) -> int:
    return len(search(Readers(directory), Query(), 1000).mails)


def aside(directory: Path) -> set[str]:
    return {path.name.partition(".damaged-")[0] for path in directory.glob("*.damaged-*")}


def test_a_history_that_is_no_database_is_put_aside_and_counting_goes_on(tmp_path: Path) -> None:
    directory = fill(tmp_path)
    damage(directory / HISTORY_FILE, 0, 4096)
    recorded = Recorded(tmp_path)
    assert aside(directory) == {HISTORY_FILE}
    assert [level for level, _ in recorded.said] == ["E"]
    recorded.number = PAGES
    recorded.add(received(PAGES))
    recorded.books.commit()
    series = read_series(directory / HISTORY_FILE, NOON - 60, NOON + 120, 0)
    assert sum(filter(None, series["columns"]["received"])) == 1
    assert mails_in(directory) == PAGES + 1, "the day is whole"


def test_what_is_damaged_behind_its_head_is_found_in_the_next_life(tmp_path: Path) -> None:
    directory = fill(tmp_path)
    [day] = directory.glob("*.tracking")
    recorded = Recorded(tmp_path)
    recorded.number = PAGES
    recorded.add(received(PAGES))
    recorded.books.commit()
    damage(day, 8192, day.stat().st_size - 8192)
    with pytest.raises(DAMAGED):
        recorded.add(Delivered(mail_id(0), NOON, "r0@to0.example", "mx", 1000, sent=True))
    recorded.books.note_suspects()
    del recorded  # as a process that ends
    with contextlib.suppress(FileNotFoundError):
        day.with_name(f"{day.name}-wal").unlink()
    again = Recorded(tmp_path)
    assert aside(directory) == {day.name}, "the history is whole"
    assert [text.partition(" is damaged")[0] for _, text in again.said] == [f"tracking: {day.name}"]
    again.add(received(PAGES))
    again.books.commit()
    assert mails_in(directory) == 1


def test_a_log_goes_with_its_file(tmp_path: Path) -> None:
    """One that stays is taken for that of the new file, which is damaged then, too."""
    path = tmp_path / "2026-11-23.tracking"
    ends = ("", "-shm", "-wal")
    for end in ends:
        path.with_name(path.name + end).write_bytes(b"damaged")
    said: list[str] = []

    def open_it(place: Path) -> str:
        if place.exists():
            raise apsw.CorruptError("malformed")
        return "new"

    assert open_sound(path, open_it, lambda _, text: said.append(text)) == "new"
    [name] = [each.name for each in tmp_path.iterdir() if each.name[-4:].isdigit()]
    assert sorted(each.name for each in tmp_path.iterdir()) == [name + end for end in ends]
    assert len(said) == 1


def test_what_was_put_aside_is_kept_no_longer_than_what_is_whole(tmp_path: Path) -> None:
    directory = fill(tmp_path)
    damage(directory / HISTORY_FILE, 0, 4096)
    recorded = Recorded(tmp_path)
    [put_aside] = directory.glob("*.damaged-*")
    since = int(put_aside.name.rpartition("-")[2])
    log = put_aside.with_name(put_aside.name + "-wal")
    log.touch()
    (directory / "notes.damaged-by-hand").touch()
    kept_s = recorded.settings.retention_days * 86_400
    for now in (None, since + kept_s):
        recorded.books.tend(now)
        assert put_aside.exists()
        assert log.exists()
    recorded.books.tend(since + kept_s + 1)
    assert aside(directory) == {"notes"}


def test_what_is_whole_stays(tmp_path: Path) -> None:
    directory = fill(tmp_path)
    note_suspects(directory, [*directory.glob("*.tracking"), directory / HISTORY_FILE])
    assert Recorded(tmp_path).said == []
    assert aside(directory) == set()
