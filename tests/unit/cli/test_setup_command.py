"""`gatepost setup` at work: the dialogue, the file of answers, what is changed and what is not, and the steps after it."""

import getpass
import io
import os
import subprocess
from pathlib import Path
from typing import Any

import argon2
import pytest
from tests.support.licences import PRIVATE, licence

from gatepost.cli import setup, setup_steps
from gatepost.cli.main import app
from gatepost.cli.setup_host import Host
from gatepost.control.accounts import AccountBook
from gatepost.control.rights import Role
from gatepost.feeds.keys import build_public_text
from gatepost.relay.passwords import verify

PASSWORD = "correct horse 12"
ISSUER = build_public_text(PRIVATE.public_key())


class Site:
    """A host of its own, on which nothing runs."""

    def __init__(self, base: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.base = base
        self.file = base / "etc" / "gatepost.toml"
        self.state = base / "state"
        self.user = ""
        self.host = Host()
        self._patch = patch
        self._capsys = capsys
        patch.setattr(setup, "look_at_host", lambda: self.host)
        patch.setattr(setup_steps, "hasher", lambda: argon2.PasswordHasher(time_cost=1, memory_cost=64))

    def run(self, *words: str, typed: str = "") -> tuple[int, str]:
        """Run it; return its exit status and all it says."""
        self._patch.setattr("sys.stdin", io.StringIO(typed))
        self._capsys.readouterr()
        given = ["setup", "-c", str(self.file), "--state-path", str(self.state), "--user", self.user, *words]
        status = app(given, exit_on_error=False, result_action="return_value")
        told = self._capsys.readouterr()
        return int(status or 0), told.out + told.err

    def answers(self, **values: Any) -> str:
        """Write a file of answers; return its path."""
        lines = {"hostname": "mx.example.org", "role": "relay", "start": "no"} | values
        file = self.base / "answers.toml"
        file.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in lines.items()))
        return str(file)

    def tree(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.base.rglob("*")) if path.is_file()}

    def check(self) -> int:
        found = app(["config", "check", "-c", str(self.file)], exit_on_error=False, result_action="return_value")
        self._capsys.readouterr()
        return int(found or 0)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, list) else f'"{value}"'


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Site:
    return Site(tmp_path, monkeypatch, capsys)


def test_a_dialogue_checks_each_answer_at_once_and_writes_at_the_end(site: Site) -> None:
    typed = [
        "mx",  # no domain
        "mx.example.org",
        "relay",
        "",  # example.org
        "",
        "127.0.0.1:x",
        "127.0.0.1:2525, [::1]:2525",
        "",
        "-",  # the MX of each
        "",
        "",
        "",
        "no",
        "yes",
        "",
        "anna",
        "short",
        PASSWORD,
        "no",
        "y",
    ]
    status, told = site.run(typed="".join(f"{line}\n" for line in typed))
    assert status == 0, told
    assert "'mx' has no domain" in told
    assert "'x' is not a port" in told
    assert "a password has" in told
    assert f"{site.file} is written" in told
    assert "the account anna is made" in told
    assert PASSWORD not in told
    text = site.file.read_text()
    assert 'address = "127.0.0.1:2525"' in text
    assert "next_hop" not in text
    assert site.check() == 0
    assert site.file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "typed", ["mx.example.org\n", "mx.example.org\n" + "\n" * 14, "mx.example.org\n" + "\n" * 14 + "n\n"]
)
def test_who_goes_away_or_says_no_changes_nothing(site: Site, typed: str) -> None:
    status, told = site.run(typed=typed)
    assert (status, site.tree()) == (1, {}), told
    assert "Nothing was changed" in told


def test_a_mail_system_at_port_25_may_stay_there(site: Site) -> None:
    site.host = Host(hostname="mx.example.org", mail_system=True)
    status, told = site.run(typed="\n" * 20 + "y\n")
    assert status == 1, "the last answer is no, unless it is said"
    assert "A mail system answers at port 25" in told
    assert 'kind = "milter"' in told
    assert "[[listener]]" not in told


def test_a_password_is_typed_twice_on_a_terminal(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter([PASSWORD, "another one 12", PASSWORD, PASSWORD])
    monkeypatch.setattr(getpass, "getpass", lambda _: next(given))
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda _: True})())
    assert setup._read_secret("Password") == PASSWORD


def test_answers_of_a_file_are_enough_and_once_is_enough(site: Site) -> None:
    answers = site.answers(console_account="anna", console_password=PASSWORD)
    status, told = site.run("--answers", answers)
    assert status == 0, told
    assert site.check() == 0
    account = AccountBook(site.state / "accounts.json").get("anna")
    assert account is not None
    assert (account.role, verify(account.password, PASSWORD)) == (Role.ADMIN, True)
    assert {path.name for path in site.state.iterdir()} >= {"queue", "log", "licence", "accounts.json"}
    assert site.state.stat().st_mode & 0o777 == 0o700
    before = site.tree()
    status, told = site.run("--answers", answers)
    assert (status, site.tree()) == (0, before), told
    assert "says all that already" in told
    assert "there is an account anna already" in told


