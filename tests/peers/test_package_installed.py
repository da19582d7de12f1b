"""The life of the Debian package on this very system, laid over: installed, filtering, upgraded, removed, purged.

The package is made of this tree without its libraries, which are those of the tests: seconds. Whoever wants the real one,
on a fresh Debian with systemd: `make prove NAME=package`. Needs root; dpkg's scripts, accounts and processes are real.
"""

import importlib
import os
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers.conftest import open_directory, program, root_program
from tests.peers.support_package import ACCOUNTS, BORROWED, KEPT, LISTENS, NEXT_HOP, SEND, LaidOver, write_answers
from tests.support.feeds import Feed
from tests.support.licences import licence
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
FIRST, SECOND = "0.1.0~first", "0.1.0"
STEADY = ("archive", "backup", "bases", "licence")
STORES = (("backup", "list", "--json"), ("archive", "list", "--incoming", "--json"))
OURS = ("root/", "srv/")
"""Where the tests themselves put files."""
DPKG = ("var/log/dpkg.log", "etc/ld.so.cache", "var/log/alternatives.log", "usr/sbin/policy-rc.d")
"""What dpkg and its triggers write, and what the host lacks on purpose."""
LOOK = """
import os
for each in {*filter(str.isdigit, os.listdir("/proc"))} - {str(os.getpid())}:
    try:
        command = open(f'/proc/{each}/cmdline').read()
        status = open(f'/proc/{each}/status').read()
    except OSError:
        continue
    if '/usr/lib/gatepost/' in command:
        print(*(word for line in status.splitlines() if line[:4] in ('Uid:', 'Gid:') for word in line.split()[1:]))
"""


