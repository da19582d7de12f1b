"""Who already has a message: one memory for all relays, over restarts, bounded, and never a reason for a loss."""

import os
import stat
import time
from pathlib import Path

import pytest

from gatepost.service import proxy_memory
from gatepost.service.proxy_memory import ADDRESSES_LIMIT, KEEP_S, TIDY_S, DeliveredMemory

A, B, C = "a@x.example", "b@x.example", "c@x.example"
DOOR = "proxy tcp:127.0.0.1:10026"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "delivered"


def test_all_relays_share_it_and_it_outlives_them(place: Path) -> None:
    one, other = DeliveredMemory(place, DOOR), DeliveredMemory(place, DOOR)
    now = time.time()
    key = one.key("s@example.com", [b"te", b"xt"])
    assert not one.holds_any(now)
    one.note(key, [A], now)
    other.note(other.key("s@example.com", [b"text"]), [B], now)
    restarted = DeliveredMemory(place, DOOR)
    for each in (one, other, restarted):
        assert each.holds_any(now)
        assert each.recall(key, [A, B, C], now) == {A, B}
    restarted.forget(key)
    assert not one.holds_any(now)
    assert one.recall(key, [A], now) == frozenset()


def test_a_message_is_its_sender_its_content_and_where_it_goes(place: Path) -> None:
    memory = DeliveredMemory(place, DOOR)
    key = memory.key("s@example.com", [b"text"])
    memory.note(key, [A], 0.0)
    assert memory.key("t@example.com", [b"text"]) != key
    assert memory.key("s@example.com", [b"text."]) != key
    behind = DeliveredMemory(place, "proxy tcp:127.0.0.1:10027")
    assert behind.recall(behind.key("s@example.com", [b"text"]), [A], 0.0) == frozenset()


def test_what_another_has_just_noted_or_forgotten_is_seen_at_once(place: Path) -> None:
    """Also within one tick of the clock that dates a directory."""
    looks, writes = DeliveredMemory(place, DOOR), DeliveredMemory(place, DOOR)
    for number in range(200):
        writes.note(f"{number:032x}", [A], time.time())
        assert looks.holds_any(time.time())
        writes.forget(f"{number:032x}")
        assert not looks.holds_any(time.time())


def test_only_a_directory_that_has_settled_is_not_looked_into_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = DeliveredMemory(place, DOOR)
    memory.note("0" * 32, [A], 0.0)
    memory.holds_any(0.0)
    memory.forget("0" * 32)
    os.utime(place, (0.0, 0.0))
    looks: list[object] = []
    scandir = os.scandir

    def counted(path: Path) -> object:
        looks.append(path)
        return scandir(path)

    monkeypatch.setattr(proxy_memory.os, "scandir", counted)
    assert [memory.holds_any(0.0) for _ in range(5)] == [False] * 5
    assert len(looks) == 1


def test_it_is_bounded_in_time_and_number(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_memory, "ENTRIES_LIMIT", 10)
    monkeypatch.setattr(proxy_memory, "TIDY_NOTES", 5)
    memory = DeliveredMemory(place, DOOR)
    for number in range(40):
        memory.note(f"{number:032x}", [A], float(number))
    assert 10 <= len(list(place.iterdir())) < 15
    assert memory.recall(f"{39:032x}", [A], 40.0) == {A}
    assert memory.recall(f"{39:032x}", [A], 40.0 + KEEP_S) == frozenset()
    assert memory.recall(f"{0:032x}", [A], 40.0) == frozenset()
    assert not memory.holds_any(40.0 + KEEP_S + TIDY_S)
    assert list(place.iterdir()) == []


def test_many_addresses_are_remembered_up_to_the_limit(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_memory, "ADDRESSES_LIMIT", 3)
    memory = DeliveredMemory(place, DOOR)
    many = [f"{number}@x.example" for number in range(5)]
    memory.note("k", many, 0.0)
    assert memory.recall("k", many, 0.0) == set(many[:3])
    memory.note("none", [], 0.0)
    assert not (place / "none").exists()


def test_who_gets_it_at_the_last_of_many_tries_is_remembered_too(place: Path) -> None:
    """A client tells at each try of all who have it so far."""
    memory = DeliveredMemory(place, DOOR)
    first = [f"{number}@x.example" for number in range(ADDRESSES_LIMIT - 1)]
    for attempt in range(3):
        memory.note("k", first, float(attempt))
    memory.note("k", [*first, A], 3.0)
    assert memory.recall("k", [*first, A, B], 3.0) == {*first, A}
    memory.note("k", [*first, A, B], 4.0)
    assert (place / "k").stat().st_size == ADDRESSES_LIMIT * 16


def test_what_was_torn_is_no_address(place: Path) -> None:
    memory = DeliveredMemory(place, DOOR)
    memory.note("k", [A, B], 0.0)
    os.truncate(place / "k", 16 + 7)
    os.utime(place / "k", (0.0, 0.0))
    memory.note("k", [C], 0.0)
    assert memory.recall("k", [A, B, C], 0.0) == {A}


def test_it_is_of_this_user_alone(place: Path) -> None:
    memory = DeliveredMemory(place, DOOR)
    memory.note("k", [A], 0.0)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "k").stat().st_mode) == 0o600
    place.chmod(0o770)
    assert not memory.holds_any(0.0)
    with pytest.raises(PermissionError):
        memory.note("k", [B], 0.0)
    link = place.with_name("link")
    place.chmod(0o700)
    link.symlink_to(place)
    through = DeliveredMemory(link, DOOR)
    assert not through.holds_any(0.0)
    with pytest.raises(PermissionError):
        through.note("k", [B], 0.0)
