"""The routing table: first match wins, and what cannot be routed says why."""

import pytest

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.relay.routing import MailDomain, NextHop, RoutingTable, Target, Unroutable, Way, parse_way

ROUTES = """
[[route]]
recipients = ["vip@example.org"]
next_hop = "[vip.example.org:26]"

[[route]]
recipients = ["example.org", "*.example.org"]
next_hop = "[10.0.0.1]"

[[route]]
recipients = ["six.example.com"]
next_hop = "[[::1]:2525]"

[[route]]
recipients = ["example.org"]
next_hop = "[never.example.org]"

[[route]]
recipients = ["mx.example.com"]
next_hop = "mail.example.com"

[[route]]
recipients = ["many.example.com"]
next_hop = ["[10.1.0.1]", "two.example.com", "[10.1.0.3:24]"]

[[route]]
recipients = ["turns.example.com"]
next_hop = ["[10.1.0.1]", "[10.1.0.3:24]"]
order = "round_robin"
transport = "lmtp"
"""


@pytest.fixture(scope="module")
def table() -> RoutingTable:
    loaded = load_text(build_default_config(hostname="gw.example.org") + ROUTES, "test.toml")
    assert loaded.config is not None, loaded.errors
    return RoutingTable(loaded.config)


@pytest.mark.parametrize(
    ("recipient", "hop"),
    [
        ("vip@example.org", NextHop("vip.example.org", 26)),
        ("other@example.org", NextHop("10.0.0.1", 25)),
        ("Other@EXAMPLE.org", NextHop("10.0.0.1", 25)),
        ("a@sub.example.org", NextHop("10.0.0.1", 25)),
        ("a@six.example.com", NextHop("::1", 2525)),
        ("a@mx.example.com", MailDomain("mail.example.com")),
        ("a@Elsewhere.net", MailDomain("elsewhere.net")),
        ("a@[192.0.2.1]", MailDomain("[192.0.2.1]")),
        ("a@[IPv6:2001:DB8::1]", MailDomain("[ipv6:2001:db8::1]")),
    ],
)
def test_first_match_wins(table: RoutingTable, recipient: str, hop: Target) -> None:
    assert table.resolve(recipient) == Way((hop,))
    assert table.resolve(recipient) == Way((hop,))  # and again, from memory


def test_several_next_hops_order_and_transport(table: RoutingTable) -> None:
    first, second, third = NextHop("10.1.0.1"), MailDomain("two.example.com"), NextHop("10.1.0.3", 24)
    assert table.resolve("a@many.example.com") == Way((first, second, third))
    assert table.resolve("a@turns.example.com") == Way((first, third), in_turn=True, lmtp=True)


def test_next_hop_of_an_operator() -> None:
    assert parse_way("[10.0.0.9:26]") == Way((NextHop("10.0.0.9", 26),))
    assert parse_way("other.example") == Way((MailDomain("other.example"),))
    assert isinstance(parse_way("[10.0.0.9:port]"), Unroutable)


@pytest.mark.parametrize(
    ("recipient", "reason"),
    [
        ("nodomain", "no route matches <nodomain>"),
        ("a@[somewhere]", "[somewhere] is no address"),
    ],
)
def test_unroutable_names_the_reason(table: RoutingTable, recipient: str, reason: str) -> None:
    answer = table.resolve(recipient)
    assert isinstance(answer, Unroutable)
    assert reason in answer.reason


def test_memory_of_resolved_recipients_is_bounded(table: RoutingTable) -> None:
    for number in range(25_000):
        table.resolve(f"r{number}@example.org")
    assert len(table._cache) <= 10_001


def test_labels() -> None:
    assert NextHop("10.0.0.1").label == "10.0.0.1:25"
    assert NextHop("::1", 26).label == "[::1]:26"
