"""Drives the SMTP sessions in memory: what the relay's shell does, without sockets."""

import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest

from gatepost.model.envelope import Recipient
from gatepost.model.reply import Reply
from gatepost.smtp import client as c
from gatepost.smtp import server as s

HOST = "mx.example.com"
DEFAULTS = s.ServerSettings(HOST, bare_line_feed=s.LineFeedPolicy.REJECT)
OPENING = b"EHLO user\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
OPENING_CODES = [250] * 8 + [354]
PROTOCOL_TESTS = "corpora/proto/proto-tests.tar.gz"

Decide = Callable[[s.Event], Reply | None]


def settings(**changes: object) -> s.ServerSettings:
    return msgspec.structs.replace(DEFAULTS, **changes)


class Served(msgspec.Struct):
    """What came of a stream."""

    output: bytes = b""
    events: list[s.Event] = []
    """Without DataChunk."""
    messages: list[bytes] = []
    """Content of every message that reached its DataEnd."""
    largest_chunk: int = 0
    closed: bool = False

    @property
    def codes(self) -> list[int]:
        return [int(line[:3]) for line in self.output.split(b"\r\n")[:-1]]

    @property
    def lines(self) -> list[str]:
        return self.output.decode().split("\r\n")[:-1]

    def of(self, kind: type) -> list[s.Event]:
        return [event for event in self.events if isinstance(event, kind)]


def accept_all(_event: s.Event) -> None:
    return None


def drive(
    session: s.ServerSession, pieces: Iterable[bytes], decide: Decide = accept_all, *, eof: bool = False
) -> Served:
    """Feed the pieces one after the other and answer every decision at once."""
    served = Served(events=[], messages=[])
    content = b""

    def work() -> None:
        nonlocal content
        while (event := session.next_event()) is not None:
            if isinstance(event, s.DataChunk):
                content += event.data
                served.largest_chunk = max(served.largest_chunk, len(event.data))
            else:
                served.events.append(event)
            if isinstance(event, s.DataEnd):
                served.messages.append(content)
            if isinstance(event, s.DataEnd | s.DataAborted):
                content = b""
            if session.waiting is s.Waiting.DECISION:
                session.answer(decide(event))
        served.output += session.take_output()

    for piece in pieces:
        session.feed(piece)
        work()
    if eof:
        session.eof()
        work()
    served.closed = session.closed
    return served


def serve(
    stream: bytes, given: s.ServerSettings = DEFAULTS, decide: Decide = accept_all, *, size: int = 0, eof: bool = False
) -> Served:
    """Serve a stream in pieces of `size` bytes, 0 = whole."""
    return drive(s.ServerSession(given, "192.0.2.1"), cut(stream, size or len(stream) or 1), decide, eof=eof)


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[i : i + size] for i in range(0, len(stream), size)]


def serve_every_way(stream: bytes, given: s.ServerSettings = DEFAULTS, decide: Decide = accept_all) -> Served:
    """Serve whole, byte by byte and in threes; all must be the same. Returns that."""
    whole = serve(stream, given, decide)
    for size in (1, 3):
        pieces = serve(stream, given, decide, size=size)
        pieces.largest_chunk = whole.largest_chunk
        assert pieces == whole
    return whole


def transaction(recipients: Iterable[str] = ("b@example.org",), **values: object) -> c.Transaction:
    given = {"sender": "a@example.com", "size": 0, **values}
    return c.Transaction(recipients=tuple(Recipient(address) for address in recipients), **given)


EHLO_ALL = b"250-peer.example hello\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 DSN\r\n"
EHLO_NONE = b"250 peer.example hello\r\n"


def ready_client(ehlo: bytes = EHLO_ALL, given: c.ClientSettings | None = None) -> c.ClientSession:
    """Return a client session that has just said `Ready`."""
    session = c.ClientSession(given or c.ClientSettings("gate.example.com"))
    session.feed(b"220 peer.example ESMTP\r\n" + ehlo)
    assert isinstance(session.next_event(), c.Ready)
    assert session.take_output() == b"EHLO gate.example.com\r\n"
    return session


def events_of(session: c.ClientSession, data: bytes = b"", size: int = 0) -> list[c.Event]:
    """Feed replies, whole or in pieces, and return the events they bring."""
    events = []
    for piece in cut(data, size or len(data) or 1) or [b""]:
        session.feed(piece)
        while (event := session.next_event()) is not None:
            events.append(event)
    return events


def shared(path: str) -> Path:
    """Return a file of the shared test material, or skip the test."""
    root = Path(os.environ.get("GATEPOST_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    if not (root / path).exists():
        pytest.skip(f"needs {path} of the shared test material (set GATEPOST_SHARED)")
    return root / path


def protocol_tests(folder: str) -> dict[str, str]:
    """Return the text files below a folder of the protocol test archive, by name."""
    with tarfile.open(shared(PROTOCOL_TESTS)) as archive:
        found = {}
        for member in archive.getmembers():
            name = member.name.removeprefix("proto-tests/")
            if member.isfile() and name.startswith(folder):
                stream = archive.extractfile(member)
                assert stream is not None
                found[name.removeprefix(folder)] = stream.read().decode()
        return found
