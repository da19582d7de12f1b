"""`gatepost feed`: from readable sources to a feed that installations update from; ClamAV's forms; its server and log."""

import contextlib
import datetime as dt
import hashlib
import http.client
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from tests.support.gateway import run_here
from tests.support.ports import free_port
from tests.support.waiting import wait_for

from gatepost.feeds.clamav import convert_lines
from gatepost.feeds.feed_log import read_log
from gatepost.feeds.feed_server import FeedServer, serve_feed
from gatepost.feeds.manifest import read_set

MD5, SHA256 = hashlib.md5(b"x").hexdigest(), hashlib.sha256(b"x").hexdigest()


def feed(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return run_here("feed", *map(str, arguments))


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / f"{name}.pem" for name in ("root", "other-root", "targets", "online", "signer")}
    for path in made.values():
        assert run_here("bases", "keygen", str(path)).returncode == 0
    return made


# --- ClamAV's forms


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        (f"{MD5}:1:Win.Test-1", f"{MD5}:1:Win.Test-1"),
        (f"{SHA256.upper()}:*:Win.Test-2:73", f"{SHA256}:*:Win.Test-2"),
        (f"{MD5}:1:A name (odd)", f"{MD5}:1:A_name_odd_"),
    ],
)
def test_hashes_map_one_to_one(line: str, ours: str) -> None:
    assert convert_lines([line], hashes=True) == ([ours], {})


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("Win.Test-1:0:*:6162636465", "Win.Test-1:*:*:6162636465"),
        ("Win.Test-2:1:0:4D5A9000??0F*61626364:51:99", "Win.Test-2:executable:0:4d5a9000??0f*61626364"),
        ("Pdf.Test:10:EOF-512,10:6162{4-8}63646566", "Pdf.Test:pdf:EOF-512,10:6162{4-8}63646566"),
        ("Doc.Test:2:*:61626364(65|6667)68", "Doc.Test:office:*:61626364(65|6667)68"),
    ],
)
def test_patterns_map_where_there_is_an_equal(line: str, ours: str) -> None:
    assert convert_lines([line], hashes=False) == ([ours], {})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("X:3:*:61626364", "target type 3"),
        ("X:1:EP+0:61626364", "entry point"),
        ("X:1:S2+4:61626364", "entry point"),
        ("X:0:*:61626364!(65|66)", "negation"),
        ("X:0:*:(B)61626364(B)", "word boundaries"),
        ("X:0:*", "not NAME:TARGET"),
        ("X:0:*:61", ""),
        ("X:0:*:zz626364", ""),
    ],
)
def test_what_has_no_equal_is_left_out_and_named(line: str, why: str) -> None:
    kept, left = convert_lines([line], hashes=False)
    assert kept == []
    ((told, count),) = left.items()
    assert count == 1
    assert why in told


# --- the commands


def test_from_sources_to_a_feed(tmp_path: Path, keys: dict[str, Path]) -> None:
    sources = tmp_path / "sources"
    (sources / "yara" / "any").mkdir(parents=True)
    (sources / "theirs.hdb").write_text(f"{MD5}:1:Win.Test-1\nnonsense\n")
    (sources / "theirs.ndb").write_text("Win.Test-2:0:*:6162636465\nWin.Test-3:1:EP+0:6162636465\n")
    (sources / "ours.hash").write_text(f"{SHA256}:1:Our.Test\n")
    (sources / "yara" / "any" / "one.yar").write_text(
        'rule one { strings: $a = "a rare text of ours" condition: $a }\n'
    )
    built = tmp_path / "built"
    done = feed("build", sources, built, "--key", keys["signer"], "--name", "mine", "--number", 7)
    assert done.returncode == 0, done.stderr
    for told in ("theirs.hdb: 1 signatures taken, 1 left out", "theirs.ndb: 1 signatures taken, 1 left out"):
        assert told in done.stdout
    manifest = read_set(built, None).manifest
    assert (manifest.name, manifest.number, manifest.records) == ("mine", 7, 4)
    # A second time into the same directory would mix two sets.
    assert feed("build", sources, built, "--key", keys["signer"], "--name", "mine", "--number", 8).returncode == 3

    place = tmp_path / "feed"
    roles = ("--root-key", keys["root"], "--root-key", keys["other-root"], "--root-threshold", 2)
    signers = ("--targets-key", keys["targets"], "--online-key", keys["online"])
    assert feed("init", place, *roles, *signers).returncode == 0
    assert feed("init", place, *roles, *signers).returncode == 3
    published = feed("publish", place, built, *signers)
    assert (published.returncode, "mine 7" in published.stdout) == (0, True)
    assert feed("publish", place, built, *signers).returncode == 3
    assert "good until" in feed("renew", place, "--online-key", keys["online"]).stdout
    wrong = feed("renew", place, "--online-key", keys["targets"])
    assert (wrong.returncode, "nothing was published" in wrong.stderr) == (3, True)
    one_root = ("--root-key", keys["root"])
    assert feed("keys", place, "targets", "--key", keys["signer"], *one_root).returncode == 3
    both = (*one_root, "--root-key", keys["other-root"], "--online-key", keys["online"])
    assert feed("keys", place, "targets", "--key", keys["signer"], *both).returncode == 0
    assert feed("publish", place, built, *signers).returncode == 3
    assert json.loads((place / "metadata" / "root.json").read_bytes())["signed"]["version"] == 2


