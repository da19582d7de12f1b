"""An update feed for tests: its keys, sets of databases, and an HTTP server that can misbehave at any byte."""

import contextlib
import datetime as dt
import hashlib
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gatepost.feeds.building import build_set
from gatepost.feeds.keys import build_public_text
from gatepost.feeds.manifest import Kind
from gatepost.feeds.repository import init_feed, publish
from tests.support.ports import free_port

ISSUED: Final = dt.date(2026, 1, 31)
NAME: Final = "own"


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Feed:
    """A feed with one set named `own`; `signer` signs sets, the others the feed."""

    def __init__(self, place: Path, *, at: dt.datetime | None = None, root_keys: int = 1, threshold: int = 1) -> None:
        self.place = place
        self.work = place.with_name(f"{place.name}-work")
        self.work.mkdir(parents=True)
        self.signer = Ed25519PrivateKey.generate()
        self.root = [Ed25519PrivateKey.generate() for _ in range(root_keys)]
        self.targets = [Ed25519PrivateKey.generate()]
        self.online = Ed25519PrivateKey.generate()
        self.public = build_public_text(self.signer.public_key())
        init_feed(
            place,
            root=self.root,
            root_threshold=threshold,
            targets=self.targets,
            targets_threshold=1,
            online=self.online,
            now=at or now(),
        )

    @property
    def first_root(self) -> Path:
        return self.place / "metadata" / "1.root.json"

    def build(
        self,
        number: int,
        files: dict[str, bytes],
        *,
        name: str = NAME,
        kind: Kind = Kind.ANTIVIRUS,
        issued: dt.date = ISSUED,
    ) -> Path:
        """Build a set, and do not publish it."""
        directory = self.work / f"{name}-{number}"
        for path, data in files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(data)
        build_set(directory, name, number, issued, [self.signer], kind)
        return directory

    def publish(self, *sets: Path, at: dt.datetime | None = None) -> None:
        publish(self.place, sets, self.targets, self.online, at or now())

    def offer(self, number: int, *known: bytes, name: str = NAME, issued: dt.date = ISSUED) -> Path:
        """Publish a set that knows these objects."""
        built = self.build(number, {"known.hash": hash_lines(*known)}, name=name, issued=issued)
        self.publish(built)
        return built


def hash_lines(*known: bytes) -> bytes:
    """Return a file of signatures of these objects; of one more without any."""
    lines = [
        f"{hashlib.sha256(each).hexdigest()}:{len(each)}:Test.Known.{i}\n" for i, each in enumerate(known or [b"x"])
    ]
    return "".join(lines).encode()


Fault = Callable[[str, bytes], "bytes | Stall | int | None"]
"""What is sent instead of a file (its path and content): other bytes, a stall, a status; None = the file."""


class Stall:
    """Some bytes of the file, and then silence until the server is closed."""

    def __init__(self, after: bytes) -> None:
        self.after = after


class FeedHost:
    """Serves a directory over HTTP/1.1 with ranges; every request is kept."""

    def __init__(self, directory: Path, tls: ssl.SSLContext | None = None) -> None:
        self.directory = directory
        self._scheme = "https" if tls else "http"
        self.fault: Fault = lambda _, __: None
        self.requests: list[tuple[str, str]] = []
        """(path, its Range header or "")"""
        self.headers: list[dict[str, str]] = []
        self.sent = 0
        self._closing = threading.Event()
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                host._answer(self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        self.port = free_port()
        self._server = Server(("127.0.0.1", self.port), Handler)
        if tls:  # the handshake is the handler's thread's
            plain = self._server.socket
            self._server.socket = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("://")[2].partition("/")[2] if "://" in request.path else request.path.lstrip("/")
        asked = request.headers.get("Range", "")
        self.requests.append((path, asked))
        self.headers.append(dict(request.headers))
        file = self.directory / path
        data = file.read_bytes() if file.is_file() else None
        wrong = self.fault(path, data or b"")
        if isinstance(wrong, int) or data is None:
            self._refuse(request, wrong if isinstance(wrong, int) else 404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = data[start:]
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        promised = (
            len(body) if wrong is None or isinstance(wrong, Stall) or len(wrong) < len(data) else len(wrong) - start
        )
        request.send_header("Content-Length", str(promised))
        request.end_headers()
        sent = body if wrong is None else wrong.after[start:] if isinstance(wrong, Stall) else wrong[start:]
        with contextlib.suppress(OSError):
            request.wfile.write(sent)
            request.wfile.flush()
        self.sent += len(sent)
        if isinstance(wrong, Stall):
            self._closing.wait(20)
        if len(sent) < promised:
            request.close_connection = True

    @staticmethod
    def _refuse(request: BaseHTTPRequestHandler, status: int) -> None:
        request.send_response(status)
        request.send_header("Content-Length", "0")
        request.end_headers()


@contextlib.contextmanager
def hosting(directory: Path, tls: ssl.SSLContext | None = None) -> Iterator[FeedHost]:
    host = FeedHost(directory, tls)
    try:
        yield host
    finally:
        host.close()