class Site:
    """The host, its packages, and mail that comes and goes."""

    def __init__(self, place: Path) -> None:
        self.host = LaidOver(place, Path(sysconfig.get_path("purelib")))
        self._next_hop: subprocess.Popen[bytes] | None = None

    def prepare(self, packages: list[Path]) -> None:
        for package in packages:
            (self.host.root / "root" / package.name).write_bytes(package.read_bytes())
        self.feed = Feed(self.host.root / "srv/feed")
        self.feed.offer(7, b"an object that only the databases of the feed know")
        (self.host.root / "root/customer.key").write_bytes(licence("17"))
        (self.host.root / "etc/gatepost").mkdir()
        (self.host.root / "etc/gatepost/answers.toml").write_text(write_answers(self.feed, key=True))

    def dpkg(self, *words: str) -> str:
        """Return what it said."""
        done = self.host.run("dpkg", *words, DEBIAN_FRONTEND="noninteractive", timeout_s=300)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout + done.stderr

    def install(self, version: str) -> str:
        (package,) = (self.host.root / "root").glob(f"gatepost_{version}_*.deb")
        return self.dpkg("--force-unsafe-io", "-i", f"/root/{package.name}")

    def gatepost(self, *words: str) -> str:
        done = self.host.run("gatepost", *words)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def send(self, content: bytes) -> None:
        done = self.host.run("python3", "-c", SEND, content.decode())
        assert done.returncode == 0, done.stderr

    def begin_next_hop(self) -> None:
        before = self.came().count(LISTENS)
        with (self.host.root / "root/came").open("ab") as came:
            command = self.host.inside("python3", "-W", "ignore", "-c", NEXT_HOP, PYTHONUNBUFFERED="1")
            self._next_hop = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=came)
        wait_for(lambda: self.came().count(LISTENS) > before, "the next hop to listen", 120)

    def end_next_hop(self) -> None:
        if self._next_hop is not None:
            # What listens is the child of nsenter, which is in the other namespace of processes.
            (child,) = Path(f"/proc/{self._next_hop.pid}/task/{self._next_hop.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGKILL)
            self._next_hop.wait(60)
            self._next_hop = None

    def close(self) -> str:
        """End the host; return what it complained about."""
        told = self.host.close()
        if self._next_hop is not None:
            self._next_hop.wait(60)
        return told

    def came(self) -> str:
        file = self.host.root / "root/came"
        return file.read_text(errors="replace") if file.exists() else ""

    def users(self) -> set[tuple[str, ...]]:
        """Return the user and group numbers (real, effective, saved, of files) of all processes of the gateway."""
        shown = self.host.run("python3", "-c", LOOK)
        assert shown.returncode == 0, shown.stderr
        return {tuple(line.split()) for line in shown.stdout.splitlines()}

    def account(self) -> str:
        done = self.host.run("getent", "passwd", "gatepost")
        return done.stdout

    def left(self) -> set[str]:
        """Return what is on the host and was not there before the package, but for what removal keeps."""
        return {path for path in self.host.changed() if not path.startswith((*KEPT, *OURS))} - ACCOUNTS - {*DPKG}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    for name in ("unshare", "nsenter", "dpkg-deb"):
        program(name)
    root_program("dpkg")
    if sysconfig.get_python_version() != "3.11" or not Path("/usr/bin/python3.11").exists():
        pytest.skip("the package is not installed: these tests do not run with the Python of Debian's release")
    base = tmp_path_factory.mktemp("packages")
    with pytest.MonkeyPatch.context() as patch, open_directory("installed") as place:
        patch.syspath_prepend(str(ROOT / "tools"))
        build_deb = importlib.import_module("build_deb")
        first = build_deb.build_package(FIRST, base, borrowed=Path(BORROWED))
        second = again(first, base)
        site = Site(place)
        up = site.host.boot()
        try:
            if up:
                site.prepare([first, second])
                yield site
        finally:
            told = site.close()
        if not up:
            pytest.skip(f"the package is not installed: no system can be laid over this one here: {told}")


def again(package: Path, base: Path) -> Path:
    """Return the same package with a newer version."""
    there = base / "again"
    newer = package.with_name(package.name.replace(FIRST, SECOND))
    subprocess.run(["dpkg-deb", "-R", package, there], check=True, timeout=60)
    control = there / "DEBIAN/control"
    control.write_text(control.read_text().replace(FIRST, SECOND))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", there, newer], check=True, timeout=60, stdout=2)
    return newer


@pytest.mark.feature("F-INST-01", "F-INST-04")
def test_installed_it_is_set_up_and_filters_mail_as_its_own_user(site: Site) -> None:
    assert not site.account()
    site.begin_next_hop()
    told = site.install(FIRST)
    assert "the databases are up to date" in told
    name, _, user, group, _, home, shell = site.account().strip().split(":")
    assert (name, home, shell) == ("gatepost", "/var/lib/gatepost", "/usr/sbin/nologin")
    assert "0" not in {user, group}
    site.send(plain("first mail"))
    wait_for(lambda: "first mail" in site.came(), "the first mail", 120)
    site.send(with_attachment(EICAR, subject="infected mail"))
    wait_for(lambda: "infected" in site.gatepost("trace", "--json"), "the infected mail on record", 120)
    assert "STANDARD" not in site.came()
    # All of them, and all of each: real, effective, saved, and for files.
    assert site.users() == {(*[user] * 4, *[group] * 4)}
    assert any(each.name.startswith("own") for each in (site.host.root / "var/lib/gatepost/bases").iterdir())


@pytest.mark.feature("F-INST-05")
def test_an_upgrade_delivers_what_the_earlier_version_had_taken(site: Site) -> None:
    with (site.host.root / "etc/gatepost/gatepost.toml").open("a") as file:
        file.write('\n[path]\nincoming_archive_path = "/var/lib/gatepost/archive"\n')
    site.gatepost("reload")
    site.end_next_hop()
    site.send(plain("waits over the upgrade"))
    wait_for(lambda: "waits over the upgrade" in site.gatepost("trace", "--json"), "the mail on record", 120)
    configuration = site.host.files("etc/gatepost")
    stored = [site.gatepost(*words) for words in STORES]
    assert "infected mail" in stored[0]
    assert "waits over the upgrade" in stored[1]
    site.install(SECOND)
    assert site.host.run("dpkg-query", "-W", "-f", "${Version}", "gatepost").stdout == SECOND
    assert site.users() == {(*[site.account().split(":")[2]] * 4, *[site.account().split(":")[3]] * 4)}
    assert site.host.files("etc/gatepost") == configuration
    assert [site.gatepost(*words) for words in STORES] == stored
    assert "waits over the upgrade" not in site.came()
    site.begin_next_hop()
    site.gatepost("queue", "flush", "--yes")
    wait_for(lambda: "waits over the upgrade" in site.came(), "what waited", 120)


@pytest.mark.feature("F-INST-07")
def test_removal_stops_it_and_keeps_what_the_administrator_made(site: Site) -> None:
    made = site.host.root / "etc/gatepost/templates/notice.tmpl"
    made.parent.mkdir()
    made.write_text("an administrator's own\n")
    before = {path: digest for each in KEPT for path, digest in site.host.files(each).items()}
    site.dpkg("--remove", "gatepost")
    assert site.users() == set()
    after = site.host.files()
    # What a gateway writes while it ends is another matter: its log, its counts, its queue's database.
    steady = {path for path in before if path.startswith("etc/") or any(f"gatepost/{each}/" in path for each in STEADY)}
    assert {path: after.get(path) for path in steady} == {path: before[path] for path in steady}
    for part in (
        "etc/gatepost/gatepost.toml",
        "etc/gatepost/templates",
        *(f"var/lib/gatepost/{each}" for each in STEADY),
    ):
        assert any(path.startswith(part) for path in steady), part
    assert any(path.endswith("/spool.db") for path in after)
    # dpkg keeps a package's configuration files until the purge, systemd's helper what was enabled.
    assert not {
        path for path in site.left() if not path.startswith(("etc/systemd/", "etc/logrotate.d", "etc/apparmor.d"))
    }


def test_purge_keeps_data_unless_told_what_was_kept_is_taken_up_and_nothing_is_left_when_told(site: Site) -> None:
    site.dpkg("--purge", "gatepost")
    assert (site.host.root / "etc/gatepost/gatepost.toml").exists()
    site.install(SECOND)
    assert "infected mail" in site.gatepost(*STORES[0])
    site.host.run("sh", "-c", "echo gatepost gatepost/purge-data boolean true | debconf-set-selections")
    site.dpkg("--purge", "gatepost")
    assert not site.left()
    assert not any((site.host.root / each).exists() for each in KEPT)
    assert not site.account()
