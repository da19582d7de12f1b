"""DNS messages: questions to octets, octets to answers. Sans-I/O; the wire format itself is dnspython's.

Called by `transport` (does this datagram answer that question?), `inquiry` and `recursion` (what does it say?). Octets
from the network never raise here: what cannot be read is None.

A question's octets are dnspython's for the root name with the name put in place: one template for each kind and form.
"""

import functools
import ipaddress
from collections.abc import Callable, Iterable
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import msgspec

from gatepost.resolver.answers import Kind, Mx, Outcome, Tlsa
from gatepost.resolver.names import is_host_name, show_name

PAYLOAD: Final = 1232
"""EDNS buffer size we announce: what passes every path in one packet (DNS flag day 2020)."""
MESSAGE_LIMIT: Final = 16 * 1024
"""Octets of an answer over TCP that are read; the longest honest ones (TXT, many MX) are a fraction of it."""
RECORDS_LIMIT: Final = 256
"""Records of an answer that are read: reading one costs up to 100 µs of everybody's time."""
VALUES_LIMIT: Final = 100
"""Values of an answer that are handed out; of MX records the best preferences."""
CHAIN_LIMIT: Final = 8
"""Aliases followed in a row, within answers and from answer to answer; honest chains have two or three."""
TTL_LIMIT_S: Final = 7 * 86400
"""Longest life of a record (RFC 8767 §4 advises a cap in days)."""
NEGATIVES_LIMIT: Final = 1_000
"""Negative responses remembered, at most 1.3 MB: some lists, some seconds."""
HEADER_SIZE: Final = 12

_LETTERS = bytes(0x20 if chr(octet).isalpha() and octet < 128 else 0 for octet in range(256))
"""Translation that leaves the bit by which the cases of a letter differ (RFC 4343). Label lengths are no letters."""


class Query(msgspec.Struct, frozen=True, gc=False):
    """A question ready to be sent but for its id; `raw` has 0 there."""

    raw: bytes
    asked_end: int
    """Where the question section ends."""

    def spelled(self, random_bits: int) -> "Query":
        """Return the question with the name's letters in random case: a forger must guess them, too."""
        end = self.asked_end - 4
        name = self.raw[HEADER_SIZE:end]
        size = len(name)
        flips = int.from_bytes(name.translate(_LETTERS)) & random_bits
        flipped = (int.from_bytes(name) ^ flips).to_bytes(size)
        return Query(self.raw[:HEADER_SIZE] + flipped + self.raw[end:], self.asked_end)

    def plain(self) -> "Query":
        """Return the question without EDNS, for servers that do not know it (RFC 6891 §7)."""
        return Query(self.raw[:10] + b"\0\0" + self.raw[HEADER_SIZE : self.asked_end], self.asked_end)

    def with_id(self, number: int) -> bytes:
        """Return the octets to send."""
        return number.to_bytes(2) + self.raw[2:]

    def is_answered_by(self, raw: bytes) -> bool:
        """Tell whether `raw`, whose id and source are right, is a response to this very question, letter for letter."""
        asked = self.raw[HEADER_SIZE : self.asked_end]
        return (
            len(raw) >= HEADER_SIZE
            and raw[2] & 0xF8 == 0x80
            and raw[4:6] == b"\0\1"
            and raw.startswith(asked, HEADER_SIZE)
        )

    def is_folded_in(self, raw: bytes) -> bool:
        """Tell whether `raw` answers this question but for the case of its letters."""
        asked = self.raw[HEADER_SIZE : self.asked_end]
        return raw[4:6] == b"\0\1" and raw[HEADER_SIZE : self.asked_end].lower() == asked.lower()

    def is_rejected_by(self, raw: bytes) -> bool:
        """Tell whether `raw` is the bare header with which old servers reject a form they do not know."""
        return len(raw) == HEADER_SIZE and raw[2] & 0xF8 == 0x80 and raw[3] & 0x0F != 0


