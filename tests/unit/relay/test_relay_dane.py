"""TLSA records against generated chains: every usage, selector and matching type, and what must never match."""

import datetime as dt
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.support.certificates import Authority, Certificate

from gatepost.relay.certificate_names import match_name
from gatepost.relay.dane import match_chain
from gatepost.relay.tlsa import usable
from gatepost.resolver.answers import Tlsa

NOW = dt.datetime.now(dt.UTC)
HOST = "mx.example.org"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("dane"))


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> Certificate:
    return authority.issue(HOST)


def ca_der(authority: Authority) -> bytes:
    return authority.certificate.public_bytes(Encoding.DER)


def ca_key(authority: Authority) -> bytes:
    return authority.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def matched(data: bytes, matching: int) -> bytes:
    return (lambda d: d, lambda d: hashlib.sha256(d).digest(), lambda d: hashlib.sha512(d).digest())[matching](data)


@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("usage", [2, 3])
def test_every_kind_of_record(
    authority: Authority, leaf: Certificate, tmp_path: Path, usage: int, selector: int, matching: int
) -> None:
    chain = [leaf.der, ca_der(authority)]
    stranger = Authority(tmp_path)
    other = stranger.issue(HOST)
    if usage == 3:
        data, wrong_data = (leaf.public_key_der, other.public_key_der) if selector else (leaf.der, other.der)
    else:
        form = ca_key if selector else ca_der
        data, wrong_data = form(authority), form(stranger)
    record = Tlsa(usage, selector, matching, matched(data, matching))
    assert usable([record]) == (record,)
    assert match_chain([record], chain, [HOST], NOW) == ""
    wrong = Tlsa(usage, selector, matching, matched(wrong_data, matching))
    assert match_chain([wrong], chain, [HOST], NOW)
    # One that matches is enough, wherever it stands.
    assert match_chain([wrong, record], chain, [HOST], NOW) == ""


def test_own_key_counts_whatever_name_and_dates_say(authority: Authority) -> None:
    old = authority.issue("other.example", days=(-30, -1))
    record = Tlsa(3, 1, 1, matched(old.public_key_der, 1))
    assert match_chain([record], [old.der], [HOST], NOW) == ""


@pytest.mark.parametrize(
    ("names", "days", "why"),
    [
        (("other.example",), (-1, 30), "not for"),
        ((), (-1, 30), "not for"),
        ((HOST,), (-30, -1), "not valid at this time"),
        ((HOST,), (1, 30), "not valid at this time"),
    ],
)
def test_anchor_vouches_for_names_and_dates(
    authority: Authority, names: tuple[str, ...], days: tuple[int, int], why: str
) -> None:
    leaf = authority.issue(*names, days=days)
    record = Tlsa(2, 0, 1, matched(ca_der(authority), 1))
    assert why in match_chain([record], [leaf.der, ca_der(authority)], [HOST], NOW)


def test_anchor_may_vouch_for_the_domain(authority: Authority) -> None:
    leaf = authority.issue("example.org")
    record = Tlsa(2, 1, 1, matched(ca_key(authority), 1))
    assert match_chain([record], [leaf.der, ca_der(authority)], [HOST, "example.org"], NOW) == ""


def test_anchor_that_only_stands_beside_the_chain_vouches_for_nothing(
    authority: Authority, leaf: Certificate, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path)
    record = Tlsa(2, 0, 1, matched(ca_der(stranger), 1))
    chain = [leaf.der, ca_der(authority), ca_der(stranger)]
    assert "does not lead" in match_chain([record], chain, [HOST], NOW)


def test_certificate_that_is_no_authority_vouches_for_nothing(authority: Authority, leaf: Certificate) -> None:
    other = authority.issue("not.an.authority")
    record = Tlsa(2, 0, 1, matched(other.der, 1))
    assert "does not lead" in match_chain([record], [leaf.der, other.der], [HOST], NOW)


def test_anchor_in_the_record_need_not_be_shown(authority: Authority, leaf: Certificate) -> None:
    record = Tlsa(2, 0, 0, ca_der(authority))
    assert match_chain([record], [leaf.der], [HOST], NOW) == ""


@pytest.mark.parametrize(
    "record",
    [
        Tlsa(0, 0, 1, bytes(32)),
        Tlsa(1, 1, 1, bytes(32)),
        Tlsa(4, 0, 1, bytes(32)),
        Tlsa(3, 2, 1, bytes(32)),
        Tlsa(3, 0, 3, bytes(32)),
        Tlsa(3, 0, 1, bytes(31)),
        Tlsa(3, 0, 2, bytes(32)),
        Tlsa(3, 0, 0, b""),
    ],
)
def test_records_that_cannot_be_used(record: Tlsa) -> None:
    assert usable([record]) == ()


def test_no_certificate_is_no_match(leaf: Certificate) -> None:
    record = Tlsa(3, 0, 1, matched(leaf.der, 1))
    assert match_chain([record], [], [HOST], NOW)
    assert "cannot be read" in match_chain([record], [b"nonsense"], [HOST], NOW)


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(2, 3), st.integers(0, 1))
def test_nothing_raises_and_nonsense_never_matches(der: bytes, data: bytes, usage: int, selector: int) -> None:
    assert match_chain([Tlsa(usage, selector, 0, data)], [der], [HOST], NOW)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("mx.example.org", "MX.Example.ORG.", True),
        ("*.example.org", "mx.example.org", True),
        ("*.example.org", "a.b.example.org", False),
        ("*.example.org", "example.org", False),
        ("*.example.org", ".example.org", False),
        ("m*.example.org", "mx.example.org", False),
        ("*", "org", False),
    ],
)
def test_names(pattern: str, name: str, fits: bool) -> None:
    assert match_name(pattern, name) is fits
