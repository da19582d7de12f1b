"""The Debian package: its recipe; and, by `make prove NAME=package`, its life on a fresh host from dpkg -i to purge.

The recipe's tests are short and always run. The host's need root, a built package, and a debootstrap folder: minutes, so they run
where `GATEPOST_PACKAGES` names the directory that `tools/prove_package.py` has put them into, and are skipped elsewhere.
"""

import importlib
import os
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers.support_package import ACCOUNTS, KEPT, LISTENS, NEXT_HOP, SEND, DebianHost, write_answers
from tests.support.feeds import Feed
from tests.support.gateway import run_here
from tests.support.licences import licence
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.waiting import wait_for

from gatepost.cli import setup
from gatepost.cli.setup_answers import Answers
from gatepost.cli.setup_host import Host

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "packaging" / "debian"
PACKAGES = os.environ.get("GATEPOST_PACKAGES", "")
OURS = ("root/", "srv/")
"""Where the tests themselves put files."""


# -- the recipe ----------------------------------------------------------------------------------------------------


def answered() -> dict[str, str]:
    """Return {name in the answer file: debconf question} of the postinst."""
    return dict(re.findall(r"^\s+answer(?:_flag)? (\S+) (\S+)$", (RECIPE / "postinst").read_text(), re.MULTILINE))


def asked(file: str) -> set[str]:
    return set(re.findall(r"gatepost/([a-z-]+)", re.sub(r"/[a-z]+/gatepost/\S+", "", (RECIPE / file).read_text())))


def test_every_question_has_its_text_and_answers_what_setup_asks() -> None:
    texts = set(re.findall(r"^Template: gatepost/(\S+)$", (RECIPE / "templates").read_text(), re.MULTILINE))
    assert asked("config") == texts - {"purge-data"}
    assert set(answered().values()) <= texts
    assert answered().keys() <= set(Answers.__struct_fields__)
    assert asked("config") == set(answered().values()), "what is asked is passed on"


@pytest.mark.parametrize("script", ["config", "postinst", "prerm", "postrm"])
def test_scripts_are_sound(script: str) -> None:
    for shell in ("dash", "bash"):
        if program := shutil.which(shell):
            subprocess.run([program, "-n", RECIPE / script], check=True, timeout=20)
    assert "set -e\n" in (RECIPE / script).read_text()


def test_what_debconf_was_told_becomes_answers_that_setup_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "domains": "example.org, *.example.com", "hostname": "mx.example.org", "listen": "127.0.0.1:2525", "networks": "10.0.0.0/8",
        "forward": "[127.0.0.1:1025]", "uds": "false", "account": "admin", "password": 'a "quoted\\" one\x07',
    }  # fmt: skip
    text = (RECIPE / "postinst").read_text()
    functions = text[text.index("quote() {") : text.index("may_start() {")]
    answers = tmp_path / "answers.toml"
    debconf = 'db_get() { RET="$(cat "$told/${1#gatepost/}" 2>/dev/null || true)"; }\n'
    debconf += 'db_set() { printf %s "$2" >"$told/${1#gatepost/}"; }\n'
    (tmp_path / "told").mkdir()
    for name, value in told.items():
        (tmp_path / "told" / name).write_text(value)
    script = f"set -e\ntold={tmp_path}/told\nanswers={answers}\n{debconf}{functions}\nwrite_answers\n"
    subprocess.run(["sh", "-c", script], check=True, timeout=20)
    read = tomllib.loads(answers.read_text())
    assert read["console_password"] == 'a "quoted\\" one', "control characters are not for files"
    assert read["postmaster"] == "postmaster@example.org"
    assert read["uds_consent"] is False
    monkeypatch.setattr(setup, "look_at_host", Host)
    done = run_here("setup", "--answers", str(answers), "--dry-run", "-c", str(tmp_path / "gatepost.toml"))
    assert done.returncode == 0, done.stderr
    for part in ('"example.org"', '"*.example.com"', "[127.0.0.1:1025]", "10.0.0.0/8"):
        assert part in done.stdout


