"""Parameters of MAIL and RCPT (RFC 5321 §4.1.1.11, 1870, 3030, 3461, 4954, 6152, 6531, 6533), and xtext.

Called by `requests` with what `address` cut out of a command. Values that are passed on (ENVID, ORCPT) stay as written.
"""

import re
from typing import Final

import msgspec

from gatepost.model.envelope import Body, Notify, Recipient, Ret
from gatepost.smtp import replies
from gatepost.smtp.address import UNFIT
from gatepost.smtp.errors import ArgumentError

ENVID_LIMIT: Final = 100
"""Octets of ENVID as written, RFC 3461 §4.4."""
ORCPT_LIMIT: Final = 500
"""Octets of ORCPT as written, RFC 3461 §4.2."""
SIZE_DIGITS: Final = 20
"""Digits of a SIZE value, RFC 1870 §4."""

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_ORCPT = re.compile(r"[A-Za-z0-9-]+;(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_UTF8_ORCPT = re.compile(rf"[uU][tT][fF]-8;(?:[^\x00- +=\\\x7f{UNFIT}]|\\x\{{[0-9A-F]{{2,6}}\}})+")
"""Address type `utf-8` with characters that are not ASCII, RFC 6533 §3; the ASCII form looks like any other."""
_HEX_PAIR = re.compile(r"\+([0-9A-F]{2})")


class MailParameters(msgspec.Struct, frozen=True, gc=False):
    """What may follow the path of MAIL."""

    size: int = 0
    """Bytes, 0 when not declared."""
    body: Body = Body.SEVEN_BIT
    ret: Ret | None = None
    envid: str = ""
    smtputf8: bool = False
    auth: bool = False
    """AUTH= was given (RFC 4954 §5); what it says is not believed, as from a client that is not trusted."""


_NO_PARAMETERS: Final = MailParameters()


def parse_mail_parameters(text: str) -> MailParameters:
    """Return the parameters of MAIL; ArgumentError 501 for a wrong value, 555 for an unknown keyword."""
    if not text:
        return _NO_PARAMETERS
    size = 0
    body = Body.SEVEN_BIT
    ret: Ret | None = None
    envid = ""
    smtputf8 = auth = False
    for keyword, value in _split(text).items():
        match keyword:
            case "SIZE":
                size = _parse_size(value)
            case "BODY":
                body = _parse_body(value)
            case "RET":
                ret = _parse_ret(value)
            case "ENVID":
                envid = _parse_envid(value)
            case "SMTPUTF8" if not value:
                smtputf8 = True
            case "AUTH":
                auth = _parse_auth(value)
            case _:
                raise ArgumentError(replies.UNKNOWN_PARAMETER)
    return MailParameters(size, body, ret, envid, smtputf8, auth)


def parse_rcpt_parameters(recipient: str, text: str) -> Recipient:
    """Return the recipient with the parameters of its RCPT; errors as for MAIL."""
    if not text:
        return Recipient(recipient)
    notify: tuple[Notify, ...] = ()
    orcpt = ""
    for keyword, value in _split(text).items():
        match keyword:
            case "NOTIFY":
                notify = _parse_notify(value)
            case "ORCPT":
                orcpt = _parse_orcpt(value)
            case _:
                raise ArgumentError(replies.UNKNOWN_PARAMETER)
    return Recipient(recipient, notify, orcpt)


def _split(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for word in text.split(" "):
        if not word:
            continue
        keyword, _, value = word.partition("=")
        if _KEYWORD.fullmatch(keyword) is None:
            raise ArgumentError(replies.BAD_ARGUMENT)
        keyword = keyword.upper()
        if keyword in parameters or not (value.isascii() or keyword == "ORCPT"):
            raise ArgumentError(replies.BAD_ARGUMENT)
        parameters[keyword] = value
    return parameters


def _parse_size(value: str) -> int:
    if not (value.isdecimal() and len(value) <= SIZE_DIGITS):
        raise ArgumentError(replies.BAD_ARGUMENT)
    return int(value)


def _parse_body(value: str) -> Body:
    try:
        return Body(value.upper())
    except ValueError:
        raise ArgumentError(replies.BAD_ARGUMENT) from None


def _parse_ret(value: str) -> Ret:
    try:
        return Ret(value.upper())
    except ValueError:
        raise ArgumentError(replies.BAD_ARGUMENT) from None


def _parse_envid(value: str) -> str:
    if not value or len(value) > ENVID_LIMIT or not is_xtext(value):
        raise ArgumentError(replies.BAD_ARGUMENT)
    return value


def _parse_auth(value: str) -> bool:
    if value != "<>" and not (value and is_xtext(value)):
        raise ArgumentError(replies.BAD_ARGUMENT)
    return True


def _parse_notify(value: str) -> tuple[Notify, ...]:
    """NEVER alone, or any of the others, each once (RFC 3461 §4.1)."""
    try:
        members = tuple(Notify(word.upper()) for word in value.split(","))
    except ValueError:
        raise ArgumentError(replies.BAD_ARGUMENT) from None
    if len(set(members)) != len(members) or (Notify.NEVER in members and len(members) > 1):
        raise ArgumentError(replies.BAD_ARGUMENT)
    return members


def _parse_orcpt(value: str) -> str:
    if not is_orcpt(value) and (len(value.encode()) > ORCPT_LIMIT or _UTF8_ORCPT.fullmatch(value) is None):
        raise ArgumentError(replies.BAD_ARGUMENT)
    return value


def is_xtext(value: str) -> bool:
    """Tell whether `value` is xtext, and so safe to stand in a command."""
    return _XTEXT.fullmatch(value) is not None


def is_orcpt(value: str) -> bool:
    """Tell whether `value` is an address type, `;` and xtext."""
    return len(value) <= ORCPT_LIMIT and _ORCPT.fullmatch(value) is not None


def decode_xtext(text: str) -> str:
    """Return what an xtext stands for (`+3D` is `=`): maybe line ends. What is no xtext comes back unchanged."""
    if not is_xtext(text):
        return text
    return _HEX_PAIR.sub(lambda pair: chr(int(pair[1], 16)), text)


def encode_xtext(text: str) -> str:
    """Return the xtext that stands for a text (RFC 3461 §4), its octets in UTF-8."""
    return "".join(
        [chr(octet) if 33 <= octet <= 126 and octet not in b"+=" else f"+{octet:02X}" for octet in text.encode()]
    )
