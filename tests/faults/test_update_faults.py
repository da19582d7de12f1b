"""Updates that break at every class of byte position, attacks on what a feed tells, and kills: the sets in force stay as
they were, or the new one is there whole. The next sound run always brings it.
"""

import datetime as dt
import errno
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.feeds import Feed, FeedHost, Stall, hash_lines, hosting, now

from gatepost.feeds import fetching
from gatepost.feeds.fetching import Fetcher, FetchError, Route
from gatepost.feeds.installed import Place, install, numbers_of
from gatepost.feeds.keys import resolve_keys
from gatepost.feeds.manifest import BadSet, Kind, check_set, read_set
from gatepost.feeds.repository import FeedError, change_keys, renew, sign_targets_again
from gatepost.feeds.updating import LicenceEnded, Update, UpdateError, trust_root
from gatepost.storage.whole_file import replace_file

FILES = {"known.hash": hash_lines(*(b"%d" % i for i in range(800))), "more.hash": hash_lines(b"more")}
NEWER = {"known.hash": FILES["known.hash"] + hash_lines(b"newer"), "more.hash": hash_lines(b"more")}


class Host:
    """What an installation keeps of a feed; `bring` fetches and installs as the command does."""

    def __init__(self, place: Path, feed: Feed) -> None:
        self.feed = feed
        self.place = Place(place / "updater", {kind: place / kind for kind in Kind})
        self.bases = self.place.bases[Kind.ANTIVIRUS]
        self.bases.mkdir(parents=True)
        self.said: list[str] = []
        trust_root(self.place.directory, feed.first_root.read_bytes())

    def bring(self, *urls: str, expiry: dt.date | None = None) -> list[str]:
        update = Update(
            self.place,
            Route(connect_timeout_s=2),
            lambda _, text: self.said.append(text),
            trusted=resolve_keys([self.feed.public]),
            expiry=expiry,
            skipped={},
        )
        staged = update.fetch(urls)
        for one, directory in staged.items():
            install(self.place.bases[one.kind], directory)
        return [str(one) for one in staged]

    @property
    def numbers(self) -> list[int]:
        """The installed sets; whatever is not whole fails the test."""
        for directory in self.bases.iterdir():
            if not directory.name.startswith("."):
                check_set(read_set(directory, resolve_keys([self.feed.public])))
        return [number for number, _ in numbers_of(self.bases, "own")]


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    made = Feed(tmp_path / "feed")
    made.publish(made.build(1, FILES))
    return made


@pytest.fixture
def server(feed: Feed) -> Iterator[FeedHost]:
    with hosting(feed.place) as host:
        yield host


@pytest.fixture
def host(tmp_path: Path, feed: Feed, server: FeedHost) -> Host:
    made = Host(tmp_path / "host", feed)
    assert made.bring(server.url) == ["own 1"]
    feed.publish(feed.build(2, NEWER))
    server.requests.clear()
    return made


# --- bytes


def _cut(data: bytes, at: int) -> bytes:
    return data[:at]


def _changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if at < len(data) else data + b"x"


FILE_KINDS = {
    "timestamp": "metadata/timestamp.json",
    "snapshot": ".snapshot.json",
    "targets": ".targets.json",
    "manifest": ".manifest.json",
    "signature": ".manifest.sig",
    "file": ".known.hash",
}


@pytest.mark.parametrize("kind", FILE_KINDS)
@pytest.mark.parametrize("fault", [_cut, _changed])
def test_whatever_comes_wrong_the_former_set_stays_and_the_next_run_brings_the_new_one(
    host: Host, server: FeedHost, kind: str, fault: Callable[[bytes, int], Any]
) -> None:
    for share in (0.0, 0.5, 1.0):
        hit: list[str] = []

        def wrong(path: str, data: bytes, share: float = share, hit: list[str] = hit) -> Any:
            if not path.endswith(FILE_KINDS[kind]) and f"{FILE_KINDS[kind]}.from-" not in path:
                return None
            at = int(share * len(data))
            if share == 1.0 and fault is not _changed:
                at -= 1
            hit.append(path)
            return fault(data, at)

        server.fault = wrong
        try:
            assert host.bring(server.url) == ["own 2"]
        except UpdateError:
            assert host.numbers == [1]
        else:  # bytes after the end of metadata are not read; or a second attempt got the rest
            assert host.numbers == [2, 1]
            shutil.rmtree(host.bases / "own-2")
        assert hit, "the fault was not met"
    server.fault = lambda *_: None
    assert host.bring(server.url) == ["own 2"]
    assert host.numbers == [2, 1]


