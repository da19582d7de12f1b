"""Received fields as the many mail systems write them: who handed the message to whom, and when. Pure.

Called by `antispam.spots` for the hops and by the header signs. What a field says is what its writer says: fields below
the first one that we trust may be invented.
"""

import datetime as dt
import functools
import ipaddress
import re
from email.utils import parsedate_tz

import msgspec

FIELD_LIMIT = 2_000
"""Bytes of a field that are read: the longest honest ones have some 600."""
_CACHED = 128
"""Fields remembered: hops and signs read the same ones."""

_MARK = re.compile(r"[()]|(?<![^\s)])by(?=[\s(])", re.IGNORECASE)
_FROM = re.compile(r"from\s++([^\s()]++)", re.IGNORECASE)
_STATED = re.compile(r"\b(?:helo|ehlo|ident)(?:=|\s++)\[?([^\s()\]]++)\]?", re.IGNORECASE)
_BRACKETED = re.compile(r"\[(?:IPv6:)?([0-9a-fA-F.:]{3,45})(?:%\w{1,16})?\]", re.IGNORECASE)
_BARE = re.compile(r"[(@](?:IPv6:)?([0-9a-fA-F.:]{3,45})(?:%\w{1,16})?\)", re.IGNORECASE)
_ALONE = re.compile(r"\[?(?:IPv6:)?([0-9a-fA-F.:]{3,45})\]?(?::\d{1,5})?", re.IGNORECASE)
_BY = re.compile(r"by\s++([^\s();]++)", re.IGNORECASE)
_V4_NUMBERS = 4
_V4_MAXIMUM = 255
_DATE = re.compile(
    r"\s*+(?:\w{3,9},?\s++)?(\d{1,2})\s++(\w{3})\s++(\d{4})\s++(\d\d):(\d\d)(?::(\d\d))?\s++([+-])(\d\d)(\d\d)(?!\d)"
)
_EPOCH = dt.date(1970, 1, 1).toordinal()
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_WITH = re.compile(r"\bwith\s++([A-Za-z0-9-]{2,20})\b", re.IGNORECASE)


class Hop(msgspec.Struct, frozen=True):
    """One Received field, read."""

    helo: str = ""
    """What the client called itself, without brackets; "" when nobody says."""
    client: str = ""
    """Its address, as the writer saw it; "" when it states none."""
    by: str = ""
    """Host that wrote the field."""
    protocol: str = ""
    """Word behind `with`, upper case."""
    date: str = ""
    """What stands behind the last semicolon."""
    text: str = ""
    """All of it, unfolded and cut."""


@functools.lru_cache(maxsize=_CACHED)
def parse_received(raw: bytes) -> Hop:
    """Read the value of a Received field (RFC 5321 §4.4, and what is written in its place)."""
    text = " ".join(raw[:FIELD_LIMIT].decode("latin-1").split())
    way, _, date = text.rpartition(";")
    if not way:
        way, date = text, ""
    cut = _find_by(way)
    origin, rest = way[:cut], way[cut:]
    named = _FROM.match(origin)
    name = named[1] if named else ""
    stated = _STATED.search(origin, named.end()) if named and "(" in origin and _may_state(origin) else None
    by, protocol = _BY.match(rest), _WITH.search(rest)
    return Hop(
        helo=(stated[1] if stated else name).strip("[]"),
        client=_find_client(origin, name) if named else "",
        by=by[1].lower().strip("[]") if by else "",
        protocol=protocol[1].upper() if protocol else "",
        date=date.strip(),
        text=text,
    )


def _find_by(way: str) -> int:
    """Return where the word `by` stands outside comments; the end when it is nowhere."""
    usual = way.find(" by ")
    if usual >= 0 and way.count("(", 0, usual) == way.count(")", 0, usual):
        return usual + 1
    depth = 0
    for mark in _MARK.finditer(way):
        if mark[0] == "(":
            depth += 1
        elif mark[0] == ")":
            depth = max(0, depth - 1)
        elif depth == 0:
            return mark.start()
    return len(way)


def _may_state(origin: str) -> bool:
    """Whether `_STATED` may be found: told in a fifth of its time."""
    low = origin.lower()
    return "helo" in low or "ehlo" in low or "ident" in low


def _find_client(origin: str, name: str) -> str:
    """Return the address of the client. What the writer saw stands in a comment behind the name; what the client said
    of itself (`helo=…`, the name) is believed only when nothing else is there.
    """
    start = origin.find("(")
    if start >= 0:
        comments = origin[start:]
        if _may_state(comments):
            comments = _STATED.sub("", comments)
        for pattern in (_BRACKETED, _BARE):
            for text in reversed(pattern.findall(comments)):
                address = read_address(text)
                if address:
                    return address
    alone = _ALONE.fullmatch(name)
    return read_address(alone[1]) if alone else ""


def read_address(text: str) -> str:
    """Return an IPv4 or IPv6 address in its usual form, an IPv4 one mapped into IPv6 as IPv4; "" when it is none."""
    numbers = text.split(".")
    if len(numbers) == _V4_NUMBERS and all(each.isdecimal() and each.isascii() for each in numbers):
        values = [int(each) for each in numbers]
        return ".".join(map(str, values)) if max(values) <= _V4_MAXIMUM else ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


@functools.lru_cache(maxsize=_CACHED)
def read_date(text: str) -> float | None:
    """Return the Unix time of a date as mail writes it (RFC 5322 §3.3, obsolete forms too); None when it is none."""
    plain = _DATE.match(text)
    try:
        if plain:
            day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = plain.groups()
            zone = (int(zone_hours) * 60 + int(zone_minutes)) * 60
            clock = int(hour), int(minute), min(int(second or 0), 59)
            days = dt.datetime(int(year), _MONTHS[month.lower()], int(day), *clock).toordinal() - _EPOCH  # noqa: DTZ001
            seconds = days * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2]
            return float(seconds - zone if sign == "+" else seconds + zone)
        parts = parsedate_tz(text[:200])
        if parts is None:
            return None
        moment = dt.datetime(*parts[:5], min(parts[5], 59), tzinfo=dt.UTC)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.timestamp() - (parts[9] or 0)
