"""`gatepost setup` from nothing to mail: without a key, later by hand; with one at once; consent to UDS and its absence.

One state directory for the module; the order of its tests is the story of an installation.
"""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.support.bases import bring_compiled, keep_compiled
from tests.support.feeds import Feed
from tests.support.gateway import Gateway, run_here
from tests.support.licences import PRIVATE, licence
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.cli import setup
from gatepost.cli.setup_host import Host
from gatepost.feeds.keys import build_public_text
from gatepost.master.pid_file import read_pid

KNOWN = b"an object that only the databases of the feed know"
DATAGRAM = 2048


class Site(NamedTuple):
    base: Path
    sink: Sink
    port: int
    uds: socket.socket
    """A UDS server that only listens."""
    feed: Feed

    @property
    def file(self) -> Path:
        return self.base / "etc" / "gatepost.toml"

    @property
    def state(self) -> Path:
        return self.base / "state"

    def set_up(self, *words: str, **values: Any) -> "subprocess.CompletedProcess[str]":
        answers = {
            "hostname": "mx.example.org",
            "role": "relay",
            "listen": [f"127.0.0.1:{self.port}"],
            "local_networks": ["10.0.0.0/8"],
            "forward_host": f"[127.0.0.1:{self.sink.port}]",
            "licence_mode": "key",
            "licence_issuers": [build_public_text(PRIVATE.public_key())],
            "uds_servers": [f"127.0.0.1:{self.uds.getsockname()[1]}"],
            "console": False,
            "start": "daemon",
            **values,
        }
        file = self.base / "answers.toml"
        file.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in answers.items()))
        bring_compiled(self.state, antispam=True)
        return self.run("setup", "--answers", str(file), "--state-path", str(self.state), "--user", "", *words)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return run_here(*words, "-c", str(self.file))

    def send(self, content: bytes) -> None:
        """Send a mail and wait until it has come through."""
        before = len(self.sink.mails)
        Gateway.send(_Client(self.port), content)  # type: ignore[arg-type]
        wait_for(lambda: len(self.sink.mails) > before, "the mail to be delivered")

    def asked(self) -> bool:
        """Tell whether a datagram has come."""
        try:
            return bool(self.uds.recv(DATAGRAM))
        except BlockingIOError:
            return False


class _Client(NamedTuple):
    """What `Gateway.send` needs of a gateway."""

    port: int

    client = Gateway.client


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, list) else f'"{value}"'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("setup")
    with (
        pytest.MonkeyPatch.context() as patch,
        Sink() as sink,
        contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as uds,
    ):
        patch.setattr(setup, "look_at_host", Host)
        uds.bind(("127.0.0.1", free_port()))
        uds.setblocking(False)
        site = Site(base, sink, free_port(), uds, Feed(base / "feed"))
        try:
            yield site
        finally:
            site.run("stop")
            if pid := read_pid(site.state / "run" / "gatepost.pid"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@pytest.mark.feature("F-INST-02", "F-INST-03")
def test_without_a_key_nothing_starts_and_a_later_start_by_hand_works(site: Site) -> None:
    done = site.set_up()
    assert done.returncode == 0, done.stderr
    assert "There is no licence key." in done.stdout
    assert not (site.state / "run").exists()
    assert not listens(site.port)
    checked = site.run("start", "-k")
    assert (checked.returncode, checked.stdout) == (0, "Config OK !\n")
    key = site.base / "customer.key"
    key.write_bytes(licence("17"))
    assert site.run("licence", "add", str(key)).returncode == 0
    # Mail of the tests comes from loopback and is a stranger's; nothing but UDS is asked about it.
    others = ("spf", "reverse_dns", "authentication", "headers", "content", "images", "learned")
    wanted = ["network.trusted_networks=10.0.0.0/8", "watch.mail=no", *(f"policy.use_{each}=no" for each in others)]
    assert site.run("config", "set", *wanted).returncode == 0
    started = Gateway.run(_Started(site.file, dict(os.environ)), "start", "--no-change-owner", timeout_s=180)  # type: ignore[arg-type]
    assert started.returncode == 0, started.stderr
    keep_compiled(site.state, antispam=True)
    site.send(plain("by hand"))
    assert site.run("stop").returncode == 0


class _Started(NamedTuple):
    """What `Gateway.run` needs of a gateway."""

    config: Path
    env: dict[str, str]


@pytest.mark.feature("F-INST-04")
def test_with_a_key_databases_are_fetched_and_the_port_is_open(site: Site) -> None:
    site.feed.offer(7, KNOWN)
    key = site.base / "customer.key"
    done = site.set_up(
        "--yes",
        licence_key=str(key),
        update_source=str(site.feed.place),
        trust_root=str(site.feed.first_root),
        trusted_keys=[site.feed.public],
    )
    assert done.returncode == 0, done.stderr
    assert "licence key 17 is installed already" in done.stdout
    assert "the databases are up to date" in done.stdout
    assert listens(site.port)
    assert any(path.name.startswith("own") for path in (site.state / "bases").iterdir())
    assert "own" in site.run("bases", "show").stdout
    site.send(plain("at once"))


@pytest.mark.feature("F-INST-06")
def test_no_consent_means_not_one_datagram(site: Site) -> None:
    words = "The quarterly barometer calibration of every lighthouse along the northern coast was postponed.\r\n"
    for number in range(2):
        site.send(plain(f"lighthouse {number}", text=words * 8))
    assert not site.asked(), "the mails have come through, and nobody was asked"
    # The same with consent: this server would have heard of them.
    done = site.set_up(
        "--yes",
        licence_key=str(site.base / "customer.key"),
        update_source=str(site.feed.place),
        trusted_keys=[site.feed.public],
        uds_consent=True,
    )
    assert done.returncode == 0, done.stderr
    assert (site.file.parent / "uds.key").stat().st_mode & 0o777 == 0o600
    wait_for(site.asked, "the first datagram")
