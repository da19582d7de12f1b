"""Addresses: what MAIL and RCPT may carry, what goes on from here, what stands in the DNS.

An address that is taken must come out of our own command unchanged, and have one form only.
"""

from collections.abc import Iterator
from typing import Final

from gatepost.model.envelope import Recipient
from gatepost.smtp.address import DOMAIN_LIMIT, PATH_LIMIT, parse_mail_argument, parse_rcpt_argument
from gatepost.smtp.client_events import Transaction
from gatepost.smtp.commands import build_mail, build_rcpt
from gatepost.smtp.errors import ArgumentError
from gatepost.smtp.extensions import Extensions
from gatepost.smtp.requests import parse_request
from gatepost.smtp.sendable import ascii_address, ascii_domain, is_sendable, is_sendable_utf8
from gatepost.smtp.server_events import MailFrom, RcptTo
from gatepost.smtp.server_offer import Extension

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 320
"""A path has 256 octets at most."""

_UTF8: Final = Extensions(esmtp=True, smtputf8=True)


def execute(data: bytes) -> None:
    """Read the input as the path of MAIL, of RCPT, and as a domain."""
    if not data:
        return
    kind, raw = data[0], data[1:]
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if kind & 1:
        text = f"<{text}>"
    try:
        parse, keyword = (parse_rcpt_argument, "TO:") if kind & 2 else (parse_mail_argument, "FROM:")
        address, rest = parse(keyword + text, unbracketed=bool(kind & 8))
    except ArgumentError as error:
        assert error.reply.permanent
    else:
        _check(address)
        assert not rest.startswith(" ")
        assert address in text
    _check_domain(text)
    verb = b"RCPT TO:<" if kind & 2 else b"MAIL FROM:<"
    request = parse_request(verb + raw + b"> SMTPUTF8" if kind & 4 else verb + raw + b">")
    if Extension.BARE_LOCAL_PARTS in request.needs:
        argument = request.argument
        local = argument.address if isinstance(argument, MailFrom) else argument.recipient.address
        assert 0 < len(local) <= PATH_LIMIT - 2
        assert is_sendable(local)
    elif isinstance(request.argument, MailFrom) and request.argument_fault is None:
        _check(request.argument.address)
    elif isinstance(request.argument, RcptTo) and request.argument_fault is None:
        _check(request.argument.recipient.address)


def _check(address: str) -> None:
    """Look whether an address that was taken can go on, as it is."""
    if not address:
        return
    assert len(address.encode()) + 2 <= PATH_LIMIT
    assert not any(ord(character) < 32 or ord(character) == 127 for character in address)
    local, at, domain = address.rpartition("@")
    if not at:
        assert address.lower() == "postmaster"
        return
    assert local
    assert 0 < len(domain.encode()) <= DOMAIN_LIMIT
    if address.isascii():
        assert is_sendable(address)
        assert is_sendable_utf8(address)
        assert ascii_address(address) == address
    elif not is_sendable_utf8(address):
        return
    utf8 = not address.isascii()
    line = build_mail(Transaction(address, (), 0, smtputf8=utf8), _UTF8)
    _check_line(line)
    request = parse_request(line[:-2])
    assert isinstance(request.argument, MailFrom)
    assert request.argument_fault is None
    assert request.argument.address == address
    line = build_rcpt(Recipient(address), dsn=False, utf8=utf8)
    _check_line(line)
    request = parse_request(line[:-2])
    assert isinstance(request.argument, RcptTo)
    assert request.argument_fault is None
    assert request.argument.recipient.address == address


def _check_line(line: bytes) -> None:
    assert line.endswith(b"\r\n")
    assert b"\r" not in line[:-2]
    assert b"\n" not in line[:-2]


def _check_domain(text: str) -> None:
    domain = ascii_domain(text)
    if domain is None:
        return
    assert domain.isascii()
    assert ascii_domain(domain) == domain
    if domain != text:
        assert len(domain) <= DOMAIN_LIMIT
        assert domain.lower() == domain or text.lower() != text


WORDS: Final = (
    b"<", b">", b"<>", b"@", b"@a.b,@c:", b"a@b.c", b'"a b"@c.d', b'"\\""@c', b"[192.0.2.1]", b"[IPv6:2001:db8::1]", b"postmaster",
    b"<Postmaster>", b" SIZE=1", b"xn--", b"xn--mxa", b"\xc3\xa4", b"\xc3\x9f", b"\xe3\x80\x82", b"\xef\xbc\x8e", b"a\xcc\x88", b"\xd9\x8e",
    b"\xe2\x80\x8d", b"..", b".-", b"-", b"%", b"!", b"\\", b"a" * 63, b"a." * 30, b"\xf0\x9f\x93\xa7", b"\xc2\xa0", b"\xe2\x80\xa8",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield addresses of all kinds, in and out of brackets."""
    texts = (
        "a@b.c", "<a@b.c>", "<>", "<postmaster>", "<@x,@y:a@b.c> SIZE=3", '"a b\\""@c.d', "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]",
        "\u00e4@\u00f6.example", "a@xn--mxa.example", '"\u00e4 "@b.c', "a" * 64 + "@b.c", "a@" + "b" * 63 + ".c", "a@b..c", "a@-b.c",
        "a@\u00e4\u3002b", "a@a\u0308.b", "m\u00fcller.example",
    )  # fmt: skip
    for text in texts:
        for kind in (0, 1, 2, 7):
            yield bytes((kind,)) + text.encode()
