"""Remote engines in the filter: objects over given connections, and everything the other side can do wrong."""

import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from gatepost.antivirus.engine import CLEAN, Connection, Outcome, Report, ScanObject
from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.remote import Remote
from gatepost.antivirus.remotes import make_remotes
from gatepost.antivirus.stage import inspect
from gatepost.config.engines import EngineKind, EngineTable, OnFailure
from gatepost.model.finding import ObjectStatus, ScanOptions
from gatepost.wire.command import CommandOutcome, build_outcome

BIG = b"x" * 3_000_000
"""More than a socket pair buffers: the other side must read while we write."""

Server = Callable[[socket.socket], None]


class Peer:
    """Hands out connections; each is served by the next of `servers` in a thread of its own."""

    def __init__(self, *servers: Server | Connection) -> None:
        self.servers = list(servers)
        self.asked = 0
        self.failures: list[BaseException] = []
        self.threads: list[threading.Thread] = []

    def connect(self, engine: str) -> Connection:
        assert engine == "one"
        self.asked += 1
        server = self.servers.pop(0)
        if isinstance(server, Connection):
            return server
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        thread = threading.Thread(target=self._serve, args=(server, theirs), daemon=True)
        thread.start()
        self.threads.append(thread)
        return Connection(ours, version=f"v{self.asked}")

    def _serve(self, server: Server, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(20)
            try:
                server(sock)
            except OSError:
                pass
            except BaseException as error:  # noqa: BLE001 - told to the test
                self.failures.append(error)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(20)
        assert not self.failures


def engine(peer: Peer, kind: EngineKind = EngineKind.CLAMD, **settings: object) -> Remote:
    address = {EngineKind.CLAMD: "/x", EngineKind.ICAP: "icap://h/s", EngineKind.COMMAND: ""}[kind]
    command = ("/bin/scan",) if kind is EngineKind.COMMAND else ()
    table = EngineTable(name="one", kind=kind, address=address, command=command, **settings)  # type: ignore[arg-type]
    (made,) = make_remotes([table])
    made.attach(peer)
    MADE.append(made)
    return made


MADE: list[Remote] = []


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop()._drop()


def scan(remote: Remote, data: bytes = b"data", timeout_s: float = 20.0) -> Report:
    deadline = time.monotonic() + timeout_s
    remote.begin(ScanObject(data), deadline)
    return remote.finish(deadline)


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise OSError("closed")
        data += piece
    return data


def until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += read(sock, 1)
    return data


def clamd_objects(sock: socket.socket) -> Iterator[bytes]:
    assert read(sock, 11) == b"zIDSESSION\0"
    while True:
        assert until(sock, b"\0") == b"zINSTREAM\0"
        (size,) = struct.unpack("!I", read(sock, 4))
        data = read(sock, size)
        assert read(sock, 4) == bytes(4)
        yield data


def clamd(sock: socket.socket) -> None:
    for number, data in enumerate(clamd_objects(sock), 1):
        bad = data.startswith(b"bad")
        sock.sendall(b"%d: stream: %s\0" % (number, b"Bad.Thing-1 FOUND" if bad else b"OK"))


def notes(seen: list[bytes], sock: socket.socket) -> None:
    """Find everything clean, and keep it."""
    for number, data in enumerate(clamd_objects(sock), 1):
        seen.append(data)
        sock.sendall(b"%d: stream: OK\0" % number)


def answers(*raw: bytes) -> Server:
    """Take one object, then say this, piece by piece, and close."""

    def serve(sock: socket.socket) -> None:
        next(clamd_objects(sock))
        for piece in raw:
            sock.sendall(piece)

    return serve


def closes(sock: socket.socket) -> None:
    """Close with unread bytes in between: a reset."""
    read(sock, 1)


def stalls(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


def test_objects_and_messages_share_a_session() -> None:
    peer = Peer(clamd)
    remote = engine(peer)
    assert scan(remote) is CLEAN
    found = scan(remote, b"bad stuff")
    assert (found.outcome, found.threat) == (Outcome.INFECTED, "Bad.Thing-1")
    assert [scan(remote, b"%d" % n).outcome for n in range(20)] == [Outcome.CLEAN] * 20
    assert scan(remote, BIG) is CLEAN
    assert scan(remote, b"bad" + BIG).outcome is Outcome.INFECTED
    assert peer.asked == 1


def test_what_it_is_to_see() -> None:
    remote, all_of_it = engine(Peer()), engine(Peer(), members=True)
    element, member = ScanObject(b"x"), ScanObject(b"x", inside=Kind.ZIP)
    secret, nothing = ScanObject(b"x", inside=Kind.ZIP, secret=True), ScanObject(b"")
    assert [remote.wants(each) for each in (element, member, secret, nothing)] == [True, False, True, False]
    assert [all_of_it.wants(each) for each in (element, member, secret, nothing)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("subject", "sees"),
    [
        (ScanObject(b"x", content_type="text/plain"), False),
        (ScanObject(b"<p>x", content_type="text/html", kind=Kind.HTML), False),
        (ScanObject(b"From: x", header=True), False),
        (ScanObject(b"From: x", content_type="message/rfc822", header=True), False),
        (ScanObject(b"From: x", content_type="message/rfc822"), True),
        (ScanObject(b"x", name="a.png", content_type="image/png", kind=Kind.PICTURE), True),
        (ScanObject(b"x", content_type="application/octet-stream"), True),
        (ScanObject(b"x", name="a.txt", content_type="text/plain"), True),
        (ScanObject(b"x", name="a.html", content_type="text/html", kind=Kind.HTML), True),
        (ScanObject(b"MZ", content_type="text/plain", kind=Kind.EXECUTABLE), True),
        (ScanObject(b"x", name="a.png", content_type="image/png"), True),
        (ScanObject(b"x", name="a.png", content_type="image/png", kind=Kind.ZIP), True),
        (ScanObject(b"<svg>", content_type="image/svg+xml", kind=Kind.SVG), True),
        (ScanObject(b"x", content_type="text/plain", inside=Kind.ZIP, secret=True), True),
        (ScanObject(b""), False),
    ],
)
def test_one_that_is_spared_texts_sees_all_files(subject: ScanObject, sees: bool) -> None:
    """By content: what only calls itself a text is a file."""
    assert engine(Peer(), texts=False).wants(subject) is sees
    assert engine(Peer()).wants(subject) is bool(subject.data)


def test_of_a_whole_mail_one_that_is_spared_texts_sees_the_files_alone() -> None:
    """Neither its header block nor that of a message in it is a file."""
    inner = b"From: c@b.example\r\nSubject: inner\r\n\r\nold words"
    mail = (
        b"From: a@b.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\nwords\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n"
        b'--b\r\nContent-Type: application/octet-stream; name="a.bin"\r\n\r\nfile\r\n--b--\r\n'
    )
    for texts, seen in ((False, [b"file"]), (True, [b"file", b"old words", b"words"])):
        asked: list[bytes] = []
        peer = Peer(partial(notes, asked))
        analysis = inspect(mail, ScanOptions(), [], time.monotonic() + 60, remote=[engine(peer, texts=texts)])
        assert {each.status for each in analysis.objects} == {ObjectStatus.CLEAN}
        assert sorted(each for each in asked if b"Subject" not in each) == seen
        assert sum(b"Subject" in each for each in asked) == (2 if texts else 0)
        MADE.pop()._drop()
        peer.join()


def test_the_version_has_all_that_can_change_an_answer() -> None:
    deadline = math.inf
    first = engine(Peer(clamd)).version(deadline)
    assert first.startswith("one v1 ")
    assert engine(Peer(clamd)).version(deadline) == first
    assert first.split()[-1] != engine(Peer(clamd), remember=7000.0).version(deadline).split()[-1]
    assert engine(Peer(clamd), remember=0.0).version(deadline) == ""
    assert engine(Peer(clamd), members=True).version(deadline) != first
    assert engine(Peer(clamd), texts=False).version(deadline) != first
    assert engine(Peer(clamd), max_size=5).version(deadline) != first
    assert engine(Peer(Connection(None, reason="down"))).version(deadline) == ""


def test_a_connection_cut_off_at_rest_is_replaced_without_a_word() -> None:
    peer = Peer(clamd, clamd)
    remote = engine(peer)
    assert scan(remote) is CLEAN
    assert remote.version(math.inf).startswith("one v1 ")
    sock = remote._sock
    assert sock is not None
    sock.shutdown(socket.SHUT_RDWR)  # as the relay does to one that rests
    assert remote.version(math.inf).startswith("one v2 ")
    assert scan(remote) is CLEAN
    assert peer.asked == 2


@pytest.mark.parametrize(
    "bad",
    [
        closes,
        answers(),
        answers(b"1: stream: OK"),
        answers(b"1: stream: ", b"FOUND\0"),
        answers(b"7: stream: OK\0"),
        answers(b"2: stream: OK\0"),
        answers(b"1: PONG\0"),
        answers(b"1: stream: OK\0001: stream: OK\0"),
        answers(b"\xff" * 10_000),
        answers(b"1: Can't allocate memory ERROR\0"),
        answers(b"COMMAND READ TIMED OUT\0"),
    ],
)
def test_a_session_that_breaks_is_tried_once_more(bad: Server) -> None:
    peer = Peer(bad, clamd)
    remote = engine(peer)
    assert scan(remote, b"bad") == Report(Outcome.INFECTED, "Bad.Thing-1", "clamd knows it as Bad.Thing-1")
    assert peer.asked == 2
    peer = Peer(bad, bad, clamd)
    remote = engine(peer)
    report = scan(remote)
    assert (report.outcome, report.wait, bool(report.trouble)) == (Outcome.ERROR, True, True)
    assert peer.asked == 2
    assert scan(remote) is CLEAN  # the next object begins anew


def test_mail_waits_or_is_an_error_by_setting() -> None:
    assert scan(engine(Peer(closes, closes))).wait
    assert not scan(engine(Peer(closes, closes), on_failure=OnFailure.ERROR)).wait


def test_an_engine_that_stalls_costs_its_time_and_its_connection() -> None:
    peer = Peer(stalls, clamd)
    remote = engine(peer, timeout=0.05)
    report = scan(remote)
    assert "no answer within 0.05 s" in report.trouble
    assert report.wait
    assert scan(engine(Peer(stalls)), timeout_s=0.05).outcome is Outcome.ERROR  # the caller's deadline counts, too
    assert scan(engine(Peer(stalls)), BIG * 3, timeout_s=0.05).outcome is Outcome.ERROR
    remote._settings = EngineTable(name="one")
    assert scan(remote) is CLEAN
    assert peer.asked == 2


def test_what_was_interrupted_is_never_gone_on_with() -> None:
    peer = Peer(clamd, clamd)
    remote = engine(peer)
    remote.begin(ScanObject(b"bad"), time.monotonic() + 20)
    # No finish: an alarm has struck. The answer to that object must not be taken for one to the next.
    assert scan(remote, b"good") is CLEAN
    assert peer.asked == 2


def test_an_engine_known_to_be_down_is_asked_once_for_a_message() -> None:
    peer = Peer(Connection(None, reason="down since 10:00:00: refused", wait=True))
    remote = engine(peer, on_failure=OnFailure.ERROR)
    reports = [scan(remote) for _ in range(50)]
    assert peer.asked == 1
    assert {report.outcome for report in reports} == {Outcome.ERROR}
    assert all(report.wait and "refused" in report.trouble for report in reports)


def test_objects_over_the_limit_are_not_sent_and_not_clean() -> None:
    peer = Peer(clamd)
    remote = engine(peer, max_size=10)
    assert scan(remote, b"x" * 10) is CLEAN
    report = scan(remote, b"x" * 11)
    assert (report.outcome, report.trouble) == (Outcome.ERROR, "")
    assert peer.asked == 1


def test_the_servers_own_limit_is_the_objects_error_and_ends_the_session() -> None:
    def small(sock: socket.socket) -> None:
        read(sock, 11 + 10 + 4)
        sock.sendall(b"1: INSTREAM size limit exceeded. ERROR\0")
        read(sock, len(BIG) + 4)

    peer = Peer(small, clamd)
    remote = engine(peer)
    report = scan(remote, BIG)
    assert (report.outcome, report.wait) == (Outcome.ERROR, False)
    assert "StreamMaxLength" in report.evidence
    assert scan(remote) is CLEAN


def test_clean_before_the_whole_object_was_sent_is_no_answer() -> None:
    def hasty(sock: socket.socket) -> None:
        read(sock, 30)
        sock.sendall(b"1: stream: OK\0")
        until(sock, b"never")

    report = scan(engine(Peer(hasty, hasty)), BIG)
    assert (report.outcome, report.wait) == (Outcome.ERROR, True)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("Heuristics.Encrypted.PDF", Outcome.PROTECTED),
        ("Heuristics.Limits.Exceeded.MaxScanSize", Outcome.ERROR),
        ("PUA.Doc.Tool", Outcome.SUSPICIOUS),
    ],
)
def test_names_decide_the_outcome(name: str, outcome: Outcome) -> None:
    report = scan(engine(Peer(answers(f"1: stream: {name} FOUND\0".encode()))))
    assert (report.outcome, report.threat, report.trouble) == (outcome, name, "")


