"""The cache: lives, bounds, shelves. The clock is an argument."""

import pytest

from gatepost.resolver.answers import Answer, Kind, Mx, Outcome
from gatepost.resolver.cache import ANY_KIND, Cache, Shelf

FOUND = Answer(Outcome.FOUND, ("192.0.2.1",))
NO_NAME: Answer[str] = Answer(Outcome.NO_NAME, reason="no such name")
PERIODS = {Shelf.ADDRESSES: 100.0, Shelf.MAIL_HOSTS: 200.0, Shelf.UNRESOLVED: 50.0}


@pytest.mark.feature("F-ROUT-13")
def test_an_expired_record_is_not_used() -> None:
    cache = Cache()
    cache.keep("a.example", Kind.A, FOUND, 60)
    kept = cache.find("a.example", Kind.A, 59.9)
    assert kept is not None
    assert kept.values == ("192.0.2.1",)
    assert kept.through_cache
    assert cache.find("a.example", Kind.A, 60) is None


def test_kinds_are_apart_and_no_name_is_of_every_kind() -> None:
    cache = Cache()
    cache.keep("a.example", Kind.A, FOUND, 60)
    assert cache.find("a.example", Kind.MX, 0) is None
    cache.keep("b.example", ANY_KIND, NO_NAME, 60)
    for kind in Kind:
        found = cache.find("b.example", kind, 0)
        assert found is not None
        assert found.outcome is Outcome.NO_NAME
    # An expired record of the kind does not hide it.
    cache.keep("b.example", Kind.A, FOUND, 10)
    assert cache.find("b.example", Kind.A, 5) == cache.find("b.example", Kind.A, 9.9)
    after = cache.find("b.example", Kind.A, 20)
    assert after is not None
    assert after.outcome is Outcome.NO_NAME


def test_who_needs_signatures_takes_only_what_was_asked_with_them_or_is_authentic() -> None:
    cache = Cache()
    cache.keep("a", Kind.A, FOUND, 60)
    assert cache.find("a", Kind.A, 0, dnssec=True) is None
    cache.keep("a", Kind.A, FOUND, 60, dnssec=True)
    assert cache.find("a", Kind.A, 0, dnssec=True) is not None
    cache.keep("b", Kind.A, Answer(Outcome.FOUND, ("192.0.2.1",), authentic=True), 60)
    assert cache.find("b", Kind.A, 0, dnssec=True) is not None


def test_the_longest_unused_goes_when_it_is_full() -> None:
    cache = Cache(entries_limit=3)
    for name in "abc":
        cache.keep(name, Kind.A, FOUND, 60)
    assert cache.find("a", Kind.A, 0)
    cache.keep("d", Kind.A, FOUND, 60)
    assert len(cache) == 3
    assert cache.find("b", Kind.A, 0) is None
    assert cache.find("a", Kind.A, 0)


def test_memory_is_bounded_too() -> None:
    cache = Cache(bytes_limit=50_000)
    large = Answer(Outcome.FOUND, (b"x" * 10_000,))
    for number in range(20):
        cache.keep(str(number), Kind.TXT, large, 60)
    assert 0 < len(cache) <= 5
    assert cache.size <= 50_000
    for number in range(20):
        cache.keep(str(number), Kind.TXT, NO_NAME, 60)
    cache.clear()
    assert (len(cache), cache.size) == (0, 0)


def test_replacing_an_entry_does_not_count_it_twice() -> None:
    cache = Cache()
    cache.keep("a", Kind.A, FOUND, 60)
    size = cache.size
    cache.keep("a", Kind.A, FOUND, 70)
    assert (len(cache), cache.size) == (1, size)


@pytest.mark.feature("F-ROUT-13")
def test_each_shelf_is_purged_on_its_own_period() -> None:
    cache = Cache()
    assert cache.purge(0, PERIODS) == 0
    cache.keep("a", Kind.A, FOUND, 10)
    cache.keep("m", Kind.MX, Answer(Outcome.FOUND, (Mx(10, "a"),)), 10)
    cache.keep("n", Kind.MX, NO_NAME, 10)
    cache.keep("alive", Kind.A, FOUND, 1000)
    assert cache.purge(49, PERIODS) == 0
    assert cache.purge(50, PERIODS) == 1
    assert len(cache) == 3
    assert cache.purge(100, PERIODS) == 1
    assert cache.purge(199, PERIODS) == 0
    assert cache.purge(200, PERIODS) == 1
    assert len(cache) == 1
    assert cache.size > 0