def test_all_that_the_program_needs_is_packed_and_what_builds_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    build_deb = importlib.import_module("build_deb")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packed = build_deb.needed(project)
    wanted = {re.match(r"[A-Za-z0-9.-]+", each)[0].replace(".", "-") for each in project["dependencies"]}  # type: ignore[index]
    assert wanted - packed <= {"backports-zstd"}, "newer Pythons have it"
    assert {"cffi", "attrs"} <= packed, "needs of needs"
    assert not packed & {"hatchling", "editables", "pytest", "ruff"}


def test_units_of_the_updater_are_what_systemd_takes(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: the units are not verified")
    for unit in (ROOT / "packaging" / "systemd").glob("gatepost-update.*"):
        text = unit.read_text().replace("/usr/bin/gatepost ", "/bin/true ")
        (tmp_path / unit.name).write_text(text.replace("=gatepost\n", "=root\n"))
    found = subprocess.run(
        [program, "verify", "--man=no", tmp_path / "gatepost-update.service", tmp_path / "gatepost-update.timer"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")


# -- the host ------------------------------------------------------------------------------------------------------


class Site:
    """The host, with what its tests have in common."""

    def __init__(self, packages: Path, base: Path) -> None:
        self.second, self.first = sorted(packages.glob("gatepost_*.deb"), key=lambda each: "+second" not in each.name)
        self.host = DebianHost(packages / "root.tar", base / "host")
        self.before: dict[str, bytes] = {}
        self.answers = self.host.root / "etc/gatepost/answers.toml"
        self.feed = Feed(self.host.root / "srv/feed")
        self.feed.offer(7, b"an object that only the databases of the feed know")
        for package in (self.first, self.second):
            shutil.copy(package, self.host.root / "root")
        (self.host.root / "root/customer.key").write_bytes(licence("17"))

    def install(self, package: Path) -> "subprocess.CompletedProcess[str]":
        return self.host.run("dpkg", "-i", f"/root/{package.name}", DEBIAN_FRONTEND="noninteractive", timeout_s=300)

    def dpkg(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.host.run("dpkg", *words, DEBIAN_FRONTEND="noninteractive", timeout_s=200)

    def gatepost(self, *words: str) -> str:
        done = self.host.run("gatepost", *words)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def send(self, content: bytes) -> None:
        done = self.host.run("python3", "-c", SEND, content.decode())
        assert done.returncode == 0, done.stderr

    def begin_next_hop(self) -> None:
        before = self.came().count(LISTENS)
        done = self.host.run(
            "systemd-run", "--unit=next-hop", "--property=StandardOutput=append:/root/came", "--setenv=PYTHONUNBUFFERED=1",
            "python3", "-W", "ignore", "-c", NEXT_HOP,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        wait_for(lambda: self.came().count(LISTENS) > before, "the next hop to listen", 60)

    def end_next_hop(self) -> None:
        self.host.run("systemctl", "stop", "next-hop")

    def came(self) -> str:
        file = self.host.root / "root/came"
        return file.read_text(errors="replace") if file.exists() else ""

    def journal(self) -> str:
        return self.host.run("journalctl", "-u", "gatepost.service", "-n", "30", "--no-pager").stdout

    def users(self) -> set[str]:
        """Return the users of all processes of the gateway."""
        shown = self.host.run("ps", "-eo", "user:20,args").stdout.splitlines() if self._has_ps() else self._look()
        return {line.split()[0] for line in shown if "/usr/lib/gatepost/bin/python3" in line}

    def _has_ps(self) -> bool:
        return (self.host.root / "usr/bin/ps").exists()

    def _look(self) -> list[str]:
        text = (
            "for each in /proc/[0-9]*; do echo \"$(stat -c %U $each) $(tr '\\0' ' ' <$each/cmdline)\"; done 2>/dev/null"
        )
        return self.host.run("sh", "-c", text).stdout.splitlines()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not PACKAGES:
        pytest.skip("the package is not tried on a host: make prove NAME=package does, as root")
    site = Site(Path(PACKAGES), tmp_path_factory.mktemp("package"))
    try:
        site.host.boot()
        yield site
    finally:
        site.host.close()


def test_without_a_key_it_is_explained_and_nothing_runs(site: Site) -> None:
    site.before = site.host.files()
    site.answers.parent.mkdir()
    site.answers.write_text(write_answers(site.feed, key=False))
    done = site.install(site.first)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "There is no licence key." in done.stdout + done.stderr
    assert site.host.run("systemctl", "is-active", "gatepost.service").stdout.strip() == "inactive"
    assert site.users() == set()
    assert site.dpkg("--purge", "gatepost").returncode == 0
    for each in KEPT:
        shutil.rmtree(site.host.root / each, ignore_errors=True)


@pytest.mark.feature("F-INST-01", "F-INST-04")
def test_installed_it_filters_mail_within_two_minutes_as_its_own_user(site: Site) -> None:
    site.answers.parent.mkdir(exist_ok=True)
    site.answers.write_text(write_answers(site.feed, key=True))
    site.begin_next_hop()
    began = time.monotonic()
    done = site.install(site.first)
    installed_s = time.monotonic() - began
    assert done.returncode == 0, done.stderr + done.stdout
    assert "the databases are up to date" in done.stdout + done.stderr
    assert site.host.run("systemctl", "is-active", "gatepost.service").stdout.strip() == "active", site.journal()
    site.send(plain("first mail"))
    wait_for(lambda: "first mail" in site.came(), "the first mail", 60)
    delivered_s = time.monotonic() - began
    print(f"from dpkg -i: installed, set up and started {installed_s:.0f} s, filtered mail {delivered_s:.0f} s")
    assert delivered_s < 120
    site.send(with_attachment(EICAR, subject="infected mail"))
    wait_for(lambda: "infected" in site.gatepost("trace", "--json"), "the infected mail on record", 60)
    site.send(plain("second mail"))
    wait_for(lambda: "second mail" in site.came(), "the second mail", 60)
    assert "STANDARD" not in site.came()
    assert site.users() == {"gatepost"}
    assert site.host.run("systemctl", "is-enabled", "gatepost.service").stdout.strip() == "enabled"
    assert site.host.run("systemctl", "is-active", "gatepost-update.timer").stdout.strip() == "active"
    assert any(each.name.startswith("own") for each in (site.host.root / "var/lib/gatepost/bases").iterdir())


def test_the_updater_runs_as_a_service(site: Site) -> None:
    site.feed.offer(8, b"another object")
    done = site.host.run("systemctl", "start", "gatepost-update.service", timeout_s=200)
    told = site.host.run("journalctl", "-u", "gatepost-update.service", "--no-pager", "-n", "20").stdout
    assert done.returncode == 0, told
    assert "8" in site.gatepost("update", "status"), told


def test_the_configuration_is_changed_by_the_gateway_itself_within_its_walls(site: Site) -> None:
    # Inside the service's walls /etc is read-only, but for the gateway's own directory.
    done = site.host.run(
        "sh", "-c", "nsenter -t $(systemctl show -P MainPID gatepost.service) -m "
        "setpriv --reuid gatepost --regid gatepost --clear-groups sh -c 'touch /etc/gatepost/x && rm /etc/gatepost/x; touch /etc/y'",
    )  # fmt: skip
    assert "/etc/y" in done.stderr
    assert "/etc/gatepost/x" not in done.stderr


def test_reload_and_a_killed_master_are_systemds_to_mend(site: Site) -> None:
    assert site.host.run("systemctl", "reload", "gatepost.service").returncode == 0, site.journal()
    before = site.host.run("systemctl", "show", "-P", "MainPID", "gatepost.service").stdout
    site.host.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "gatepost.service")

    def again() -> bool:
        shown = site.host.run("systemctl", "show", "-P", "MainPID,ActiveState", "gatepost.service").stdout
        return "active" in shown.split() and before.strip() not in shown.split()

    wait_for(again, "systemd to start it again", 60)


def test_an_upgrade_keeps_configuration_queue_and_stores(site: Site) -> None:
    site.end_next_hop()
    site.send(plain("waits over the upgrade"))
    wait_for(
        lambda: "waits over the upgrade" in site.gatepost("trace", "--json") or site.gatepost("queue", "list"),
        "queued",
        60,
    )
    configuration = site.host.files("etc/gatepost")
    stored = site.gatepost("quarantine", "list", "--json")
    done = site.install(site.second)
    assert done.returncode == 0, done.stderr + done.stdout
    assert site.host.run("dpkg-query", "-W", "-f", "${Version}", "gatepost").stdout == "0.1.0+second"
    assert site.host.run("systemctl", "is-active", "gatepost.service").stdout.strip() == "active", site.journal()
    assert site.host.files("etc/gatepost") == configuration
    assert site.gatepost("quarantine", "list", "--json") == stored
    assert "waits over the upgrade" not in site.came()
    site.begin_next_hop()
    site.gatepost("queue", "flush", "--yes")
    wait_for(lambda: "waits over the upgrade" in site.came(), "what waited", 60)


@pytest.mark.feature("F-INST-07")
def test_removal_stops_it_and_keeps_what_the_administrator_made(site: Site) -> None:
    (site.host.root / "etc/gatepost/notice.tmpl").write_text("an administrator's own\n")
    site.host.run("systemctl", "stop", "gatepost.service")
    data = {path: digest for each in KEPT for path, digest in site.host.files(each).items()}
    site.host.run("systemctl", "start", "gatepost.service", timeout_s=200)
    done = site.dpkg("--remove", "gatepost")
    assert done.returncode == 0, done.stderr
    assert site.users() == set()
    assert site.host.run("systemctl", "is-active", "gatepost.service").stdout.strip() == "inactive"
    after = site.host.files()
    assert data.keys() <= after.keys()
    steady = {path for path in data if path.startswith("etc/") or "licence" in path or "/bases/" in path}
    assert {path: after[path] for path in steady} == {path: data[path] for path in steady}
    left = {path for path in after.keys() - site.before.keys() if not path.startswith((*KEPT, *OURS))}
    # dpkg keeps a package's configuration files until the purge, systemd's helper what the administrator had enabled.
    assert {path for path in left if not path.startswith(("etc/systemd/system/", "etc/logrotate.d"))} <= ACCOUNTS, left


def test_installed_again_it_takes_up_what_was_kept(site: Site) -> None:
    done = site.install(site.second)
    assert done.returncode == 0, done.stderr + done.stdout
    assert site.host.run("systemctl", "is-active", "gatepost.service").stdout.strip() == "active", site.journal()
    assert site.gatepost("quarantine", "list")


def test_purge_keeps_data_unless_told_and_leaves_nothing_when_told(site: Site) -> None:
    assert site.dpkg("--purge", "gatepost").returncode == 0
    assert (site.host.root / "etc/gatepost/gatepost.toml").exists()
    assert (site.host.root / "var/lib/gatepost").exists()
    assert site.install(site.second).returncode == 0
    site.host.run("sh", "-c", "echo gatepost gatepost/purge-data boolean true | debconf-set-selections")
    done = site.dpkg("--purge", "gatepost")
    assert done.returncode == 0, done.stderr
    after = site.host.files()
    new = {path for path in after.keys() - site.before.keys() if not path.startswith(OURS)} - ACCOUNTS
    assert not new
    assert not {path for path in site.before.keys() - after.keys() if not path.startswith(("etc/gatepost", *OURS))}
    changed = {path for path in site.before.keys() & after.keys() if site.before[path] != after[path]}
    assert {path for path in changed if not path.startswith((*OURS, "var/log/dpkg.log"))} <= ACCOUNTS
    assert "gatepost" not in (site.host.root / "etc/passwd").read_text()
