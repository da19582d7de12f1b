"""Updates over FTP, active and passive, from vsftpd (row F-UPD-03)."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.feeds import Feed
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.waiting import wait_for

from gatepost.cli import update_job
from gatepost.feeds.fetching import Fetcher, FetchError, NotThere, Route, Unreachable

UPDATED = 1
VSFTPD = shutil.which("vsftpd", path="/usr/sbin:/usr/bin:/sbin")
pytestmark = pytest.mark.skipif(VSFTPD is None, reason="vsftpd is not installed: tools/peers.sh")


class Ftp:
    """A server that lets anybody read; its log tells by which mode data went."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log

    @property
    def commands(self) -> list[str]:
        return [line.rpartition("FTP command: ")[2] for line in self._log.read_text().splitlines() if "command" in line]

    def said(self, word: str) -> bool:
        return any(f'"{word}' in line for line in self.commands)


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    made = Feed(tmp_path / "ftp" / "feed")
    made.publish(made.build(1, {"known.hash": b"%s:3:Test.Known\n" % (b"0" * 64)}))
    return made


@pytest.fixture
def server(tmp_path: Path, feed: Feed) -> Iterator[Ftp]:
    assert VSFTPD is not None
    port, log = free_port(), tmp_path / "ftp.log"
    settings = {
        "listen": "YES", "listen_address": "127.0.0.1", "listen_port": str(port), "background": "NO",
        "anonymous_enable": "YES", "local_enable": "NO", "no_anon_password": "YES", "anon_root": str(feed.place.parent),
        "run_as_launching_user": "YES", "connect_from_port_20": "NO", "seccomp_sandbox": "NO",
        "log_ftp_protocol": "YES", "xferlog_enable": "YES", "dual_log_enable": "NO", "vsftpd_log_file": str(log),
        "anon_world_readable_only": "NO",
    }  # fmt: skip
    conf = tmp_path / "vsftpd.conf"
    conf.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    with subprocess.Popen([VSFTPD, str(conf)]) as process:
        try:
            wait_for(lambda: _listens(port), "vsftpd to listen")
            yield Ftp(port, log)
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@pytest.mark.feature("F-UPD-03")
@pytest.mark.parametrize(("passive", "word"), [(True, "PASV"), (False, "PORT")], ids=["passive", "active"])
def test_databases_come_over_ftp(
    tmp_path: Path, feed: Feed, server: Ftp, passive: bool, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_job, "try_sets", lambda *_: None)  # tests/e2e/test_update_gateway.py has the real trial
    gateway = Gateway(
        tmp_path / "gw",
        25,
        replace={"[ave]": f'[ave]\ntrusted_keys = ["{feed.public}"]\n'},
        settings=f'\n[updater.options]\nupdate_server_url = "ftp://127.0.0.1:{server.port}/feed"\n'
        f"use_update_server_url_only = true\nuse_proxy = false\npassive_ftp = {str(passive).lower()}\n"
        f'[updater.report]\nreport_file_name = "{tmp_path / "report.log"}"\n',
    )
    for name in ("bases", "as-bases"):
        (gateway.state / name).mkdir()
    done = gateway.command("update", "--trust-root", str(feed.first_root))
    assert done.returncode == UPDATED, done.stderr
    assert (gateway.state / "bases" / "own-1" / "known.hash").read_bytes().startswith(b"0" * 64)
    assert server.said(word)
    assert not server.said("PORT" if passive else "PASV")


def test_a_broken_transfer_goes_on_where_it_broke_off(tmp_path: Path, feed: Feed, server: Ftp) -> None:
    (feed.place / "file").write_bytes(b"0123456789")
    fetcher = Fetcher(Route(passive_ftp=True))
    base = f"ftp://127.0.0.1:{server.port}/feed"
    assert b"".join(fetcher.fetch(f"{base}/file", 7)) == b"789"
    with pytest.raises(NotThere):
        list(fetcher.fetch(f"{base}/none"))
    with pytest.raises(FetchError):
        list(fetcher.fetch(f"ftp://nobody:wrong@127.0.0.1:{server.port}/feed/file"))
    with pytest.raises(Unreachable):
        list(fetcher.fetch(f"ftp://127.0.0.1:{free_port()}/feed/file"))
