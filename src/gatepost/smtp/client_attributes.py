"""What a trusted peer says about its clients: the arguments of XCLIENT and XFORWARD, Postfix's two extensions.

Called by `requests`. A syntax error is raised as `ArgumentError`; unknown attributes are one. Values come out decoded,
printable and bounded.
"""

import ipaddress
from collections.abc import Callable
from typing import Any, Final

from gatepost.smtp import replies
from gatepost.smtp.errors import ArgumentError
from gatepost.smtp.parameters import decode_xtext, is_xtext
from gatepost.smtp.server_events import TEMPORARILY_UNKNOWN, ClientForwarded, ClientOverride

VALUE_LIMIT: Final = 255
"""Octets of a decoded value: those of a domain, and what the extensions' own description allows."""
PORT_LIMIT: Final = 65535
UNAVAILABLE: Final = "[UNAVAILABLE]"


def parse_override(argument: str) -> ClientOverride:
    """Return the attributes of XCLIENT."""
    return ClientOverride(**_parse(argument, _OVERRIDE))


def parse_forwarded(argument: str) -> ClientForwarded:
    """Return the attributes of XFORWARD."""
    return ClientForwarded(**_parse(argument, _FORWARDED))


def _parse(argument: str, known: dict[str, tuple[str, Callable[[str], Any]]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in argument.split():
        name, _, raw_value = word.partition("=")
        row = known.get(name.upper())
        if row is None or row[0] in found or not raw_value:
            raise ArgumentError(replies.BAD_ARGUMENT)
        field, parse = row
        found[field] = parse(_decode(raw_value))
    if not found:
        raise ArgumentError(replies.BAD_ARGUMENT)
    return found


def _decode(raw_value: str) -> str:
    """Return the value of an xtext, "" for one that is not available."""
    if raw_value.upper() == UNAVAILABLE:
        return ""
    if not is_xtext(raw_value):
        raise ArgumentError(replies.BAD_ARGUMENT)
    octets = decode_xtext(raw_value).encode("latin-1")
    try:
        value = octets.decode()
    except UnicodeDecodeError:
        raise ArgumentError(replies.BAD_ARGUMENT) from None
    if len(octets) > VALUE_LIMIT or not value.isprintable():
        raise ArgumentError(replies.BAD_ARGUMENT)
    return value


def _parse_text(value: str) -> str:
    return "" if value.upper() == TEMPORARILY_UNKNOWN else value


def _parse_name(value: str) -> str:
    return TEMPORARILY_UNKNOWN if value.upper() == TEMPORARILY_UNKNOWN else value


def _parse_address(value: str) -> str:
    value = _parse_text(value)
    if not value:
        return ""
    if value[:5].upper() == "IPV6:":
        value = value[5:]
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ArgumentError(replies.BAD_ARGUMENT) from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:  # a zone of another host means nothing here
            raise ArgumentError(replies.BAD_ARGUMENT)
        return str(address.ipv4_mapped or address)
    return str(address)


def _parse_port(value: str) -> int:
    value = _parse_text(value)
    if not value:
        return 0
    if not (value.isascii() and value.isdecimal() and len(value) <= len(str(PORT_LIMIT))) or int(value) > PORT_LIMIT:
        raise ArgumentError(replies.BAD_ARGUMENT)
    return int(value)


def _parse_one_of(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        value = _parse_text(value).upper()
        if value and value not in allowed:
            raise ArgumentError(replies.BAD_ARGUMENT)
        return value

    return parse


_OVERRIDE: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "NAME": ("name", _parse_name),
    "ADDR": ("address", _parse_address),
    "PORT": ("port", _parse_port),
    "PROTO": ("protocol", _parse_one_of("SMTP", "ESMTP")),
    "HELO": ("helo", _parse_text),
    "LOGIN": ("login", _parse_text),
    "DESTADDR": ("destination", _parse_address),
    "DESTPORT": ("destination_port", _parse_port),
}
_FORWARDED: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "NAME": ("name", _parse_name),
    "ADDR": ("address", _parse_address),
    "PORT": ("port", _parse_port),
    "PROTO": ("protocol", _parse_text),
    "HELO": ("helo", _parse_text),
    "IDENT": ("ident", _parse_text),
    "SOURCE": ("source", _parse_one_of("LOCAL", "REMOTE")),
}
"""Attribute → field of the event and what reads it."""
