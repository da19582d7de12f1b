"""White and black lists: what is written in them, what they match, and what proves a sender."""

import datetime as dt

import pytest

from gatepost.config.sender_entry import parse_sender_entry, split_entries
from gatepost.policy.lists import Match, SenderList

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC).timestamp()


def entries(line: str) -> list[str]:
    return [parse_sender_entry(each).text for each in split_entries(line)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a@b.example", ["a@b.example"]),
        ("a@b.example, @c.example;10.0.0.0/8 192.0.2.1", ["a@b.example", "*@c.example", "10.0.0.0/8", "192.0.2.1/32"]),
        ("@c.example # until 2026-12-31 the fair", ["*@c.example until 2026-12-31"]),
        ("# nothing but words", []),
        ("x@y.example # a partner, until they move", ["x@y.example"]),
        ("!x@y.example", ["!x@y.example"]),
        ("x@y.example auth=no z@y.example", ["!x@y.example", "z@y.example"]),
        ("2001:db8::/32", ["2001:db8::/32"]),
        ("*@*.example", ["*@*.example"]),
    ],
)
def test_a_line_gives_its_entries_and_they_read_back(line: str, expected: list[str]) -> None:
    assert entries(line) == expected
    assert [again for text in expected for again in entries(text)] == expected


@pytest.mark.parametrize(
    ("line", "told"),
    [("example.org", "neither an address"), ("10.0.0.300", "neither"), ("a@b # until tomorrow", "is not a day like")],
)
def test_what_is_no_entry_is_told(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        entries(line)


def find(
    texts: str, *addresses: str, ips: tuple[str, ...] = (), now: float = NOW, proved: bool | None = None
) -> Match | None:
    prover = None if proved is None else (lambda _: proved)
    return SenderList(entries(texts)).find(addresses, ips, now, prover)


@pytest.mark.parametrize(
    ("texts", "address"),
    [
        ("bad@spam.example", "BAD@Spam.example"),
        ("@spam.example", "x@spam.example"),
        ("*@*.spam.example", "x@a.b.spam.example"),
        ("b?d@spam.example", "bad@spam.example"),
    ],
)
def test_addresses_match_by_address_domain_and_mask(texts: str, address: str) -> None:
    assert find(texts, address) == Match(texts if texts[0] != "@" else f"*{texts}", address, network=False)


def test_what_is_not_listed_does_not_match() -> None:
    assert find("@spam.example 10.0.0.0/8", "x@sub.spam.example", "", ips=("192.0.2.1", "", "no address")) is None


def test_networks_match_client_and_hops_of_both_versions() -> None:
    texts = "10.0.0.0/8 2001:db8::/32 192.0.2.7"
    for ip, entry in (
        ("10.1.2.3", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("2001:db8::1", "2001:db8::/32"),
        ("192.0.2.7", "192.0.2.7/32"),
    ):
        assert find(texts, "a@b.example", ips=("198.51.100.1", ip)) == Match(entry, ip, network=True)


def test_an_entry_holds_to_the_end_of_its_last_day() -> None:
    last = dt.datetime(2026, 12, 31, 23, 59, 59, tzinfo=dt.UTC).timestamp()
    line = "bad@spam.example 10.0.0.0/8 # until 2026-12-31"
    for now, listed in ((last, True), (last + 1, False)):
        assert (find(line, "bad@spam.example", now=now) is not None) is listed
        assert (find(line, ips=("10.0.0.1",), now=now) is not None) is listed


def test_a_sender_has_to_be_proved_unless_the_entry_lets_him_off() -> None:
    unproved = find("friend@x.example", "friend@x.example", proved=False)
    assert unproved is not None
    assert not unproved.proved
    for texts, proved in (("friend@x.example", True), ("!friend@x.example", False), ("@x.example !*@x.ex*", False)):
        found = find(texts, "friend@x.example", proved=proved)
        assert found is not None
        assert found.proved


def test_a_network_entry_counts_before_a_sender_who_is_not_proved() -> None:
    found = find("friend@x.example 10.0.0.0/8", "friend@x.example", ips=("10.0.0.1",), proved=False)
    assert found == Match("10.0.0.0/8", "10.0.0.1", network=True)
