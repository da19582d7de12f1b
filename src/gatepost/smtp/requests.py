"""One command line of a client, read as far as it can be without knowing where the dialogue stands.

Used by `server.ServerSession` only. Promises: the same line gives the same value, so that the few lines most sessions
are made of (RCPT of our own users, DATA, QUIT) are parsed once and not in every session. Nothing that may hold a secret
is kept.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gatepost.model.envelope import Body
from gatepost.model.reply import Reply
from gatepost.smtp import replies
from gatepost.smtp.address import is_bracketed, parse_mail_argument, parse_rcpt_argument
from gatepost.smtp.client_attributes import parse_forwarded, parse_override
from gatepost.smtp.errors import ArgumentError
from gatepost.smtp.input import COMMAND_LIMIT
from gatepost.smtp.parameters import parse_mail_parameters, parse_rcpt_parameters
from gatepost.smtp.server_events import Hello, MailFrom, RcptTo, Stage
from gatepost.smtp.server_offer import Extension

HELLO_LIMIT: Final = 255
"""Octets of a HELO argument: those of a domain (RFC 5321 §4.5.3.1.2)."""
REMEMBERED: Final = 1024
"""Lines kept with what they mean: of ordinary ones 0.5 MB, of the longest possible 5 MB."""
LINE_LIMIT: Final = COMMAND_LIMIT - 2
"""Octets of any command but AUTH, without CRLF."""


CHUNK_DIGITS: Final = 20
"""Digits of a chunk size, RFC 3030 §2."""

_CHUNK = re.compile(rf"([0-9]{{1,{CHUNK_DIGITS}}})(?: +(LAST))?", re.IGNORECASE)
_SIGN_IN = re.compile(r"([A-Za-z0-9_-]{1,20})(?: +([^ ]+))?")


_REMEMBERED_VERBS: Final = frozenset({b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"QUIT"})
"""First four octets of the lines that are kept: neither AUTH, nor what follows an AUTH that was refused."""
_WIDE_VERBS: Final = frozenset({"MAIL", "RCPT"})
_ODD_ADDRESSES: Final = frozenset({Extension.BARE_LOCAL_PARTS, Extension.UNBRACKETED})


class ChunkSize(msgspec.Struct, frozen=True, gc=False):
    """Argument of BDAT."""

    octets: int
    last: bool


class SignInStart(msgspec.Struct, frozen=True, gc=False):
    """Argument of AUTH. What the client sent along stands in no text made of this value."""

    mechanism: str
    """In upper case."""
    initial: str | None
    """The initial response (base64), "" for an empty one, None when there is none."""

    def __repr__(self) -> str:
        return f"SignInStart(mechanism={self.mechanism!r})"


class Request(msgspec.Struct, frozen=True, gc=False):
    """What a command line asks for."""

    verb: str
    """In upper case, a key of the command table; "" when `fault` says why there is none."""
    stage: Stage
    argument: Any = None
    """What the command's part of the session takes: mostly the event to give out."""
    fault: Reply | None = None
    """What is wrong wherever the dialogue stands."""
    argument_fault: Reply | None = None
    """What is wrong where the command is legal."""
    needs: frozenset[Extension] = frozenset()
    """What its argument makes use of."""
    lacking: Reply = replies.UNKNOWN_PARAMETER
    """What is said when one of `needs` is not offered."""


class _NotKeptError(Exception):
    """The line is not to be remembered (a cache keeps no exceptions)."""


def parse_request(raw_line: bytes) -> Request:
    """Return what a line, given without its CRLF, asks for."""
    try:
        return _parse_remembered(raw_line)
    except _NotKeptError:
        return _parse(raw_line)


@functools.lru_cache(maxsize=REMEMBERED)  # 0.1 µs instead of 3 for a MAIL or RCPT that is known
def _parse_remembered(raw_line: bytes) -> Request:
    if len(raw_line) > LINE_LIMIT or raw_line[:4].upper() not in _REMEMBERED_VERBS:
        raise _NotKeptError
    return _parse(raw_line)


def _parse(raw_line: bytes) -> Request:
    line = raw_line.decode("latin-1")
    verb, _, argument = line.rstrip(" ").partition(" ")
    verb = verb.upper()
    row = _VERBS.get(verb)
    if row is None:
        return Request("", Stage.HELO, fault=_unknown(verb, line))
    stage, parse = row
    if len(raw_line) > LINE_LIMIT and verb != "AUTH":
        return Request(verb, stage, fault=replies.LINE_TOO_LONG)
    if not (line.isascii() and line.isprintable()):
        if verb in _WIDE_VERBS:
            return _parse_wide(verb, stage, raw_line)
        if verb == "BDAT":
            return Request(verb, stage, argument_fault=replies.BAD_CHUNK_SIZE)
        return Request(verb, stage, fault=_not_printable(line))
    if parse is None:
        return Request(verb, stage, fault=replies.BAD_ARGUMENT if argument else None)
    try:
        value = parse(argument.lstrip(" "))
    except ArgumentError as error:
        return Request(verb, stage, argument_fault=error.reply)
    if verb in _WIDE_VERBS:
        event, needs = value
        odd = needs & _ODD_ADDRESSES
        return Request(
            verb, stage, event, needs=needs, lacking=replies.BAD_ADDRESS if odd else replies.UNKNOWN_PARAMETER
        )
    return Request(verb, stage, value)