# --- ICAP

OPTIONS = b"ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nISTag: t\r\nAllow: 204\r\nPreview: 4\r\n\r\n"
NOTHING = b"ICAP/1.0 204 No Content\r\n\r\n"
BLOCKED = (
    b"ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Bad.Thing;\r\n"
    b"Encapsulated: res-hdr=0, res-body=26\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n3\r\nno!\r\n0\r\n\r\n"
)


def icap(*replies: bytes, after_preview: bytes = b"ICAP/1.0 100 Continue\r\n\r\n") -> Server:
    def serve(sock: socket.socket) -> None:
        assert until(sock, b"\r\n\r\n").startswith(b"OPTIONS icap://h/s ICAP/1.0")
        sock.sendall(OPTIONS)
        for reply in replies:
            until(sock, b"Content-Length: ")
            size = int(until(sock, b"\r\n\r\n"))
            preview = until(sock, b"\r\n\r\n")
            if size > 4:
                assert len(preview) == len(b"4\r\nhell\r\n0\r\n\r\n"), preview
                sock.sendall(after_preview)
                if after_preview.startswith(b"ICAP/1.0 100"):
                    until(sock, b"\r\n0\r\n\r\n")
                else:
                    continue
            sock.sendall(reply)

    return serve


def test_icap_objects_share_a_connection() -> None:
    same = b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n%s0\r\n\r\n"
    peer = Peer(icap(NOTHING, BLOCKED, NOTHING, same % b"5\r\nhello\r\n", same % b"5\r\nhallo\r\n"))
    remote = engine(peer, EngineKind.ICAP)
    assert scan(remote, b"hello world") is CLEAN
    report = scan(remote, b"hello world")
    assert (report.outcome, report.threat) == (Outcome.INFECTED, "Bad.Thing")
    assert scan(remote, b"four") is CLEAN
    assert scan(remote, b"hello") is CLEAN
    replaced = scan(remote, b"hello")
    assert (replaced.outcome, replaced.threat) == (Outcome.INFECTED, "ICAP.Blocked")
    assert peer.asked == 1
    peer.join()


