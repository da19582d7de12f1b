"""The routing table: first match wins, and what cannot be routed says why."""

import pytest

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.relay.routing import NextHop, RoutingTable, Unroutable

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
    ],
)
def test_first_match_wins(table: RoutingTable, recipient: str, hop: NextHop) -> None:
    assert table.resolve(recipient) == hop
    assert table.resolve(recipient) == hop  # and again, from memory


@pytest.mark.parametrize(
    ("recipient", "reason"),
    [
        ("a@elsewhere.net", "no route matches <a@elsewhere.net>"),
        ("nodomain", "no route matches <nodomain>"),
        ("a@mx.example.com", "mail.example.com"),
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
