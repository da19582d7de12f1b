"""One incoming message: what is read out of its head, what is put in front of it, what the record says."""

import re

import pytest

from gatepost.model.envelope import Body, Client, Direction, Recipient
from gatepost.relay.incoming import HEAD_LIMIT, Head, Incoming
from gatepost.relay.received import build_received, protocol_keyword
from gatepost.smtp.server_events import DataEnd, MailFrom
from gatepost.testing.memory_spool import MemoryContent

NOW = 1_790_000_000.0
CLIENT = Client("192.0.2.1", 4711, "client.example", esmtp=True)
END = DataEnd(0, 0, fixed=False, nul=False, long_line=False, eight_bit=False)


def head_of(raw: bytes, *, complete: bool = True) -> Head:
    return Head(raw, complete=complete)


@pytest.mark.parametrize(
    ("raw", "complete", "lacking"),
    [
        (b"Date: x\r\nSubject: y\r\n\r\nbody", True, False),
        (b"Subject: y\r\nDATE: x\r\n\r\nbody", False, False),
        (b"Subject: y\r\n\r\nDate: in the body\r\n", True, True),
        (b"\r\nDate: in the body\r\n", True, True),
        (b"Subject: y\r\n Date: folded\r\n\r\n", True, True),
        (b"X-Date: x\r\n\r\n", True, True),
        (b"", True, True),
        (b"Subject: y\r\nX: header goes on", False, False),
        (b"Subject: y\r\n", True, True),
    ],
)
def test_a_field_is_missing_only_when_the_whole_header_is_known(raw, complete, lacking):
    assert head_of(raw, complete=complete).lacks(b"date:") is lacking


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"Message-ID: <a@b>\r\n\r\n", "<a@b>"),
        (b"X: y\r\nmessage-id:<a@b> \r\n\r\n", "<a@b>"),
        (b"Message-Id:\r\n <a@b>\r\n\r\n", "<a@b>"),
        (b"Message-ID: \xff\r\n\r\n", "\\xff"),
        (b"Subject: x\r\n\r\nMessage-ID: <a@b>\r\n", ""),
    ],
)
def test_message_id(raw, found):
    assert head_of(raw).message_id == found


def test_received_fields_come_unfolded_newest_first():
    raw = b"Received: from a\r\n\tby b; x\r\nSubject: s\r\nRECEIVED: from c by d; y\r\n\r\nReceived: no\r\n"
    assert [b" ".join(body.split()) for body in head_of(raw).received_fields()] == [
        b"from a by b; x",
        b"from c by d; y",
    ]


@pytest.mark.parametrize("name", [b"DKIM-Signature", b"dkim-signature", b"ARC-Message-Signature"])
def test_signed_mail_is_known(name):
    assert head_of(b"Subject: x\r\n" + name + b": v=1\r\n\r\n").signed
    assert not head_of(b"Subject: x\r\n\r\n" + name + b": v=1\r\n").signed


@pytest.mark.parametrize(
    ("esmtp", "tls", "user", "utf8", "word"),
    [
        (False, "", "", False, "SMTP"),
        (True, "", "", False, "ESMTP"),
        (True, "TLSv1.3 X", "", False, "ESMTPS"),
        (True, "", "ann", False, "ESMTPA"),
        (True, "TLSv1.3 X", "ann", False, "ESMTPSA"),
        (True, "TLSv1.3 X", "ann", True, "UTF8SMTPSA"),
        (True, "", "", True, "UTF8SMTP"),
    ],
)
def test_protocol_keyword(esmtp, tls, user, utf8, word):
    client = Client("192.0.2.1", 1, "c", esmtp, tls=tls, user=user)
    assert protocol_keyword(client, smtputf8=utf8) == word


def test_received_field_names_the_client_and_nobody_who_signed_in():
    client = Client("2001:db8::1", 1, "helo.example", True, name="real.example", tls="TLSv1.3 SUITE", user="ann")
    field = build_received(client, "gw.example", "0123456789ABC", NOW).decode()
    assert field.startswith("Received: from helo.example (real.example [IPv6:2001:db8::1])\r\n\tby gw.example with ")
    assert " with ESMTPSA (TLSv1.3 SUITE) id 0123456789ABC;\r\n\t" in field
    assert "ann" not in field
    assert all(re.match(r"[ \t]", line) for line in field.split("\r\n")[1:-1])


@pytest.mark.parametrize("helo", ["x(", "x) by y (z", "a@[10.1.2.3]", '"', "<>;,\\", "x by y"])
def test_a_name_in_the_received_field_is_nothing_but_a_name(helo):
    field = build_received(Client("192.0.2.1", 1, helo, True, name=helo), "gw.example", "0123456789ABC", NOW).decode()
    assert re.fullmatch(
        r"Received: from [^ ()<>\\\";,@]+ \([^ ()<>\\\";,@]+ \[192\.0\.2\.1\]\)", field.split("\r\n")[0]
    )


def built(content: bytes, *, prepend: bool = True, mail: MailFrom | None = None, end: DataEnd = END):
    incoming = Incoming(mail or MailFrom("a@example.net", 0, Body.SEVEN_BIT, None, "", dsn=False))
    incoming.recipients.append(Recipient("b@example.org"))
    incoming.begin(1 << 40, MemoryContent(1 << 40))
    for at in range(0, len(content), 7):
        incoming.write(content[at : at + 7])
    new, record = incoming.build(
        end,
        incoming.head(),
        CLIENT,
        Direction.INBOUND,
        hostname="gw.example",
        prepend_received=prepend,
        malformed=False,
        now=NOW,
    )
    return new.stored, record


def test_what_is_missing_is_put_in_front_and_recorded():
    stored, record = built(b"Subject: x\r\n\r\n", prepend=False)
    names = [line.partition(b":")[0] for line in stored.prefix.splitlines()]
    assert names == [b"Date", b"Message-ID"]
    assert record.message_id.endswith("@gw.example>")
    stored, record = built(b"Date: x\r\nMessage-ID: <m@x>\r\n\r\n", prepend=False)
    assert stored.prefix == b""
    assert record.message_id == "<m@x>"
    stored, _ = built(b"DKIM-Signature: x\r\n\r\n", prepend=False)
    assert stored.prefix == b""


def test_a_header_beyond_the_limit_is_left_alone():
    stored, _ = built(b"X: y\r\n" * (HEAD_LIMIT // 6 + 10) + b"\r\n", prepend=False)
    assert stored.prefix == b""


@pytest.mark.parametrize(
    ("declared", "eight_bit", "body"),
    [
        (Body.SEVEN_BIT, False, Body.SEVEN_BIT),
        (Body.SEVEN_BIT, True, Body.EIGHT_BIT),
        (Body.EIGHT_BIT, False, Body.EIGHT_BIT),
        (Body.BINARY, True, Body.BINARY),
    ],
)
def test_body_is_what_was_declared_or_what_came(declared, eight_bit, body):
    mail = MailFrom("a@example.net", 0, declared, None, "", dsn=False, smtputf8=True)
    end = DataEnd(0, 0, fixed=False, nul=False, long_line=False, eight_bit=eight_bit)
    stored, _ = built(b"x", mail=mail, end=end)
    assert stored.envelope.body is body
    assert stored.envelope.smtputf8
