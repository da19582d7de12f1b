"""What reception does to content and envelope: repairs or refusals, blind copies, binary and internationalised mail."""

import re
from collections.abc import Iterator

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.ports import free_port
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

LONG = b"word " * 400
BARE = b"Subject: bare\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <b@x>\r\n\r\none\ntwo\r\n"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


class ContentGateway(Gateway):
    """Mends mail, or drops it, and gives a blind copy of all to the archive; its second listener takes binary mail."""

    def __init__(self, state, sink_port: int, *, drop: bool = False) -> None:
        self.second = free_port()
        listener = (
            f'\n[[listener]]\naddress = "127.0.0.1:{self.second}"\nbare_line_feed = "fix"\nbinarymime = true\n'
            "smtputf8 = true\n"
        )
        replace = {"[network]\n": '[network]\nincoming_bcc = ["archive@bcc.example", "second@bcc.example"]\n'}
        if drop:
            replace = {"[options]\n": "[options]\ndrop_mailformed_mail = true\n"}
        super().__init__(state, sink_port, settings=listener, replace=replace)


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContentGateway]:
    with ContentGateway(tmp_path_factory.mktemp("content") / "gw", sink.port) as one:
        yield one


def arrived(sink: Sink, subject: str, recipient: str = "user@example.org") -> Mail:
    def look() -> list[Mail]:
        wanted = f"\r\nSubject: {subject}\r\n".encode()
        return [m for m in list(sink.mails) if wanted in b"\r\n" + m.header + b"\r\n" and recipient in m.recipients]

    return wait_for(look, f"mail {subject!r} for {recipient}")[0]


def give(port: int, content: bytes) -> str:
    with Wire(port) as wire:
        wire.begin()
        return wire.data(content)


# --- malformed mail


@pytest.mark.feature("F-SMTP-14")
def test_malformed_mail_is_repaired_and_counted(gateway: ContentGateway, sink: Sink) -> None:
    before = gateway.counter("mta_malformed_messages")
    assert give(gateway.second, BARE).startswith("250 ")
    assert arrived(sink, "bare").without_trace() == BARE.replace(b"one\n", b"one\r\n")
    nothing = b"Subject: nothing\r\n\r\ntext\r\n"
    answer = give(gateway.port, nothing)
    queue_id = answer.split()[-1]
    mail = arrived(sink, "nothing")
    assert mail.content.endswith(b"\r\n" + nothing)
    head = mail.content[: -len(nothing)].decode()
    assert re.search(rf"\r\nDate: [^\r\n]+ [+-]\d{{4}}\r\nMessage-ID: <{queue_id}@gw\.example\.org>\r\n$", head)
    assert f"message_id=<{queue_id}@gw.example.org>" in gateway.lines("RECEIVED", queue_id)[0]
    assert give(gateway.port, plain("long", LONG.decode() + "\r\n")).startswith("250 ")
    lines = arrived(sink, "long").content.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert b"".join(lines[-4:]) == LONG
    wait_for(lambda: gateway.counter("mta_malformed_messages") == before + 3, "the counter of malformed mail")


def test_signed_mail_is_never_repaired(gateway: ContentGateway, sink: Sink) -> None:
    content = b"DKIM-Signature: v=1; d=example.net; s=x; b=abc\r\nSubject: signed\r\n\r\n" + LONG + b"\r\n"
    assert give(gateway.port, content).startswith("250 ")
    mail = arrived(sink, "signed")
    assert mail.content.endswith(b"\r\n" + content)
    assert b"\r\nDate: " not in mail.content


@pytest.mark.parametrize(
    "content",
    [
        b"just a text\r\nDate: none, for this is no field\r\n",
        b" ; spf=pass smtp.mailfrom=bank.example\r\nSubject: forged\r\n\r\ntext\r\n",
        b"\tforged by somebody else\r\nDKIM-Signature: v=1; d=example.net; s=x; b=abc\r\n\r\ntext\r\n",
        b"Sub ject: no name of a field\r\n\r\n" + LONG + b"\r\n",
    ],
    ids=["text", "continuation", "signed", "blank in a name"],
)
def test_what_begins_with_no_header_continues_no_field_of_ours(
    gateway: ContentGateway, sink: Sink, content: bytes
) -> None:
    seen, before = len(sink.mails), gateway.counter("mta_malformed_messages")
    answer = give(gateway.port, content)
    assert answer.startswith("250 ")
    (mail,) = wait_for(lambda: [m for m in sink.mails[seen:] if "user@example.org" in m.recipients], "the mail")
    header, _, body = mail.content.partition(b"\r\n\r\n")
    assert b"".join(body.split(b"\r\n")) == b"".join(content.split(b"\r\n"))
    assert max(map(len, body.split(b"\r\n"))) <= 998
    last = [f"Message-ID: <{answer.split()[-1]}@gw.example.org>".encode()]
    assert header.split(b"\r\n")[-1:] == last
    wait_for(lambda: gateway.counter("mta_malformed_messages") == before + 1, "the counter of malformed mail")


