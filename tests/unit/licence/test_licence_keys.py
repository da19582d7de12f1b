"""Licence keys: what an issuer signed and nothing else; first and following keys; clocks; notices; what is counted."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.licences import DAY, PRIVATE, TRUSTED, days, install, licence

from gatepost.feeds.keys import Keys, key_id
from gatepost.licence.key import KEY_LIMIT, Kind, LicenceCorrupt, LicenceError, LicenceKey, Right, build_key, parse_key
from gatepost.licence.notices import plan_notices
from gatepost.licence.store import ACTIVE, ADDITIONAL, Licences, Standing, resolve_issuers
from gatepost.licence.usage import DAY_S, WINDOW_DAYS, Usage, UsageBook, read_usage

# --- the document


def test_a_key_says_what_was_signed() -> None:
    key = LicenceKey(
        serial="2026-7", kind=Kind.TRIAL, issuer="somebody", holder="Müller & Söhne", created=DAY, expires=days(30),
        days=30, users=50, megabytes=100, rights=(Right.ANTIVIRUS,),
    )  # fmt: skip
    raw = build_key(key, PRIVATE)
    assert parse_key(raw, TRUSTED) == key
    assert parse_key(raw.replace(b"\n", b"\r\n"), TRUSTED) == key, "as mail programs save it"
    assert b"holder: M\xc3\xbcller" in raw


@pytest.mark.parametrize("change", [(b"users: 0", b"users: 9"), (b"never", b"2099-01-01"), (b"av, as", b"av")])
def test_a_changed_key_is_corrupt(change: tuple[bytes, bytes]) -> None:
    raw = licence()
    assert change[0] in raw
    with pytest.raises(LicenceCorrupt):
        parse_key(raw.replace(*change), TRUSTED)


@pytest.mark.parametrize("raw", [b"", b"x" * (KEY_LIMIT + 1), b"gatepost licence key 1\n", b"\xff\n" + licence()])
def test_what_is_no_key_is_corrupt(raw: bytes) -> None:
    with pytest.raises(LicenceCorrupt):
        parse_key(raw, TRUSTED)


def test_another_issuers_key_and_another_products_are_refused() -> None:
    other = Ed25519PrivateKey.generate()
    with pytest.raises(LicenceError, match="no trusted key") as caught:
        parse_key(licence(), {key_id(other.public_key()): other.public_key()})
    assert not isinstance(caught.value, LicenceCorrupt)
    with pytest.raises(LicenceError, match="not for 'gatepost'"):
        parse_key(licence(product="mousetrap"), TRUSTED)


@pytest.mark.parametrize("said", [{"days": -1}, {"days": 3_000_000}, {"users": -1}, {"megabytes": 2_000_000_000}])
def test_numbers_that_nobody_can_count_with_are_refused(said: dict[str, int]) -> None:
    with pytest.raises(LicenceError, match="out of range"):
        parse_key(licence(**said), TRUSTED)


def test_a_text_that_does_not_fit_on_a_line_is_not_signed() -> None:
    with pytest.raises(ValueError, match="holder"):
        licence(holder="a\nusers: 0")


# --- the installation


def test_without_a_key_the_one_counts_that_the_program_comes_with(place: Path) -> None:
    standing = Licences(place, resolve_issuers()).standing(DAY)
    assert standing.open
    assert standing.key is not None
    assert (standing.expires, standing.key.users, standing.antispam, standing.may_start) == (None, 0, True, True)
    none = Licences(place, resolve_issuers(), shipped=False).standing(DAY)
    assert (none.key, none.may_start, none.antispam) == (None, False, False)


def test_the_first_key_ends_on_its_day(place: Path, licences: Licences) -> None:
    install(place, expires=days(10))
    assert licences.standing(DAY).days_left == 10
    assert not licences.standing(days(10)).expired
    after = licences.standing(days(11))
    assert (after.expired, after.days_left, after.may_start) == (True, -1, True)


def test_a_trial_that_is_over_starts_no_gateway(place: Path, licences: Licences) -> None:
    install(place, expires=days(1), kind=Kind.TRIAL)
    assert licences.standing(days(1)).may_start
    assert not licences.standing(days(2)).may_start


@pytest.mark.feature("F-LIC-02")
def test_an_additional_key_follows_and_its_term_counts_from_then(place: Path, licences: Licences) -> None:
    assert licences.add(licence("1", expires=days(10)), DAY)[1] == "active"
    assert licences.add(licence("2", expires=days(1000), days=365), DAY)[1] == "additional"
    with pytest.raises(LicenceError, match="additional key already"):
        licences.add(licence("3"), DAY)
    assert licences.settle(days(10)) == (licences.standing(days(10)), False)
    standing, follows = licences.settle(days(14))
    assert follows
    assert standing.key is not None
    assert (standing.key.serial, standing.expires) == ("2", days(14 + 364))
    assert not (place / ADDITIONAL).exists()
    again, follows = licences.settle(days(20))
    assert not follows
    assert again.expires == days(14 + 364)
    assert licences.standing(days(14 + 365)).expired
    assert licences.add(licence("3", days=10), days(20))[1] == "additional"


def test_a_change_of_keys_that_was_broken_off_is_done_again_with_the_same_term(
    place: Path, licences: Licences, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(place, "1", expires=days(0))
    install(place, "2", name=ADDITIONAL, days=100)

    def fail(*_: object) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="no space"):
            licences.settle(days(5))
    with monkeypatch.context() as broken:
        real = Path.replace
        broken.setattr(Path, "replace", lambda path, to: fail() if path.name == ADDITIONAL else real(path, to))
        with pytest.raises(OSError, match="no space"):
            licences.settle(days(5))
    standing, follows = licences.settle(days(9))
    assert follows
    assert standing.expires == days(5 + 99), "counted from the first try"
    assert (place / ACTIVE).read_bytes() == licence("2", days=100)


def test_a_clock_that_is_set_back_revives_nothing(place: Path, licences: Licences) -> None:
    install(place, expires=days(10))
    licences.settle(days(11))
    back = licences.standing(DAY)
    assert back.expired
    assert back.today == days(11)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write files for another user")
def test_what_root_installs_is_the_gateways(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 4711, 4712)
    licences = Licences(state / "licence", TRUSTED)
    licences.add(licence("1", expires=days(10)), DAY)
    licences.add(licence("2", days=10), DAY)
    licences.settle(days(1))
    made = [state / "licence", *(state / "licence").iterdir()]
    assert len(made) == 4
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(4711, 4712)}


def test_keys_are_removed_one_by_one(place: Path, licences: Licences) -> None:
    install(place, "1")
    install(place, "2", name=ADDITIONAL)
    assert licences.remove(additional=True).serial == "2"
    with pytest.raises(LicenceError):
        licences.remove(additional=True)
    (place / ACTIVE).write_bytes(b"damaged")
    licences.remove(additional=False)
    assert licences.standing(DAY).open


def test_a_key_is_not_installed_twice_nor_after_its_end(licences: Licences) -> None:
    licences.add(licence("1"), DAY)
    with pytest.raises(LicenceError, match="installed already"):
        licences.add(licence("1"), DAY)
    licences.remove(additional=False)
    with pytest.raises(LicenceError, match="expired"):
        licences.add(licence("9", expires=days(-1)), DAY)


@pytest.mark.parametrize("name", [ACTIVE, ADDITIONAL, "state.json"])
def test_a_damaged_file_is_named(place: Path, licences: Licences, name: str) -> None:
    install(place, "1", expires=days(-1))
    (place / name).write_bytes(b'{"seen": "\xff"}')
    with pytest.raises(LicenceCorrupt, match=name):
        licences.standing(DAY)


# --- notices


def told(standing: Standing, usage: Usage | None = None) -> list[str]:
    return [notice.name for notice in plan_notices(standing, usage or Usage())]


def key(**said: object) -> LicenceKey:
    trusted: Keys = TRUSTED
    return parse_key(licence("7", **said), trusted)


@pytest.mark.feature("F-LIC-08")
def test_the_end_is_told_a_week_three_days_and_a_day_before_and_on_the_day() -> None:
    names = [told(Standing(key=key(), expires=days(10), today=days(day))) for day in range(14)]
    assert names == [
        [], [], [], ["7/7"], ["7/7"], ["7/7"], ["7/7"], ["7/3"], ["7/3"], ["7/1"], ["7/0"], ["7/over"], ["7/over"],
        ["7/over"],
    ]  # fmt: skip
    followed = Standing(key=key(), additional=key(), expires=days(1), today=DAY)
    assert told(followed) == [], "a successor is there"


@pytest.mark.feature("F-LIC-05")
@pytest.mark.feature("F-LIC-06")
def test_limits_are_told_near_and_above() -> None:
    standing = Standing(key=key(users=10, megabytes=100), today=DAY)
    assert told(standing, Usage(8, 89_999_999)) == []
    assert told(standing, Usage(9, 90_000_000)) == ["7/users/near", f"7/traffic/{DAY}/near"]
    assert told(standing, Usage(10, 100_999_999)) == ["7/users/near", f"7/traffic/{DAY}/near"]
    assert told(standing, Usage(11, 101_000_000)) == ["7/users/above", f"7/traffic/{DAY}/above"]


def test_what_went_above_in_a_days_last_minute_is_told_on_the_next() -> None:
    standing = Standing(key=key(megabytes=100), today=DAY)
    assert told(standing, Usage(bytes_yesterday=100_999_999)) == []
    assert told(standing, Usage(bytes_yesterday=101_000_000)) == [f"7/traffic/{days(-1)}/above"]


# --- what is counted


def test_addresses_count_once_for_a_while_and_bytes_by_the_day(tmp_path: Path) -> None:
    file = tmp_path / "licence.db"
    now = 20_000.5 * DAY_S
    assert read_usage(file, now) == Usage()
    book = UsageBook(file)
    assert book.fresh("a", 1, 10) == 0
    for address in ("a@x.example", "A@X.example", "b@x.example"):
        book.add_address(address, now)
    book.add_bytes(700, now)
    book.add_bytes(300, now)
    book.add_bytes(5, now - DAY_S)
    book.flush()
    assert read_usage(file, now) == Usage(2, 1000, 5)
    assert read_usage(file, now + (WINDOW_DAYS - 1) * DAY_S) == Usage(2, 0)
    assert read_usage(file, now + WINDOW_DAYS * DAY_S) == Usage(0, 0)
    assert b"x.example" not in file.read_bytes()


def test_what_comes_again_after_a_kill_is_not_counted_twice(tmp_path: Path) -> None:
    file = tmp_path / "licence.db"
    book = UsageBook(file)
    book.fresh("a", 1, 10)
    book.add_bytes(10, 0.0)
    book.close()
    again = UsageBook(file)
    assert again.fresh("a", 6, 10) == 5
    assert again.fresh("a", 6, 5) == 5
    assert again.fresh("b", 1, 3) == 0
    again.close()