@functools.cache
def _template(kind: Kind, recursion: bool, dnssec: bool) -> tuple[bytes, bytes]:
    """Return what comes before and after the name. AD asks for the AD bit of the answer (RFC 6840 §5.7)."""
    number = dns.rdatatype.RdataType.make(int(kind))
    query = dns.message.make_query(dns.name.root, number, use_edns=0, payload=PAYLOAD, want_dnssec=dnssec, id=0)
    query.flags = dns.flags.Flag((dns.flags.RD | dns.flags.AD) if recursion else 0)
    raw = query.to_wire()
    return raw[:HEADER_SIZE], raw[HEADER_SIZE + 1 :]


def build_query(name: dns.name.Name, kind: Kind, *, recursion: bool = True, dnssec: bool = False) -> Query:
    """Build the question for `name` (absolute). `dnssec`: DO is set (RFC 3225)."""
    head, tail = _template(kind, recursion, dnssec)
    wire = name.to_wire()
    assert wire is not None
    return Query(head + wire + tail, HEADER_SIZE + len(wire) + 4)


def rejects_edns(raw: bytes) -> bool:
    """Tell whether a response may mean that the server does not know EDNS: FORMERR or NOTIMP."""
    return raw[3] & 0x0F in (dns.rcode.FORMERR, dns.rcode.NOTIMP)


def is_truncated(raw: bytes) -> bool:
    """Tell whether a response says that more is to be had over TCP."""
    return len(raw) >= HEADER_SIZE and bool(raw[2] & 0x02)


def read_message(raw: bytes, *, referrals: bool = False) -> dns.message.Message | None:
    """Read a response; None when it is no DNS message or absurdly large.

    Without `referrals` the additional section is left out: from a server that recurses for us it says nothing we would
    believe, and reading EDNS options and addresses is half of the work.
    """
    if len(raw) < HEADER_SIZE or len(raw) > MESSAGE_LIMIT:
        return None
    answers, authorities, additional = (int.from_bytes(raw[at : at + 2]) for at in (6, 8, 10))
    if not referrals:
        additional = 0
        raw = raw[:10] + b"\0\0" + raw[HEADER_SIZE:]
    if answers + authorities + additional > RECORDS_LIMIT:
        return None
    try:
        return dns.message.from_wire(raw, ignore_trailing=True, keyring=False)
    except (dns.exception.DNSException, ValueError, LookupError):
        return None


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What a response says about a question."""

    outcome: Outcome
    values: tuple[Any, ...] = ()
    ttl_s: int | None = None
    """Life in seconds; None: the response does not say (negative without SOA)."""
    alias: dns.name.Name | None = None
    """The chain of aliases ends here without an answer: to be asked next. The outcome then is NO_DATA."""
    authentic: bool = False
    aliased: bool = False
    """The answer is that of another name, which the asked one stands for."""
    reason: str = ""


def read_answer(message: dns.message.Message, name: dns.name.Name, kind: Kind) -> Reading:
    """Read out of a response what it says about (name, kind), aliases inside the response followed."""
    code = message.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Reading(Outcome.FAILED, reason=dns.rcode.to_text(code))
    authentic = bool(message.flags & dns.flags.AD)
    life = TTL_LIMIT_S
    owner = name
    for _ in range(CHAIN_LIMIT):
        rrset = _find(message.answer, owner, kind)
        if rrset is not None:
            values = _VALUES[kind](rrset)[:VALUES_LIMIT]
            life = min(life, rrset.ttl)
            if values:
                return Reading(Outcome.FOUND, values, life, None, authentic, owner != name)
            return Reading(Outcome.NO_DATA, (), life, None, authentic, owner != name, "no usable record")
        alias = None if kind is Kind.CNAME else _find(message.answer, owner, Kind.CNAME)
        if alias is None:
            break
        life = min(life, alias.ttl)
        owner = alias[0].target
        if owner == name:
            return Reading(Outcome.FAILED, reason="aliases go in a circle")
    else:
        return Reading(Outcome.FAILED, reason="too many aliases")
    aliased = owner != name
    if code == dns.rcode.NXDOMAIN:
        return Reading(
            Outcome.NO_NAME, (), _negative_life(message, life, aliased), None, authentic, aliased, "no such name"
        )
    if aliased and _find_soa(message) is None:
        return Reading(Outcome.NO_DATA, (), life, owner, authentic, aliased)
    return Reading(
        Outcome.NO_DATA, (), _negative_life(message, life, aliased), None, authentic, aliased, "no such record"
    )


class ResponseReader:
    """Reads the responses of servers that recurse for us; remembers what negative ones say.

    Most questions to DNS lists have the answer "no such name" with the list's SOA, which takes 290 µs to read. What it
    says (code, flags, life) depends on nothing but the header and what follows the question, so equal octets say equal
    things; the time to live counts down by the second, so one reading serves all questions of a second.
    """

    def __init__(self) -> None:
        self._negatives: dict[bytes, Reading] = {}

    def read(self, raw: bytes, query: Query, name: dns.name.Name, kind: Kind) -> Reading | None:
        """Return what the response `raw` to `query` for (name, kind) says, None when it is unreadable."""
        negative = raw[6:8] == b"\0\0"
        key = raw[2:HEADER_SIZE] + raw[query.asked_end :] if negative else b""
        known = self._negatives.get(key)
        if known is not None:
            return known
        message = read_message(raw)
        if message is None:
            return None
        reading = read_answer(message, name, kind)
        if negative and len(key) <= PAYLOAD:
            if len(self._negatives) >= NEGATIVES_LIMIT:
                self._negatives.clear()
            self._negatives[key] = reading
        return reading


def _negative_life(message: dns.message.Message, life: int, aliased: bool) -> int | None:
    """RFC 2308 §5: the smaller of the SOA's TTL and its minimum; the aliases before it may end sooner."""
    soa = _find_soa(message)
    if soa is not None:
        return int(min(life, soa.ttl, soa[0].minimum))
    return life if aliased else None