def test_a_large_mail_with_long_lines_is_mended_too(gateway: ContentGateway, sink: Sink) -> None:
    content = plain("long and large") + (b"0123456789 " * 200 + b"\r\n") * 200
    assert give(gateway.port, content).startswith("250 ")
    mail = arrived(sink, "long and large")
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    assert mail.without_trace().replace(b"\r\n", b"") == content.replace(b"\r\n", b"")


@pytest.mark.feature("F-SMTP-14")
def test_malformed_mail_is_refused_and_counted_where_it_is_to_be_dropped(sink: Sink, tmp_path) -> None:
    with ContentGateway(tmp_path / "gw", sink.port, drop=True) as gateway:
        mails = len(sink.mails)
        assert give(gateway.second, BARE).startswith("550 5.5.2")
        for content in (
            b"Subject: no date\r\n\r\ntext\r\n",
            plain("long line", LONG.decode() + "\r\n"),
            plain("nul", "a\0b\r\n"),
        ):
            assert give(gateway.port, content) == "550 5.6.0 Message is malformed"
        wait_for(lambda: gateway.counter("mta_malformed_messages") == 4, "the counter of malformed mail")
        assert give(gateway.port, plain("sound")).startswith("250 ")
        arrived(sink, "sound")
        assert len(sink.mails) == mails + 1
        wait_for(lambda: gateway.status()["queue"]["bytes"] == 0, "the queue to be empty")


# --- blind copies


@pytest.mark.feature("F-SMTP-16")
def test_blind_copies_get_the_mail_as_it_came_whatever_becomes_of_it(gateway: ContentGateway, sink: Sink) -> None:
    content = with_attachment(EICAR, "eicar.com", "blind")
    content = b"Date: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <blind@example.net>\r\n" + content
    answer = give(gateway.port, content)
    queue_id = answer.split()[-1]
    copy = arrived(sink, "blind", "archive@bcc.example")
    assert copy.recipients == ["archive@bcc.example", "second@bcc.example"]
    assert copy.sender == ""
    assert copy.without_trace().rstrip() == content.rstrip()
    wait_for(lambda: gateway.lines("BLOCKED", queue_id), "the mail itself to be blocked")
    (line,) = gateway.lines(f"GENERATED, kind=bcc, rcpt=<archive@bcc.example>, size={len(content)}, srcid={queue_id}")
    assert line
    assert not [m for m in sink.mails if "user@example.org" in m.recipients and b"Subject: blind\r\n" in m.content]
    wait_for(lambda: gateway.status()["queue"]["bytes"] == 0, "the queue to be empty")


# --- extensions


def test_binary_content_comes_by_bdat_and_goes_into_the_queue_as_it_is(gateway: ContentGateway, sink: Sink) -> None:
    content = plain("binary", "bare\nline\r feed\0\r\n")
    with Wire(gateway.second) as wire:
        wire.expect(("", "220 "))
        assert {"250-BINARYMIME", "250-CHUNKING"} <= set(wire.ask("EHLO client.example.net").splitlines())
        wire.expect(("MAIL FROM:<a@example.net> BODY=BINARYMIME", "250"), ("RCPT TO:<user@example.org>", "250"))
        wire.send(b"BDAT %d LAST\r\n" % len(content) + content)
        answer = wire.reply()
        assert answer.startswith("250 2.0.0 OK queued")
    queue_id = answer.split()[-1]
    wait_for(lambda: gateway.lines("SCANNED", queue_id), "its verdict")
    (line,) = gateway.lines("RECEIVED", queue_id)
    assert f"size={len(content)}" in line


def test_internationalised_address_is_taken_and_named_in_the_received_field(gateway: ContentGateway) -> None:
    with Wire(gateway.second) as wire:
        wire.expect(("", "220 "))
        assert "250-SMTPUTF8" in wire.ask("EHLO client.example.net").splitlines()
        wire.expect(("MAIL FROM:<a@example.net>", "250"), ("RCPT TO:<dörte@example.org>", "553 5.6.7"), ("RSET", "250"))
        wire.expect(("MAIL FROM:<jürgen@example.net> SMTPUTF8", "250"), ("RCPT TO:<user@example.org>", "250"))
        answer = wire.data(plain("utf8"))
        assert answer.startswith("250 ")
    queue_id = answer.split()[-1]
    wait_for(lambda: gateway.lines("RECEIVED, from=<jürgen@example.net>", queue_id), "it in the log")
