"""`gatepost update` against feeds over HTTP and in directories; what a gateway would do with it is tested end to end.

The trial of new sets, a filter template's work, is replaced here: `tests/e2e/test_update_gateway.py` has the real one.
"""

import datetime as dt
import fcntl
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import licences
from tests.support.feeds import Feed, FeedHost, hash_lines, hosting
from tests.support.gateway import Gateway
from tests.support.ports import free_port

from gatepost.cli import update_job
from gatepost.cli.sample_trial import Unfit
from gatepost.control.privileges import become_owner
from gatepost.feeds.manifest import Kind
from gatepost.feeds.update_state import UpdateRun, read_run, write_run

NOTHING, UPDATED, CRITICAL, COMMAND, LICENCE, CONFIGURATION = 0, 1, 10, 30, 60, 75
TERMS = b"= spam/goods/garden | an offer of garden goods\n3.5 frobnicated hedges\n"


class Host:
    """An installation whose gateway does not run; sets are not tried unless a test says how."""

    def __init__(self, place: Path, feed: Feed, *, options: str = "", extra: str = "", ave: str = "") -> None:
        self.place = place
        self.feed = feed
        self.report = place / "report.log"
        self.gateway = Gateway(
            place,
            25,
            replace={"[ave]": f'[ave]\ntrusted_keys = ["{feed.public}"]\n{ave}'},
            settings=f'\n[updater.options]\n{options}\n[updater.report]\nreport_file_name = "{self.report}"\n'
            f"report_level = 9\n{extra}",
        )
        for name in ("bases", "as-bases"):
            (place / name).mkdir()  # an administrator's own: the product's sets are not laid down, which takes time

    def rollback(self, *names: str) -> int:
        return self.update("rollback", "--yes", *names)

    def update(self, *arguments: str) -> int:
        return self.gateway.command("update", *arguments).returncode

    def begin(self) -> int:
        return self.update("--trust-root", str(self.feed.first_root))

    @property
    def sets(self) -> list[str]:
        return self.sets_of("bases")

    def sets_of(self, directory: str) -> list[str]:
        return sorted(each.name for each in (self.place / directory).iterdir() if not each.name.startswith("."))

    @property
    def state(self) -> UpdateRun:
        return read_run(self.place / "updater")


@pytest.fixture(autouse=True)
def _untried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_job, "try_sets", lambda *_: None)
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    made = Feed(tmp_path / "feed")
    made.offer(1, b"one")
    return made


@pytest.fixture
def server(feed: Feed) -> Iterator[FeedHost]:
    with hosting(feed.place) as host:
        yield host


def source(url: str, *more: str) -> str:
    return "\n".join((f'update_server_url = "{url}"', "use_update_server_url = true", *more))


def listed(*urls: str) -> str:
    return "".join(f'\n[[update_server]]\nurl = "{url}"\n' for url in urls)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where connections are neither taken nor refused: the queue of those that wait is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that has ended may linger
        listener.bind(("127.0.0.1", free_port()))
        listener.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.feature("F-LIC-04")
def test_after_the_end_of_the_licence_what_is_newer_is_refused(tmp_path: Path, feed: Feed) -> None:
    host = Host(tmp_path / "gw", feed, options=source(str(feed.place)), extra=licences.SETTINGS)
    licences.install(tmp_path / "gw" / "licence", expires=dt.date(2026, 2, 1))
    assert host.begin() == UPDATED
    feed.offer(2, b"two", issued=dt.date(2026, 2, 2))
    assert host.update() == LICENCE
    assert host.sets == ["own-1"]


# --- where from


@pytest.mark.feature("F-UPD-01")
def test_the_next_server_is_asked_when_the_first_takes_no_connection(
    tmp_path: Path, feed: Feed, server: FeedHost, silent: int
) -> None:
    dead = free_port()
    servers = listed(f"http://127.0.0.1:{silent}", f"http://127.0.0.1:{dead}", server.url)
    host = Host(tmp_path / "gw", feed, options="connect_timeout = 1", extra=servers)
    assert host.begin() == UPDATED
    assert host.sets == ["own-1"]
    report = host.report.read_text()
    assert report.index(f":{silent}/metadata") < report.index(f":{dead}/metadata") < report.index("installed: own 1")
    assert host.state.source == server.url


