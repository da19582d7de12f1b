"""Totals that grow, and what of them happened within the hour."""

from gatepost.master.problems import COUNTED_S, HourCounts, count_failures, count_restarts


def test_what_happened_within_the_hour_counts() -> None:
    counts = HourCounts()
    assert counts.count({"a": 2, "b": 0}, 1000.0) == {"a": 2, "b": 0}
    assert counts.count({"a": 3, "b": 0}, 1010.0) == {"a": 3, "b": 0}
    assert counts.count({"a": 3, "b": 1}, 1000.0 + COUNTED_S + 1) == {"a": 1, "b": 1}
    assert counts.count({"a": 3, "b": 1}, 1010.0 + 2 * COUNTED_S) == {"a": 0, "b": 0}


def test_totals_that_begin_again_count_from_nothing() -> None:
    """As those of a relay that was started anew; one that is gone is told no more."""
    counts = HourCounts()
    counts.count({"a": 5, "b": 1}, 1000.0)
    assert counts.count({"a": 2}, 1001.0) == {"a": 7}


def test_one_that_does_not_answer_for_a_moment_has_counted_nothing_new() -> None:
    counts = HourCounts()
    counts.count({"a": 40}, 1000.0)
    later = 1000.0 + COUNTED_S + 1
    assert counts.count({"a": 40}, later) == {"a": 0}
    assert counts.count({}, later + 10) == {}
    assert counts.count({"a": 41}, later + 20) == {"a": 1}


def test_totals_are_those_of_the_processes() -> None:
    status = {
        "relays": [{"index": 0, "restarts": 1, "filters": {"failed": 4}}, {"index": 1, "restarts": 0}],
        "filter_template": {"restarts": 2},
    }
    assert count_restarts(status) == {"relay 0": 1, "relay 1": 0, "filter template": 2}
    assert count_failures(status) == {"relay 0": 4}
