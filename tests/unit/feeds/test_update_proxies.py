"""Updates through a proxy that wants to know who asks: Basic and NTLM (row F-UPD-04)."""

import base64
import contextlib
import select
import socket
import socketserver
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import spnego
from tests.support.certificates import Authority
from tests.support.feeds import FeedHost, hosting
from tests.support.ports import free_port

from gatepost.feeds.fetching import Fetcher, FetchError, Route, choose_proxy

USER, PASSWORD = "filter", "pass word:1"


class Proxy:
    """A proxy for plain HTTP, and for tunnels, that lets in who signs in by `scheme`."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.log: list[tuple[str, str]] = []
        """(what was asked for, by which scheme, "" without one)"""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20
            server_side: spnego.ContextProxy | None = None
            signed_in = False

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                given = self.headers.get("Proxy-Authorization", "")
                scheme, _, token = given.partition(" ")
                proxy.log.append((self.path, scheme))
                if not self.signed_in:
                    challenge = self._challenge(scheme, token)
                    if challenge is not None:
                        self._answer(407, b"sign in", challenge)
                        return
                with urllib.request.urlopen(self.path, timeout=20) as answer:
                    self._answer(200, answer.read())

            def do_CONNECT(self) -> None:
                scheme, _, token = self.headers.get("Proxy-Authorization", "").partition(" ")
                proxy.log.append((self.path, scheme))
                challenge = self._challenge(scheme, token)
                if challenge is not None:
                    self._answer(407, b"sign in", challenge)
                    return
                host, _, port = self.path.partition(":")
                self.send_response(200)
                self.end_headers()
                self.close_connection = True
                with socket.create_connection((host, int(port)), 20) as server:
                    ends = {self.connection: server, server: self.connection}
                    while piece := (ready := select.select(list(ends), [], [], 20)[0][0]).recv(65536):
                        ends[ready].sendall(piece)

            def _challenge(self, scheme: str, token: str) -> str | None:
                if proxy.scheme == "Basic":
                    right = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                    return None if (scheme, token) == ("Basic", right) else 'Basic realm="out"'
                if scheme != "NTLM":
                    self.server_side = None
                    return "NTLM"
                if self.server_side is None:
                    self.server_side = spnego.server(protocol="ntlm")
                try:
                    said = self.server_side.step(base64.b64decode(token))
                except spnego.exceptions.SpnegoError:
                    self.server_side = None
                    return "NTLM"
                self.signed_in = self.server_side.complete
                return None if self.signed_in else f"NTLM {base64.b64encode(said or b'').decode()}"

            def _answer(self, status: int, body: bytes, challenge: str = "") -> None:
                self.send_response(status)
                if challenge:
                    self.send_header("Proxy-Authenticate", challenge)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        self.port = free_port()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def address(self, password: str = PASSWORD) -> str:
        return f"http://{USER}:{urllib.parse.quote(password)}@127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def proxying(scheme: str) -> Iterator[Proxy]:
    proxy = Proxy(scheme)
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FeedHost]:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode())
    with hosting(tmp_path) as host:
        yield host


@pytest.fixture(autouse=True)
def _users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom the server's side of NTLM knows; requests of the proxy's own go nowhere but to the server."""
    known = tmp_path / "users"
    known.write_text(f":{USER}:{PASSWORD.replace(':', '%')}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(known))
    monkeypatch.setenv("no_proxy", "*")


def fetch(fetcher: Fetcher, url: str) -> bytes:
    return b"".join(fetcher.fetch(url))


@pytest.mark.feature("F-UPD-04")
@pytest.mark.parametrize("from_environment", [False, True], ids=["setting", "environment"])
def test_a_proxy_that_wants_basic(server: FeedHost, from_environment: bool) -> None:
    with proxying("Basic") as proxy:
        environment = {"http_proxy": proxy.address()} if from_environment else {}
        address = choose_proxy("" if from_environment else proxy.address(), environment, use=True)
        fetcher = Fetcher(Route(proxy=address))
        assert fetch(fetcher, f"{server.url}/one") == b"one"
        fetcher.close()
        assert proxy.log == [(f"{server.url}/one", "Basic")]
        assert "Proxy-Authorization" not in server.headers[0]


@pytest.mark.feature("F-UPD-04")
def test_a_proxy_that_wants_ntlm(server: FeedHost) -> None:
    with proxying("NTLM") as proxy:
        fetcher = Fetcher(Route(proxy=proxy.address("pass word%1")))
        assert fetch(fetcher, f"{server.url}/one") == b"one"
        assert [scheme for _, scheme in proxy.log] == ["Basic", "NTLM", "NTLM"]
        assert fetch(fetcher, f"{server.url}/two") == b"two"
        fetcher.close()


@pytest.mark.feature("F-UPD-04")
@pytest.mark.parametrize("scheme", ["Basic", "NTLM"])
def test_a_wrong_password_is_told_as_what_it_is(server: FeedHost, scheme: str) -> None:
    with proxying(scheme) as proxy:
        fetcher = Fetcher(Route(proxy=proxy.address("wrong")))
        with pytest.raises(FetchError, match="407") as caught:
            fetch(fetcher, f"{server.url}/one")
        fetcher.close()
        assert "wrong" not in str(caught.value)
        assert not server.requests


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeedHost]:
    """The same over HTTPS."""
    authority = Authority(tmp_path / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode())
    with hosting(tmp_path, authority.issue("127.0.0.1").server_context()) as host:
        yield host


@pytest.mark.feature("F-UPD-04")
@pytest.mark.parametrize(
    ("scheme", "steps"), [("Basic", ["Basic"]), ("NTLM", ["Basic", "NTLM", "NTLM"])], ids=["Basic", "NTLM"]
)
def test_a_proxy_that_wants_to_know_who_digs_a_tunnel(secured: FeedHost, scheme: str, steps: list[str]) -> None:
    with proxying(scheme) as proxy:
        fetcher = Fetcher(Route(proxy=proxy.address("pass word%1" if scheme == "NTLM" else PASSWORD)))
        assert fetch(fetcher, f"{secured.url}/one") == b"one"
        assert fetch(fetcher, f"{secured.url}/two") == b"two"
        fetcher.close()
        assert proxy.log == [(f"127.0.0.1:{secured.port}", step) for step in steps], "one tunnel for both"
        assert not [headers for headers in secured.headers if "Proxy-Authorization" in headers]


@pytest.mark.feature("F-UPD-04")
@pytest.mark.parametrize("scheme", ["Basic", "NTLM"])
def test_a_tunnel_is_refused_to_a_wrong_password(secured: FeedHost, scheme: str) -> None:
    with proxying(scheme) as proxy:
        fetcher = Fetcher(Route(proxy=proxy.address("wrong")))
        with pytest.raises(FetchError, match="the proxy refuses the tunnel: HTTP 407") as caught:
            fetch(fetcher, f"{secured.url}/one")
        fetcher.close()
        assert "wrong" not in str(caught.value)
        assert not secured.requests


def test_hosts_that_the_environment_exempts_are_asked_directly(server: FeedHost) -> None:
    with proxying("Basic") as proxy:
        fetcher = Fetcher(Route(proxy=proxy.address(), no_proxy="example.org, 127.0.0.1"))
        assert fetch(fetcher, f"{server.url}/one") == b"one"
        fetcher.close()
        assert not proxy.log
