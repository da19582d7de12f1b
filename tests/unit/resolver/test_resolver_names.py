"""Names: what may be asked, how it is spelled, and that nothing a stranger types raises anything but the one error."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.resolver.names import (
    BadNameError,
    build_list_name,
    build_reverse_name,
    fold_name,
    is_host_name,
    parse_address,
    parse_name,
    show_name,
)


def test_a_name_becomes_labels_and_back() -> None:
    assert show_name(parse_name(fold_name("Mail.Example.ORG."))) == "mail.example.org"


def test_u_labels_become_a_labels() -> None:
    assert show_name(parse_name("bücher.example")) == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("straße.example", "xn--strae-oqa.example"),
        ("βόλος.example", "xn--nxasmm1c.example"),
        ("Ä.example", "xn--4ca.example"),
    ],
)
def test_what_older_standards_mapped_to_another_name_keeps_its_own(name: str, encoded: str) -> None:
    assert show_name(parse_name(name)) == encoded


@pytest.mark.parametrize("name", ["a\u200db.example", "\uff45xample.org", "☃.example", "-é.example"])
def test_what_is_no_u_label_is_refused(name: str) -> None:
    with pytest.raises(BadNameError, match="A-labels"):
        parse_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a..b",
        ".a",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "a\tb",
        "a\0b",
        "a." * 127 + "a",
        "x" * 5000,
        "é" * 80,
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(BadNameError):
        parse_name(name)


def test_the_longest_label_and_name_pass() -> None:
    assert parse_name("a" * 63 + ".example")
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(parse_name(longest).to_wire() or b"") == 255


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        name = parse_name(fold_name(text))
    except BadNameError:
        return
    assert len(name.to_wire() or b"") <= 255


def test_backslashes_are_octets_and_not_escapes() -> None:
    assert parse_name("a\\046b.example").labels[0] == b"a\\046b"


@pytest.mark.parametrize("name", ["mx.example", "a", "a-b.c_d.example", "1.example", "xn--bcher-kva.example"])
def test_names_hosts_may_have(name: str) -> None:
    assert is_host_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "192.0.2.1", "mx.7", "0x7f", "a..b", "-a.example", "a-.example", "a b", "a/b", "a" * 254, "é.example", "a\n"],
)
def test_names_no_host_can_have(name: str) -> None:
    assert not is_host_name(name)


def test_reverse_and_list_names() -> None:
    v4 = ipaddress.ip_address("192.0.2.99")
    v6 = ipaddress.ip_address("2001:db8::1")
    assert build_reverse_name(v4) == "99.2.0.192.in-addr.arpa"
    assert build_list_name(v4, "BL.Example.") == "99.2.0.192.bl.example"
    nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    assert build_list_name(v6, "bl.example") == f"{nibbles}.bl.example"
    assert build_reverse_name(v6) == f"{nibbles}.ip6.arpa"
    assert build_list_name(ipaddress.ip_address("::ffff:192.0.2.99"), "bl.example") == "99.2.0.192.bl.example"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:DB8::1]", "2001:db8::1"),
        ("::1", "::1"),
        ("2001:db8::", "2001:db8::"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize("text", ["", "example.org", "192.0.2", "192.0.2.256", "[x]", "[", "1", "fe80::1%eth0", "face"])
def test_what_is_no_address(text: str) -> None:
    assert parse_address(text) is None
