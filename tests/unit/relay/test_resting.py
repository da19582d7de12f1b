"""Mail that waits for an engine rests together and is tried again after growing pauses."""

import asyncio

import pytest

from gatepost.relay.resting import FIRST_PAUSE_S, MOST_PAUSE_S, TRIED, Cause, Resting

ENGINE, STORE = Cause.ENGINE, Cause.STORE


class Timers:
    """Stands in for the event loop: keeps what is to be called later."""

    def __init__(self) -> None:
        self.set: list[tuple[float, object]] = []

    def call_later(self, pause_s: float, callback: object) -> object:
        self.set.append((pause_s, callback))
        return object()

    def fire(self) -> float:
        pause_s, callback = self.set.pop()
        callback()  # type: ignore[operator]
        return pause_s


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    timers = Timers()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: timers)
    return timers


def test_a_few_wake_from_the_oldest_on(timers: Timers) -> None:
    woken: list[int] = []
    resting = Resting(woken.append)
    assert [resting.add(number, 10, "down", ENGINE) for number in (5, 3, 9)] == [True] * 3
    assert resting.measure() == (3, 30, 3)
    assert 3 in resting
    assert len(timers.set) == 1
    timers.fire()
    assert woken == [3]
    assert resting.measure() == (0, 0, 0)
    assert 3 not in resting


def test_pauses_double_up_to_a_bound_until_one_that_rested_is_inspected(timers: Timers) -> None:
    resting = Resting(lambda _oldest: None)
    pauses = []
    for attempt in range(9):
        assert resting.add(1, 10, "down", ENGINE) is (attempt == 0)
        pauses.append(timers.fire())
    assert pauses[:3] == [FIRST_PAUSE_S, FIRST_PAUSE_S * 2, FIRST_PAUSE_S * 4]
    assert pauses[-1] == MOST_PAUSE_S
    resting.succeeded(2, ENGINE)
    resting.add(1, 10, "down", ENGINE)
    assert timers.fire() == MOST_PAUSE_S
    resting.succeeded(1, ENGINE)
    assert resting.add(1, 10, "down", ENGINE)
    assert timers.fire() == FIRST_PAUSE_S


def test_what_an_operator_takes_does_not_wake(timers: Timers) -> None:
    woken: list[int] = []
    resting = Resting(woken.append)
    resting.add(1, 10, "down", ENGINE)
    resting.discard(1)
    timers.fire()
    assert woken == []


def test_operators_are_told_what_keeps_a_message(timers: Timers) -> None:
    resting = Resting(lambda _: None)
    resting.add(1, 10, "clam is down", ENGINE)
    resting.add(2, 10, "clam is down", ENGINE)
    resting.note(3, "disk full")
    assert resting.reasons() == {"clam is down": 2, "disk full": 1}
    timers.fire()
    resting.succeeded(1, ENGINE)
    assert resting.reason(1) == "clam is down"  # not until it has gone on: a store may keep it now
    resting.note(1, "disk full")
    resting.discard(2)
    assert [resting.reason(number) for number in (1, 2, 3, 4)] == ["disk full", "", "disk full", ""]


def test_a_long_queue_is_tried_a_few_at_a_time_in_turn(timers: Timers) -> None:
    woken: list[int] = []
    resting = Resting(woken.append)
    for number in range(1, 3 * TRIED):
        resting.add(number, 10, "down", ENGINE)
    for _ in range(4):
        before = {number for number in range(1, 3 * TRIED) if number in resting}
        timers.fire()
        tried = sorted(number for number in before if number not in resting)
        assert tried[0] == woken[-1]
        assert len(tried) <= TRIED
        for number in tried:
            resting.add(number, 10, "down", ENGINE)
    assert woken == [1, 1 + TRIED, 1 + 2 * TRIED, 1]


def test_one_that_could_be_inspected_wakes_all(timers: Timers) -> None:
    woken: list[int] = []
    resting = Resting(woken.append)
    for number in range(1, 5 * TRIED):
        resting.add(number, 10, "down", ENGINE)
    timers.fire()
    resting.succeeded(3, ENGINE)
    assert woken == [1, 1 + TRIED]
    assert resting.measure()[0] == 0


def test_the_rest_is_tried_when_the_chosen_ones_are_taken_away(timers: Timers) -> None:
    woken: list[int] = []
    resting = Resting(woken.append)
    for number in range(1, 2 * TRIED + 1):
        resting.add(number, 10, "down", ENGINE)
    timers.fire()
    for number in range(1, TRIED + 1):
        resting.discard(number)
    timers.fire()
    assert woken == [1, 1 + TRIED]


def test_what_waits_for_an_engine_and_what_waits_for_a_store_do_not_wake_each_other(timers: Timers) -> None:
    """A message that was inspected and then not stored would else have all inspected again and again."""
    woken: list[int] = []
    resting = Resting(woken.append)
    resting.add(1, 10, "down", ENGINE)
    for number in range(2, 3 * TRIED):
        assert resting.add(number, 10, "full", STORE)
    assert resting.measure() == (3 * TRIED - 1, 10 * (3 * TRIED - 1), 1)
    resting.succeeded(2, ENGINE)
    resting.succeeded(1, STORE)
    assert woken == []
    timers.fire()
    assert woken == [2]
    assert 1 in resting
    for number in range(2, 2 + TRIED):
        resting.succeeded(number, ENGINE)  # inspected once more ...
        assert not resting.add(number, 10, "full", STORE), "... and told once"
    assert woken == [2]
    timers.fire()
    resting.succeeded(2 + TRIED, STORE)
    assert woken == [2, 2 + TRIED, 2]
    assert 1 in resting
    assert resting.measure() == (1, 10, 1)


def test_a_reason_is_new_once(timers: Timers) -> None:
    resting = Resting(lambda _: None)
    assert [resting.note(1, why) for why in ("no filter", "no filter", "disk full")] == [True, False, True]
