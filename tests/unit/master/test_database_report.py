"""`databases.show`: every set on the disk, whether it is in force, why one is not usable, and the licence's term."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support import licences
from tests.support.databases import Databases

from gatepost.config.licensing import LicenceMode
from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.feeds.bases import choose_sets
from gatepost.feeds.keys import resolve_keys
from gatepost.feeds.update_state import UpdateRun, write_run
from gatepost.master.bases import Databases as InForce
from gatepost.master.database_report import report_databases

TODAY = dt.date(2026, 6, 1)
NOTHING = InForce()


@pytest.fixture
def databases(tmp_path: Path) -> Databases:
    return Databases(tmp_path)


def _config(databases: Databases, trusted: bool = True) -> Config:
    place = databases.bases.parent
    (place / "spam").mkdir(exist_ok=True)
    (place / "licences").mkdir(exist_ok=True)
    text = '[network]\nhostname = "gw.example.org"\n' + databases.configured["[path]"]
    text += f'\nas_bases_path = "{place}/spam"\nlicense_path = "{place}/licences"\n'
    text += databases.configured["[ave]"] if trusted else ""
    text += licences.SETTINGS
    config = load_text(text, "x.toml").config
    assert config is not None
    return config


def _report(config: Config, in_force: InForce = NOTHING) -> dict[str, Any]:
    return report_databases(config, in_force, TODAY)


def test_sets_are_told_newest_first_and_what_is_in_force(databases: Databases) -> None:
    databases.put(1, b"one")
    databases.put(2, b"one", b"two")
    config = _config(databases)
    chosen = InForce(choose_sets(databases.bases, resolve_keys(config.ave.trusted_keys), None).sets)
    told = [(row["number"], row["records"], row["in_force"], row["newer"]) for row in _report(config, chosen)["sets"]]
    assert told == [(2, 2, True, 0), (1, 1, False, 2)]


def test_a_set_that_was_changed_or_that_nobody_vouches_for_is_told_last_and_why(databases: Databases) -> None:
    databases.put(1, b"one")
    changed = databases.put(2, b"two")
    with (changed / "known.hash").open("a") as file:
        file.write("more\n")
    rows = _report(_config(databases))["sets"]
    assert [row["trouble"] == "" for row in rows] == [True, False]
    assert "known.hash" in rows[1]["trouble"]
    assert all(row["trouble"] for row in _report(_config(databases, trusted=False))["sets"])


def test_a_directory_that_cannot_be_read_is_told(databases: Databases) -> None:
    config = _config(databases)
    [trouble] = _report(config)["troubles"]
    assert str(databases.bases) in trouble


@pytest.mark.parametrize(
    ("content", "expires", "days_left"),
    [(None, "", 0), (dt.date(2026, 6, 11), "2026-06-11", 10), (dt.date(2026, 5, 31), "2026-05-31", -1)],
)
def test_the_licences_term(databases: Databases, content: dt.date | None, expires: str, days_left: int) -> None:
    config = _config(databases)
    if content is not None:
        licences.install(Path(config.path.license_path), expires=content)
    licence = _report(config)["licence"]
    assert licence == {"expires": expires, "days_left": days_left, "trouble": ""}


def test_no_licence_key_is_told_and_is_not_one_without_end(databases: Databases) -> None:
    config = _config(databases)
    config = msgspec.structs.replace(
        config, licence=msgspec.structs.replace(config.licence, license_mode=LicenceMode.KEY)
    )
    assert _report(config)["licence"] == {"expires": "", "days_left": 0, "trouble": "there is no licence key"}


def test_a_licence_that_cannot_be_read_is_told(databases: Databases) -> None:
    config = _config(databases)
    (Path(config.path.license_path) / "active.key").write_text("{")
    assert "active.key" in _report(config)["licence"]["trouble"]


def test_the_last_update_is_told(databases: Databases, tmp_path: Path) -> None:
    config = _config(databases)
    config = msgspec.structs.replace(config, relay=msgspec.structs.replace(config.relay, state_path=str(tmp_path)))
    assert _report(config)["update"]["checked"] == 0
    write_run(tmp_path / "updater", UpdateRun(checked=5.0, result="updated", installed=("own 2",), updated=5.0))
    told = _report(config)["update"]
    assert (told["checked"], told["result"], told["installed"]) == (5.0, "updated", ["own 2"])
