"""DNS lists as the configuration names them: zone, the answers that count, the rating. Pure; ValueError says what is
wrong.

    zone 60                             any answer of the list
    zone=127.0.0.2,127.0.0.4-7 60       these answers only
    zone=8,16,64,128 80                 lists of bits: answers whose last octet has any of them
    zone=127.0.0.10-11 40 client        a list of addresses: asked about the client, not about the hops before it
    zone 100 names                      a list of links: not asked about links to addresses

The lists of three steps have no rating. Called by `config.items` and, for use, by the network checks of the relay.
"""

import ipaddress
import re
from typing import Final

import msgspec

CLIENT_ONLY: Final = "client"
NAMES_ONLY: Final = "names"

_ZONE = re.compile(r"(?=.{1,200}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}))+\Z")
_BIT_LIMIT: Final = 255
_LISTS_FROM: Final = int(ipaddress.IPv4Address("127.0.0.0"))
_LISTS_TO: Final = int(ipaddress.IPv4Address("127.255.254.255"))
"""Answers that may say something (RFC 5782 §2.1); above stand the refusals of the large lists."""


class ListService(msgspec.Struct, frozen=True):
    """One DNS list."""

    zone: str
    """Lower case, without the dot at the end."""
    rating: int = 0
    """1…100; 0 = unrated."""
    ranges: tuple[tuple[int, int], ...] = ()
    """Answers that count, as numbers of addresses, ends included."""
    bits: int = 0
    """Bits of the last octet that count."""
    option: str = ""
    """`CLIENT_ONLY`, `NAMES_ONLY` or ""."""
    written: str = ""
    """The answers that count as they are written, "" for all."""

    def counts(self, answer: int) -> bool:
        """Tell whether an answer, the number of an address, means that the list has the thing asked about."""
        if not self.written:
            return True
        return bool(answer & self.bits & 0xFF) or any(low <= answer <= high for low, high in self.ranges)

    def __str__(self) -> str:
        """Return the form of the configuration."""
        words = [f"{self.zone}={self.written}" if self.written else self.zone]
        if self.rating:
            words.append(str(self.rating))
        if self.option:
            words.append(self.option)
        return " ".join(words)


def parse_list_service(text: str, option: str = CLIENT_ONLY) -> ListService:
    """Return a rated list; `option` is the word that may stand at the end."""
    words = text.split()
    if len(words) not in (2, 3) or not words[1].isascii() or not words[1].isdecimal():
        raise ValueError(f"{text[:60]!r} is not '<zone> <rating 1…100>'")
    rating = int(words[1][:4])
    if not 1 <= rating <= 100:
        raise ValueError(f"{text[:60]!r} is not '<zone> <rating 1…100>'")
    if len(words) == 3 and words[2].lower() != option:
        raise ValueError(f"{words[2][:40]!r} behind the rating: only {option!r} may stand there")
    return _parse_zone(words[0], rating, option if len(words) == 3 else "")


def parse_link_service(text: str) -> ListService:
    """Return a rated list of links."""
    return parse_list_service(text, NAMES_ONLY)


def parse_step_list(text: str) -> ListService:
    """Return a list of the three-step form, which has no rating."""
    words = text.split()
    if len(words) not in (1, 2):
        raise ValueError(f"{text[:60]!r} is not a zone, or '<zone> {CLIENT_ONLY}'")
    if len(words) == 2 and words[1].lower() != CLIENT_ONLY:
        raise ValueError(f"{words[1][:40]!r} behind the zone: only {CLIENT_ONLY!r} may stand there")
    return _parse_zone(words[0], 0, CLIENT_ONLY if len(words) == 2 else "")


def _parse_zone(text: str, rating: int, option: str) -> ListService:
    zone, sign, written = text.partition("=")
    zone = zone.lower().removesuffix(".")
    if not _ZONE.match(zone):
        raise ValueError(f"{zone[:60]!r} is not the zone of a list")
    if sign and not written:
        raise ValueError(f"{text[:60]!r} names no answers behind '='")
    ranges: list[tuple[int, int]] = []
    bits = 0
    for item in written.split(",") if written else ():
        if item.isascii() and item.isdecimal() and 1 <= int(item[:4]) <= _BIT_LIMIT:
            bits |= int(item)
        else:
            ranges.append(_parse_range(item))
    return ListService(zone, rating, tuple(ranges), bits, option, written)


def _parse_range(item: str) -> tuple[int, int]:
    """Return the numbers of `127.0.0.4`, or of `127.0.0.4-7`, whose last octet has a range."""
    first, sign, last = item.partition("-")
    try:
        low = int(ipaddress.IPv4Address(first))
        high = int(ipaddress.IPv4Address(first.rpartition(".")[0] + "." + last)) if sign else low
    except ValueError:
        raise ValueError(
            f"{item[:40]!r} is neither an answer like 127.0.0.2, a range like 127.0.0.4-7 nor a bit"
        ) from None
    if not _LISTS_FROM <= low <= high <= _LISTS_TO:
        raise ValueError(f"{item[:40]!r} is no answer of a list: those are in 127.0.0.0/8")
    return low, high
