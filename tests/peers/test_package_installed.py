"""The life of the Debian package on this very system, laid over: installed, filtering, upgraded, removed, purged.

The package is made of this tree without its libraries, which are those of the tests: seconds. Whoever wants the real one,
on a fresh Debian with systemd: `make prove NAME=package`. Needs root; dpkg's scripts, accounts and processes are real.
"""

import importlib
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers.conftest import open_directory, program, root_program
from tests.peers.support_package import ACCOUNTS, BORROWED, KEPT, STORES, LaidOver, Site, write_answers
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
FIRST, SECOND = "0.1.0~first", "0.1.0"
STEADY = ("archive", "backup", "bases", "licence")
pytestmark = pytest.mark.timeout(600)
"""dpkg runs scripts that run the gateway: on a busy machine they take as long as they take."""
OURS = ("root/", "srv/")
"""Where the tests themselves put files."""
DPKG = ("var/log/dpkg.log", "etc/ld.so.cache", "var/log/alternatives.log", "usr/sbin/policy-rc.d")
"""What dpkg and its triggers write, and what the host lacks on purpose."""


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
        host = LaidOver(place, Path(sysconfig.get_path("purelib")))
        site = Site(host)
        up = host.boot()
        try:
            if up:
                site.prepare([first, second])
                (host.root / "etc/gatepost").mkdir()
                (host.root / "etc/gatepost/answers.toml").write_text(write_answers(site.feed, key=True))
                yield site
        finally:
            told = host.close()
            site.reap()
        if not up:
            pytest.skip(f"the package is not installed: no system can be laid over this one here: {told}")


def sendmail_cf(site: Site) -> Path:
    return site.host.root / "srv/mail/sendmail.cf"


def left(site: Site) -> set[str]:
    """Return what is on the host and was not there before the package, but for what removal keeps."""
    return {path for path in site.host.changed() if not path.startswith((*KEPT, *OURS))} - ACCOUNTS - {*DPKG}


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
    name, _, _, _, _, home, shell = site.account().strip().split(":")
    assert (name, home, shell) == ("gatepost", "/var/lib/gatepost", "/usr/sbin/nologin")
    site.send(plain("first mail"))
    wait_for(lambda: "first mail" in site.came(), "the first mail", 120)
    site.send(with_attachment(EICAR, subject="infected mail"))
    wait_for(lambda: "infected" in site.gatepost("trace", "--json"), "the infected mail on record", 120)
    assert "STANDARD" not in site.came()
    # All of them, and all of each: real, effective, saved, and for files.
    assert site.users() == site.own_users()
    assert any(each.name.startswith("own") for each in (site.host.root / "var/lib/gatepost/bases").iterdir())


@pytest.mark.feature("F-INST-05")
def test_an_upgrade_delivers_what_the_earlier_version_had_taken(site: Site) -> None:
    site.gatepost("config", "set", "path.incoming_archive_path=/var/lib/gatepost/archive")
    site.gatepost("reload")
    site.end_next_hop()
    site.send(plain("waits over the upgrade"))
    wait_for(lambda: "waits over the upgrade" in site.gatepost(*STORES[1]), "the mail in the archive", 120)
    configuration = site.host.files("etc/gatepost")
    stored = [site.gatepost(*words) for words in STORES]
    assert "infected mail" in stored[0]
    site.install(SECOND)
    assert site.host.run("dpkg-query", "-W", "-f", "${Version}", "gatepost").stdout == SECOND
    assert site.users() == site.own_users()
    assert site.host.files("etc/gatepost") == configuration
    assert [site.gatepost(*words) for words in STORES] == stored
    assert "waits over the upgrade" not in site.came()
    site.begin_next_hop()
    site.gatepost("queue", "flush", "--yes")
    wait_for(lambda: "waits over the upgrade" in site.came(), "what waited", 120)


def test_a_client_that_runs_as_somebody_else_asks_at_a_local_door(site: Site) -> None:
    """Its settings are not in the gateway's own directory, which is closed, and the door's socket has a place."""
    with (site.host.root / "etc/gatepost/gatepost.toml").open("a") as file:
        file.write('\n[[door]]\nkind = "filter"\naddress = "unix:/run/gatepost/filter.sock"\n')
    site.gatepost("reload")
    sendmail_cf(site).parent.mkdir(parents=True)
    sendmail_cf(site).write_text("O DeliveryMode=background\n")
    server = ("--server", "unix:/run/gatepost/filter.sock")
    site.gatepost("client", "setup", "sendmail", "--config", "/srv/mail", *server, "--yes")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    tried = site.host.run(*nobody, "gatepost", "client", "test")
    assert (tried.returncode, tried.stderr) == (0, "")
    assert "unix:/run/gatepost/filter.sock: answers\n" in tried.stdout


@pytest.mark.feature("F-INST-07")
def test_removal_stops_it_and_keeps_what_the_administrator_made(site: Site) -> None:
    made = site.host.root / "etc/gatepost/templates/notice.tmpl"
    made.parent.mkdir()
    made.write_text("an administrator's own\n")
    before = {path: digest for each in KEPT for path, digest in site.host.files(each).items()}
    site.dpkg("--remove", "gatepost")
    assert site.users() == set()
    assert sendmail_cf(site).read_text() == "O DeliveryMode=background\n", "a mail system that asked here does no more"
    after = site.host.files()
    # What a gateway writes while it ends is another matter: log, counts, databases.
    steady = {
        path
        for path in before
        if path.startswith("etc/") or (any(f"gatepost/{each}/" in path for each in STEADY) and "index.db" not in path)
    }
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
        path for path in left(site) if not path.startswith(("etc/systemd/", "etc/logrotate.d", "etc/apparmor.d"))
    }


def test_purge_keeps_data_unless_told_what_was_kept_is_taken_up_and_nothing_is_left_when_told(site: Site) -> None:
    site.dpkg("--purge", "gatepost")
    assert (site.host.root / "etc/gatepost/gatepost.toml").exists()
    site.install(SECOND)
    assert "infected mail" in site.gatepost(*STORES[0])
    site.host.run("sh", "-c", "echo gatepost gatepost/purge-data boolean true | debconf-set-selections")
    site.dpkg("--purge", "gatepost")
    assert not left(site)
    assert not any((site.host.root / each).exists() for each in KEPT)
    assert not (site.host.root / "var/lib/gatepost-setup").exists()
    assert not (site.host.root / "run/gatepost").exists()
    assert not site.account()
