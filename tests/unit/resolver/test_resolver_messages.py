"""Octets to answers: what counts as a response, what it says, and that no octets raise anything."""

import ipaddress

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.resolver.answers import Kind, Mx, Outcome
from gatepost.resolver.message import (
    HEADER_SIZE,
    MESSAGE_LIMIT,
    PAYLOAD,
    Query,
    Reading,
    ResponseReader,
    build_query,
    is_truncated,
    read_answer,
    read_message,
    rejects_edns,
)
from gatepost.resolver.names import parse_name

NAME = parse_name("www.example.org")


def respond(*answers: str, authority: tuple[str, ...] = (), code: int = 0, kind: Kind = Kind.A) -> bytes:
    message = dns.message.make_response(dns.message.from_wire(build_query(NAME, kind).raw))
    message.set_rcode(dns.rcode.Rcode(code))
    for section, rows in ((message.answer, answers), (message.authority, authority)):
        for row in rows:
            owner, ttl, record, value = row.split(" ", 3)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", record, value))
    return message.to_wire()


def read(raw: bytes, kind: Kind = Kind.A) -> Reading:
    message = read_message(raw)
    assert message is not None
    return read_answer(message, NAME, kind)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("dnssec", [False, True])
def test_a_question_says_what_is_wanted(kind: Kind, dnssec: bool) -> None:
    query = dns.message.from_wire(build_query(NAME, kind, dnssec=dnssec).with_id(0xBEEF))
    assert query.id == 0xBEEF
    assert [(q.name, int(q.rdtype)) for q in query.question] == [(NAME, int(kind))]
    assert query.flags == dns.flags.RD | dns.flags.AD
    assert (query.edns, query.payload, bool(query.ednsflags & dns.flags.DO)) == (0, PAYLOAD, dnssec)


def test_servers_of_zones_are_not_asked_to_recurse() -> None:
    query = dns.message.from_wire(build_query(NAME, Kind.A, recursion=False).raw)
    assert not query.flags & dns.flags.RD


def test_a_plain_question_has_no_edns() -> None:
    query = dns.message.from_wire(build_query(NAME, Kind.A).plain().with_id(7))
    assert (query.edns, query.question[0].name) == (-1, NAME)


@given(st.integers(min_value=0, max_value=2**200))
def test_random_case_is_the_same_name(bits: int) -> None:
    query = build_query(NAME, Kind.A)
    spelled = query.spelled(bits)
    assert len(spelled.raw) == len(query.raw)
    assert dns.message.from_wire(spelled.raw).question[0].name == NAME
    assert spelled.raw[query.asked_end :] == query.raw[query.asked_end :]


def test_only_the_very_question_is_answered() -> None:
    query = build_query(NAME, Kind.A).spelled(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF)
    response = bytearray(query.raw)
    response[2] |= 0x80
    assert query.is_answered_by(bytes(response))
    assert not query.is_answered_by(query.raw)
    assert not query.is_answered_by(bytes(response[:20]))
    folded = bytes(response[:HEADER_SIZE]) + bytes(response[HEADER_SIZE:]).lower()
    assert not query.is_answered_by(folded)
    assert query.is_folded_in(folded)
    other = build_query(NAME, Kind.AAAA).raw
    assert not query.is_folded_in(other[:2] + b"\x80" + other[3:])
    update = bytes(response[:2]) + b"\xa8" + bytes(response[3:])
    assert not query.is_answered_by(update)


def test_a_bare_header_may_reject() -> None:
    query = build_query(NAME, Kind.A)
    assert query.is_rejected_by(b"\0\0\x81\x81" + b"\0" * 8)
    assert rejects_edns(b"\0\0\x81\x81" + b"\0" * 8)
    assert not query.is_rejected_by(b"\0\0\x81\x80" + b"\0" * 8)
    assert not query.is_rejected_by(b"\0\0\x01\x81" + b"\0" * 8)


def test_aliases_inside_an_answer_are_followed_and_the_shortest_life_counts() -> None:
    reading = read(
        respond(
            "www.example.org. 600 CNAME a.example.net.",
            "a.example.net. 30 CNAME b.example.net.",
            "b.example.net. 300 A 192.0.2.1",
        )
    )
    assert (reading.values, reading.ttl_s, reading.aliased) == (("192.0.2.1",), 30, True)


def test_records_of_other_names_are_not_taken() -> None:
    reading = read(respond("evil.example. 600 A 192.0.2.66"))
    assert (reading.outcome, reading.values) == (Outcome.NO_DATA, ())


def test_an_alias_without_its_target_is_to_be_asked_for() -> None:
    reading = read(respond("www.example.org. 600 CNAME a.example.net."))
    assert reading.alias == dns.name.from_text("a.example.net.")
    soa = "example.net. 60 SOA ns.example.net. h.example.net. 1 2 3 4 30"
    ended = read(respond("www.example.org. 600 CNAME a.example.net.", authority=(soa,)))
    assert (ended.alias, ended.outcome, ended.ttl_s) == (None, Outcome.NO_DATA, 30)


