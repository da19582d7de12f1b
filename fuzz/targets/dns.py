"""Answers of name servers: what any octets say about a question, and names as people and records write them.

The first two bytes say which question and how it is read; the third, when it is odd, has the rest put behind the
header and question of a good response, so that most inputs reach the records.
"""

import functools
import ipaddress
from collections.abc import Iterator
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from gatepost.resolver.answers import Kind, Mx, Outcome, Tlsa
from gatepost.resolver.message import (
    CHAIN_LIMIT,
    HEADER_SIZE,
    TTL_LIMIT_S,
    UNUSABLE_HOST,
    VALUES_LIMIT,
    Query,
    Reading,
    ResponseReader,
    build_query,
    is_truncated,
    read_answer,
    read_message,
    rejects_edns,
)
from gatepost.resolver.names import BadNameError, fold_name, is_host_name, parse_name, show_name

INSTRUMENTED: Final = ("gatepost", "dns")
LENGTH_LIMIT: Final = 700

_KINDS: Final = tuple(Kind)
_NAMES: Final = ("example.org", "mail.example.org", "1.2.0.192.in-addr.arpa", "_25._tcp.mail.example.org")


@functools.cache
def _question(number: int) -> tuple[dns.name.Name, Kind, Query]:
    name = parse_name(_NAMES[number // len(_KINDS) % len(_NAMES)])
    kind = _KINDS[number % len(_KINDS)]
    return name, kind, build_query(name, kind)


def execute(data: bytes) -> None:
    """Read the input as the answer to a question, and as a name."""
    if len(data) < 3:
        return
    name, kind, query = _question(data[0] % (len(_KINDS) * len(_NAMES)))
    raw = data[3:]
    if data[2] & 1:
        counts = bytes((0, data[2] >> 1 & 7, 0, data[2] >> 4 & 7, 0, data[2] >> 7))
        flags = bytes((0x81 | (data[1] & 2), 0x80 | (data[1] >> 4 & 3)))
        raw = b"\0\0" + flags + b"\0\1" + counts + query.raw[HEADER_SIZE : query.asked_end] + raw
    if query.is_answered_by(raw):
        assert raw[HEADER_SIZE : query.asked_end] == query.raw[HEADER_SIZE : query.asked_end]
        reader = ResponseReader()
        first = reader.read(raw, query, name, kind)
        assert reader.read(raw, query, name, kind) == first
        if first is not None:
            _check(first, kind, name)
            rejects_edns(raw)
    query.is_folded_in(raw)
    query.is_rejected_by(raw)
    is_truncated(raw)
    message = read_message(raw, referrals=bool(data[1] & 1))
    if message is not None:
        _check(read_answer(message, name, kind), kind, name)
        for section in (message.answer, message.authority):
            for rrset in section[:CHAIN_LIMIT]:
                _check_shown(rrset.name)
    if data[1] & 0x80:
        _check_name(data[3:].decode("utf-8", "replace"))


def _check(reading: Reading, kind: Kind, name: dns.name.Name) -> None:
    assert (reading.outcome is Outcome.FOUND) == bool(reading.values)
    assert len(reading.values) <= VALUES_LIMIT
    assert reading.ttl_s is None or 0 <= reading.ttl_s <= TTL_LIMIT_S
    assert reading.alias is None or (reading.outcome is Outcome.NO_DATA and reading.alias != name)
    for value in reading.values:
        match kind:
            case Kind.A | Kind.AAAA:
                address = ipaddress.ip_address(value)
                assert str(address) == value
                assert address.version == (4 if kind is Kind.A else 6)
            case Kind.MX:
                assert type(value) is Mx
                assert 0 <= value.preference <= 65535
                assert value.host in {"", UNUSABLE_HOST} or is_host_name(value.host)
            case Kind.TXT:
                assert type(value) is bytes
            case Kind.TLSA:
                assert type(value) is Tlsa
            case _:
                assert value
                assert value == value.lower()
                assert value.isprintable()


def _check_shown(name: dns.name.Name) -> None:
    """Look whether a name out of an answer, when it can be shown, is the same name when it is asked for."""
    shown = show_name(name)
    if shown:
        try:
            again = parse_name(shown)
        except BadNameError:
            return
        assert again == name


def _check_name(text: str) -> None:
    folded = fold_name(text)
    is_host_name(folded)
    try:
        name = parse_name(folded)
    except BadNameError:
        return
    wire = name.to_wire()
    assert wire is not None
    assert len(wire) <= 255
    assert show_name(name) is not None
    assert dns.name.from_wire(wire, 0)[0] == name


WORDS: Final = (
    b"\xc0\x0c", b"\xc0\x00", b"\xc0\xff", b"\x07example\x03org\x00", b"\x04mail\xc0\x0c", b"\x00\x01\x00\x01", b"\x00\x0f\x00\x01",
    b"\x00\x05\x00\x01", b"\x00\x10\x00\x01", b"\x00\x1c\x00\x01", b"\x00\x34\x00\x01", b"\x00\x06\x00\x01", b"\x00\x02\x00\x01",
    b"\x00\x0c\x00\x01", b"\x00\x29", b"\x00\x2e\x00\x01", b"\x00\x00\x0e\x10", b"\xff\xff\xff\xff", b"\x00\x04\xc0\x00\x02\x01",
    b"\x00\x00", b"\x00\x01", b"\xff", b"\x3f", b"\x40",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield responses of every kind: found, aliases, no such name, referral, with EDNS."""
    values = {
        Kind.A: ("A", "192.0.2.1"), Kind.AAAA: ("AAAA", "2001:db8::1"), Kind.MX: ("MX", "10 mail.example.org."), Kind.NS: ("NS", "ns.example.org."),
        Kind.CNAME: ("CNAME", "other.example.org."), Kind.PTR: ("PTR", "mail.example.org."), Kind.TXT: ("TXT", '"v=spf1" " -all"'),
        Kind.TLSA: ("TLSA", "3 1 1 " + "ab" * 32),
    }  # fmt: skip
    soa = "ns.example.org. root.example.org. 1 2 3 4 300"
    for number, kind in enumerate(_KINDS):
        name, _, query = _question(number)
        for form in range(4):
            message = dns.message.make_response(dns.message.from_wire(query.raw))
            if form == 0:
                message.answer.append(dns.rrset.from_text(name, 300, "IN", *values[kind]))
            elif form == 1:
                message.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "x.example.org."))
                message.answer.append(dns.rrset.from_text("x.example.org.", 300, "IN", *values[kind]))
            elif form == 2:
                message.set_rcode(dns.rcode.NXDOMAIN)
                message.authority.append(dns.rrset.from_text("org.", 900, "IN", "SOA", soa))
            else:
                message.flags |= dns.flags.AD
                message.authority.append(dns.rrset.from_text(name, 900, "IN", "NS", "ns.example.org."))
                message.additional.append(dns.rrset.from_text("ns.example.org.", 900, "IN", "A", "192.0.2.9"))
            raw = message.to_wire()
            yield bytes((number, form & 1, 0)) + raw
            yield bytes((number, 0, 0x03 if form < 2 else 0x11)) + raw[query.asked_end :]
    for text in ("example.org", "m\u00fcller.example", "_dmarc.example.org", "1.2.3.4", "a..b", "x" * 64):
        yield bytes((0, 0x80, 0)) + text.encode()
