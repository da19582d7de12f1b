"""Databases in a running gateway: seeded, refused, out of term, taken anew while sessions stay open."""

import datetime as dt
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import licences
from tests.support.databases import DAY, Databases
from tests.support.gateway import GATEPOST, Gateway, run_here
from tests.support.mails import plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import WAIT_S, wait_for
from tests.support.wire import Wire

from gatepost.master.bases_in_force import STILL_LOADING

FIRST = b"the first thing nobody wants to have"
SECOND = b"the second thing nobody wants to have"
CODE_BASES = 50
CODE_BASES_DATE = 51


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


def status_of(gateway: Gateway, mail: bytes) -> str:
    """Send a mail and return the status it is logged with."""
    queue_id = gateway.send(mail)
    line = wait_for(lambda: gateway.lines("SCANNED", queue_id), "its line in the log")[0]
    return line.partition('status="')[2].partition('"')[0]


def run(gateway: Gateway) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*GATEPOST, "run", "-c", str(gateway.config)], capture_output=True, text=True, timeout=WAIT_S, check=False
    )


def template(gateway: Gateway) -> int:
    pid = gateway.status()["filter_template"]["pid"]
    assert isinstance(pid, int)
    return pid


@pytest.mark.feature("F-AV-24")
def test_databases_are_taken_anew_while_sessions_stay_open_and_no_mail_goes_unscanned(
    tmp_path: Path, sink: Sink
) -> None:
    databases = Databases(tmp_path)
    databases.put(1, FIRST)
    with Gateway(tmp_path / "gw", sink.port, relays=2, replace=databases.configured) as gateway:
        assert status_of(gateway, with_attachment(FIRST)) == "infected"
        assert status_of(gateway, with_attachment(SECOND)) == "clean"
        before = template(gateway)
        with Wire(gateway.port) as open_session:
            open_session.begin(["user@example.org"])

            # By command: a new set, with mail under way all the time.
            databases.put(2, FIRST, SECOND)
            with gateway.client() as busy:
                command = [*GATEPOST, "reloadbases", "-c", str(gateway.config)]
                reloading = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
                sent = 0
                while reloading.poll() is None or sent < 5:
                    busy.sendmail(
                        "sender@example.net", ["user@example.org"], with_attachment(FIRST, subject=f"n{sent}")
                    )
                    sent += 1
            _, told = reloading.communicate()
            # On a busy host it does not wait for the end of it, and says so.
            assert reloading.returncode == 0 or STILL_LOADING in told
            fresh = [{"name": "own", "number": 2, "issued": "2026-01-31", "records": 2}]
            wait_for(lambda: gateway.status()["databases"] == fresh, "the new set")
            assert template(gateway) != before
            wait_for(lambda: len(gateway.lines("BLOCKED")) >= sent + 1, "all mail of that time to be found infected")
            wait_for(lambda: status_of(gateway, with_attachment(SECOND)) == "infected", "the filters to follow")

            # A set that was touched: the one in force stays, and it is said which and why.
            third = databases.put(3, FIRST)
            (third / "known.hash").write_text("")
            refused = gateway.command("reloadbases")
            assert refused.returncode != 0
            assert str(third / "known.hash") in refused.stderr
            assert "those in force stay" in refused.stderr
            assert status_of(gateway, with_attachment(SECOND, subject="still")) == "infected"
            assert gateway.status()["databases"][0]["number"] == 2

            # A reload takes the rest anew, and says that not all is new.
            current = template(gateway)
            gateway.edit("server_max_filters = 0", "server_max_filters = 3")
            half = gateway.command("reload")
            assert half.returncode != 0
            assert "not all of it is in force" in half.stderr
            assert str(third / "known.hash") in half.stderr
            assert template(gateway) != current  # it answers when filters work with the new configuration

            # By signal: the configuration is taken anew, the touched set is still refused; with nothing new for filters
            # they go on.
            current = template(gateway)
            gateway.edit("server_max_filters = 3", "server_max_filters = 4")
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGHUP)
            wait_for(lambda: template(gateway) not in {0, current}, "a new template")
            current = template(gateway)
            gateway.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(gateway.lines("configuration reloaded")) == 3, "the second signal")
            assert template(gateway) == current
            assert gateway.status()["databases"][0]["number"] == 2

            # By control file: the set has been mended.
            for path in third.iterdir():
                path.unlink()
            third.rmdir()
            databases.put(4, FIRST)
            control = tmp_path / "gw" / "control" / ".c_db_reload"
            control.touch()
            wait_for(lambda: gateway.status()["databases"][0]["number"] == 4, "the control file to be obeyed")
            assert not control.exists()
            wait_for(lambda: status_of(gateway, with_attachment(SECOND)) == "clean", "the filters to follow")

            # The session of the beginning has seen nothing of all this.
            assert open_session.data(plain("patience")).startswith("250 ")
        assert "starts again in" not in gateway.log()