def test_a_second_dialogue_proposes_what_is_configured_and_asks_before_it_goes_on(site: Site) -> None:
    site.run("--answers", site.answers(postmaster="me@example.org"))
    before = site.tree()
    status, told = site.run(typed="\n" * 20)
    assert (status, site.tree()) == (1, before)
    assert "Postmaster [me@example.org]" in told
    assert "says all that already" in told
    assert "Go on? [y/N]" in told
    status, told = site.run("--start", "no", typed="\n" * 15 + "y\n")
    assert (status, site.tree()) == (0, before), told


def test_a_password_that_others_may_read_is_told(site: Site) -> None:
    answers = Path(site.answers(console_account="anna", console_password=PASSWORD))
    answers.chmod(0o644)
    assert f"chmod 600 {answers}" in site.run("--answers", str(answers))[1]
    answers.chmod(0o600)
    assert "chmod" not in site.run("--answers", str(answers))[1]


def test_a_file_that_is_there_is_changed_when_told_to_and_kept(site: Site) -> None:
    site.run("--answers", site.answers())
    site.file.write_text(site.file.read_text() + "\n# mine\n")
    site.file.chmod(0o600)
    mine = site.file.read_bytes()
    answers = site.answers(postmaster="me@example.org")
    status, told = site.run("--answers", answers)
    assert (status, site.file.read_bytes()) == (1, mine)
    assert '+postmaster = "me@example.org"' in told
    assert "say --yes" in told
    status, told = site.run("--answers", answers, "--yes")
    assert status == 0, told
    (kept,) = site.file.parent.glob("gatepost.toml.*.bak")
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (mine, 0o600)
    assert site.file.read_text().endswith("# mine\n")
    assert 'postmaster = "me@example.org"' in site.file.read_text()
    assert site.file.stat().st_mode & 0o777 == 0o600


def test_a_dry_run_tells_all_and_changes_nothing(site: Site) -> None:
    answers = site.answers(
        console_account="anna", console_password=PASSWORD, update_source="/srv/feed", start="daemon", uds_consent=True,
        uds_servers=["127.0.0.1:7060"],
    )  # fmt: skip
    before = site.tree()
    status, told = site.run("--answers", answers, "--dry-run")
    assert (status, site.tree()) == (0, before)
    for words in (f"write {site.file}", "make the directories", "make a key for UDS", "make the account anna",
                  "fetch databases from /srv/feed", "start the gateway: gatepost start"):  # fmt: skip
        assert f"  {words}" in told, told


def test_answers_can_be_written_for_another_time(site: Site) -> None:
    file = site.base / "kept.toml"
    status, told = site.run("--answers", site.answers(console_account="anna", console_password=PASSWORD),
                            "--write-answers", str(file))  # fmt: skip
    assert status == 0, told
    assert not site.file.exists()
    assert file.stat().st_mode & 0o777 == 0o600, "there is a password in it"
    status, told = site.run("--answers", str(file))
    assert status == 0, told
    assert AccountBook(site.state / "accounts.json").get("anna") is not None
    assert site.run("--answers", str(file), "--write-answers", str(file))[0] == 2, "nothing is written over"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"hostname": "mx", "listen": ["x"]}, "hostname: 'mx' has no domain"),
        ({"console_listen": ["0.0.0.0:8025"]}, "These answers do not fit together"),
        ({"role": "server", "doors": []}, "no endpoint to receive mail on"),
        ({"console_account": "administrator", "console_password": "administrator"}, "must not be made of"),
    ],
)
def test_answers_that_will_not_do_change_nothing(site: Site, values: dict[str, Any], told: str) -> None:
    answers = site.answers(**values)
    before = site.tree()
    status, said = site.run("--answers", answers)
    assert (status, site.tree()) == (1, before)
    assert told in said


def test_what_cannot_be_edited_is_left_alone(site: Site) -> None:
    site.file.parent.mkdir()
    site.file.write_text("[network]\nhostname = 7\n")
    status, told = site.run("--answers", site.answers())
    assert (status, "has to be mended by hand first" in told) == (1, True)
    assert site.file.read_text() == "[network]\nhostname = 7\n"
    site.file = site.base / "mailgw.conf"
    status, told = site.run("--answers", site.answers())
    assert (status, "gatepost config convert" in told) == (1, True)
    site.file = site.base / "etc" / "x.toml"
    assert site.run("--answers", str(site.base / "nothing"))[0] == 2


