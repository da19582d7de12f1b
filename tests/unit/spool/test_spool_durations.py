"""Quantiles of commit times."""

from gatepost.spool.durations import Durations


def test_quantiles_are_near_and_never_beyond_the_longest():
    durations = Durations()
    assert durations.quantile(0.99) == 0.0
    for milliseconds in range(1, 1001):
        durations.note(milliseconds / 1000)
    assert durations.count == 1000
    assert durations.longest_s == 1.0
    for share in (0.01, 0.5, 0.9, 0.99):
        assert share <= durations.quantile(share) <= min(share * 1.16, 1.0)
    assert durations.quantile(1.0) == 1.0


def test_what_is_off_the_scale_counts_at_its_ends():
    durations = Durations()
    durations.note(0.0)
    assert durations.quantile(1.0) == 0.0
    durations.note(1e6)
    assert durations.quantile(1.0) <= 1e6
    assert durations.longest_s == 1e6
