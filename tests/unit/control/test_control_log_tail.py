"""The end of the log: what matches, backwards and forwards, over rotations, within bounds."""

import os
from pathlib import Path

import pytest

from gatepost.control import log_tail
from gatepost.control.log_tail import ANSWER_LIMIT, LINES_LIMIT, Tail, Wanted, read_tail

ID = "0000000000ABC"
LINES = [
    "[2026-01-01 00:00:00 I]: gatepost starts",
    f"[2026-01-01 00:00:01 A] {ID}: RECEIVED, from=<Anna@example.net>",
    "[2026-01-01 00:00:02 W]: database of E] is old",
    f"[2026-01-01 00:00:03 A] {ID}: DELIVERED",
    "[2026-01-01 00:00:04 E]: disk gone",
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "gatepost.log"
    path.write_text("".join(line + "\n" for line in LINES))
    return path


def tail(path: Path, **wanted: object) -> Tail:
    return read_tail(str(path), Wanted(**wanted))  # type: ignore[arg-type]


def test_the_last_lines_come_in_their_order(log: Path):
    found = tail(log, limit=2)
    assert list(found.lines) == LINES[3:]
    assert not found.complete
    whole = tail(log)
    assert list(whole.lines) == LINES
    assert whole.complete


@pytest.mark.parametrize(
    ("wanted", "lines"),
    [
        ({"letters": "EW"}, [2, 4]),
        ({"letters": "F"}, []),
        ({"text": "anna@EXAMPLE"}, [1]),
        ({"queue_id": ID}, [1, 3]),
        ({"queue_id": ID, "text": "delivered", "letters": "A"}, [3]),
    ],
)
def test_only_what_is_wanted_comes(log: Path, wanted: dict[str, str], lines: list[int]):
    assert list(tail(log, **wanted).lines) == [LINES[index] for index in lines]


def test_pages_go_back_to_the_beginning_without_gap_or_repetition(log: Path):
    found, pages = tail(log, limit=2), []
    while True:
        pages.append(list(found.lines))
        if found.complete:
            break
        found = tail(log, limit=2, before=found.begin)
    assert pages == [LINES[3:], LINES[1:3], LINES[:1]]


def test_what_is_written_later_follows_and_half_a_line_waits(log: Path):
    end = tail(log).end
    assert tail(log, after=end).lines == ()
    with log.open("a") as file:
        file.write("[2026-01-01 00:00:05 A]: one\n[2026-01-01 00:00:06 A]: ha")
        file.flush()
        found = tail(log, after=end)
        assert found.lines == ("[2026-01-01 00:00:05 A]: one",)
        assert tail(log, limit=1).lines == found.lines, "half a line is not shown from the end either"
        file.write("lf\n")
    later = tail(log, after=found.end)
    assert later.lines == ("[2026-01-01 00:00:06 A]: half",)
    assert later.complete
    assert not later.rotated


def test_following_a_flood_takes_several_answers_and_misses_nothing(log: Path):
    end = tail(log).end
    with log.open("a") as file:
        file.writelines(f"[2026-01-01 00:00:05 A]: {number}\n" for number in range(2 * LINES_LIMIT + 3))
    seen: list[str] = []
    while True:
        found = tail(log, after=end, limit=10 * LINES_LIMIT)
        assert len(found.lines) <= LINES_LIMIT
        seen += found.lines
        end = found.end
        if found.complete:
            break
    assert [int(line.rpartition(" ")[2]) for line in seen] == list(range(2 * LINES_LIMIT + 3))


def test_a_rotated_log_is_read_from_its_beginning(log: Path):
    end = tail(log).end
    log.rename(log.with_suffix(".1"))
    log.write_text("[2026-01-02 00:00:00 I]: new\n")
    found = tail(log, after=end)
    assert found.rotated
    assert found.lines == ("[2026-01-02 00:00:00 I]: new",)


def test_a_log_that_was_cut_off_is_read_from_its_beginning(log: Path):
    end = tail(log).end
    os.truncate(log, 0)
    log.write_text("[2026-01-02 00:00:00 I]: new\n")
    assert tail(log, after=end).rotated


def test_an_answer_is_bounded_in_characters_and_in_what_is_read(log: Path, monkeypatch: pytest.MonkeyPatch):
    long = "[2026-01-01 00:00:05 A]: " + "x" * (ANSWER_LIMIT // 3)
    with log.open("a") as file:
        file.writelines(f"{long}{number}\n" for number in range(5))
    found = tail(log)
    assert 1 <= len(found.lines) < 4
    assert sum(map(len, found.lines)) <= ANSWER_LIMIT
    assert not found.complete
    monkeypatch.setattr(log_tail, "SEARCH_LIMIT", 4096)
    assert tail(log, letters="I").lines == ()
    assert not tail(log, letters="I").complete


def test_a_hole_without_lines_costs_no_memory_and_is_passed(log: Path):
    with log.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.truncate(file.tell() + 3 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b"\n[2026-01-01 00:00:07 A]: behind\n")
    assert tail(log, limit=1).lines == ("[2026-01-01 00:00:07 A]: behind",)
    start = f"{log.stat().st_ino}:0"
    assert tail(log, after=start, text="behind").lines == ("[2026-01-01 00:00:07 A]: behind",)


@pytest.mark.parametrize("wanted", [{"before": "x"}, {"after": "1:-2"}, {"after": "٣:1x"}, {"letters": "X"}])
def test_places_and_letters_that_are_none_are_refused(log: Path, wanted: dict[str, str]):
    with pytest.raises(ValueError, match=r"no such letter|no place"):
        tail(log, **wanted)


def test_what_is_no_line_of_a_log_is_never_shown(tmp_path: Path):
    """`log_filename` can be set by call: what a file held before it became the log is nobody's to read."""
    path = tmp_path / "was-something-else"
    path.write_text('{"password": "$argon2id$..."}\n-----BEGIN PRIVATE KEY-----\n' + LINES[0] + "\n")
    assert list(tail(path).lines) == [LINES[0]]
    assert list(tail(path, text="private").lines) == []
    assert list(tail(path, after=f"{path.stat().st_ino}:0").lines) == [LINES[0]]
