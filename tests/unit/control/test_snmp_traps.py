"""When SNMP notifications are due: changes, errors, outbreaks by the hour, old databases; the clock is stepped."""

from typing import Any

import pytest

from gatepost.control.snmp_traps import ERRORS_LIMIT, HOUR_S, Happened, Trap, TrapPlan, View

START = 1_700_000_000.0


def at(now: float = 0.0, **how: Any) -> View:
    return View(now=START + now, **how)


def begun(**how: Any) -> TrapPlan:
    plan = TrapPlan()
    assert plan.look(at(**how), 0) == [Happened(Trap.PRODUCT_START)]
    return plan


def test_changes_are_told_once() -> None:
    plan = begun(config=1, bases=1)
    assert plan.look(at(2, config=2, bases=1), 0) == [Happened(Trap.CONFIG_RELOADED)]
    assert plan.look(at(4, config=2, bases=2), 0) == [Happened(Trap.BASES_RELOADED)]
    assert plan.look(at(6, config=2, bases=2), 0) == []


def test_an_update_is_told_with_its_result() -> None:
    plan = begun()
    told = plan.look(at(2, update_checked=START, update_result="updated", released="2026-11-20"), 0)
    assert told == [Happened(Trap.UPDATE_STATUS, "updated", released="2026-11-20", new=True)]
    told = plan.look(at(4, update_checked=START + 9, update_result="not-needed"), 0)
    assert told == [Happened(Trap.UPDATE_STATUS, "not-needed")]


def test_an_error_is_told_when_it_begins_and_again_when_it_comes_back() -> None:
    plan = begun()
    error = [("disk", "the disk is full")]
    assert plan.look(at(2, errors=error), 0) == [Happened(Trap.PRODUCT_ERROR, "the disk is full")]
    assert plan.look(at(4, errors=error), 0) == []
    assert plan.look(at(6), 0) == []
    assert plan.look(at(8, errors=error), 0) == [Happened(Trap.PRODUCT_ERROR, "the disk is full")]
    many = [(f"e{number}", "x") for number in range(50)]
    assert len(plan.look(at(10, errors=many), 0)) == ERRORS_LIMIT


@pytest.mark.feature("F-SNMP-06")
def test_an_outbreak_is_alerted_at_the_threshold_every_hour_until_it_is_over() -> None:
    plan = begun()
    assert plan.look(at(1), 10) == []
    assert plan.look(at(60, scanned=100, infected=10), 10) == [], "the threshold itself is no alert"
    assert plan.look(at(120, scanned=110, infected=20), 10) == [Happened(Trap.OUTBREAK_ALERT, percent=18)]
    assert plan.look(at(180, scanned=120, infected=30), 10) == []
    assert plan.look(at(120 + HOUR_S - 1, scanned=200, infected=110), 10) == []
    assert plan.look(at(121 + HOUR_S, scanned=210, infected=120), 10) == [Happened(Trap.OUTBREAK_ALERT, percent=100)]
    for step in range(1, 200):  # clean mail for two hours
        assert plan.look(at(121 + HOUR_S + 36 * step, scanned=210 + 100 * step, infected=120), 10) == []
    again = at(121 + HOUR_S + 7300, scanned=210 + 100 * 199 + 9000, infected=120 + 9000)
    assert [each.trap for each in plan.look(again, 10)] == [Trap.OUTBREAK_ALERT], "a new one is told at once"


def test_a_handful_of_mails_is_no_outbreak_and_zero_is_off() -> None:
    plan = begun()
    assert plan.look(at(60, scanned=19, infected=19), 50) == []
    assert plan.look(at(90, scanned=500, infected=500), 0) == []


def test_counters_that_began_anew_make_no_outbreak() -> None:
    plan = begun(scanned=1000, infected=900)
    assert plan.look(at(60, scanned=5, infected=5), 10) == []


@pytest.mark.feature("F-SNMP-06")
def test_old_databases_are_told_every_day() -> None:
    plan = begun(age_days=5)
    told = [Happened(Trap.OBSOLETE_BASES, released="2026-01-01")]
    assert plan.look(at(10, age_days=6, released="2026-01-01"), 0) == told
    assert plan.look(at(86_000, age_days=6, released="2026-01-01"), 0) == []
    assert plan.look(at(86_411, age_days=7, released="2026-01-01"), 0) == told
    assert plan.look(at(86_500, age_days=0), 0) == []
    assert plan.look(at(86_600, age_days=6, released="2026-01-01"), 0) == told


def test_what_came_while_nobody_wanted_an_alert_is_no_matter_of_the_last_hour() -> None:
    plan = begun()
    for step in range(3):
        assert plan.look(at(60 * step), 0) == []
    assert plan.look(at(240, scanned=1000, infected=900), 10) == []
    assert plan.look(at(300, scanned=1100, infected=905), 10) == []
    assert [each.trap for each in plan.look(at(360, scanned=1150, infected=955), 10)] == [Trap.OUTBREAK_ALERT]
