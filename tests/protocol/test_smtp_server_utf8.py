"""The receiving role: internationalised addresses (RFC 6531, RFC 6533)."""

import pytest
from smtp_dialogue import serve_every_way, settings

from gatepost.model.envelope import Notify, Recipient
from gatepost.smtp import server as s
from gatepost.smtp.address import parse_mail_argument, parse_rcpt_argument
from gatepost.smtp.errors import ArgumentError

EHLO = b"EHLO user\r\n"
GIVEN = settings(smtputf8=True)
GREEK = "δοκιμή@παράδειγμα.δοκιμή"


def codes(*lines: str | bytes, given=GIVEN) -> list[int]:
    stream = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in lines)
    return serve_every_way(EHLO + stream, given).codes[7 if given.smtputf8 else 6 :]


def test_internationalised_transaction():
    served = serve_every_way(
        EHLO
        + f"MAIL FROM:<{GREEK}> SMTPUTF8 RET=HDRS\r\nRCPT TO:<用户@例子.example> NOTIFY=DELAY ORCPT=utf-8;用户@例子.example\r\n".encode()
        + b"RCPT TO:<plain@example.org> ORCPT=utf-8;\\x{7528}@example.org\r\n",
        GIVEN,
    )
    assert "250-SMTPUTF8" in served.lines
    assert served.codes[7:] == [250, 250, 250]
    mail = served.of(s.MailFrom)[0]
    assert (mail.address, mail.smtputf8) == (GREEK, True)
    assert served.of(s.RcptTo) == [
        s.RcptTo(Recipient("用户@例子.example", (Notify.DELAY,), "utf-8;用户@例子.example")),
        s.RcptTo(Recipient("plain@example.org", (), r"utf-8;\x{7528}@example.org")),
    ]


def test_keyword_alone_is_declared_too():
    served = serve_every_way(EHLO + b"MAIL FROM:<a@example.com> smtputf8\r\n", GIVEN)
    assert served.of(s.MailFrom)[0].smtputf8
    assert codes("MAIL FROM:<a@example.com> SMTPUTF8=yes") == [555]


def test_undeclared_addresses_are_refused():
    assert codes(f"MAIL FROM:<{GREEK}>") == [553]
    assert codes("MAIL FROM:<a@example.com>", f"RCPT TO:<{GREEK}>", "RCPT TO:<b@example.org>") == [250, 553, 250]
    served = serve_every_way(EHLO + f"MAIL FROM:<{GREEK}>\r\n".encode(), GIVEN)
    assert served.lines[-1] == "553 5.6.7 Non-ASCII addresses need SMTPUTF8"
    assert codes("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org> ORCPT=utf-8;ü@example.org") == [250, 553]


def test_declaration_is_of_one_transaction():
    assert codes(f"MAIL FROM:<{GREEK}> SMTPUTF8", "RSET", "MAIL FROM:<a@example.com>", f"RCPT TO:<{GREEK}>") == [
        250, 250, 250, 553,
    ]  # fmt: skip


def test_not_offered_not_taken():
    off = settings()
    assert codes("MAIL FROM:<a@example.com> SMTPUTF8", given=off) == [555]
    assert codes(f"MAIL FROM:<{GREEK}> SMTPUTF8", given=off) == [500]
    assert codes("MAIL FROM:<a@example.com>", f"RCPT TO:<{GREEK}>", given=off) == [250, 500]
    assert codes(b"MAIL FROM:<\xff@example.com> SMTPUTF8", given=off) == [500]


@pytest.mark.parametrize(
    "raw",
    [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"],
    ids=["0xff", "half", "overlong", "surrogate", "beyond", "cut off"],
)
def test_malformed_utf8(raw):
    assert codes(b"MAIL FROM:<a" + raw + b"@example.com> SMTPUTF8", "NOOP") == [501, 250]


@pytest.mark.parametrize(
    "line", ["HELO ü", "EHLO ü", "VRFY ü", "NOOP ü", "\u039cAIL FROM:<a@b>", "MAIL\u00a0FROM:<a@b>"]
)
def test_everything_else_stays_ascii(line):
    assert codes(line, "NOOP") == [500, 250]


@pytest.mark.parametrize("control", ["\0", "\t", "\x1b", "\x7f", "\r"])
def test_controls_of_ascii_are_refused_as_ever(control):
    assert codes(f"MAIL FROM:<ü{control}@example.com> SMTPUTF8") == [500]


GOOD = [
    GREEK,
    "ü@example.com",
    "a@bücher.example",
    "a.ü.b@example.com",
    '"ü x"@example.com',
    "ü@[192.0.2.1]",
    "नमस्ते@उदाहरण.example",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645@example.com",
    "👍@example.com",
    "ü" * 121 + "@example.com",
    "a@" + "ü" * 50 + ".example",
]
BAD = [
    "\u00a0@example.com", "\u2028@example.com", "\u2029@example.com", "\u0085@example.com", "\u009b@example.com",
    "\u3000@example.com", "\u202e@example.com", "\u2066@example.com", "\ufeff@example.com", "\u200b@example.com",
    "\ufffe@example.com", "ü ü@example.com", "ü<@example.com", "ü>@example.com", ".ü@example.com", "ü..a@example.com",
    "ü@", "@ü.example", "ü", "ü@@example.com", '"ü"x@example.com', "a@ü..example", "a@.ü", "a@-ü.example",
    "a@ü-.example", "a@ü.-a.example", "a@ü\u3002example", "a@\uff45xample.com", "a@example\uff0ecom", "a@u\u0308.example", "a@ü!.example",
    "ü" * 122 + "@example.com", "a@" + "ü" * 60 + ".example", "a@" + ".".join(["ü" * 30] * 5), "ü@[192.0.2.256]",
]  # fmt: skip


@pytest.mark.parametrize("address", GOOD)
def test_addresses(address):
    assert parse_mail_argument(f"FROM:<{address}> SMTPUTF8") == (address, "SMTPUTF8")
    assert parse_rcpt_argument(f"TO:<{address}>") == (address, "")


@pytest.mark.parametrize("address", BAD)
def test_no_addresses(address):
    for parse, keyword in ((parse_mail_argument, "FROM:"), (parse_rcpt_argument, "TO:")):
        with pytest.raises(ArgumentError) as error:
            parse(f"{keyword}<{address}>")
        assert error.value.reply.code == 501


@pytest.mark.parametrize(
    ("orcpt", "code"),
    [
        ("utf-8;ü@example.org", 250),
        ("UTF-8;\\x{3B1}ü@example.org", 250),
        ("utf-8;" + "ü" * 247, 250),
        ("utf-8;" + "ü" * 248, 501),
        ("utf-8;", 501),
        ("utf-8;ü\\y", 501),
        ("utf-8;ü=a", 501),
        ("utf-8;ü+41", 501),
        ("utf-8;ü\u202e", 501),
        ("rfc822;ü@example.org", 501),
    ],
)
def test_original_recipients(orcpt, code):
    assert codes("MAIL FROM:<a@example.com> SMTPUTF8", f"RCPT TO:<b@example.org> ORCPT={orcpt}") == [250, code]


def test_hostile_arguments_take_linear_time():
    for piece in ("ü", "ü.", "\\ü", '"ü', "ü@", "."):
        for frame in ("FROM:<ü{}", 'FROM:<"ü{}', "FROM:<a@ü{}"):
            with pytest.raises(ArgumentError):
                parse_mail_argument(frame.format(piece * (100_000 // len(piece))))
