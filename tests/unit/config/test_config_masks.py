"""Masks, networks and the relay table (F-CONF-09): tables, and a plain reference to compare with."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.masks import FirstMatch, MaskSet, NetworkSet, RelayRule, RelayTable, parse_network


@pytest.mark.feature("F-CONF-09")
@pytest.mark.parametrize(
    ("mask", "text", "expected"),
    [
        ("*", "a@b", True),
        ("any", "a@b", True),
        ("ANY", "", True),
        ("*", "", True),
        ("*@*", "", True),
        ("*@*", "postmaster", True),
        ("a*", "", False),
        ("?", "", False),
        ("*@corp.example", "", False),
        ("*@corp.example", "joe@corp.example", True),
        ("*@corp.example", "JOE@Corp.Example", True),
        ("*@corp.example", "corp.example", False),
        ("*@corp.example", "joe@sub.corp.example", False),
        ("*@corp.example", "joe@corp.example.evil.example", False),
        ("*@corp.example", "a@b@corp.example", True),
        ("*@*.corp.example", "joe@sub.corp.example", True),
        ("*@*.corp.example", "joe@corp.example", False),
        ("u?er@*", "user@x", True),
        ("u?er@*", "uer@x", False),
        ("u?er@*", "ueer@x", True),
        ("joe@corp.example", "Joe@corp.EXAMPLE", True),
        ("joe@corp.example", "xjoe@corp.example", False),
        ("j*e@corp.example", "joooe@corp.example", True),
        ("*.exe", "setup.EXE", True),
        ("*.exe", "setup.exe.txt", False),
        ("a.c", "abc", False),
        ("[ab]*", "ab", False),
        ("[ab]*", "[ab]c", True),
        ("*a*a", "a", False),
        ("*ab*ba*", "aba", False),
        ("*ab*ba*", "abba", True),
        ("image/*", "image/png", True),
        ("a*", "a\nb", True),
    ],
)
def test_mask(mask, text, expected):
    assert MaskSet([mask]).matches(text) is expected
    assert (FirstMatch([(mask, 1)]).find(text) == 1) is expected


ALPHABET = "ab@.*?"
MASKS = st.text(ALPHABET, max_size=8)
TEXTS = st.text("ab@.", max_size=10)


def reference(mask: str, text: str) -> bool:
    if mask in ("*", "*@*") or re.sub(r"\*+", "*", mask) in ("*", "*@*"):
        return True
    pattern = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in mask)
    return re.fullmatch(pattern, text, re.DOTALL) is not None


@given(st.lists(MASKS, max_size=6), TEXTS)
def test_mask_set_equals_the_reference(masks, text):
    assert MaskSet(masks).matches(text) is any(reference(mask, text) for mask in masks)


@given(st.lists(MASKS, max_size=6), TEXTS)
def test_first_match_equals_the_reference(masks, text):
    expected = next((index for index, mask in enumerate(masks) if reference(mask, text)), None)
    assert FirstMatch([(mask, index) for index, mask in enumerate(masks)]).find(text) == expected


@pytest.mark.parametrize(
    "masks",
    [
        ["*", "a*"],
        ["a@b", "a*", "*@b"],
        ["*@b", "a@*", "a@b"],
        ["a?b", "*@b", "*"],
        ["x", "a@b", "*", "?@b"],
    ],
)
def test_the_first_mask_wins_whatever_its_kind(masks):
    expected = next(index for index, mask in enumerate(masks) if reference(mask, "a@b"))
    assert FirstMatch([(mask, index) for index, mask in enumerate(masks)]).find("a@b") == expected


@pytest.mark.parametrize(
    ("masks", "expected"), [(["a", "*@*"], True), (["ANY"], True), (["**"], True), ([], False), (["a*", "*@b"], False)]
)
def test_a_set_knows_whether_it_takes_everyone(masks, expected):
    assert MaskSet(masks).matches_everything is expected


def test_hostile_text_does_not_make_a_mask_backtrack():
    # With plain `.*` for every star this is 2,000 to the tenth steps; the test's own time limit would end it.
    mask = "*a" * 10 + "*b"
    assert not MaskSet([mask]).matches("a" * 2000)


@pytest.mark.feature("F-CONF-09")
@pytest.mark.parametrize(
    ("operand", "ip", "expected"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.0/255.255.255.0", "192.0.2.200", True),
        ("192.0.2.0/255.255.255.0", "192.0.3.1", False),
        ("10.0.0.0/8", "10.255.1.1", True),
        ("10.1.2.3/8", "10.9.9.9", True),
        ("0.0.0.0/0", "203.0.113.9", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("any", "2001:db8::1", True),
        ("2001:db8::/32", "2001:db8:5::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("192.0.2.0/24", "::ffff:192.0.2.9", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("10.0.0.0/8", "not an address", False),
    ],
)
def test_network(operand, ip, expected):
    assert NetworkSet([operand]).contains(ip) is expected


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/255.0.255.0", "host.example", "1.2.3.4/", "::/129"]
)
def test_bad_network(text):
    with pytest.raises(ValueError, match="is not an address"):
        parse_network(text)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=5), st.integers(0, 2**32 - 1))
def test_network_set_equals_ipaddress(networks, number):
    address = ipaddress.IPv4Address(number)
    texts = [f"{ipaddress.IPv4Address(base)}/{length}" for base, length in networks]
    expected = any(address in ipaddress.ip_network(text, strict=False) for text in texts)
    assert NetworkSet(texts).contains(str(address)) is expected


ALLOW_LOCAL = RelayRule(True, ("192.168.0.0/16",), ("*",))
ALLOW_OURS = RelayRule(True, ("any",), ("*@corp.example",))
DENY_REST = RelayRule(False, ("any",), ("*",))


@pytest.mark.parametrize(
    ("rules", "ip", "recipient", "expected"),
    [
        ((ALLOW_LOCAL, ALLOW_OURS, DENY_REST), "192.168.4.4", "x@elsewhere.example", True),
        ((ALLOW_LOCAL, ALLOW_OURS, DENY_REST), "203.0.113.4", "x@corp.example", True),
        ((ALLOW_LOCAL, ALLOW_OURS, DENY_REST), "203.0.113.4", "x@elsewhere.example", False),
        ((DENY_REST, ALLOW_LOCAL), "192.168.4.4", "x@elsewhere.example", False),
        ((ALLOW_OURS,), "203.0.113.4", "x@elsewhere.example", False),
        ((), "203.0.113.4", "x@elsewhere.example", None),
    ],
)
def test_relay_table(rules, ip, recipient, expected):
    assert RelayTable(rules).decide(ip, recipient) is expected


def test_merging_neighbours_keeps_the_meaning_of_order():
    one = RelayRule(False, ("10.0.0.1",), ("*",))
    other = RelayRule(True, ("10.0.0.0/8",), ("*",))
    table = RelayTable([one, other, RelayRule(False, ("10.0.0.2",), ("*",))])
    assert [table.decide(f"10.0.0.{n}", "a@b") for n in (1, 2)] == [False, True]
    # Sides that differ both must not be mixed crosswise.
    pairs = RelayTable([RelayRule(True, ("10.0.0.1",), ("*@a",)), RelayRule(True, ("10.0.0.2",), ("*@b",)), DENY_REST])
    assert pairs.decide("10.0.0.1", "x@b") is False
    assert pairs.decide("10.0.0.2", "x@b") is True


def test_ten_thousand_masks_and_rules():
    masks = [f"user{n}@d{n % 50}.example" for n in range(10_000)] + [f"*@x{n}.example" for n in range(10_000)]
    whole = MaskSet(masks)
    assert whole.matches("USER9999@d49.example")
    assert whole.matches("who@x9999.example")
    assert not whole.matches("user9999@d48.example")
    table = RelayTable([RelayRule(False, (f"10.{n // 256}.{n % 256}.1",), ("*",)) for n in range(10_000)])
    assert len(table._rules) == 1
    assert table.decide("10.39.15.1", "a@b") is False
