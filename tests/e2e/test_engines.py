"""Remote engines of a gateway of three relays: heard together, waited for or counted as an error, bounded, recovering."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

import pytest
from tests.faults.support_gateway import RELAY, injected
from tests.support.gateway import Gateway
from tests.support.mails import plain, with_attachment, zipped
from tests.support.sink import Sink
from tests.support.waiting import join, wait_for

BAD = b"stub-malware"
SCRIPT = """#!/bin/sh
grep -q command-malware && { echo Found.By.Command; exit 1; }
exit 0
"""
MODES: dict[str, tuple[bytes, ...]] = {
    "garbage": (b"\xff\xfe<html>\0",),
    "half": (b"1: stream: O",),
    "wrong number": (b"9: stream: OK\0",),
    "twice": (b"1: stream: OK\0001: stream: OK\0",),
    "failing": (b"1: Can't create temporary file ERROR\0",),
    "nothing": (),
}


BRISK = """
from gatepost.relay import engine_health, resting
engine_health.LONGEST_PAUSE_S = resting.MOST_PAUSE_S = 2.0
"""
"""What grows to half a minute and more: how it grows is a matter of unit tests."""


class Stub:
    """A clamd that behaves as its `mode` says."""

    def __init__(self) -> None:
        self.mode = "good"
        self.objects: list[bytes] = []
        self.scanning = self.most = 0
        """Objects under way at once, now and at most."""
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._closed = threading.Event()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or the thread would go on waiting
        self._listener.close()
        join(self._accepting)
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock, sock.makefile("rb") as file:
                if file.read(11) != b"zIDSESSION\0":
                    return
                number = 0
                while command := self._until_nul(file):
                    number += 1
                    if command == b"zVERSION":
                        sock.sendall(b"%d: ClamAV 1.0/1/x\0" % number)
                        continue
                    data = b""
                    while size := struct.unpack("!I", file.read(4))[0]:
                        data += file.read(size)
                    self.objects.append(data)
                    if not self._answer(sock, number, data):
                        return
        except (OSError, struct.error, ValueError):
            pass

    def _answer(self, sock: socket.socket, number: int, data: bytes) -> bool:
        mode = self.mode
        if mode == "good":
            with self._lock:
                self.scanning += 1
                self.most = max(self.most, self.scanning)
            self._closed.wait(0.005)  # so that there is something to overlap with
            with self._lock:
                self.scanning -= 1
            sock.sendall(b"%d: stream: %s\0" % (number, b"Stub.Bad FOUND" if BAD in data else b"OK"))
            return True
        if mode == "stall":
            while sock.recv(4096):
                pass
            return False
        for piece in MODES[mode]:
            sock.sendall(piece)
        return False

    @staticmethod
    def _until_nul(file: BinaryIO) -> bytes:
        found = b""
        while (byte := file.read(1)) not in (b"\0", b""):
            found += byte
        return found


class Place(NamedTuple):
    patient: Stub
    """Mail waits for it."""
    strict: Stub
    """Mail it cannot look at is an error."""
    gateway: Gateway
    sink: Sink


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory: Path = tmp_path_factory.mktemp("engines")
    script = directory / "scan.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    with Stub() as patient, Stub() as strict, Sink() as sink:
        settings = (
            f'\n[[engine]]\nname = "patient"\nkind = "clamd"\naddress = "127.0.0.1:{patient.port}"\ntimeout = "1s"\n'
            'connections = 3\nremember = "0s"\n'
            f'\n[[engine]]\nname = "strict"\nkind = "clamd"\naddress = "127.0.0.1:{strict.port}"\ntimeout = "1s"\n'
            'on_failure = "error"\nmembers = true\n'
            f'\n[[engine]]\nname = "own"\nkind = "command"\ncommand = ["{script}"]\n'
        )
        env = injected(directory, RELAY, BRISK)
        with Gateway(directory / "gw", sink.port, relays=3, settings=settings, env=env) as gateway:
            yield Place(patient, strict, gateway, sink)
            assert gateway.stop() == 0


@pytest.fixture
def place(shared: Place) -> Iterator[Place]:
    yield shared
    shared.patient.mode = shared.strict.mode = "good"
    wait_for(lambda: not shared.gateway.queue(), "the queue to be empty")
    wait_for(lambda: set(states(shared.gateway)) == {"up"}, "all engines to be well")


def states(gateway: Gateway) -> list[str]:
    return [engine["state"] for relay in gateway.status()["relays"] for engine in relay["engines"]]


def scanned(place: Place, content: bytes) -> str:
    queue_id = place.gateway.send(content)
    wait_for(lambda: place.gateway.lines("SCANNED", queue_id), "the verdict")
    return place.gateway.lines("SCANNED", queue_id)[0]


def delivered(place: Place, subject: str) -> bool:
    return any(f"Subject: {subject}\r".encode() in mail.content for mail in place.sink.mails)


def test_all_are_heard_and_the_worst_counts(place: Place) -> None:
    assert 'status="clean"' in scanned(place, plain("harmless"))
    line = scanned(place, with_attachment(BAD, "a.bin"))
    assert 'status="infected"' in line
    assert "Stub.Bad" in line
    line = scanned(place, plain("by command", "command-malware\r\n"))
    assert 'status="infected"' in line
    assert "Found.By.Command" in line
    wait_for(lambda: delivered(place, "harmless"), "the clean mail")
    assert not delivered(place, "by command")


def test_members_go_to_those_that_ask_for_them(place: Place) -> None:
    member = b"only inside a container"
    scanned(place, with_attachment(zipped(member), "a.zip"))
    assert not any(data == member for data in place.patient.objects)
    assert any(data == member for data in place.strict.objects)


@pytest.mark.parametrize("mode", ["stall", *MODES])
def test_mail_waits_for_an_engine_that_gives_no_answer(place: Place, mode: str) -> None:
    place.patient.mode = mode
    subject = f"waits {mode}"
    queue_id = place.gateway.send(plain(subject))
    wait_for(lambda: place.gateway.lines("waits for inspection: patient", queue_id), "the mail to wait")
    assert not place.gateway.lines("SCANNED", queue_id)
    reasons = {row["queue_id"]: row["reason"] for row in place.gateway.queue()}
    assert reasons[queue_id].startswith("waits for inspection: patient")
    place.patient.mode = "good"
    wait_for(lambda: delivered(place, subject), "the mail to go on")


@pytest.mark.parametrize("mode", ["stall", "garbage"])
def test_or_it_is_an_error(place: Place, mode: str) -> None:
    place.strict.mode = mode
    subject = f"error {mode}"
    assert 'status="error"' in scanned(place, plain(subject))
    assert not delivered(place, subject)


def test_an_engine_in_trouble_is_left_alone_until_it_recovers(place: Place) -> None:
    place.patient.mode = "nothing"
    ids = [place.gateway.send(plain(f"many {number}")) for number in range(30)]
    wait_for(lambda: all(place.gateway.lines("waits for inspection", each) for each in ids), "all to wait")
    wait_for(lambda: "slow" in states(place.gateway), "it to count as slow")
    assert any("engine patient is slow" in line and " W]" in line for line in place.gateway.log().splitlines())
    place.patient.mode = "good"
    wait_for(lambda: all(delivered(place, f"many {number}") for number in range(30)), "all to go on", 300)
    assert not any(place.gateway.lines("error", each) for each in ids)


def test_never_more_connections_than_allowed(place: Place) -> None:
    place.patient.most = 0
    for number in range(40):
        place.gateway.send(plain(f"crowd {number}"))
    wait_for(lambda: all(delivered(place, f"crowd {number}") for number in range(40)), "all of them")
    assert 1 <= place.patient.most <= 3
