"""The same mails over SMTP and through the milter door of one gateway: the copies are the same, byte for byte."""

import os
import socket
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support import milter_peer as mta
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

SHARED = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).resolve().parents[3] / "shared"))
CORPUS = SHARED / "corpora" / "spam" / "spamassassin-2002.tar.gz"
EVERY, MAILS = 500, 6
STRANGER = "127.0.0.77"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*" + b"GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + b"*C.34X"
USER, TOLD = "user@example.org", "told@told.example.org"


class Peers(NamedTuple):
    gateway: Gateway
    sink: Sink
    door: str

    def by_smtp(self, mail: bytes, recipients: tuple[str, ...]) -> list[bytes]:
        """Send it; return what arrives, without the trace in front."""
        before = len(self.sink.mails)
        with Wire(self.gateway.port, source=STRANGER) as wire:
            wire.expect(("", "220"), ("EHLO client.example.net", "250"), ("MAIL FROM:<a@example.net>", "250"))
            wire.expect(*((f"RCPT TO:<{one}>", "250") for one in recipients), ("DATA", "354"))
            wire.send(b"\r\n".join(b"." + line if line.startswith(b".") else line for line in mail.split(b"\r\n")))
            wire.expect((".", "250"))
        wait_for(lambda: not self.gateway.queue(), "the queue to be empty")
        return [b"".join(mta.fields_of(one.content)[1:]) for one in self.sink.mails[before:]]

    def by_milter(self, mail: bytes, recipients: tuple[str, ...]) -> tuple[str, bytes]:
        """Ask about it; return the last answer, and the copy a mail system makes of them."""
        stream = (
            mta.options()
            + mta.connect(b"[" + STRANGER.encode() + b"]", STRANGER.encode())
            + mta.packet("H", b"client.example.net\0")
            + mta.message(mail, [f"<{one}>".encode() for one in recipients])
        )
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(self.door)
            sock.sendall(stream)
            answers = b""
            with sock.makefile("rb") as file:
                while True:
                    head = file.read(5)
                    size, command = struct.unpack("!Ic", head)
                    packet = head + file.read(size - 1)
                    if command not in b"Op":
                        answers += packet
                    if command in b"cyd":
                        return command.decode(), mta.carried_out(mail, answers)


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    base = tmp_path_factory.mktemp("milter")
    door = f"{base}/door.sock"
    settings = (
        f'\n[[door]]\nname = "mta"\nkind = "milter"\naddress = "unix:{door}"\n'
        '\n[[group]]\nname = "told"\nrecipients = ["*@told.example.org"]\nspam_header_text = "of another group"\n'
    )
    replace = {"[network]\n": '[network]\ntrusted_networks = ["127.0.0.1/32"]\n'}
    with (
        Sink() as sink,
        Gateway(base, sink.port, settings=settings, replace=replace, antispam=True, spam_fields=True) as gateway,
    ):
        yield Peers(gateway, sink, door)


def mails() -> Iterator[bytes]:
    yield plain("an ordinary mail")
    yield plain("spam").replace(b"hello", GTUBE)
    if CORPUS.exists():
        with tarfile.open(CORPUS) as archive:
            for number, member in enumerate(archive):
                if number % EVERY == 7 and (file := archive.extractfile(member)) is not None:
                    yield b"\r\n".join(file.read().splitlines()) + b"\r\n"
                if number > EVERY * MAILS:
                    return


def test_both_ways_make_the_same_copy(peers):
    for mail in mails():
        (arrived,) = peers.by_smtp(mail, (USER,))
        said, copy = peers.by_milter(mail, (USER,))
        assert said == "c"
        assert copy == arrived
        assert b"X-SpamTest-Status" in copy


def test_infected_mail_is_not_delivered_either_way(peers):
    infected = with_attachment(EICAR, "eicar.com")
    assert peers.by_smtp(infected, (USER,)) == []
    assert peers.by_milter(infected, (USER,))[0] in "yd"


def test_two_groups_share_the_copy(peers):
    said, copy = peers.by_milter(plain("for two"), (USER, TOLD))
    assert said == "c"
    assert copy.count(b"X-SpamTest-Status:") == 2
