"""Binary mail (BODY=BINARYMIME, RFC 3030): to servers that take it the very octets, to all others a form that decodes to them."""

import email
import email.message
from collections.abc import Iterator

import pytest
from tests.support.lanes import LaneGateway
from tests.support.mailnet import QUICK_TIMES
from tests.support.ports import free_port
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

OCTETS = bytes(range(256)) * 3 + b"\r\n.\r\nQUIT\r\n\r\n.\n\n.\r\r\n" + bytes(reversed(range(256)))
TEXT = "bare\nlines, a\rreturn, \x00 and ü\r\n.\r\n".encode()
WIDE = ("PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME", "DSN")
NARROW = {
    "chunking without binarymime": ("PIPELINING", "8BITMIME", "CHUNKING"),
    "binarymime without chunking": ("PIPELINING", "8BITMIME", "BINARYMIME"),
    "eight bits": ("PIPELINING", "8BITMIME"),
    "seven bits by chunking": ("PIPELINING", "CHUNKING"),
    "nothing": (),
}


def binary_mail(subject: str, *more: bytes) -> bytes:
    """A mail in two parts whose octets are no lines; `more`: further fields."""
    return b"\r\n".join(
        [
            *more,
            b"From: <a@example.net>",
            b"To: <user@example.org>",
            f"Subject: {subject}".encode(),
            b"Date: Mon, 02 Jan 2006 15:04:05 +0000",
            b"Message-ID: <binary@example.net>",
            b"MIME-Version: 1.0",
            b"Content-Type: multipart/mixed; boundary=border",
            b"Content-Transfer-Encoding: binary",
            b"",
            b"--border",
            b"Content-Type: text/plain; charset=utf-8",
            b"Content-Transfer-Encoding: binary",
            b"",
            TEXT,
            b"--border",
            b"Content-Type: application/octet-stream; name=all.bin",
            b"Content-Transfer-Encoding: binary",
            b"",
            OCTETS,
            b"--border--",
            b"",
        ]
    )


class BinaryGateway(LaneGateway):
    """Its second listener takes binary mail; what servers cannot take is encoded for them."""

    def __init__(self, state, sink_port: int) -> None:
        self.binary = free_port()
        super().__init__(
            state,
            sink_port,
            settings=f'\n[[listener]]\naddress = "127.0.0.1:{self.binary}"\nbinarymime = true\n',
            replace=QUICK_TIMES | {"[options]\n": "[options]\nreencode_eight_bit = true\n"},
        )

    def give(self, content: bytes, recipient: str, *, pieces: int = 1, ret: str = "HDRS") -> str:
        """Hand in a binary mail, all said at once; return its queue id."""
        size = len(content) // pieces + 1
        parts = [content[at : at + size] for at in range(0, len(content), size)]
        with Wire(self.binary) as wire:
            wire.expect(("", "220 "))
            assert {"250-BINARYMIME", "250-CHUNKING"} <= set(wire.ask("EHLO client.example.net").splitlines())
            said = f"MAIL FROM:<back@example.net> BODY=BINARYMIME RET={ret}\r\nRCPT TO:<{recipient}>\r\n".encode()
            for number, part in enumerate(parts, 1):
                said += b"BDAT %d%s\r\n" % (len(part), b" LAST" * (number == len(parts))) + part
            wire.send(said + b"QUIT\r\n")
            replies = [wire.reply() for _ in range(len(parts) + 3)]
        assert [reply[:3] for reply in replies] == ["250"] * (len(parts) + 2) + ["221"], replies
        return replies[-2].split()[-1]


@pytest.fixture(scope="module")
def home() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, home: Sink) -> Iterator[BinaryGateway]:
    with BinaryGateway(tmp_path_factory.mktemp("binary") / "gw", home.port) as one:
        yield one
        assert one.stop() == 0


def decoded(content: bytes) -> list[bytes]:
    """The octets of both parts, as a stranger's parser decodes them."""
    message = email.message_from_bytes(content)
    assert isinstance(message, email.message.Message)
    return [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]  # type: ignore[misc]


def reports(home: Sink, subject: str) -> list[Mail]:
    return [mail for mail in list(home.mails) if mail.sender == "" and subject.encode() in mail.content]


@pytest.mark.parametrize("pieces", [1, 7, 400])
def test_the_very_octets_for_a_server_that_takes_them(gateway: BinaryGateway, pieces: int) -> None:
    lane = gateway.lane()
    content = binary_mail(f"wide {pieces}")
    with lane.sink(extensions=WIDE) as sink:
        gateway.give(content, lane.address(), pieces=pieces)
        wait_for(lambda: sink.mails, "the mail")
        assert sink.mails[0].without_trace() == content
        assert "BODY=BINARYMIME" in sink.mails[0].mail_arguments


def test_what_begins_with_no_header_keeps_its_octets_behind_ours(gateway: BinaryGateway) -> None:
    lane = gateway.lane()
    content = b" folded\n" + b"x" * 3000 + b"\r\0" + OCTETS
    with lane.sink(extensions=WIDE) as sink:
        gateway.give(content, lane.address())
        wait_for(lambda: sink.mails, "the mail")
        assert sink.mails[0].content.partition(b"\r\n\r\n")[2] == content


@pytest.mark.parametrize("extensions", NARROW.values(), ids=NARROW.keys())
def test_a_form_of_seven_bits_for_others(gateway: BinaryGateway, extensions: tuple[str, ...]) -> None:
    lane = gateway.lane()
    with lane.sink(extensions=extensions) as sink:
        gateway.give(binary_mail("narrow"), lane.address(), pieces=3)
        wait_for(lambda: sink.mails, "the mail")
        (mail,) = sink.mails
    assert decoded(mail.content) == [TEXT, OCTETS]
    assert mail.content.isascii()
    assert b"\0" not in mail.content
    assert not mail.content.replace(b"\r\n", b"").count(b"\n") + mail.content.replace(b"\r\n", b"").count(b"\r")
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    assert "BINARYMIME" not in mail.mail_arguments
    assert b"Content-Transfer-Encoding: binary" not in mail.content


def test_signed_binary_mail_fails_and_its_report_is_mail_that_anybody_takes(gateway: BinaryGateway, home: Sink) -> None:
    lane = gateway.lane()
    signature = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=k; h=from; bh=AAAA; b=BBBB"
    content = binary_mail("signed and binary", signature)
    with lane.sink(extensions=("PIPELINING", "8BITMIME")) as sink:
        gateway.give(content, lane.address(), ret="FULL")
        (report,) = wait_for(lambda: reports(home, "signed and binary"), "the report")
        assert not sink.times("mail")
    assert b"Status: 5.6.3" in report.content
    assert "BODY" not in report.mail_arguments
    assert report.content.isascii()
    returned = decoded(report.content)[-1]
    assert returned.startswith(b"Received: ")
    assert returned.endswith(content)
