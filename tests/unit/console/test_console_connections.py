"""How many connections the console has: no place takes those of the others."""

import pytest

from gatepost.console.protocol import CONNECTIONS_EACH, CONNECTIONS_LIMIT, Connections


def test_one_place_leaves_room_for_the_others() -> None:
    """One more than its share is refused; another place comes in; what has gone makes room."""
    connections = Connections()
    assert all(connections.enter("192.0.2.1") for _ in range(CONNECTIONS_EACH))
    assert not connections.enter("192.0.2.1")
    assert connections.enter("192.0.2.2")
    connections.leave("192.0.2.1")
    assert connections.enter("192.0.2.1")
    assert not connections.enter("192.0.2.1")


def test_a_network_of_ipv6_is_one_place() -> None:
    """One subscriber has as many addresses as they like."""
    connections = Connections()
    assert all(connections.enter(f"2001:db8::{number:x}") for number in range(CONNECTIONS_EACH))
    assert not connections.enter("2001:db8::ffff")
    assert connections.enter("2001:db8:0:1::1")


@pytest.mark.parametrize("proxy", ["192.0.2.1", "192.0.2.0/24"])
def test_a_proxy_brings_many_people(proxy: str) -> None:
    """Only the limit of all holds for it."""
    connections = Connections([proxy])
    assert all(connections.enter("192.0.2.1") for _ in range(CONNECTIONS_LIMIT))
    assert not connections.enter("192.0.2.1")
    assert not connections.enter("198.51.100.1")
