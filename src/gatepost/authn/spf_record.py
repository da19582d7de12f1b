"""SPF records (RFC 7208 §3, §4.6, §5, §6): from text to terms. Called by `spf`.

A record that breaks the grammar anywhere is a `RecordError`, whatever its other terms say.
"""

import functools
import ipaddress
import re
from enum import StrEnum

import msgspec

from gatepost.authn.macro import MacroError, Pieces, parse_domain_spec, parse_macros

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)=(.*)")
_DIRECTIVE = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9_.-]*)(?::([^ ]*?)|(?=/|\Z))?((?:/[0-9]+)?(?://[0-9]+)?)")
_CIDR = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?")
_TERM = re.compile(r"[\x21-\x7e]+")
_IP4 = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")


class RecordError(ValueError):
    """The record breaks the grammar; the argument says where."""


class Mechanism(StrEnum):
    """What a directive looks at (RFC 7208 §5)."""

    ALL = "all"
    INCLUDE = "include"
    A = "a"
    MX = "mx"
    PTR = "ptr"
    IP4 = "ip4"
    IP6 = "ip6"
    EXISTS = "exists"


class Directive(msgspec.Struct, frozen=True, gc=False):
    """One mechanism with its qualifier."""

    result: str
    """pass, fail, softfail or neutral: what a match means."""
    mechanism: Mechanism
    text: str
    """As it stands in the record."""
    domain: Pieces = ()
    """() = the current domain."""
    prefix4: int = 32
    prefix6: int = 128
    network: Network | None = None
    """IP4, IP6."""


class SpfRecord(msgspec.Struct, frozen=True, gc=False):
    """A record, read."""

    directives: tuple[Directive, ...]
    redirect: Pieces = ()
    explanation: Pieces = ()
    """`exp=`."""


_RESULTS = {"": "pass", "+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_MECHANISMS = {each.value: each for each in Mechanism}
_WITH_CIDR = frozenset({Mechanism.A, Mechanism.MX})
_WITH_DOMAIN = frozenset({Mechanism.INCLUDE, Mechanism.EXISTS})


def is_spf(raw: bytes) -> bool:
    """Tell whether a TXT record is an SPF record (RFC 7208 §4.5)."""
    return raw[:6].lower() == b"v=spf1" and raw[6:7] in (b"", b" ")


@functools.lru_cache(maxsize=2048)
def parse_record(raw: bytes) -> SpfRecord:
    """Read a record that `is_spf`. RecordError: it breaks the grammar."""
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise RecordError("characters beyond ASCII") from error
    directives: list[Directive] = []
    modifiers: dict[str, Pieces] = {}
    for term in text[6:].split(" "):
        if not term:
            continue
        if _TERM.fullmatch(term) is None:
            raise RecordError("control characters")
        try:
            modifier = _MODIFIER.fullmatch(term)
            if modifier is None:
                directives.append(_parse_directive(term))
            else:
                _parse_modifier(modifier[1].lower(), modifier[2], modifiers)
        except MacroError as error:
            raise RecordError(f"{term[:80]!r}: {error}") from error
    return SpfRecord(tuple(directives), modifiers.get("redirect", ()), modifiers.get("exp", ()))


def _parse_modifier(name: str, value: str, modifiers: dict[str, Pieces]) -> None:
    if name not in ("redirect", "exp"):
        parse_macros(value)
        return
    if name in modifiers:
        raise RecordError(f"{name}= twice")
    modifiers[name] = parse_domain_spec(value)


def _parse_directive(term: str) -> Directive:
    match = _DIRECTIVE.fullmatch(term)
    if match is None or match[2].lower() not in _MECHANISMS:
        raise RecordError(f"unknown mechanism {term[:80]!r}")
    result, mechanism, target, cidr = _RESULTS[match[1]], _MECHANISMS[match[2].lower()], match[3], match[4]
    if mechanism is Mechanism.ALL:
        if target is not None or cidr:
            raise RecordError("all takes nothing")
        return Directive(result, mechanism, term)
    if mechanism is Mechanism.IP4 or mechanism is Mechanism.IP6:
        return Directive(result, mechanism, term, network=_parse_network(mechanism, (target or "") + cidr))
    if mechanism not in _WITH_CIDR:
        target, cidr = (target + cidr if target is not None else cidr or None), ""
    if (target is None and mechanism in _WITH_DOMAIN) or target == "":
        raise RecordError(f"{mechanism.value} without a domain")
    prefixes = _CIDR.fullmatch(cidr)
    if prefixes is None:
        raise RecordError(f"not a prefix length: {cidr!r}")
    prefix4, prefix6 = int(prefixes[1] or 32), int(prefixes[2] or 128)
    if prefix4 > 32 or prefix6 > 128:
        raise RecordError(f"prefix too long: {cidr!r}")
    domain = () if target is None else parse_domain_spec(target)
    return Directive(result, mechanism, term, domain, prefix4, prefix6)


def _parse_network(mechanism: Mechanism, text: str) -> Network:
    address, slash, length = text.partition("/")
    if slash and (not length.isdigit() or (length[0] == "0" and length != "0")):
        raise RecordError(f"not a prefix length: {text!r}")
    if "%" in address or (mechanism is Mechanism.IP4 and _IP4.fullmatch(address) is None):
        raise RecordError(f"not an address: {text[:80]!r}")
    try:
        if mechanism is Mechanism.IP6:
            return ipaddress.IPv6Network(text, strict=False)
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError as error:
        raise RecordError(f"not a network: {text[:80]!r}") from error
