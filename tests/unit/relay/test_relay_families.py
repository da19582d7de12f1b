"""Families of addresses: what proves one dead, and what does not."""

import pytest

from gatepost.relay.families import HOSTS, REST_S, Families

SIX = "2001:db8::1"
FOUR = "192.0.2.1"


@pytest.mark.parametrize(("dead", "alive"), [(SIX, FOUR), (FOUR, SIX)])
def test_a_family_comes_last_after_silence_at_several_hosts(dead: str, alive: str) -> None:
    families = Families()
    for number in range(HOSTS):
        assert not families.comes_last(dead, 0.0)
        families.note(f"mx{number}.example.org", alive, [dead], 0.0)
    assert families.comes_last(dead, REST_S - 1)
    assert not families.comes_last(alive, 0.0)
    assert not families.comes_last(dead, REST_S)


def silence(families: Families, hosts: int, now: float = 0.0) -> None:
    for number in range(hosts):
        families.note(f"mx{number}.example.org", FOUR, [SIX], now)


def test_after_its_rest_one_host_is_enough() -> None:
    families = Families()
    silence(families, HOSTS)
    silence(families, 1, REST_S)
    assert families.comes_last(SIX, REST_S)


def test_one_host_proves_nothing() -> None:
    families = Families()
    for _ in range(2 * HOSTS):
        families.note("mx.example.org", FOUR, [SIX], 0.0)
    assert not families.comes_last(SIX, 0.0)


def test_an_answer_ends_it() -> None:
    families = Families()
    silence(families, HOSTS - 1)
    families.note("other.example.org", SIX, [], 0.0)
    families.note("mx9.example.org", FOUR, [SIX], 0.0)
    assert not families.comes_last(SIX, 0.0)
    silence(families, HOSTS)
    assert families.comes_last(SIX, 0.0)
    families.note("other.example.org", SIX, [], 0.0)
    assert not families.comes_last(SIX, 0.0)


def test_silence_of_another_address_of_the_family_that_answered_proves_nothing() -> None:
    families = Families()
    for number in range(HOSTS):
        families.note(f"mx{number}.example.org", FOUR, ["192.0.2.2"], 0.0)
    assert not families.comes_last(FOUR, 0.0)


def test_all_is_forgotten_at_a_wish() -> None:
    families = Families()
    silence(families, HOSTS)
    families.clear()
    silence(families, 1)
    assert not families.comes_last(SIX, 0.0)