@pytest.mark.feature("F-UPD-02")
def test_the_own_source_is_asked_first_or_alone(tmp_path: Path, feed: Feed) -> None:
    with hosting(feed.place) as own, hosting(feed.place) as other:
        host = Host(tmp_path / "gw", feed, options=source(own.url), extra=listed(other.url))
        assert host.begin() == UPDATED
        assert own.requests
        assert not other.requests
        own.fault = lambda *_: 503
        assert host.update() == NOTHING
        assert other.requests
        asked = len(other.requests)
        host.gateway.edit("use_update_server_url = true", "use_update_server_url_only = true")
        assert host.update() == CRITICAL
        assert len(other.requests) == asked
        host.gateway.edit("use_update_server_url_only = true", "")
        own.requests.clear()
        assert host.update() == NOTHING
        assert not own.requests
        assert len(other.requests) > asked


@pytest.mark.feature("F-UPD-04")
@pytest.mark.parametrize("configured", ["proxy_address", "environment", "not to be used"])
def test_the_configured_proxy_is_asked(
    tmp_path: Path, feed: Feed, monkeypatch: pytest.MonkeyPatch, configured: str
) -> None:
    """The host answers as a proxy does, for a server that is not there."""
    away = f"http://127.0.0.1:{free_port()}"
    with hosting(feed.place) as proxy:
        if configured != "proxy_address":
            monkeypatch.setenv("http_proxy", proxy.url)
        setting = {"proxy_address": f'proxy_address = "{proxy.url}"', "not to be used": "use_proxy = false"}
        host = Host(tmp_path / "gw", feed, options=source(away, setting.get(configured, "")))
        used = configured != "not to be used"
        assert host.begin() == (UPDATED if used else CRITICAL)
        assert bool(proxy.requests) is used


@pytest.mark.feature("F-UPD-02")
def test_a_directory_is_a_source(tmp_path: Path, feed: Feed) -> None:
    host = Host(tmp_path / "gw", feed, options=source(str(feed.place)))
    assert host.begin() == UPDATED
    assert host.sets == ["own-1"]
    away = feed.place.rename(tmp_path / "unplugged")
    assert host.update() == CRITICAL
    away.rename(feed.place)
    assert host.update() == NOTHING


def test_servers_of_the_region_are_asked_first(tmp_path: Path, feed: Feed) -> None:
    with hosting(feed.place) as far, hosting(feed.place) as near:
        servers = f'{listed(far.url)}region = "us"\n{listed(near.url)}region = "fr de"\n'
        host = Host(tmp_path / "gw", feed, options='region_settings = "DE"', extra=servers)
        assert host.begin() == UPDATED
        assert near.requests
        assert not far.requests


def test_a_server_that_errs_at_every_file_is_passed_over(tmp_path: Path, feed: Feed, server: FeedHost) -> None:
    with hosting(feed.place) as broken:
        broken.fault = lambda path, _: 500 if "targets/" in path else None
        host = Host(tmp_path / "gw", feed, extra=listed(broken.url, server.url))
        assert host.begin() == UPDATED
        assert host.sets == ["own-1"]
        assert broken.requests


# --- what is fetched


def big(*changed: int) -> bytes:
    """A file of many signatures, some of which differ."""
    return hash_lines(*(b"%d %d" % (i, i in changed) for i in range(3000)))


@pytest.mark.feature("F-UPD-05")
def test_only_what_changed_is_fetched_and_of_that_the_difference(tmp_path: Path, feed: Feed, server: FeedHost) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url))
    same = hash_lines(*(b"same %d" % i for i in range(3000)))
    feed.publish(feed.build(2, {"same.hash": same, "big.hash": big()}))
    assert host.begin() == UPDATED
    whole = server.sent
    assert whole > len(same) + len(big())
    feed.publish(feed.build(3, {"same.hash": same, "big.hash": big(7)}))
    server.requests.clear()
    assert host.update() == UPDATED
    assert server.sent - whole < 20_000
    fetched = [path.rpartition("/")[2].partition(".")[2] for path in server.paths if path.startswith("targets/")]
    assert not [name for name in fetched if name.startswith("same.hash")]
    assert [name.partition(".from-")[0] for name in fetched if "big.hash" in name] == ["big.hash"]
    assert (tmp_path / "gw" / "bases" / "own-3" / "big.hash").read_bytes() == big(7)
    # One that missed an update gets a difference as well.
    feed.publish(feed.build(4, {"same.hash": same, "big.hash": big(7, 8)}))
    feed.publish(feed.build(5, {"same.hash": same, "big.hash": big(7, 8, 9)}))
    sent = server.sent
    assert host.update() == UPDATED
    assert server.sent - sent < 25_000
    assert (tmp_path / "gw" / "bases" / "own-5" / "big.hash").read_bytes() == big(7, 8, 9)
    sent = server.sent
    assert host.update() == NOTHING
    assert server.sent - sent < 3000


