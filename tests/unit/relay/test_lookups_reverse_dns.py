"""Reverse DNS of the client (F-AS-08)."""

import pytest
from lookup_bench import SERVFAIL, STRANGER, Bench, found

from gatepost.model.spam import Method
from gatepost.relay.lookups.reverse_dns import looks_dynamic

METHODS = frozenset((Method.REVERSE_DNS,))
REVERSE = "7.100.51.198.in-addr.arpa"


def test_a_client_without_a_name_has_a_sign():
    bench = Bench()
    (sign,) = bench.ask(methods=METHODS).signs
    assert (sign.method, sign.name, sign.detail) == (Method.REVERSE_DNS, "no-name", "DNS: not in DNS")
    assert sign.weight == pytest.approx(0.8)
    assert STRANGER in sign.evidence
    again = bench.ask(methods=METHODS)
    assert again.signs == (sign,)
    assert bench.names.asked[REVERSE] == 1


def test_a_name_that_leads_back_is_no_sign():
    bench = Bench()
    bench.names.table[REVERSE] = found("mail.example.net")
    bench.names.table["mail.example.net"] = found(STRANGER)
    assert bench.ask(methods=METHODS).signs == ()


def test_a_name_that_leads_elsewhere_is_a_weaker_sign():
    bench = Bench()
    bench.names.table[REVERSE] = found("mail.example.net")
    bench.names.table["mail.example.net"] = found("198.51.100.200")
    (sign,) = bench.ask(methods=METHODS).signs
    assert sign.name == "name-unconfirmed"
    assert 0 < sign.weight < 0.8
    assert "mail.example.net" in sign.evidence


@pytest.mark.parametrize("name", [REVERSE, "mail.example.net"])
def test_trouble_is_no_sign(name: str):
    bench = Bench()
    bench.names.table[REVERSE] = found("mail.example.net")
    bench.names.table[name] = SERVFAIL
    facts = bench.ask(methods=METHODS)
    assert facts.signs == ()
    assert any(STRANGER in each for each in facts.troubles)


def test_a_name_that_the_session_has_confirmed_is_not_asked_for_again():
    bench = Bench()
    assert bench.ask(methods=METHODS, name="mail.example.net").signs == ()
    (sign,) = bench.ask(methods=METHODS, name="dyn-7-100.pool.example.net").signs
    assert sign.method is Method.HEADERS_PLUS
    assert not bench.names.asked
    assert not bench.names.ahead


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        ("198.51.100.7", "198-51-100-7.example.net"),
        ("198.51.100.7", "7.100.51.198.isp.example"),
        ("198.51.100.7", "h198.51.100.7.example.net"),
        ("198.51.100.7", "cpe-051-100-007.example.net"),
        ("198.51.100.7", "c6336407.example.net"),
        ("198.51.100.7", "host7.dyn.example.net"),
        ("198.51.100.7", "p7.adsl.example.net"),
        ("2001:db8::1", "ppp12.example.net"),
    ],
)
def test_names_made_of_addresses_look_dynamic(ip: str, name: str):
    assert looks_dynamic(ip, name)


@pytest.mark.parametrize(
    "name",
    [
        "mail.example.net",
        "mail-198-51-100-7.example.net",
        "mx7.example.net",
        "a7-100.smtp-out.eu-west-1.example.com",
        "static-198-51-100-7.example.net",
        "o198-51-100-7.outbound.example.com",
        "vps7.example.net",
        "mailer.users.example.net",
        "dynamics.example.com",
        "clientele.example.com",
        "customers.example.com",
        "resources.example.com",
        "web7.pool.com",
        "cloud7.dsl.net",
        "198-51-100-7.com",
    ],
)
def test_names_of_servers_do_not(name: str):
    assert not looks_dynamic("198.51.100.7", name)