def test_circles_and_endless_chains_of_aliases_fail() -> None:
    assert (
        read(respond("www.example.org. 1 CNAME a.example.", "a.example. 1 CNAME www.example.org.")).outcome
        is Outcome.FAILED
    )
    chain = ["www.example.org. 1 CNAME a0.example."] + [f"a{n}.example. 1 CNAME a{n + 1}.example." for n in range(30)]
    assert read(respond(*chain)).outcome is Outcome.FAILED


def test_negative_answers_live_by_their_soa() -> None:
    soa = "example.org. {} SOA ns.example.org. h.example.org. 1 2 3 4 {}"
    assert read(respond(authority=(soa.format(60, 900),), code=3)).ttl_s == 60
    assert read(respond(authority=(soa.format(900, 60),))).ttl_s == 60
    bare = read(respond(code=3))
    assert (bare.outcome, bare.ttl_s) == (Outcome.NO_NAME, None)


@pytest.mark.parametrize("code", [1, 2, 4, 5, 9])
def test_codes_of_trouble_are_failures(code: int) -> None:
    reading = read(respond(code=code))
    assert reading.outcome is Outcome.FAILED
    assert reading.reason == dns.rcode.to_text(dns.rcode.Rcode(code))


def test_hosts_no_mail_can_go_to_are_marked() -> None:
    raw = respond("www.example.org. 60 MX 5 192.0.2.1.", kind=Kind.MX)
    assert read(raw, Kind.MX).values == (Mx(5, "-"),)


def test_a_negative_answer_read_once_is_known_for_other_names() -> None:
    reader = ResponseReader()
    soa = ("example.org. 60 SOA ns.example.org. h.example.org. 1 2 3 4 30",)
    raw = respond(authority=soa, code=3)
    query = build_query(NAME, Kind.A)
    first = reader.read(raw, query, NAME, Kind.A)
    assert first is not None
    assert (first.outcome, first.ttl_s) == (Outcome.NO_NAME, 30)
    assert reader.read(raw, query, NAME, Kind.A) is first
    other = parse_name("mmm.example.org")
    other_query = build_query(other, Kind.A)
    other_raw = raw[:HEADER_SIZE] + other_query.raw[HEADER_SIZE : other_query.asked_end] + raw[query.asked_end :]
    assert reader.read(other_raw, other_query, other, Kind.A) is first
    # Another code, flag or life is another answer.
    refused = reader.read(respond(authority=soa, code=5), query, NAME, Kind.A)
    assert refused is not None
    assert refused.outcome is Outcome.FAILED
    found = reader.read(respond("www.example.org. 60 A 192.0.2.1"), query, NAME, Kind.A)
    assert found is not None
    assert found.values == ("192.0.2.1",)


def test_absurd_sizes_and_counts_are_not_read() -> None:
    raw = respond("www.example.org. 60 A 192.0.2.1")
    assert read_message(raw + bytes(MESSAGE_LIMIT)) is None
    assert read_message(raw[:6] + b"\x01\x01" + raw[8:]) is None
    assert read_message(raw[:11]) is None


def check_octets(raw: bytes, query: Query) -> None:
    is_truncated(raw)
    query.is_answered_by(raw)
    query.is_rejected_by(raw)
    query.is_folded_in(raw)
    for kind in Kind:
        ResponseReader().read(raw, query, NAME, kind)
        message = read_message(raw, referrals=True)
        if message is not None:
            reading = read_answer(message, NAME, kind)
            assert bool(reading.values) == (reading.outcome is Outcome.FOUND)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_random_octets_never_raise(raw: bytes) -> None:
    query = build_query(NAME, Kind.A)
    check_octets(raw, query)
    check_octets(b"\0\0\x81\x80\0\1\0\1\0\1\0\1" + query.raw[HEADER_SIZE : query.asked_end] + raw, query)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damaged_answers_never_raise(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(Kind)))
    value = {
        Kind.A: "192.0.2.1",
        Kind.AAAA: "2001:db8::1",
        Kind.MX: "10 mx.example.org.",
        Kind.TXT: '"some" "text"',
        Kind.TLSA: "3 1 1 " + "00" * 32,
    }.get(kind, "host.example.org.")
    soa = "example.org. 60 SOA ns.example.org. h.example.org. 1 2 3 4 30"
    raw = bytearray(respond(f"www.example.org. 60 {kind.name} {value}", authority=(soa,), kind=kind))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check_octets(bytes(raw[: data.draw(st.integers(0, len(raw)))]), build_query(NAME, kind))
    check_octets(bytes(raw), build_query(NAME, kind))


def test_long_addresses_have_one_form() -> None:
    texts = ("::0.1.0.0", "::ffff:192.0.2.1", "2001:db8::1")
    raw = respond(*(f"www.example.org. 60 AAAA {text}" for text in texts), kind=Kind.AAAA)
    message = read_message(raw)
    assert message is not None
    assert set(read_answer(message, NAME, Kind.AAAA).values) == {str(ipaddress.ip_address(text)) for text in texts}