def test_a_key_of_root_has_no_other_role(tmp_path: Path, keys: dict[str, Path]) -> None:
    roles = ("--root-key", keys["root"], "--targets-key", keys["root"], "--online-key", keys["online"])
    done = feed("init", tmp_path / "feed", *roles)
    assert (done.returncode, "no other role" in done.stderr) == (3, True)
    assert not (tmp_path / "feed").exists()


# --- its server


def test_the_server_gives_what_is_below_the_feed_and_nothing_else(tmp_path: Path) -> None:
    place, log = tmp_path / "feed", tmp_path / "requests.log"
    (place / "targets" / "antivirus" / "own-1").mkdir(parents=True)
    (place / "metadata").mkdir()
    (place / "targets" / "antivirus" / "own-1" / "00.manifest.json").write_bytes(b"0123456789")
    (place / "metadata" / "timestamp.json").write_bytes(b"{}")
    (tmp_path / "secret").write_bytes(b"secret")
    (place / "metadata" / "link.json").symlink_to(tmp_path / "secret")
    server = FeedServer(place, "127.0.0.1", 0, log)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    answers = []
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
        for method, path, headers in (
            ("GET", "/targets/antivirus/own-1/00.manifest.json", {}),
            ("GET", "/targets/antivirus/own-1/00.manifest.json", {"Range": "bytes=7-"}),
            ("GET", "/targets/antivirus/own-1/00.manifest.json", {"Range": "bytes=10-"}),
            ("HEAD", "/metadata/timestamp.json", {}),
            ("GET", "/metadata/timestamp.json", {"User-Agent": "gatepost/1"}),
            ("GET", "/metadata/../../secret", {}),
            ("GET", "/metadata/%2e%2e/secret", {}),
            ("GET", "/metadata/link.json", {}),
            ("GET", "/metadata", {}),
            ("GET", "/", {}),
        ):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            answers.append((answer.status, answer.read()))
        connection.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert answers[:5] == [(200, b"0123456789"), (206, b"789"), (416, b""), (200, b""), (200, b"{}")]
    assert answers[5:] == [(404, b"")] * 5
    found = read_log(log)
    assert (found["requests"], found["clients"], found["bytes"]) == (10, 1, 15)
    assert found["sets"] == {"own-1": 2}
    assert found["versions"]["gatepost/1"] == 1
    with log.open("ab") as file:
        file.write(b'{"cut": ')
    shown = run_here("feed", "stats", str(log), "--json")
    assert json.loads(shown.stdout)["requests"] == 10
    text = run_here("feed", "stats", str(log)).stdout
    assert text.startswith("10 requests by 1 clients, 15 bytes")
    assert f"day {dt.datetime.now(dt.UTC):%Y-%m}" in text


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    assert feed("serve", tmp_path, "--listen", "8080").returncode == 1


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "timestamp.json").write_bytes(b"{}")
    port = free_port()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            serve_feed(tmp_path, f"127.0.0.1:{port}", None)
            status = 0
        finally:
            os._exit(status)
    try:
        assert wait_for(lambda: fetch(port, "/metadata/timestamp.json"), "the server to listen") == b"{}"
    finally:
        os.kill(pid, signal.SIGTERM)
        assert os.waitpid(pid, 0)[1] == 0


def fetch(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.request("GET", path)
        return connection.getresponse().read()
    return b""
