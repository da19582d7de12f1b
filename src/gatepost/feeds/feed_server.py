"""A small HTTP server for a feed: files below one directory, whole or from a byte on, and nothing else.

Used by `gatepost feed serve`. What it sends is signed; it needs no rights but to read. A thread for each connection.
"""

import contextlib
import datetime as dt
import re
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.feeds.feed_log import Request

_PATH: Final = re.compile(r"/(?:metadata|targets)/[A-Za-z0-9_][A-Za-z0-9_.+/-]*\Z")
_RANGE: Final = re.compile(r"bytes=(\d{1,15})-\Z")
CHUNK: Final = 256 * 1024
IDLE_S: Final = 30
AGENT_LIMIT: Final = 200
CONNECTIONS: Final = 256
"""At one time: each is a thread. Who comes beyond asks again later, as updaters do."""


class FeedHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"
    server_version = "gatepost-feed"
    sys_version = ""
    timeout = IDLE_S
    server: "FeedServer"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:  # the log has its own form
        pass

    def _answer(self, *, body: bool) -> None:
        place = self.server.find(self.path)
        if place is None:
            self._note(404, 0)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = place.stat().st_size
        asked = _RANGE.match(self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if start and start >= size:
            self._note(416, 0)
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        sent = 0
        if body:
            with place.open("rb") as file:
                file.seek(start)
                while piece := file.read(CHUNK):
                    self.wfile.write(piece)
                    sent += len(piece)
        self._note(206 if start else 200, sent)

    def _note(self, status: int, sent: int) -> None:
        agent = self.headers.get("User-Agent", "")[:AGENT_LIMIT]
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        self.server.note(Request(now, self.client_address[0], self.path[:500], status, sent, agent))


class FeedServer(ThreadingHTTPServer):
    """Serves one directory. OSError when it cannot listen."""

    daemon_threads = True

    def __init__(self, directory: Path, host: str, port: int, log: Path | None = None) -> None:
        self._directory = directory.resolve()
        self._log = log.open("ab", buffering=0) if log is not None else None
        self._writing = threading.Lock()
        self._room = threading.Semaphore(CONNECTIONS)
        super().__init__((host, port), FeedHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def server_close(self) -> None:
        super().server_close()
        if self._log is not None:
            self._log.close()

    def find(self, path: str) -> Path | None:
        """Return the file of a request, None when there is none that may be had."""
        if _PATH.match(path) is None or "/." in path or "//" in path:
            return None
        place = (self._directory / path.lstrip("/")).resolve()
        return place if place.is_relative_to(self._directory) and place.is_file() else None

    def note(self, request: Request) -> None:
        """Write a request down."""
        if self._log is not None:
            with self._writing, contextlib.suppress(ValueError):  # closed: the server has ended
                self._log.write(msgspec.json.encode(request) + b"\n")


def serve_feed(directory: Path, listen: str, log: Path | None) -> None:
    """Serve until interrupted. OSError; ValueError: `listen` is not ip:port."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{listen[:60]!r} is not ip:port")
    server = FeedServer(directory, host, int(port), log)

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    print(f"serving {directory} at http://{listen}/", flush=True)
    try:
        server.serve_forever()
    finally:
        server.server_close()
