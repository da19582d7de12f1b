"""Addresses in the form a command may carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.smtp.sendable import ascii_address, ascii_domain, is_sendable, is_sendable_utf8, sendable_orcpt


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("example.com", "example.com"),
        ("Example.COM", "Example.COM"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("例子.example.", "xn--fsqu00a.example."),
        ("www.пример.рф", "www.xn--e1afmkfd.xn--p1ai"),
        ("क्षत्रिय.example", "xn--11b4a7ad7a0c8ec.example"),
        ("a-ü-b.example", "xn--a--b-1ra.example"),
    ],
)
def test_domains_in_a_labels(domain, expected):
    assert ascii_domain(domain) == expected


@pytest.mark.parametrize(
    "domain",
    ["-ü.example", "ü-.example", "xn--ü.example", "a\u3002ü", "ü_ü", "ü!", "ü ü", "😀.example", "ﬀ.example", "\uff45.example", "\u0308a.example", "ü\u200d.example", "ü" * 60, "ü" * 64, "ü\ud800", ".".join(["ü" * 20] * 20)],
)  # fmt: skip
def test_domains_without_a_labels(domain):
    assert ascii_domain(domain) is None


def test_only_the_domain_is_converted():
    assert ascii_address("a.b@bücher.example") == "a.b@xn--bcher-kva.example"
    assert ascii_address('"a@b"@bücher.example') == '"a@b"@xn--bcher-kva.example'
    assert ascii_address("ü@example.com") is None
    assert ascii_address("ü") is None
    assert ascii_address("a@ü!") is None


@given(st.text(max_size=70))
def test_whatever_is_converted_is_plainly_sendable(text):
    converted = ascii_domain(text)
    if converted is not None and not text.isascii():
        assert converted.isascii()
        assert len(converted) <= 255
        assert is_sendable(f"x@{converted}") == is_sendable(f"x@a{''.join(c for c in text if c.isascii())}")


@given(st.text(max_size=30))
def test_no_command_is_ended_by_what_is_sendable(text):
    for address in (text, f"{text}@x", f"x@{text}", f'"{text}"@x'):
        if is_sendable(address):
            assert address.isascii()
            assert is_sendable_utf8(address)
        if is_sendable_utf8(address):
            raw = address.encode()
            assert not set(raw) & set(b"\r\n\0\t\x7f")
            assert address.splitlines() in ([address], [])
            if b" " in raw or b"<" in raw or b">" in raw:
                assert raw.startswith(b'"')
        written = sendable_orcpt(f"utf-8;{text}", utf8=True)
        assert not set(written.encode()) & set(b"\r\n\0\t ")
        assert sendable_orcpt(f"utf-8;{text}", utf8=False).isascii()