def test_icap_may_be_content_with_the_preview() -> None:
    remote = engine(Peer(icap(NOTHING, NOTHING, after_preview=NOTHING)), EngineKind.ICAP)
    assert scan(remote, b"hello world") is CLEAN
    assert scan(remote, b"hello again") is CLEAN


@pytest.mark.parametrize(
    "bad",
    [
        b"ICAP/1.0 503 Service overloaded\r\n\r\n",
        b"ICAP/1.0 404 Service not found\r\n\r\n",
        b"ICAP/1.0 500 Server error\r\n\r\n",
        b"ICAP/1.0 403 Forbidden\r\n\r\n",
        b"ICAP/1.0 206 Partial\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"ICAP/1.0 100 Continue\r\n\r\n",
        b"",
    ],
)
def test_icap_trouble_is_never_clean(bad: bytes) -> None:
    peer = Peer(icap(bad), icap(bad))
    report = scan(engine(peer, EngineKind.ICAP), b"hello world")
    assert (report.outcome, report.wait, peer.asked) == (Outcome.ERROR, True, 2)


def test_icap_threats_with_an_error_status() -> None:
    raw = b"ICAP/1.0 403 Forbidden\r\nX-Virus-ID: Bad.Thing\r\n\r\n"
    assert scan(engine(Peer(icap(raw)), EngineKind.ICAP), b"hello world").outcome is Outcome.INFECTED


