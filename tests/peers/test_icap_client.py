"""The ICAP door before real clients: c-icap-client, and squid between a browser and a web server."""

import http.client
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.peers.conftest import open_directory, program, root_program
from tests.support.ports import free_port
from tests.support.scripted_judge import CLEAN, ListeningDoor, ScriptedJudge, ruling
from tests.support.waiting import wait_for

from gatepost.config.doors import Door, DoorKind, OnError
from gatepost.model.filtering import Request, Ruling, Threat
from gatepost.service import icap_door
from gatepost.service.judge import Unjudged

EVIL = b"ev" + b"il"
INFECTED = ruling(objects=("infected",), threats=(Threat("Worm.Test", "infected"),), queue_id="0AB")
SQUID = """
http_port 127.0.0.1:{port}
pid_filename {place}/pid
cache_log {place}/cache.log
cache deny all
access_log none
coredump_dir {place}
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
http_access allow all
icap_enable on
icap_preview_enable on
icap_persistent_connections on
adaptation_send_client_ip on
icap_service requests reqmod_precache icap://127.0.0.1:{icap}/reqmod bypass=off
icap_service answers respmod_precache icap://127.0.0.1:{icap}/respmod bypass=off
adaptation_access requests allow all
adaptation_access answers allow all
"""


def judge_content(_: Request, content: bytes) -> Ruling | Exception:
    if b"trouble" in content:
        return Unjudged("no filter")
    return INFECTED if EVIL in content else CLEAN


@pytest.fixture(scope="module")
def door() -> Iterator[ListeningDoor]:
    settings = Door(name="web", kind=DoorKind.ICAP, on_error=OnError.TEMPFAIL)
    with ListeningDoor(icap_door.make, ScriptedJudge(judge_content), settings) as opened:
        yield opened


def ask(door: ListeningDoor, *options: str, file: Path | None = None) -> tuple[str, bytes]:
    """Run c-icap-client; return what it tells of the headers, and the object it got."""
    command = [program("c-icap-client"), "-i", "127.0.0.1", "-p", str(door.port), "-s", "avscan", "-v", *options]
    done = subprocess.run(
        [*command, "-f", str(file)] if file else command, capture_output=True, timeout=120, check=True
    )
    return done.stderr.decode(), done.stdout


def test_options(door: ListeningDoor) -> None:
    told, _ = ask(door)
    for each in ("Allow 204: Yes", "Preview: 4096", "Keep alive: Yes", "Methods: RESPMOD, REQMOD"):
        assert each in told


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize(
    "options", [(), ("-no204",), ("-nopreview",), ("-nopreview", "-no204"), ("-req", "http://h/x")]
)
def test_objects(door: ListeningDoor, tmp_path: Path, size: int, options: tuple[str, ...]) -> None:
    file = tmp_path / "object"
    file.write_bytes(b"x" * size)
    told, got = ask(door, *options, file=file)
    assert "No modification needed" in told or got == file.read_bytes()
    assert door.judge.last.content == file.read_bytes()
    file.write_bytes(b"x" * size + EVIL)
    told, got = ask(door, *options, file=file)
    assert "X-Infection-Found: Type=0; Resolution=2; Threat=Worm.Test;" in told
    assert "HTTP/1.1 403 Forbidden" in told
    assert b"Worm.Test" in got
    assert EVIL not in got
    file.write_bytes(b"trouble" + b"x" * size)
    told, got = ask(door, *options, file=file)
    assert "HTTP/1.1 503 Service Unavailable" in told
    assert b"trouble" not in got


# --- squid


class Web(http.server.BaseHTTPRequestHandler):
    """Gives back what its path asks for; a form that is sent to it is counted.

    Objects stay below 64 KB: squid 5.7 stops reading from a web server for good that is faster than ICAP and fills the
    buffer between both to its last byte, whatever the ICAP server does.
    """

    protocol_version = "HTTP/1.1"
    posted: list[bytes]

    def do_GET(self) -> None:
        data = {"/evil.exe": b"x" * 40_000 + EVIL, "/page": b"<p>fine</p>" * 4_000}.get(self.path, b"short")
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


class Proxy(NamedTuple):
    port: int
    origin: str
    posted: list[bytes]

    def fetch(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST" if body else "GET", f"http://{self.origin}{path}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def proxy(door: ListeningDoor) -> Iterator[Proxy]:
    squid = root_program("squid")
    posted: list[bytes] = []
    handler = type("Handler", (Web,), {"posted": posted})
    with (
        open_directory("squid") as place,
        http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), handler) as web,
    ):
        threading.Thread(target=web.serve_forever, daemon=True).start()
        place.chmod(0o777)  # it gives up root
        port = free_port()
        file = place / "squid.conf"
        file.write_text(SQUID.format(port=port, place=place, icap=door.port))
        process = subprocess.Popen([squid, "-N", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            proxy = Proxy(port, f"127.0.0.1:{web.server_address[1]}", posted)

            def answers() -> bool:
                assert process.poll() is None, (place / "cache.log").read_text()[-2000:]
                try:
                    return proxy.fetch("/")[0] == 200
                except OSError:
                    return False

            wait_for(answers, "squid serves")
            yield proxy
        finally:
            process.kill()
            process.wait(120)
            web.shutdown()


def test_squid_gets_pages_as_they_are_and_no_malware(door: ListeningDoor, proxy: Proxy) -> None:
    assert proxy.fetch("/page") == (200, b"<p>fine</p>" * 4_000)
    asked = door.judge.last.request
    assert asked.client.ip == "127.0.0.1"
    assert asked.bare is not None
    assert (asked.bare.name, asked.bare.content_type) == ("page", "application/octet-stream")
    status, page = proxy.fetch("/evil.exe")
    assert status == 403
    assert b"Worm.Test" in page
    assert b"evil.exe" in page
    assert EVIL not in page.replace(b"evil.exe", b"")


def test_squid_lets_no_malware_be_uploaded(door: ListeningDoor, proxy: Proxy) -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n%b\r\n--b--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert proxy.fetch("/", form % b"fine", **kind) == (200, b"short")
    assert proxy.posted == [form % b"fine"]
    assert proxy.fetch("/", form % (b"y" * 50_000 + EVIL), **kind)[0] == 403
    assert proxy.fetch("/", form % b"trouble", **kind)[0] == 503
    assert len(proxy.posted) == 1