def test_a_broken_difference_is_replaced_by_the_whole_file(tmp_path: Path, feed: Feed, server: FeedHost) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url))
    feed.publish(feed.build(2, {"big.hash": big()}))
    assert host.begin() == UPDATED
    feed.publish(feed.build(3, {"big.hash": big(7)}))
    server.fault = lambda path, data: bytes(len(data)) if ".from-" in path else None
    assert host.update() == UPDATED
    assert (tmp_path / "gw" / "bases" / "own-3" / "big.hash").read_bytes() == big(7)


# --- before and after the installation


@pytest.mark.feature("F-UPD-06")
def test_what_fails_its_trial_is_not_installed_and_the_former_is_kept_in_the_backup(
    tmp_path: Path, feed: Feed, server: FeedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = tmp_path / "backup"
    host = Host(tmp_path / "gw", feed, options=source(server.url), extra=f'[updater.path]\nback_up_path = "{backup}"\n')
    assert host.begin() == UPDATED
    feed.offer(2, b"two")

    def refuse(*_: object) -> None:
        raise Unfit("it finds something in a clean mail")

    with monkeypatch.context() as patch:
        patch.setattr(update_job, "try_sets", refuse)
        assert host.update() == CRITICAL
    assert host.sets == ["own-1"]
    assert (host.state.result, "clean mail" in host.state.error) == ("error", True)
    assert host.update() == UPDATED
    assert host.sets == ["own-1", "own-2"]
    assert (backup / "antivirus" / "own-1" / "known.hash").read_bytes() == hash_lines(b"one")


def test_a_run_that_breaks_down_does_not_end_as_one_that_installed(
    tmp_path: Path, feed: Feed, server: FeedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url))

    def break_down(*_: object) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(update_job, "try_sets", break_down)
    assert host.begin() == CRITICAL
    assert host.sets == []
    assert (host.state.result, "nobody thought of this" in host.state.error) == ("error", True)
    assert "nobody thought of this" in host.report.read_text()


@pytest.mark.feature("F-UPD-06")
def test_a_rollback_takes_back_what_was_installed_last_until_there_is_something_newer(
    tmp_path: Path, feed: Feed, server: FeedHost
) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url))
    assert host.begin() == UPDATED
    assert host.rollback() == NOTHING
    feed.offer(1, b"else", name="other")
    assert host.update() == UPDATED
    feed.offer(2, b"two")
    assert host.update() == UPDATED
    assert host.rollback() == UPDATED
    assert host.sets == ["other-1", "own-1"]
    assert host.update() == NOTHING
    assert host.sets == ["other-1", "own-1"]
    feed.offer(3, b"three")
    assert host.update() == UPDATED
    assert host.sets == ["other-1", "own-1", "own-3"]


def test_a_set_of_a_new_name_is_taken_back_altogether(tmp_path: Path, feed: Feed, server: FeedHost) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url))
    assert host.begin() == UPDATED
    assert host.rollback() == NOTHING, "nothing would be left"
    feed.offer(1, b"else", name="other")
    assert host.update() == UPDATED
    assert host.rollback("own") == NOTHING, "there was one before the last update"
    assert host.rollback() == UPDATED
    assert host.sets == ["own-1"]
    assert host.update() == NOTHING


def test_a_roll_back_leaves_some_databases_however_many_came_at_once(tmp_path: Path, feed: Feed) -> None:
    feed.offer(1, b"else", name="other")
    host = Host(tmp_path / "gw", feed, options=source(str(feed.place)))
    assert host.begin() == UPDATED
    assert host.rollback() == NOTHING
    assert host.sets == ["other-1", "own-1"]
    assert host.rollback("other") == UPDATED
    assert host.sets == ["own-1"]