@pytest.mark.feature("F-AV-24")
@pytest.mark.parametrize("fault", ["touched", "unsigned", "empty", "foreign"])
def test_without_databases_that_can_be_trusted_nothing_starts(tmp_path: Path, fault: str) -> None:
    databases = Databases(tmp_path)
    configured = databases.configured
    if fault == "foreign":
        del configured["[ave]"]
    gateway = Gateway(tmp_path / "gw", 25, replace=configured)
    if fault == "empty":
        databases.bases.mkdir()
    else:
        directory = databases.put(1, FIRST)
        if fault == "touched":
            (directory / "known.hash").write_text("")
        elif fault == "unsigned":
            (directory / "manifest.sig").unlink()
    ended = run(gateway)
    assert ended.returncode == CODE_BASES
    assert "databases cannot be loaded" in ended.stderr
    assert str(databases.bases) in ended.stderr
    assert "move the directory away" in ended.stderr


@pytest.mark.feature("F-AV-24")
def test_databases_issued_after_the_end_of_the_licence_are_not_used(tmp_path: Path) -> None:
    databases = Databases(tmp_path)
    databases.put(1, FIRST, issued=DAY)
    licence = tmp_path / "licence"
    licences.install(licence, expires=DAY - dt.timedelta(1))
    databases.configured["[path]"] += f'\nlicense_path = "{licence}"'
    ended = run(Gateway(tmp_path / "gw", 25, replace=databases.configured, settings=licences.SETTINGS))
    assert ended.returncode == CODE_BASES_DATE
    assert "after the licence's end" in ended.stderr


def test_a_new_installation_gets_the_shipped_databases(tmp_path: Path, sink: Sink) -> None:
    with Gateway(tmp_path / "gw", sink.port) as gateway:
        (row,) = gateway.status()["databases"]
        assert row["name"] == "base"
        verified = gateway.command("bases", "verify", "--json")
        assert verified.returncode == 0
        assert [each["name"] for each in json.loads(verified.stdout)] == ["spam-base", "base"]


def test_making_signing_and_showing_a_set(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", 25)
    key = tmp_path / "key.pem"
    made = run_here("bases", "keygen", str(key))
    assert made.returncode == 0
    public = made.stdout.partition('trusted_keys = ["')[2].partition('"')[0]
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.pattern").write_text("Mine.Bytes:*:*:0102030405*aabbccdd\n")
    built = run_here("bases", "build", str(folder), "--key", str(key), "--issued", "2026-01-31")
    assert built.stdout == "mine 1 of 2026-01-31: 1 records in 1 file(s)\n"
    assert run_here("bases", "build", str(folder), "--key", str(key)).stdout.startswith("mine 2 of ")
    assert gateway.command("bases", "verify", str(folder)).returncode == 3
    assert gateway.command("bases", "verify", str(folder), "--trust", public).returncode == 0
    for number in (8, 10, 9):
        shutil.copytree(folder, tmp_path / "sets" / f"mine-{number}")
        again = ("bases", "build", str(tmp_path / "sets" / f"mine-{number}"), "--number", str(number))
        assert run_here(*again, "--key", str(key)).returncode == 0
    lines = gateway.command("bases", "show", str(tmp_path / "sets")).stdout.splitlines()
    assert [line.split()[2] for line in lines] == ["10", "9", "8"]
    assert ["not used where number 10 can be" in line for line in lines] == [False, True, True]
    (folder / "a.pattern").write_text("Mine.Bytes:*:*:01\n")
    wrong = run_here("bases", "build", str(folder), "--key", str(key))
    assert wrong.returncode == 3
    assert "a.pattern:1: a pattern needs 4 known bytes in a row" in wrong.stderr
    shown = gateway.command("bases", "show", str(folder), "--json")
    assert json.loads(shown.stdout)[0]["number"] == 2