def test_root_needs_the_user_of_the_gateway(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    site.user = "nobody-of-that-name"
    status, told = site.run("--answers", site.answers())
    assert status == 1
    assert "useradd --system" in told
    assert "--user" in told
    assert not site.file.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_all_of_it_to_the_gateway(site: Site) -> None:
    site.user = "nobody"
    status, told = site.run("--answers", site.answers(console_account="anna", console_password=PASSWORD))
    assert status == 0, told
    for path in (site.file, site.state, *site.state.iterdir()):
        assert path.owner() == "nobody", path
    assert site.base.owner() == "root"


@pytest.mark.feature("F-INST-03")
def test_without_a_key_it_explains_and_nothing_is_started(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_steps.Owner, "run", lambda *_: pytest.fail("something was started"))
    wanted = {"licence_mode": "key", "licence_issuers": [ISSUER], "update_source": "/srv/feed", "start": "daemon"}
    status, told = site.run("--answers", site.answers(**wanted))
    assert status == 0, told
    assert site.check() == 0
    assert "There is no licence key." in told
    assert f"gatepost licence add KEY -c {site.file}" in told
    assert f"gatepost start -c {site.file}" in told


def test_a_key_is_installed_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(setup_steps.Owner, "run", lambda _, arguments, __: started.append(arguments) or 0)
    key = site.base / "customer.key"
    key.write_bytes(licence("17"))
    answers = site.answers(licence_mode="key", licence_issuers=[ISSUER], licence_key=str(key), start="daemon")
    status, told = site.run("--answers", answers)
    assert status == 0, told
    assert "licence key 17 is installed as the active key" in told
    assert [arguments[0] for arguments in started] == ["start"]
    status, told = site.run("--answers", answers)
    assert (status, "licence key 17 is installed already" in told) == (0, True)
    key.write_bytes(licence("18").replace(b"18", b"19", 1))
    status, told = site.run("--answers", answers)
    assert (status, "Nothing is started" in told) == (4, True)
    assert len(started) == 2


def test_an_update_that_fails_keeps_nobody_from_starting(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def run(_: object, arguments: list[str], __: float) -> int:
        started.append(arguments[0])
        return 10 if arguments[0] == "update" else 0

    monkeypatch.setattr(setup_steps.Owner, "run", run)
    root = site.base / "root.json"
    root.write_text("{}")
    answers = site.answers(update_source="/srv/feed", trust_root=str(root), start="daemon")
    status, told = site.run("--answers", answers)
    assert (status, started) == (4, ["update", "start"])
    assert "those that the program comes with are in force" in told
    assert "later: gatepost update" in told
    assert not list(site.state.glob("*.json")), "the copy of the root is gone"


def test_the_trust_root_is_given_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes] = []

    def run(_: object, arguments: list[str], __: float) -> int:
        given.append(Path(arguments[-1]).read_bytes() if "--trust-root" in arguments else b"")
        return 1

    monkeypatch.setattr(setup_steps.Owner, "run", run)
    root = site.base / "root.json"
    root.write_text("the first root")
    answers = site.answers(update_source="/srv/feed", trust_root=str(root))
    assert "the databases are up to date" in site.run("--answers", answers)[1]
    (site.state / "updater").mkdir()
    (site.state / "updater" / "root.json").write_text("a later root, which the first one leads to")
    assert site.run("--answers", answers)[0] == 0
    assert given == [b"the first root", b""]


def test_the_service_is_started_where_systemd_knows_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, ...]] = []
    units = {"gatepost.service"}

    def systemctl(*words: str, quiet: bool = False) -> int:
        called.append(words)
        return 0 if words[0] != "cat" or words[1] in units else 1

    monkeypatch.setattr(setup_steps, "_systemctl", systemctl)
    status, told = site.run("--answers", site.answers(start="auto"))
    assert (status, "No systemd" in told.replace("no s", "No s")) == (0, True)
    assert "gatepost start -c" in told
    assert not called, "systemd does not run here"
    site.host = Host(systemd=True)
    status, told = site.run("--answers", site.answers(start="auto"))
    assert (status, "runs" in told) == (0, True)
    assert called[-1] == ("enable", "--now", "gatepost.service")
    units.add("gatepost-update.timer")
    monkeypatch.setattr(setup_steps.Owner, "run", lambda *_: 0)
    site.run("--answers", site.answers(start="auto", update_source="/srv/feed"), "--yes")
    assert called[-1] == ("enable", "--now", "gatepost.service", "gatepost-update.timer")
    status, told = site.run("--answers", site.answers(start="auto"), "--yes", "--start", "no")
    assert (status, "runs" in told) == (0, False)
    assert called[-1][0] == "enable"


def test_systemctl_that_is_not_there_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError("systemctl")

    monkeypatch.setattr(subprocess, "run", gone)
    assert setup_steps._systemctl("cat", "gatepost.service") == 1
