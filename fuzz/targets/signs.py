"""Headers through the anti-spam header checks: addresses, Received fields, spots, signs, automatic replies."""

from collections.abc import Iterator
from typing import Final

from gatepost.antispam.check import EVIDENCE_LIMIT
from gatepost.antispam.content import inspect_content
from gatepost.antispam.eastern import EasternCheck
from gatepost.antispam.formal import FormalCheck
from gatepost.antispam.gtube import GtubeCheck
from gatepost.antispam.headers.check import build_header_check
from gatepost.antispam.knowledge import load_packaged
from gatepost.filter.spam_bounds import check_spam
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1500
_CHECKS: Final = (build_header_check(load_packaged()), EasternCheck(), FormalCheck(), GtubeCheck())
_OPTIONS: Final = SpamOptions(
    sender="a@b.example",
    recipients=("c@own.example",),
    client_ip="8.8.8.8",
    helo="b.example",
    now=1_700_000_000.0,
    own_domains=("own.example", "*.own.example"),
    own_names=(("Clara Meyer", "clara@own.example"),),
    hostname="mx.own.example",
)
_UNSHOWN: Final = bytes(range(33))
"""Before a name, where some readers pass over them."""
WORDS: Final = (
    b"From: ",
    b"To: ",
    b"Reply-To: ",
    b"Subject: ",
    b"Date: ",
    b"Received: from a (b [192.0.2.1]) by c with ESMTP; ",
    b"Message-ID: <",
    b"X-Mailer: ",
    b"Authentication-Results: mx.own.example; ",
    b"X-SpamTest-Status: ",
    b"=?utf-8?q?",
    b"=?utf-8?b?",
    b"?=",
    b"xn--",
    b"PayPal",
    b"(((",
    b'"',
    b"<@a,@b:",
    b"\r\n ",
    b"HELO ",
    b"[IPv6:",
    b"Tue, 14 Nov 2023 22:10:00 +0000",
    b"Auto-Submitted: auto-replied",
    b"multipart/report; report-type=delivery-status",
    "а".encode(),  # noqa: RUF001 - a letter that looks like another
    b"\xe2\x80\x8b",
)


def execute(data: bytes) -> None:
    """Inspect the input as a message: every check answers, within what the relay takes."""
    facts = inspect_content(parse(data), _OPTIONS, _CHECKS)
    assert not facts.trouble, facts.trouble
    check_spam(facts, len(data))
    for sign in facts.signs:
        assert sign.evidence.isprintable()
        assert len(sign.evidence) <= EVIDENCE_LIMIT
    for spot in facts.foreign:
        field = data[spot.start : spot.end].lower().lstrip(_UNSHOWN)
        assert field.startswith((b"x-spamtest-", b"authentication-results"))


def seeds() -> Iterator[bytes]:
    """Yield headers of every kind the checks look at."""
    way = b"Received: from x (HELO [192.0.2.9]) (192.0.2.1)\r\n\tby mx.own.example with SMTP; Tue, 14 Nov 2023 22:10:00 +0000\r\n"
    yield (
        way
        + b'From: "ceo@own.example" <x@y.example>\r\nTo: a@b.example, "C D" <c@d.example>\r\nSubject: Hi     qxz\r\n\r\nx'
    )
    yield b"From: Clara Meyer <c@gmail.com>\r\nReply-To: d@yahoo.com\r\nX-Mailer: Microsoft Outlook Express 6.00\r\n\r\nx"
    yield b"From : a@b.example\r\nFrom: <@r.example:c@d.example>\r\nAuthentication-Results: (c) mx.own.example 1; x\r\n\r\n"
    yield b"From: MAILER-DAEMON@b.example\r\nSubject: failure notice\r\nX-Failed-Recipients: a@b.example\r\n\r\nsorry"
    yield b"Subject: =?gb2312?B?xOO6ww==?=\r\nDate: 1 Jan 2099 00:00:00 PST\r\nX-SpamTest-Status: x\r\nKeywords: y\r\n\r\nx"
