"""Parameters of MAIL and RCPT with those for delivery status notifications, and what XCLIENT and XFORWARD tell.

What is taken must go on in our own command, read there as the same, and never break out of its line.
"""

from collections.abc import Iterator
from typing import Final

from gatepost.model.envelope import Body, Notify, Recipient
from gatepost.smtp.client_attributes import VALUE_LIMIT, parse_forwarded, parse_override
from gatepost.smtp.client_events import Transaction
from gatepost.smtp.commands import build_mail, build_rcpt
from gatepost.smtp.errors import ArgumentError
from gatepost.smtp.extensions import Extensions
from gatepost.smtp.parameters import (
    ENVID_LIMIT,
    ORCPT_LIMIT,
    decode_xtext,
    is_xtext,
    parse_mail_parameters,
    parse_rcpt_parameters,
)
from gatepost.smtp.requests import parse_request
from gatepost.smtp.server_events import MailFrom, RcptTo

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 640
"""ORCPT alone may have 500 octets."""

_ALL: Final = Extensions(esmtp=True, size=True, dsn=True, smtputf8=True)


def execute(data: bytes) -> None:
    """Read the input as the parameters of a command, by its first byte."""
    if not data:
        return
    raw = data[1:]
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    try:
        (_check_mail, _check_rcpt, _check_override, _check_forwarded)[data[0] & 3](text)
    except ArgumentError as error:
        assert error.reply.permanent
    parse_request((b"MAIL FROM:<a@b.c> ", b"RCPT TO:<a@b.c> ", b"XCLIENT ", b"XFORWARD ")[data[0] & 3] + raw)
    decoded = decode_xtext(text)
    if is_xtext(text) and decoded.isascii():
        assert decode_xtext(_encode_xtext(decoded)) == decoded


def _check_mail(text: str) -> None:
    given = parse_mail_parameters(text)
    assert 0 <= given.size < 10**20
    assert len(given.envid) <= ENVID_LIMIT
    if given.auth:
        return  # read and dropped
    transaction = Transaction(
        "a@b.c", (), given.size, body=given.body, ret=given.ret, envid=given.envid, smtputf8=given.smtputf8
    )
    line = build_mail(transaction, _ALL)
    again = _reread(line)
    assert isinstance(again, MailFrom)
    assert (again.size, again.body, again.ret, again.envid) == (given.size, given.body, given.ret, given.envid)
    assert again.smtputf8 == given.smtputf8
    assert type(again.body) is Body


def _check_rcpt(text: str) -> None:
    given = parse_rcpt_parameters("a@b.c", text)
    assert len(given.orcpt.encode()) <= ORCPT_LIMIT
    assert len(given.notify) <= 3
    assert Notify.NEVER not in given.notify or len(given.notify) == 1
    line = build_rcpt(given, dsn=True, utf8=True)
    again = _reread(line)
    assert isinstance(again, RcptTo)
    assert again.recipient.notify == given.notify
    if again.recipient.orcpt != given.orcpt:
        assert not given.orcpt.isascii()
    plain = build_rcpt(given, dsn=True)
    assert plain.isascii()
    _reread(plain)
    assert build_rcpt(given, dsn=False) == build_rcpt(Recipient("a@b.c"), dsn=False)


def _reread(line: bytes) -> object:
    assert line.endswith(b"\r\n")
    assert b"\r" not in line[:-2]
    assert b"\n" not in line[:-2]
    request = parse_request(line[:-2])
    assert request.fault is None
    assert request.argument_fault is None
    return request.argument


def _check_override(text: str) -> None:
    given = parse_override(text)
    _check_values((given.name, given.address, given.protocol, given.helo, given.login, given.destination))
    assert given.port is None or 0 <= given.port <= 65535


def _check_forwarded(text: str) -> None:
    given = parse_forwarded(text)
    _check_values((given.name, given.address, given.protocol, given.helo, given.ident, given.source))
    assert given.port is None or 0 <= given.port <= 65535


def _check_values(values: tuple[str | None, ...]) -> None:
    for value in values:
        if value is not None:
            assert len(value.encode()) <= VALUE_LIMIT
            assert value.isprintable()


def _encode_xtext(text: str) -> str:
    """Return the xtext form of ASCII `text` (RFC 3461 §4)."""
    return "".join(each if "!" <= each <= "~" and each not in "+=" else f"+{ord(each):02X}" for each in text)


WORDS: Final = (
    b"SIZE=", b"BODY=7BIT", b"BODY=8BITMIME", b"BODY=BINARYMIME", b"RET=FULL", b"RET=HDRS", b"ENVID=", b"SMTPUTF8", b"AUTH=<>", b"AUTH=a",
    b"NOTIFY=", b"NEVER", b"SUCCESS", b"FAILURE", b"DELAY", b"ORCPT=rfc822;", b"ORCPT=utf-8;", b"+3D", b"+00", b"+0A", b"\\x{C4}", b"\xc3\xa4",
    b"NAME=", b"ADDR=", b"PORT=", b"PROTO=SMTP", b"PROTO=ESMTP", b"HELO=", b"LOGIN=", b"DESTADDR=", b"DESTPORT=", b"IDENT=", b"SOURCE=LOCAL",
    b"SOURCE=REMOTE", b"[UNAVAILABLE]", b"[TEMPUNAVAIL]", b"IPV6:", b"192.0.2.1", b"2001:db8::1", b"::ffff:192.0.2.1", b"65536", b" ", b",", b"=",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield parameters of each command."""
    texts = (
        (0, "SIZE=1000 BODY=8BITMIME RET=FULL ENVID=a+3Db"), (0, "SMTPUTF8 BODY=BINARYMIME"), (0, "RET=HDRS AUTH=<>"), (0, "AUTH=a+2B"),
        (1, "NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a@b.c"), (1, "NOTIFY=NEVER"), (1, "ORCPT=utf-8;\u00e4@b.c"),
        (1, "ORCPT=utf-8;\\x{C4}b"), (2, "NAME=a.b ADDR=192.0.2.1 PORT=25 PROTO=ESMTP HELO=x LOGIN=u"),
        (2, "ADDR=IPV6:2001:db8::1 DESTADDR=192.0.2.3 DESTPORT=25 NAME=[TEMPUNAVAIL]"), (3, "NAME=a IDENT=4 SOURCE=LOCAL"),
        (3, "ADDR=[UNAVAILABLE] HELO=a+20b PROTO=SMTP PORT=1"),
    )  # fmt: skip
    for kind, text in texts:
        yield bytes((kind,)) + text.encode()