def _find_soa(message: dns.message.Message) -> dns.rrset.RRset | None:
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA and rrset.rdclass == dns.rdataclass.IN:
            return rrset
    return None


def _find(section: Iterable[dns.rrset.RRset], owner: dns.name.Name, kind: Kind) -> dns.rrset.RRset | None:
    number = int(kind)
    for rrset in section:
        if rrset.rdtype == number and rrset.rdclass == dns.rdataclass.IN and rrset.name == owner:
            return rrset
    return None


def _addresses(rrset: dns.rrset.RRset) -> tuple[str, ...]:
    return tuple(rdata.address for rdata in rrset)


def _long_addresses(rrset: dns.rrset.RRset) -> tuple[str, ...]:
    """Addresses in the one form by which they are compared: dnspython writes some of them with dots (`::0.1.0.0`)."""
    return tuple(str(ipaddress.IPv6Address(text)) if "." in text else text for text in _addresses(rrset))


def _hosts(rrset: dns.rrset.RRset) -> tuple[str, ...]:
    shown = (show_name(rdata.target) for rdata in rrset)
    return tuple(host for host in shown if host)


def _host_names(rrset: dns.rrset.RRset) -> tuple[str, ...]:
    return tuple(host for host in _hosts(rrset) if is_host_name(host))


def _mail_hosts(rrset: dns.rrset.RRset) -> tuple[Mx, ...]:
    """Keep the root ("", a null MX) and names that may be hosts; any other becomes `UNUSABLE_HOST`."""
    found = set()
    for rdata in rrset:
        host = show_name(rdata.exchange)
        found.add(
            Mx(rdata.preference, host if host == "" or (host is not None and is_host_name(host)) else UNUSABLE_HOST)
        )
    return tuple(sorted(found))


UNUSABLE_HOST: Final = "-"
"""Stands in an `Mx` for a name that no host can have: that there was a record matters (RFC 5321 §5.1)."""


def _texts(rrset: dns.rrset.RRset) -> tuple[bytes, ...]:
    return tuple(b"".join(rdata.strings) for rdata in rrset)


def _certificates(rrset: dns.rrset.RRset) -> tuple[Tlsa, ...]:
    return tuple(Tlsa(rdata.usage, rdata.selector, rdata.mtype, rdata.cert) for rdata in rrset)


_VALUES: Final[dict[Kind, Callable[[dns.rrset.RRset], tuple[Any, ...]]]] = {
    Kind.A: _addresses,
    Kind.AAAA: _long_addresses,
    Kind.NS: _hosts,
    Kind.CNAME: _hosts,
    Kind.PTR: _host_names,
    Kind.MX: _mail_hosts,
    Kind.TXT: _texts,
    Kind.TLSA: _certificates,
}