@pytest.mark.parametrize("kind", ["timestamp", "file"])
def test_a_server_that_falls_silent_is_left(
    host: Host, server: FeedHost, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fault = lambda path, data: Stall(data[: len(data) // 2]) if FILE_KINDS[kind] in path else None
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "READ_S", 0.2)
        with pytest.raises(UpdateError):
            host.bring(server.url)
    assert host.numbers == [1]
    server.fault = lambda *_: None
    assert host.bring(server.url) == ["own 2"]


def test_a_transfer_that_breaks_goes_on_where_it_broke(host: Host, server: FeedHost) -> None:
    shutil.rmtree(host.bases / "own-1")  # nothing to make a difference to
    server.fault = lambda path, data: data[: len(data) // 2] if path.endswith("known.hash") else None
    with pytest.raises(UpdateError):
        host.bring(server.url)
    server.fault = lambda *_: None
    server.requests.clear()
    assert host.bring(server.url) == ["own 2"]
    asked = {path.rpartition("/")[2].partition(".")[2]: start for path, start in server.requests}
    assert int(asked["known.hash"].removeprefix("bytes=").rstrip("-")) >= len(NEWER["known.hash"]) // 2
    # Neither is what had come whole fetched again: files are brought in the order of their names.
    assert "manifest.json" in asked


def test_a_server_that_drips_is_not_waited_for(server: FeedHost) -> None:
    (server.directory / "drip").write_bytes(b"x" * 100)
    hours = iter(range(0, 10**6, 120))
    fetcher = Fetcher(Route(), clock=lambda: next(hours))
    with pytest.raises(FetchError, match="too slow"):
        list(fetcher.fetch(f"{server.url}/drip"))
    fetcher.close()


def test_an_endless_answer_is_not_read_to_its_end(host: Host, server: FeedHost) -> None:
    server.fault = lambda path, _: b"x" * 3_000_000 if path.endswith("timestamp.json") else None
    with pytest.raises(UpdateError):
        host.bring(server.url)
    assert host.numbers == [1]


# --- what a feed tells


def _snapshot(feed: Feed) -> dict[str, bytes]:
    return {str(path.relative_to(feed.place)): path.read_bytes() for path in feed.place.rglob("*") if path.is_file()}


def _newest(files: dict[str, bytes], role: str) -> str:
    found = [path for path in files if path.endswith(f".{role}.json")]
    return max(found, key=lambda path: int(path.rpartition("/")[2].partition(".")[0]))


def test_an_older_state_is_refused(host: Host, feed: Feed, server: FeedHost, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(feed.place, old)
    feed.publish(feed.build(3, FILES | {"third.hash": hash_lines(b"3")}))
    assert host.bring(server.url) == ["own 3"]
    with pytest.raises(UpdateError, match="roll-back refused"):
        host.bring(f"file://{old}")
    assert host.numbers == [3, 1]


def test_a_state_that_is_kept_from_moving_is_refused(tmp_path: Path) -> None:
    feed = Feed(tmp_path / "stale", at=now() - dt.timedelta(days=10))
    feed.publish(feed.build(1, FILES), at=now() - dt.timedelta(days=4))
    host = Host(tmp_path / "host", feed)
    with pytest.raises(UpdateError, match="freeze refused"):
        host.bring(f"file://{feed.place}")
    renew(feed.place, feed.online, now())
    assert host.bring(f"file://{feed.place}") == ["own 1"]


def test_states_that_do_not_belong_together_are_refused(host: Host, feed: Feed, server: FeedHost) -> None:
    before = _snapshot(feed)
    feed.publish(feed.build(3, FILES | {"third.hash": hash_lines(b"3")}))
    after = _snapshot(feed)
    for role in ("snapshot", "targets"):  # in the order in which they are asked for
        old, new = (_newest(files, role) for files in (before, after))
        (feed.place / new).write_bytes(before[old])
        with pytest.raises(UpdateError, match=r"mix-and-match|roll-back"):
            host.bring(server.url)
        (feed.place / new).write_bytes(after[new])
    assert host.numbers == [1]


def test_a_foreign_feed_is_not_believed(host: Host, tmp_path: Path) -> None:
    foreign = Feed(tmp_path / "foreign")
    foreign.publish(foreign.build(7, FILES))
    with pytest.raises(UpdateError, match="too few"):
        host.bring(f"file://{foreign.place}")
    assert host.numbers == [1]


def test_a_set_of_a_foreign_signer_is_refused_whoever_publishes_it(host: Host, feed: Feed, server: FeedHost) -> None:
    feed.signer = Ed25519PrivateKey.generate()
    feed.publish(feed.build(3, FILES))
    with pytest.raises(UpdateError, match="no trusted key"):
        host.bring(server.url)
    assert host.numbers == [1]


def test_a_set_issued_after_the_licences_end_is_refused(host: Host, server: FeedHost) -> None:
    with pytest.raises(LicenceEnded):
        host.bring(server.url, expiry=dt.date(2025, 12, 31))
    assert host.numbers == [1]


def test_a_root_that_nobody_signed_is_not_trusted(tmp_path: Path, feed: Feed) -> None:
    raw = feed.first_root.read_bytes()
    for wrong in (b"", b"{}", raw[:-9], raw.replace(b'"version": 1', b'"version": 2'), raw.replace(b"root", b"toor")):
        if wrong != raw:
            with pytest.raises(UpdateError, match="root"):
                trust_root(tmp_path / "updater", wrong)
    assert not (tmp_path / "updater" / "root.json").exists()


# --- keys


def test_keys_change_and_the_former_count_no_longer(host: Host, feed: Feed, server: FeedHost) -> None:
    stolen = feed.targets
    fresh = [Ed25519PrivateKey.generate() for _ in range(3)]
    change_keys(feed.place, "targets", fresh, 2, before=feed.root, root=feed.root, now=now())
    with pytest.raises(FeedError, match="nothing was published"):
        sign_targets_again(feed.place, stolen, feed.online, now())
    with pytest.raises(FeedError, match="2 of its 3"):
        sign_targets_again(feed.place, fresh[:1], feed.online, now())
    with pytest.raises(UpdateError, match="too few"):
        host.bring(server.url)
    sign_targets_again(feed.place, fresh[1:], feed.online, now())
    assert host.bring(server.url) == ["own 2"]
    online = Ed25519PrivateKey.generate()
    for role in ("snapshot", "timestamp"):
        change_keys(feed.place, role, [online], 1, before=feed.root, root=feed.root, now=now())
    with pytest.raises(FeedError):
        renew(feed.place, feed.online, now())
    renew(feed.place, online, now())
    assert host.bring(server.url) == []


def test_a_root_is_changed_only_by_the_threshold_of_both(tmp_path: Path) -> None:
    feed = Feed(tmp_path / "feed", root_keys=3, threshold=2)
    feed.publish(feed.build(1, FILES))
    host = Host(tmp_path / "host", feed)
    fresh = [Ed25519PrivateKey.generate() for _ in range(2)]
    with pytest.raises(FeedError, match="2 of its 3"):
        change_keys(feed.place, "root", fresh, 2, before=feed.root[:1], root=fresh, now=now())
    assert host.bring(f"file://{feed.place}") == ["own 1"]
    assert change_keys(feed.place, "root", fresh, 2, before=feed.root[1:], root=fresh, now=now()) == 2
    assert host.bring(f"file://{feed.place}") == []
    # Whoever begins with the first root gets to the last one as well.
    assert Host(tmp_path / "late", feed).bring(f"file://{feed.place}") == ["own 1"]


# --- disks and kills


def test_a_full_disk_leaves_the_former_set_and_no_rest(
    host: Host, server: FeedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(place: Path, data: bytes, *, mode: int) -> None:
        if place.name == "more.hash":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
        replace_file(place, data, mode=mode)

    with monkeypatch.context() as patch:
        patch.setattr("gatepost.feeds.updating.replace_file", full)
        with pytest.raises(UpdateError, match="No space"):
            host.bring(server.url)
    assert host.numbers == [1]
    assert not (host.bases / ".update").exists()
    assert not (host.place.directory / "download").exists()
    assert host.bring(server.url) == ["own 2"]


ROUNDS = 8


def test_a_run_that_is_killed_anywhere_leaves_whole_sets(tmp_path: Path, feed: Feed) -> None:
    dice = random.Random(8)
    host = Host(tmp_path / "host", feed)
    source = f"file://{feed.place}"
    unharmed = Host(tmp_path / "unharmed", feed)  # tells how long a run is that nobody kills
    for each in (host, unharmed):
        assert each.bring(source) == ["own 1"]
    for number in range(2, ROUNDS + 2):
        feed.publish(feed.build(number, NEWER | {"number.hash": hash_lines(b"%d" % number)}))
        lines = dice.randrange(count_lines(unharmed, source))
        pid = os.fork()
        if not pid:
            die_within(lines, host, source)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
        assert host.numbers[0] in (number - 1, number)
        host.bring(source)
        assert host.numbers[0] == number


def _trace_lines(see: Callable[[int], object], host: Host, source: str) -> None:
    """Run an update, and tell the number of each line of the updater's own code before it is executed."""
    number = 0

    def trace(frame: Any, _: str, __: Any) -> Any:
        nonlocal number
        if "/gatepost/feeds/" not in frame.f_code.co_filename:
            return None
        number += 1
        see(number)
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        host.bring(source)
    finally:
        sys.settrace(former)


def count_lines(host: Host, source: str) -> int:
    """Run an update; return how many lines it took."""
    last = [0]
    _trace_lines(lambda number: last.__setitem__(0, number), host, source)
    return last[0]


def die_within(lines: int, host: Host, source: str) -> None:
    """Run an update in this child, and kill it after so many lines of our own code."""
    status = 1

    def look(number: int) -> None:
        if number > lines:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        _trace_lines(look, host, source)
        status = 0
    except BadSet:
        status = 2
    finally:
        os._exit(status)