def test_a_name_of_both_kinds_is_taken_back_of_the_one_that_is_meant(tmp_path: Path, feed: Feed) -> None:
    host = Host(tmp_path / "gw", feed, options=source(str(feed.place)))

    def offer(number: int) -> Path:
        return feed.build(number, {"x.terms": TERMS}, kind=Kind.ANTISPAM)

    def numbers() -> tuple[list[str], list[str]]:
        return host.sets, host.sets_of("as-bases")

    feed.publish(offer(1))
    assert host.begin() == UPDATED
    assert sorted(host.state.installed) == ["antispam/own 1", "antivirus/own 1"]
    feed.offer(2, b"two")
    feed.publish(offer(2))
    assert host.update() == UPDATED
    assert host.rollback("antispam/own") == UPDATED
    assert numbers() == (["own-1", "own-2"], ["own-1"])
    assert host.rollback("mouse/own") == CONFIGURATION
    assert host.rollback("own", "mouse/own") == CONFIGURATION, "nothing is taken back"
    assert host.rollback("own") == UPDATED
    assert numbers() == (["own-1"], ["own-1"])
    feed.offer(3, b"three")
    assert host.update() == UPDATED
    assert host.rollback() == UPDATED
    assert numbers() == (["own-1"], ["own-1"]), "what the last update brought, and no other of that name"


def test_what_was_taken_back_comes_again_when_that_is_wanted(tmp_path: Path, feed: Feed, server: FeedHost) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url))
    assert host.begin() == UPDATED
    feed.offer(2, b"two")
    assert host.update() == UPDATED
    assert host.rollback("own") == UPDATED
    assert host.sets == ["own-1"]
    assert host.update("--again") == UPDATED
    assert host.sets == ["own-1", "own-2"]


def test_only_the_latest_sets_are_kept(tmp_path: Path, feed: Feed, server: FeedHost) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url))
    assert host.begin() == UPDATED
    for number in range(2, 6):
        feed.offer(number, b"%d" % number)
        assert host.update() == UPDATED
    assert host.sets == ["own-3", "own-4", "own-5"]
    assert [each.name for each in (tmp_path / "gw" / "bases").iterdir() if each.name.startswith(".")] == []


@pytest.mark.feature("F-UPD-07")
def test_a_second_host_updates_from_the_mirror_of_the_first(tmp_path: Path, feed: Feed, server: FeedHost) -> None:
    copy = tmp_path / "mirror"
    first = Host(tmp_path / "one", feed, options=source(server.url))
    second = Host(tmp_path / "two", feed, options=source(str(copy)))
    assert first.begin() == UPDATED
    assert first.update("mirror", str(copy)) == UPDATED
    assert first.update("mirror", str(copy)) == NOTHING
    assert second.begin() == UPDATED
    for number in range(2, 7):
        feed.offer(number, b"%d" % number)
    assert second.update() == NOTHING
    assert first.update("mirror", str(copy)) == UPDATED
    assert second.update() == UPDATED
    assert second.sets == ["own-1", "own-6"]
    # Only what is offered, or was the last time, lies in the copy.
    assert {each.name for each in (copy / "targets" / "antivirus").iterdir()} == {"own-1", "own-4", "own-5", "own-6"}
    assert len(list((copy / "metadata").glob("*.targets.json"))) == 2


# --- codes, the command after the update, one at a time


