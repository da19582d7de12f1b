"""Whether a clock is believed: leaps ahead are doubted until they are taken back, or for a day."""

from pathlib import Path

import msgspec
import pytest
from tests.support.clock import DAY, HOUR, MINUTE, SteppedClock

from gatepost.doctor.finding import State
from gatepost.master.clock_watch import look_at_clock
from gatepost.spool import clock
from gatepost.spool.clock_record import (
    LEAP_S,
    PATIENCE_S,
    Moment,
    Record,
    is_doubted,
    next_record,
    path_of,
    read_record,
)

YEAR = 365 * DAY
START = Moment(1_800_000_000.0, 5000.0, "one")


def later(moment: Moment, passed: float, leap: float = 0.0) -> Moment:
    return Moment(moment.wall + passed + leap, moment.elapsed + passed, moment.boot)


def restarted(moment: Moment, off: float) -> Moment:
    return Moment(moment.wall + off, 20.0, "two")


def test_without_a_record_and_while_time_passes_a_clock_is_believed() -> None:
    record = next_record(None, START)
    assert record == Record(START)
    for passed in (0.0, MINUTE, 10 * YEAR):
        assert not is_doubted(record, later(START, passed))
        assert next_record(record, later(START, passed)) == Record(later(START, passed))


@pytest.mark.parametrize(
    ("leap", "doubted"),
    [(HOUR, False), (LEAP_S, False), (LEAP_S + 1, True), (YEAR, True), (-HOUR, False), (-YEAR, False)],
)
def test_a_leap_of_more_than_a_day_ahead_is_doubted_at_once(leap: float, doubted: bool) -> None:
    moment = later(START, MINUTE, leap)
    assert is_doubted(Record(START), moment) is doubted
    record = next_record(Record(START), moment)
    assert is_doubted(record, moment) is doubted
    assert is_doubted(record, later(moment, MINUTE)) is doubted


def test_a_doubt_ends_when_the_clock_goes_back_and_nothing_is_left_of_it() -> None:
    there = later(START, MINUTE, YEAR)
    doubted = next_record(Record(START), there)
    back = later(there, HOUR, -YEAR)
    assert not is_doubted(doubted, back)
    assert next_record(doubted, back) == Record(back)
    assert is_doubted(next_record(Record(back), later(back, 1, YEAR)), later(back, 2, YEAR))


def test_a_doubt_that_nobody_ends_lasts_a_day_of_running_time() -> None:
    moment = later(START, MINUTE, YEAR)
    record = next_record(Record(START), moment)
    for _ in range(23):
        moment = later(moment, HOUR)
        record = next_record(record, moment)
        assert is_doubted(record, moment)
    moment = restarted(moment, HOUR)  # the hour of the restart does not count
    record = next_record(record, moment)
    assert is_doubted(record, moment)
    assert record.left_s == PATIENCE_S - 23 * HOUR
    record = next_record(record, later(moment, HOUR))
    assert record == Record(later(moment, HOUR))


def test_leaps_of_less_than_a_day_add_up_within_the_time_of_patience() -> None:
    first = later(START, MINUTE, 20 * HOUR)
    record = next_record(Record(START), first)
    assert not is_doubted(record, first)
    soon = later(first, 23 * HOUR)
    record = next_record(record, soon)
    assert is_doubted(record, later(soon, MINUTE, 5 * HOUR)), "before the master has noted it"
    second = later(soon, MINUTE, 5 * HOUR)
    record = next_record(record, second)
    assert record.ahead_s == 25 * HOUR
    record = next_record(record, later(second, PATIENCE_S - 1))
    assert is_doubted(record, later(second, PATIENCE_S - 1)), "a day from the last leap on"
    assert next_record(record, later(second, PATIENCE_S)) == Record(later(second, PATIENCE_S))


def test_a_short_leap_that_was_put_back_or_has_lasted_a_day_adds_to_none() -> None:
    there = later(START, MINUTE, 20 * HOUR)
    record = next_record(Record(START), there)
    for end in (later(there, HOUR, -20 * HOUR), later(there, PATIENCE_S)):
        ended = next_record(record, end)
        assert ended == Record(end)
        assert not is_doubted(ended, later(end, MINUTE, 20 * HOUR))


def test_what_an_ntp_client_corrects_and_nights_off_never_add_up() -> None:
    moment, record = START, Record(START)
    for _ in range(3000):
        moment = later(moment, MINUTE, 59.0)
        record = next_record(record, moment)
        assert record == Record(moment)
    for night in range(10):
        moment = Moment(moment.wall + 14 * HOUR, 20.0, f"night {night}")
        record = next_record(record, moment)
        assert record == Record(moment)
        moment = later(moment, 10 * HOUR)
        record = next_record(record, moment)


def test_a_machine_that_was_off_for_days_is_doubted_one_that_was_off_for_a_night_is_not() -> None:
    assert not is_doubted(Record(START), restarted(START, 10 * HOUR))
    assert is_doubted(Record(START), restarted(START, 3 * DAY))


def test_a_machine_that_was_off_is_a_warning_and_says_that_it_may_have_been_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path_of(str(tmp_path)).write_bytes(msgspec.json.encode(Record(START)))
    on = restarted(START, 3 * DAY)
    for passed in (0.0, HOUR):
        monkeypatch.setattr(clock, "moment", lambda passed=passed: later(on, passed))
        [told] = look_at_clock(str(tmp_path))
        assert told.state is State.WARNING
        assert "the machine was off for 3 days, or its clock" in told.text
    assert next_record(Record(START), restarted(START, 3 * DAY)).ahead_s == 3 * DAY


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("now", "elapsed", "longest_pause_s", "_record"):
        monkeypatch.setattr(clock, name, getattr(clock, name))


def test_every_process_sees_a_leap_before_the_master_has_noted_it(tmp_path: Path) -> None:
    stepped = SteppedClock(tmp_path)
    clock.follow_test_clock(stepped.env)
    clock.follow_record(str(tmp_path))
    assert clock.is_believed()  # no record yet
    assert look_at_clock(str(tmp_path)) == []
    stepped.step(30 * DAY)
    assert clock.is_believed()
    stepped.leap(YEAR)
    assert not clock.is_believed()
    [told] = look_at_clock(str(tmp_path))
    assert told.state is State.ERROR
    assert "leapt 365 days ahead" in told.text
    assert "another 24 h" in told.text
    assert not clock.is_believed()
    stepped.step(PATIENCE_S)
    assert look_at_clock(str(tmp_path)) == []
    assert clock.is_believed()


def test_a_record_that_cannot_be_read_or_written_is_made_anew_or_told(tmp_path: Path) -> None:
    path_of(str(tmp_path)).write_bytes(b"\xff{")
    assert read_record(str(tmp_path)) is None
    assert look_at_clock(str(tmp_path)) == []
    assert msgspec.json.decode(path_of(str(tmp_path)).read_bytes(), type=Record).left_s == 0
    [told] = look_at_clock(str(tmp_path / "gone"))
    assert "cannot be noted" in told.text
