"""The end of a licence is told of before it comes and when it is over; the open key has nothing to say."""

import datetime as dt
from pathlib import Path

import pytest
from tests.support import licences

from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.doctor.finding import State
from gatepost.doctor.licences import check_licence, check_licence_daemon
from gatepost.licence.key import Kind
from gatepost.spool import clock

TODAY = dt.date(2026, 6, 15)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    noon = dt.datetime.combine(TODAY, dt.time(12), dt.UTC).timestamp()
    monkeypatch.setattr(clock, "now", lambda: noon)
    text = f'[network]\nhostname = "gw.example.org"\n[relay]\nstate_path = "{tmp_path}"\n{licences.SETTINGS}'
    config = load_text(text + 'license_mode = "key"\n', "x.toml").config
    assert config is not None
    return config


@pytest.mark.parametrize(
    ("said", "state", "told"),
    [
        ({}, State.OK, "without end"),
        ({"expires": TODAY + dt.timedelta(8)}, State.OK, "good until 2026-06-23"),
        ({"expires": TODAY + dt.timedelta(7)}, State.WARNING, "ends in 7 day"),
        ({"expires": TODAY}, State.WARNING, "ends today"),
        ({"expires": TODAY - dt.timedelta(1)}, State.ERROR, "databases issued later are not used"),
        ({"expires": TODAY - dt.timedelta(1), "kind": Kind.TRIAL}, State.ERROR, "does not start again"),
    ],
)
def test_the_end_of_a_term_is_judged(config: Config, said: dict[str, object], state: State, told: str) -> None:
    licences.install(Path(config.path.license_path), **said)
    (found,) = check_licence(config, 0.0)
    assert found.state is state
    assert told in found.text
    assert bool(found.mend) == (state is not State.OK)


def test_a_key_that_follows_ends_the_worry(config: Config) -> None:
    place = Path(config.path.license_path)
    licences.install(place, expires=TODAY)
    licences.install(place, "2", name="additional.key", days=365)
    (found,) = check_licence(config, 0.0)
    assert found.state is State.OK


def test_no_key_where_one_is_wanted_and_one_that_is_damaged_are_errors(config: Config) -> None:
    (found,) = check_licence(config, 0.0)
    assert (found.state, "does not start again" in found.text) == (State.ERROR, True)
    place = Path(config.path.license_path)
    place.mkdir(parents=True, exist_ok=True)
    (place / "active.key").write_bytes(licences.licence()[:-40])
    (found,) = check_licence(config, 0.0)
    assert (found.state, "cannot be told" in found.text) == (State.ERROR, True)


def test_the_open_key_has_nothing_to_say(tmp_path: Path) -> None:
    text = f'[network]\nhostname = "gw.example.org"\n[relay]\nstate_path = "{tmp_path}"\n'
    config = load_text(text, "x.toml").config
    assert config is not None
    assert list(check_licence(config, 0.0)) == []


@pytest.mark.parametrize(
    ("answer", "state", "told"),
    [
        ("", State.OK, "the licensing daemon answers at /run/l.sock"),
        ("no key", State.ERROR, "mail that doors are asked about is not checked for spam: no key"),
    ],
)
def test_a_licensing_daemon_that_says_no_is_a_problem(
    answer: str, state: State, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatepost.doctor.licences.ask_once", lambda _: answer)
    text = '[network]\nhostname = "gw.example.org"\n[licence_daemon]\nfilter_license_connect_to = "/run/l.sock"\n'
    config = load_text(text, "x.toml").config
    assert config is not None
    assert list(check_licence_daemon(config, 0.0)) == [], "without doors nobody asks it"
    config = load_text(f'{text}[[door]]\nkind = "filter"\naddress = "unix:/run/d.sock"\n', "x.toml").config
    assert config is not None
    (found,) = check_licence_daemon(config, 0.0)
    assert (found.state, found.text) == (state, told)
    assert ("/run/l.sock" in found.mend) == (state is State.ERROR)