def _parse_wide(verb: str, stage: Stage, raw_line: bytes) -> Request:
    """Return what a MAIL or RCPT with more than printable ASCII in it asks for (RFC 6531 §3.1)."""
    if any(octet < 32 or octet == 127 for octet in raw_line):
        return Request(verb, stage, fault=_not_printable(raw_line.decode("latin-1")))
    needs = frozenset({Extension.SMTPUTF8})
    fault: Reply | None = None
    value: Any = None
    try:
        argument = raw_line.decode()[len(verb) :].strip(" ")
        value, more = _parse_mail(argument) if verb == "MAIL" else _parse_rcpt(argument)
        needs |= more
        if isinstance(value, MailFrom) and not value.smtputf8:
            fault = replies.NON_ASCII_ADDRESS
    except UnicodeDecodeError:
        fault = replies.BAD_UTF8
    except ArgumentError as error:
        fault = error.reply
    return Request(verb, stage, value, None, fault, needs, replies.NOT_PRINTABLE)


def _unknown(verb: str, line: str) -> Reply:
    if verb in _OTHER_PROTOCOLS:
        return replies.NOT_SMTP
    if verb in _NOT_OFFERED:
        return replies.NOT_IMPLEMENTED if line.isascii() and line.isprintable() else _not_printable(line)
    return replies.BARE_LINE_END if "\r" in line else replies.NOT_RECOGNISED


def _not_printable(line: str) -> Reply:
    return replies.BARE_LINE_END if "\r" in line else replies.NOT_PRINTABLE


def _parse_helo(argument: str) -> Hello:
    return Hello(_parse_name(argument), esmtp=False)


def _parse_ehlo(argument: str) -> Hello:
    return Hello(_parse_name(argument), esmtp=True)


def _parse_lhlo(argument: str) -> Hello:
    return Hello(_parse_name(argument), esmtp=True, lmtp=True)


def _parse_name(name: str) -> str:
    if not name or " " in name or len(name) > HELLO_LIMIT:
        raise ArgumentError(replies.BAD_ARGUMENT)
    return name


def _parse_mail(argument: str) -> tuple[MailFrom, frozenset[Extension]]:
    """Return the event and what its parameters make use of."""
    sender, rest = parse_mail_argument(argument, bare=True, unbracketed=True)
    given = parse_mail_parameters(rest)
    dsn = given.ret is not None or given.envid != ""
    mail = MailFrom(sender, given.size, given.body, given.ret, given.envid, dsn, given.smtputf8)
    used = {
        Extension.SMTPUTF8: given.smtputf8,
        Extension.AUTH: given.auth,
        Extension.BINARYMIME: given.body is Body.BINARY,
        Extension.BARE_LOCAL_PARTS: sender != "" and "@" not in sender,
        Extension.UNBRACKETED: not is_bracketed(argument),
    }
    return mail, frozenset(extension for extension, on in used.items() if on)


def _parse_rcpt(argument: str) -> tuple[RcptTo, frozenset[Extension]]:
    """Return the event and what its address makes use of."""
    address, rest = parse_rcpt_argument(argument, bare=True, unbracketed=True)
    used = {
        Extension.BARE_LOCAL_PARTS: "@" not in address and address.lower() != "postmaster",
        Extension.UNBRACKETED: not is_bracketed(argument),
    }
    needs = frozenset(extension for extension, on in used.items() if on)
    return RcptTo(parse_rcpt_parameters(address, rest)), needs


def _parse_vrfy(argument: str) -> str:
    if not argument:
        raise ArgumentError(replies.BAD_ARGUMENT)
    return argument


def _parse_chunk(argument: str) -> ChunkSize:
    match = _CHUNK.fullmatch(argument)
    if match is None:
        raise ArgumentError(replies.BAD_CHUNK_SIZE)
    return ChunkSize(int(match[1]), last=match[2] is not None)


def _parse_sign_in(argument: str) -> SignInStart:
    match = _SIGN_IN.fullmatch(argument)
    if match is None:
        raise ArgumentError(replies.BAD_ARGUMENT)
    return SignInStart(match[1].upper(), "" if match[2] == "=" else match[2])


def _parse_text(argument: str) -> str:
    return argument


_VERBS: Final[dict[str, tuple[Stage, Callable[[str], Any] | None]]] = {
    "HELO": (Stage.HELO, _parse_helo),
    "EHLO": (Stage.HELO, _parse_ehlo),
    "LHLO": (Stage.HELO, _parse_lhlo),
    "MAIL": (Stage.MAIL, _parse_mail),
    "RCPT": (Stage.RCPT, _parse_rcpt),
    "DATA": (Stage.DATA, None),
    "RSET": (Stage.HELO, None),
    "NOOP": (Stage.HELO, _parse_text),
    "HELP": (Stage.HELO, _parse_text),
    "VRFY": (Stage.HELO, _parse_vrfy),
    "QUIT": (Stage.HELO, None),
    "STARTTLS": (Stage.HELO, None),
    "AUTH": (Stage.AUTH, _parse_sign_in),
    "BDAT": (Stage.DATA, _parse_chunk),
    "XCLIENT": (Stage.HELO, parse_override),
    "XFORWARD": (Stage.HELO, parse_forwarded),
}
"""Where a verb counts, and what reads its argument; None: an argument is a syntax error."""

_NOT_OFFERED: Final = frozenset({"EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML"})
"""Known to the standards, and answered as such."""

_OTHER_PROTOCOLS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "PRI"})
"""First words of HTTP: closed at once, so that a browser cannot be made to speak SMTP in a request body."""
