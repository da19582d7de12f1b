"""The licence of a real gateway: no key, the end of a term, anti-virus only, limits; and the commands about keys."""

import datetime as dt
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support import licences
from tests.support.api import Api
from tests.support.clock import DAY, SteppedClock
from tests.support.contract import make_token
from tests.support.gateway import GATEPOST, Gateway, run_here
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import WAIT_S, wait_for

from gatepost.cli.licence import run_gw_license
from gatepost.control.rights import Right as ControlRight
from gatepost.licence.key import Kind, Right
from gatepost.spool import clock

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
CODE_SYSTEM, CODE_LICENCE, CODE_CONFIGURATION, CODE_CORRUPTED = 30, 64, 65, 70
NOON = (time.time() // DAY + 1.5) * DAY
"""Of tomorrow (UTC): where the day matters, a test lives at this hour, and meets no midnight."""
TODAY = dt.datetime.fromtimestamp(NOON, dt.UTC).date()
KEYS_ONLY = licences.SETTINGS + 'license_mode = "key"\n'


def start(gateway: Gateway) -> tuple[int, str]:
    """Start a gateway that is not expected to run; return its exit status and what it said."""
    command = [*GATEPOST, "run", "-c", str(gateway.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    return done.returncode, done.stderr


@pytest.mark.feature("F-LIC-03")
def test_without_a_key_no_gateway_starts_and_says_how_to_mend_it(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", 25, settings=KEYS_ONLY)
    code, text = start(gateway)
    assert code == CODE_LICENCE
    assert "gatepost licence add" in text
    licences.install(gateway.state / "licence", kind=Kind.TRIAL, expires=TODAY - dt.timedelta(3))
    code, text = start(gateway)
    assert code == CODE_LICENCE
    assert "trial" in text


@pytest.mark.feature("F-LIC-04")
@pytest.mark.feature("F-LIC-05")
@pytest.mark.feature("F-LIC-06")
@pytest.mark.feature("F-LIC-07")
def test_a_key_for_anti_virus_with_limits_before_and_after_its_end(tmp_path: Path) -> None:
    stepped = SteppedClock(tmp_path)
    stepped.step_to(NOON)
    settings = KEYS_ONLY + '\n[watch]\nmail = false\naddresses = ["admin@elsewhere.example"]\n'
    sink = Sink()
    gateway = Gateway(tmp_path / "gw", sink.port, settings=settings, antispam=True, spam_fields=True, env=stepped.env)
    licences.install(
        gateway.state / "licence", rights=(Right.ANTIVIRUS,), expires=TODAY + dt.timedelta(20), users=1, megabytes=1
    )

    def notices() -> list[str]:
        return [mail.content.decode() for mail in sink.mails if "admin@elsewhere.example" in mail.recipients]

    with sink, gateway:
        gateway.send(plain(subject="spam", text=f"{GTUBE}\r\n"), recipients=["one@example.org", "two@example.org"])
        wait_for(
            lambda: [mail for mail in sink.mails if b"Subject: spam" in mail.content], "mail nobody checks for spam"
        )
        (spam,) = [mail for mail in sink.mails if b"GTUBE" in mail.content]
        assert b"Subject: spam\r\n" in spam.content
        assert b"X-SpamTest-Status: SPAM" not in spam.content
        wait_for(lambda: any("2 of 1 protected addresses" in each for each in notices()), "the limit of addresses")
        gateway.send(plain(subject="large", size=2_100_000))
        wait_for(lambda: any("of 1 megabytes" in each for each in notices()), "the limit of traffic")
        wait_for(lambda: gateway.ask("licence.show")["used"]["users"] == 3, "the third address")
        stepped.step(21 * DAY)
        wait_for(lambda: any("has expired" in each for each in notices()), "the end of the term")
        gateway.send(with_attachment(EICAR, subject="infected"))
        gateway.send(plain(subject="after the end"))
        wait_for(lambda: [mail for mail in sink.mails if b"after the end" in mail.content], "mail after the end")
        wait_for(lambda: gateway.counter("antiviral_infected_objects") == 1, "the infected one")
        told = gateway.ask("licence.show")
        assert told["expired"]
        assert len([each for each in notices() if "has expired" in each]) == 1


@pytest.mark.feature("F-LIC-01")
@pytest.mark.feature("F-LIC-08")
def test_keys_are_issued_shown_added_and_removed_with_the_documented_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOON)
    gateway = Gateway(tmp_path / "gw", 25)
    private, conf = tmp_path / "issuer.pem", ("-c", str(gateway.config))
    made = run_here("licence", "keygen", str(private))
    gateway.config.write_text(gateway.config.read_text() + made.stdout[made.stdout.index("[licence]") :])

    def issue(serial: str, *more: str) -> Path:
        file = tmp_path / f"{serial}.key"
        done = run_here(
            "licence", "issue", str(file), "--key", str(private), "--serial", serial, "--issuer", "we", *more
        )
        assert done.returncode == 0, done.stderr
        return file

    def old(*given: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            run_gw_license([*given, *conf])
        assert isinstance(ended.value.code, int)
        captured = capsys.readouterr()
        return ended.value.code, captured.out + captured.err

    first = issue("A-1", "--expires", str(TODAY + dt.timedelta(5)), "--holder", "Example Ltd", "--users", "50")
    second, third = issue("A-2", "--days", "365", "--rights", "av"), issue("A-3")
    assert "comes with the program" in old("-s")[1]
    assert old("-a", str(first))[0] == 0
    assert old("-a", str(second))[0] == 0
    assert old("-a", str(third))[0] == CODE_LICENCE
    _, shown = old("-s")
    for text in (
        "Active key info", "Additional key info", str(gateway.state / "licence" / "active.key"), "commercial",
        f"{TODAY + dt.timedelta(5)} (expires in 5 days)", "A-1", "A-2", "50 addresses",
        f"{TODAY + dt.timedelta(5 + 365)} (365 days from its activation)",
    ):  # fmt: skip
        assert text in shown
    code, shown = old("-k", str(third))
    assert code == 0
    for text in ("Creation date", "Expiration date", "never", "A-3", "Life span in days", "without end"):
        assert text in shown
    told = json.loads(run_here("licence", "show", "--json", *conf).stdout)
    assert (told["active"]["serial"], told["additional"]["serial"], told["days_left"]) == ("A-1", "A-2", 5)
    assert run_here("licence", "verify", str(first), *conf).returncode == 0
    code, shown = old("-da")
    assert code == 0
    assert "key A-1 is removed" in shown
    assert f"key A-2, the additional one, is the active key from now on, until {TODAY + dt.timedelta(364)}" in shown
    assert old("-d", "r")[0] == CODE_LICENCE
    assert old("-a", str(third))[0] == 0
    assert old("-dr") == (0, "key A-3 is removed\n")
    assert "A-2" in old("-s")[1]
    assert old("-d", "a")[0] == 0
    assert "comes with the program" in old("-s")[1]
    damaged = tmp_path / "damaged.key"
    damaged.write_bytes(first.read_bytes().replace(b"users: 50", b"users: 0"))
    assert old("-a", str(damaged))[0] == CODE_CORRUPTED
    assert run_here("licence", "verify", str(damaged), *conf).returncode == CODE_CORRUPTED
    stranger = tmp_path / "stranger.key"
    stranger.write_bytes(licences.licence())
    assert old("-a", str(stranger))[0] == CODE_LICENCE
    assert old("-a", str(tmp_path / "none.key"))[0] == CODE_SYSTEM
    assert old("-x")[0] == CODE_CONFIGURATION
    gateway.config.write_text("nonsense")
    assert old("-s")[0] == CODE_CONFIGURATION


def test_a_key_whose_time_has_come_is_the_active_one_for_who_adds_or_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without a gateway that runs: what `show` calls the active key is what the others mean."""
    monkeypatch.setattr(clock, "now", lambda: NOON)
    gateway = Gateway(tmp_path / "gw", 25, settings=KEYS_ONLY)
    directory = gateway.state / "licence"
    licences.install(directory, "1", expires=TODAY - dt.timedelta(2))
    licences.install(directory, "2", name="additional.key", days=100)
    (tmp_path / "third.key").write_bytes(licences.licence("3", days=100))
    added = gateway.command("licence", "add", str(tmp_path / "third.key"))
    end = TODAY + dt.timedelta(99)
    assert added.stdout.splitlines() == [
        f"key 2, the additional one, is the active key from now on, until {end}",
        "key 3 is installed as the additional key",
        "a running gateway takes the change into use by `gatepost reload`",
    ], added.stderr
    monkeypatch.setattr(clock, "now", lambda: NOON + 100 * DAY)
    assert json.loads(gateway.command("licence", "show", "--json").stdout)["active"]["serial"] == "3"
    removed = gateway.command("licence", "remove", "active", "--yes")
    assert "key 3 is removed" in removed.stdout
    assert list(directory.glob("*.key")) == []


def test_the_old_name_of_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("gw-license")
    done = subprocess.run([command, "-h"], capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0
    assert "-da" in done.stdout


@pytest.mark.feature("F-WEB-02")
def test_a_key_added_and_removed_by_a_program_is_in_use_at_once(tmp_path: Path) -> None:
    """Of a gateway with anti-spam: a key for anti-virus alone ends it, and its removal brings it back."""
    gateway = Gateway(
        tmp_path / "gw",
        (sink := Sink()).port,
        settings=licences.SETTINGS,
        antispam=True,
        spam_fields=True,
        console=True,
    )
    today = dt.datetime.now(dt.UTC).date()
    key = licences.licence("A-1", rights=(Right.ANTIVIRUS,), expires=today + dt.timedelta(20), users=7).decode()

    def is_checked_for_spam(subject: str) -> bool:
        gateway.send(plain(subject=subject, text=f"{GTUBE}\r\n"))
        found = wait_for(lambda: [mail for mail in sink.mails if f"{subject}\r\n".encode() in mail.content], "the mail")
        return b"X-SpamTest-Status: SPAM" in found[0].content

    with sink, gateway:
        api = Api(gateway.console_port, make_token(gateway))
        assert is_checked_for_spam("before")
        checked = api.post("/licence/check", {"key": key}).json
        assert (checked["place"], checked["key"]["holder"]) == ("active", "tests")
        assert checked["expires"] == str(today + dt.timedelta(20))
        assert "anti-spam stops: mail is not checked for spam" in checked["effects"]
        assert api.get("/licence").json["open"], "looking changed nothing"
        for bad, reason in (
            (key.replace("users: 7", "users: 0"), "take the file as its issuer sent it"),
            ("hello", "does not begin with 'gatepost licence key 1'"),
        ):
            refused = api.post("/licence/keys", {"key": bad})
            assert refused.status == 409
            assert reason in refused.json["detail"]
        added = api.post("/licence/keys", {"key": "\r\n" + key.strip().replace("\n", "\r\n")})
        assert added.json == {"answer": "key A-1 is installed as the active key"}
        told = api.get("/licence").json
        assert (told["active"]["serial"], told["active"]["users"], told["open"]) == ("A-1", 7, False)
        assert not is_checked_for_spam("with the key")
        effects = api.get("/licence/keys/active/removal").json["effects"]
        assert effects[0] == "the key that the program comes with counts: no limits, no end"
        assert api.ask("DELETE", "/licence/keys/active").json == {"answer": "key A-1 is removed"}
        numbers = itertools.count()  # filters that were there before end with the mail they have
        wait_for(lambda: is_checked_for_spam(f"afterwards {next(numbers)}"), "mail that is checked for spam again")
        for path in ("/licence/keys/active", "/licence/keys/additional", "/licence/keys/third"):
            assert api.ask("DELETE", path).status == 404
        written = {entry["call"]: entry for entry in reversed(gateway.ask("audit.list")) if not entry["outcome"]}
        assert written["licence.add"]["arguments"] == {"serial": "A-1"}
        assert written["licence.remove"]["arguments"] == {"place": "active"}
        reader = Api(gateway.console_port, make_token(gateway, "bob", ControlRight.VIEW))
        assert reader.post("/licence/keys", {"key": key}).status == 403


def test_the_last_key_is_removed_and_what_runs_goes_on(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", (sink := Sink()).port, settings=KEYS_ONLY)
    licences.install(gateway.state / "licence", "A-1")
    with sink, gateway:
        (effect,) = gateway.ask("licence.check_removal", place="active")["effects"]
        assert "neither starts nor reloads" in effect
        told = gateway.ask("licence.remove", place="active")
        assert "no gateway starts or reloads until a key is added" in told
        gateway.send(plain(subject="still here"))
        wait_for(lambda: sink.mails, "mail of a gateway without a key")
        gateway.ask("licence.add", key=licences.licence("A-2").decode())
        assert gateway.ask("licence.show")["active"]["serial"] == "A-2"
        assert gateway.ask("reload") == "reloaded"


def test_a_key_is_removed_by_who_has_agreed(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", 25, settings=KEYS_ONLY)
    licences.install(gateway.state / "licence", "A-1")
    refused = gateway.command("licence", "remove", "active")
    assert refused.returncode == CODE_LICENCE
    assert "neither starts nor reloads" in refused.stdout
    assert "nothing is removed" in refused.stderr
    assert (gateway.state / "licence" / "active.key").exists()
    assert gateway.command("licence", "remove", "active", "-y").returncode == 0
    assert "there is no active key" in gateway.command("licence", "remove", "active").stderr
