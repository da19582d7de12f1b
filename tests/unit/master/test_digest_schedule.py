"""When digests are due, with a stepped clock."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from gatepost.config.grouping import Policy
from gatepost.master.digest_schedule import Schedule

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0


def at(text: str, zone: dt.tzinfo = dt.UTC) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def walk(schedule: Schedule, first: str, last: str, zone: dt.tzinfo = dt.UTC, step_s: float = 600) -> list[str]:
    """Look every ten minutes from one moment to another; return when a digest was sent."""
    now, end = at(first, zone), at(last, zone)
    sent, done = [], now
    while now <= end:
        if schedule.is_due(done, now, zone):
            sent.append(dt.datetime.fromtimestamp(now, zone).strftime("%a %d %H:%M"))
            done = now
        now += step_s
    return sent


def test_times_of_day() -> None:
    schedule = Schedule.of(Policy(digest_times=("16:30", "8:00")))
    assert walk(schedule, "2026-11-20 09:00", "2026-11-22 09:00") == [
        "Fri 20 16:30", "Sat 21 08:00", "Sat 21 16:30", "Sun 22 08:00",
    ]  # fmt: skip


def test_days_of_the_week() -> None:
    schedule = Schedule.of(Policy(digest_times=("8:00",), digest_days=("mon", "thu")))
    assert walk(schedule, "2026-11-16 08:10", "2026-11-30 23:00") == [
        "Thu 19 08:00",
        "Mon 23 08:00",
        "Thu 26 08:00",
        "Mon 30 08:00",
    ]
    weekly = Schedule.of(Policy(digest_times=("23:59",), digest_days=("sun",)))
    assert weekly.due_before(at("2026-11-22 23:58"), dt.UTC) == at("2026-11-15 23:59")


def test_an_interval_takes_the_place_of_times() -> None:
    schedule = Schedule.of(Policy(digest_times=("8:00",), digest_interval=6 * HOUR))
    assert walk(schedule, "2026-11-20 01:00", "2026-11-20 20:00") == ["Fri 20 07:00", "Fri 20 13:00", "Fri 20 19:00"]


def test_no_times_is_never() -> None:
    assert walk(Schedule.of(Policy(digest_times=())), "2026-11-01 00:00", "2026-11-20 00:00") == []


def test_one_that_was_missed_is_sent_once() -> None:
    schedule = Schedule.of(Policy(digest_times=("8:00", "12:00")))
    now = at("2026-11-22 13:00")
    assert schedule.is_due(at("2026-11-18 08:00"), now, dt.UTC)
    assert not schedule.is_due(now, now + 60, dt.UTC)


@pytest.mark.parametrize(
    ("first", "last", "sent"),
    [
        ("2026-03-28 12:00", "2026-03-30 12:00", ["Sun 29 03:30", "Mon 30 02:30"]),  # 2:30 is left out
        ("2026-10-24 12:00", "2026-10-26 12:00", ["Sun 25 02:30", "Mon 26 02:30"]),  # 2:30 comes twice
    ],
)
def test_changes_of_summer_time(first: str, last: str, sent: list[str]) -> None:
    assert walk(Schedule.of(Policy(digest_times=("2:30",))), first, last, BERLIN) == sent