# --- commands


def helper(*outcomes: CommandOutcome) -> Server:
    def serve(sock: socket.socket) -> None:
        for outcome in outcomes:
            (size,) = struct.unpack("!Q", read(sock, 8))
            read(sock, size)
            sock.sendall(build_outcome(outcome))

    return serve


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (CommandOutcome(0, "fine"), CLEAN),
        (CommandOutcome(1, "Bad.Thing"), Report(Outcome.INFECTED, "Bad.Thing", "scan found it: Bad.Thing")),
        (CommandOutcome(1), Report(Outcome.INFECTED, "unnamed", "scan found it")),
        (CommandOutcome(2, "boo"), Report(Outcome.ERROR, evidence="scan ended with status 2: boo")),
    ],
)
def test_the_exit_status_decides(outcome: CommandOutcome, expected: Report) -> None:
    remote = engine(Peer(helper(outcome, outcome)), EngineKind.COMMAND)
    assert [scan(remote, BIG), scan(remote)] == [expected, expected]


def test_a_command_that_does_not_end_is_trouble() -> None:
    slow = CommandOutcome(trouble="it did not end in time")
    report = scan(engine(Peer(helper(slow), helper(slow)), EngineKind.COMMAND))
    assert (report.outcome, report.wait) == (Outcome.ERROR, True)
    assert "did not end in time" in report.trouble
