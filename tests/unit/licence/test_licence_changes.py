"""Adding and removing keys: what is told beforehand is what comes."""

from pathlib import Path

import pytest
from tests.support.licences import DAY, TRUSTED, days, install, licence

from gatepost.licence.changes import Place, add_key, plan_adding, plan_removal, remove_key
from gatepost.licence.key import Kind, LicenceCorrupt, LicenceError, Right
from gatepost.licence.store import ADDITIONAL, Licences


@pytest.fixture
def alone(place: Path) -> Licences:
    """Without the key the program comes with."""
    return Licences(place, TRUSTED, shipped=False)


def test_what_a_first_key_does_is_told_and_nothing_is_changed(place: Path, licences: Licences) -> None:
    raw = licence("1", rights=(Right.ANTIVIRUS,), users=5, expires=days(10))
    plan = plan_adding(licences, raw, DAY)
    assert (plan.key.serial, plan.place, plan.expires) == ("1", Place.ACTIVE, days(10))
    assert plan.effects == (
        "key 1 counts, until 2026-06-11; limits: 5 addresses",
        "anti-spam stops: mail is not checked for spam",
    )
    assert not place.exists()
    done = add_key(licences, raw, DAY)
    assert (done.told, done.in_use, done.may_start) == (("key 1 is installed as the active key",), True, True)


def test_an_additional_key_waits_and_its_end_is_told(place: Path, licences: Licences) -> None:
    install(place, "1", expires=days(10))
    plan = plan_adding(licences, licence("2", days=30), DAY)
    assert (plan.place, plan.expires) == (Place.ADDITIONAL, days(40))
    assert "it follows key 1" in plan.effects[0]
    assert "after 2026-06-11" in plan.effects[0]
    done = add_key(licences, licence("2", days=30), DAY)
    assert not done.in_use
    assert licences.settle(days(11))[0].expires == plan.expires
    with pytest.raises(LicenceError, match="installed already"):
        plan_adding(licences, licence("2", days=30), days(11))


def test_a_key_that_is_added_after_the_end_of_another_counts_at_once(place: Path, licences: Licences) -> None:
    install(place, "1", expires=days(-3))
    plan = plan_adding(licences, licence("2", days=30), DAY)
    assert "at once" in plan.effects[0]
    done = add_key(licences, licence("2", days=30), DAY)
    assert done.in_use
    assert done.told[1] == f"key 2, the additional one, is the active key from now on, until {plan.expires}"
    standing = licences.standing(DAY)
    assert standing.key is not None
    assert (standing.key.serial, standing.expires) == ("2", plan.expires)


def test_a_key_whose_time_has_come_leaves_its_place_to_another(place: Path, licences: Licences) -> None:
    install(place, "1", expires=days(-3))
    install(place, "2", name=ADDITIONAL, days=30)
    assert plan_adding(licences, licence("3", days=5), DAY).expires == days(34)
    assert licences.add(licence("3", days=5), DAY)[1] == "additional"
    standing = licences.standing(DAY)
    assert standing.key is not None
    assert standing.additional is not None
    assert (standing.key.serial, standing.additional.serial) == ("2", "3")


def test_what_stops_with_a_key_is_told(place: Path, alone: Licences) -> None:
    install(place, "1", expires=days(10))
    assert "neither starts nor reloads" in plan_removal(alone, Place.ACTIVE, DAY)[0]
    install(place, "2", name=ADDITIONAL, days=30, rights=(Right.ANTIVIRUS,))
    assert plan_removal(alone, Place.ADDITIONAL, DAY) == (
        "key 1, the active one, stays; no key follows it after 2026-06-11",
    )
    assert plan_removal(alone, Place.ACTIVE, DAY) == (
        "key 2 counts, until 2026-06-30; limits: none",
        "anti-spam stops: mail is not checked for spam",
    )
    done = remove_key(alone, Place.ACTIVE, DAY)
    assert (done.in_use, done.may_start) == (True, True)
    assert "key 2, the additional one, is the active key from now on, until 2026-06-30" in done.told
    last = remove_key(alone, Place.ACTIVE, DAY)
    assert not last.may_start
    assert last.told == ("key 2 is removed", "no gateway starts or reloads until a key is added")
    with pytest.raises(LicenceError, match="there is no active key"):
        plan_removal(alone, Place.ACTIVE, DAY)


def test_the_key_the_program_comes_with_counts_again(place: Path, licences: Licences) -> None:
    install(place, "1", rights=(Right.ANTIVIRUS,))
    assert plan_removal(licences, Place.ACTIVE, DAY) == (
        "the key that the program comes with counts: no limits, no end",
        "anti-spam begins, as configured",
    )


def test_a_trial_that_is_over_by_a_clock_set_back_is_told(place: Path, alone: Licences) -> None:
    install(place, "1", expires=days(20))
    alone.settle(days(5))
    remove_key(alone, Place.ACTIVE, DAY)
    with pytest.raises(LicenceError, match="expired on"):
        plan_adding(alone, licence("2", kind=Kind.TRIAL, expires=days(4)), DAY)


def test_what_is_broken_can_be_removed(place: Path, licences: Licences) -> None:
    install(place, "1")
    (place / ADDITIONAL).write_bytes(b"damaged")
    (told,) = plan_removal(licences, Place.ACTIVE, DAY)
    assert "what is left cannot be used" in told
    assert "has no end" in plan_removal(licences, Place.ADDITIONAL, DAY)[0]
    with pytest.raises(LicenceCorrupt, match=r"key 1 is removed, but .*additional\.key"):
        remove_key(licences, Place.ACTIVE, DAY)
    assert remove_key(licences, Place.ADDITIONAL, DAY).told[0] == "key ? is removed"