@pytest.mark.feature("F-UPD-08")
def test_each_code_is_given(tmp_path: Path, feed: Feed, server: FeedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    command = f'post_update_cmd = "touch {told}"'
    host = Host(tmp_path / "gw", feed, options=source(server.url, command))
    assert host.update() == CRITICAL  # no feed is trusted yet
    assert host.begin() == UPDATED
    assert told.exists()
    assert host.update() == NOTHING
    feed.offer(2, b"two")
    host.gateway.edit(command, 'post_update_cmd = "false"')
    assert host.update() == COMMAND
    assert host.sets == ["own-1", "own-2"]
    assert host.update() == COMMAND  # nobody knows of the new ones yet: it is tried again
    told.unlink()
    host.gateway.edit('post_update_cmd = "false"', command)
    assert host.update() == UPDATED
    assert told.exists()
    assert host.update() == NOTHING
    server.fault = lambda *_: 503
    assert host.update() == CRITICAL
    server.fault = lambda *_: None
    feed.offer(3, b"three", issued=dt.date(2026, 3, 1))
    with monkeypatch.context() as patch:
        patch.setattr(update_job, "_last_day", lambda _: dt.date(2026, 2, 1))
        assert host.update() == LICENCE
    assert host.sets == ["own-1", "own-2"]
    host.gateway.edit(server.url, "gopher://x")
    assert host.update() == CONFIGURATION
    host.gateway.edit("gopher://x", "")
    assert host.update() == CONFIGURATION
    host.gateway.config.write_text("nonsense = [")
    assert host.update() == CONFIGURATION


@pytest.mark.feature("F-UPD-09")
def test_a_second_run_is_refused(tmp_path: Path, feed: Feed, server: FeedHost) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url))
    lock = tmp_path / "gw" / "updater" / "lock"
    lock.parent.mkdir()
    with lock.open("w") as file:
        file.write("4711\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        done = host.gateway.command("update")
        assert (done.returncode, "pid 4711" in done.stderr) == (CRITICAL, True)
        assert not server.requests
    assert host.begin() == UPDATED
    assert lock.read_text() == f"{os.getpid()}\n"


def test_an_update_that_runs_can_be_stopped(tmp_path: Path, feed: Feed) -> None:
    host = Host(tmp_path / "gw", feed, options=source(str(feed.place)))
    assert host.update("stop") == NOTHING
    lock = tmp_path / "gw" / "updater" / "lock"
    lock.parent.mkdir()
    script = 'exec 9<>"$0"; flock 9; echo $$ >&9; echo ready; read'
    command = ["/bin/bash", "-c", script, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        assert host.update("stop") == NOTHING
        assert other.wait(30) == -15


def test_a_signal_ends_a_run_wherever_it_is(tmp_path: Path, feed: Feed, server: FeedHost) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url))

    def end(path: str, _: bytes) -> None:
        if path.endswith("known.hash"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    server.fault = end
    assert host.begin() == CRITICAL
    assert (host.state.result, host.state.error) == ("error", "interrupted")
    assert host.sets == []
    server.fault = lambda *_: None
    assert host.update() == UPDATED


def test_a_run_that_broke_off_before_the_gateway_knew_is_brought_to_its_end(tmp_path: Path, feed: Feed) -> None:
    told = tmp_path / "told"
    host = Host(tmp_path / "gw", feed, options=source(str(feed.place), f'post_update_cmd = "touch {told}"'))
    assert host.begin() == UPDATED
    told.unlink()
    write_run(tmp_path / "gw" / "updater", UpdateRun(pending=("antivirus/own",), installed=("own 1",)))
    assert host.update() == UPDATED
    assert told.exists()
    assert host.update() == NOTHING


# --- the report


@pytest.mark.feature("F-UPD-10")
def test_the_report_goes_where_it_is_told_with_the_level_it_is_told(
    tmp_path: Path, feed: Feed, server: FeedHost
) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url))
    assert host.begin() == UPDATED
    all_of_it = host.report.read_text()
    assert "known.hash: 80 bytes" in all_of_it
    assert host.update() == NOTHING
    assert host.report.read_text().startswith(all_of_it)
    host.gateway.edit("report_level = 9", "report_level = 1\nappend = false")
    feed.offer(2, b"two")
    assert host.update() == UPDATED
    (line,) = host.report.read_text().splitlines()
    assert "installed: own 2" in line
    other = tmp_path / "other.log"
    assert host.update("-l", str(other)) == NOTHING
    assert other.read_text() == ""
    assert "installed: own 2" in host.report.read_text()


@pytest.mark.feature("F-UPD-10")
def test_the_report_can_go_to_syslog_and_the_console_can_be_silent(
    tmp_path: Path, feed: Feed, server: FeedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr("gatepost.cli.update_report.syslog.openlog", lambda *_: None)
    monkeypatch.setattr("gatepost.cli.update_report.syslog.syslog", lambda _, line: lines.append(line))
    host = Host(tmp_path / "gw", feed, options=source(server.url, "keep_silent = true"))
    host.gateway.edit(str(host.report), "syslog")
    done = host.gateway.command("update", "--trust-root", str(feed.first_root))
    assert (done.returncode, done.stdout, done.stderr) == (UPDATED, "", "")
    assert any("installed: own 1" in line for line in lines)


def test_the_state_is_shown(tmp_path: Path, feed: Feed, server: FeedHost) -> None:
    host = Host(tmp_path / "gw", feed, options=source(server.url.replace("//", "//user:secret@")))
    assert "never" in host.gateway.command("update", "status").stdout
    assert host.begin() == UPDATED
    shown = json.loads(host.gateway.command("update", "status", "--json").stdout)
    assert (shown["result"], shown["installed"]) == ("updated", ["antivirus/own 1"])
    text = host.gateway.command("update", "status").stdout
    assert "user:…@127.0.0.1" in text
    assert "secret" not in text + host.report.read_text() + json.dumps(shown)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_root_becomes_the_owner_of_the_gateways_state(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65533)
    pid = os.fork()
    if not pid:
        become_owner(tmp_path)
        os._exit(0 if (os.getresuid(), os.getresgid(), os.getgroups()) == ((65534,) * 3, (65533,) * 3, [65533]) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    become_owner(tmp_path / "none")  # no gateway has been here yet: root stays root
    assert os.geteuid() == 0
