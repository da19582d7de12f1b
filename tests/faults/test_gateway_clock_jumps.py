"""The running gateway when its clock jumps a day ahead or back: nothing is given up early, nothing waits for its former time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.clock import DAY, HOUR, MINUTE, SteppedClock
from tests.support.gateway import Gateway
from tests.support.lanes import LaneGateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.model.ids import RELAY_LIMIT, SEQUENCE_LIMIT, parse_queue_id


class Jumping:
    """A gateway whose clock steps; `relays` processes, mail for lanes."""

    def __init__(self, place: Path, sink: Sink, relays: int) -> None:
        self.clock = SteppedClock(place)
        self.gateway = LaneGateway(place / "gw", sink.port, relays=relays, env=self.clock.env)


@pytest.fixture(scope="module", params=[1, 3], ids=["1 relay", "3 relays"])
def jumping(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Jumping]:
    place = tmp_path_factory.mktemp("jumps")
    with Sink() as sink:
        one = Jumping(place, sink, request.param)
        with one.gateway:
            yield one
            assert one.gateway.stop() == 0


def refuse_for_now(step: str, _argument: str, _sink: Sink) -> str | None:
    return "451 4.7.1 later" if step == "rcpt" else None


def states(gateway: Gateway, *queue_ids: str) -> list[str]:
    rows = {row["queue_id"]: row["state"] for row in gateway.queue()}
    return [rows.get(each, "gone") for each in queue_ids]


def assert_rising(*queue_ids: str) -> None:
    """No id is given out twice, and those of each relay rise; the clock of one is not the clock of another."""
    values = [parse_queue_id(each) for each in queue_ids]
    assert len(set(values)) == len(values)
    for relay in range(RELAY_LIMIT):
        own = [value for value in values if value // SEQUENCE_LIMIT % RELAY_LIMIT == relay]
        assert own == sorted(own)


def test_a_day_back_delays_no_retry_and_ids_go_on_rising(jumping: Jumping) -> None:
    gateway = jumping.gateway
    refused, unreached = gateway.lane(), gateway.lane()
    with refused.sink(refuse_for_now) as sink:
        first = gateway.send(plain("refused"), refused.address())
        second = gateway.send(plain("unreached"), unreached.address())
        wait_for(lambda: gateway.lines("DEFERRED", first), "the first attempt")
        wait_for(lambda: gateway.lines("DEFERRED", second), "the rest of the dead destination")
        sink.script = None
        with unreached.sink() as other:
            jumping.clock.step(-DAY)
            try:
                wait_for(lambda: len(sink.mails) == 1 and len(other.mails) == 1, "both, a day before their time")
                after = gateway.send(plain("after"), refused.address("after"))
                wait_for(lambda: len(sink.mails) == 2, "new mail")
                assert_rising(first, second, after)
                wait_for(lambda: "clock was put back" in gateway.log(), "a word about it in the log")
            finally:
                jumping.clock.step(DAY)
    assert states(gateway, first, second, after) == ["gone", "gone", "gone"]


def test_a_relay_started_under_an_earlier_clock_does_not_wait_for_the_former_time(jumping: Jumping) -> None:
    gateway = jumping.gateway
    refused, unreached = gateway.lane(), gateway.lane()
    with refused.sink(refuse_for_now) as sink:
        first = gateway.send(plain("refused"), refused.address())
        second = gateway.send(plain("unreached"), unreached.address())
        wait_for(lambda: gateway.lines("DEFERRED", first), "the first attempt")
        wait_for(lambda: gateway.lines("DEFERRED", second), "the rest of the dead destination")
        assert gateway.stop() == 0
        jumping.clock.step(-DAY)
        try:
            sink.script = None
            with unreached.sink() as other:
                gateway.start()
                wait_for(lambda: len(sink.mails) == 1 and len(other.mails) == 1, "both, a day before their time")
                assert_rising(first, second, gateway.send(plain("after"), refused.address("after")))
        finally:
            jumping.clock.step(DAY)


def test_a_day_ahead_brings_one_retry_and_no_end(jumping: Jumping) -> None:
    gateway = jumping.gateway
    lane = gateway.lane()
    with lane.sink(refuse_for_now) as sink:
        queue_id = gateway.send(plain("ahead"), lane.address())
        wait_for(lambda: len(gateway.lines("DEFERRED", queue_id)) == 1, "the first attempt")
        jumping.clock.step(DAY)
        wait_for(lambda: len(gateway.lines("DEFERRED", queue_id)) == 2, "the retry")
        gateway.send(plain("passing"), "user@example.org")
        assert states(gateway, queue_id) == ["QUE"]
        assert len(gateway.lines("DEFERRED", queue_id)) == 2
        sink.script = None
        jumping.clock.step(HOUR)
        wait_for(lambda: len(sink.mails) == 1, "delivery after the pause")


def test_a_pause_shorter_than_the_longest_is_kept_after_a_small_step_back(jumping: Jumping) -> None:
    gateway = jumping.gateway
    lane = gateway.lane()
    with lane.sink(refuse_for_now) as sink:
        queue_id = gateway.send(plain("kept"), lane.address())
        wait_for(lambda: len(gateway.lines("DEFERRED", queue_id)) == 1, "the first attempt")
        jumping.clock.step(-10 * MINUTE)
        gateway.send(plain("passing"), "user@example.org")
        assert states(gateway, queue_id) == ["QUE"]
        assert len(gateway.lines("DEFERRED", queue_id)) == 1
        sink.script = None
        jumping.clock.step(30 * MINUTE)
        wait_for(lambda: len(sink.mails) == 1, "delivery at its time")


def problems(gateway: Gateway) -> list[str]:
    return [each["text"] for each in gateway.ask("problems", now=True)["problems"]]


def test_a_year_ahead_ends_nothing_is_told_and_leaves_no_trace_when_taken_back(jumping: Jumping) -> None:
    gateway = jumping.gateway
    refused, unreached = gateway.lane(), gateway.lane()
    problems(gateway)  # the clock is noted
    with refused.sink(refuse_for_now) as sink:
        first = gateway.send(plain("refused"), refused.address())
        second = gateway.send(plain("unreached"), unreached.address())
        wait_for(lambda: gateway.lines("DEFERRED", first), "the first attempt")
        wait_for(lambda: gateway.lines("DEFERRED", second), "the rest of the dead destination")
        jumping.clock.leap(365 * DAY)
        try:
            wait_for(lambda: len(gateway.lines("DEFERRED", first)) >= 2, "the retry")
            wait_for(lambda: any("leapt 365 days ahead" in each for each in problems(gateway)), "a word about it")
            jumping.clock.step(2 * HOUR)
            wait_for(lambda: len(gateway.lines("DEFERRED", first)) >= 3, "one more")
            assert gateway.stop() == 0
            gateway.start()
            problems(gateway)
            jumping.clock.step(5 * HOUR)
            wait_for(lambda: len(gateway.lines("DEFERRED", first)) >= 4, "one more after a restart")
            # One may be on its way just now; what is given up never waits again.
            wait_for(lambda: states(gateway, first, second) == ["QUE", "QUE"], "both to wait again")
        finally:
            jumping.clock.leap(-365 * DAY)
        assert not any("leapt" in each for each in problems(gateway))
        sink.script = None
        with unreached.sink() as other:
            jumping.clock.step(5 * HOUR)
            wait_for(lambda: len(sink.mails) == 1 and len(other.mails) == 1, "both")
    wait_for(lambda: states(gateway, first, second) == ["gone", "gone"], "both settled")


def test_a_year_ahead_that_stays_is_believed_after_a_day(jumping: Jumping) -> None:
    gateway = jumping.gateway
    lane = gateway.lane()
    problems(gateway)
    with lane.sink(refuse_for_now):
        queue_id = gateway.send(plain("old"), lane.address())
        wait_for(lambda: gateway.lines("DEFERRED", queue_id), "the first attempt")
        jumping.clock.leap(365 * DAY)
        wait_for(lambda: any("leapt 365 days ahead" in each for each in problems(gateway)), "a word about it")
        # The retry may be under way just now; what is given up never waits again.
        wait_for(lambda: len(gateway.lines("DEFERRED", queue_id)) >= 2, "the retry")
        wait_for(lambda: states(gateway, queue_id) == ["QUE"], "it to wait again")
        jumping.clock.step(DAY)
        wait_for(lambda: not any("leapt" in each for each in problems(gateway)), "the end of the doubt")
        jumping.clock.step(MINUTE)
        wait_for(lambda: states(gateway, queue_id) == ["gone"], "the end of the message")
