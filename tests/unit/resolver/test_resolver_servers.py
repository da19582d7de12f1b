"""Which name servers are asked: notations, the system's file, what remains when nothing is right."""

from pathlib import Path

import pytest

from gatepost.resolver.servers import SERVERS_LIMIT, NameServer, choose_servers, parse_server, parse_system_file


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", NameServer("192.0.2.1", 53)),
        ("192.0.2.1:5353", NameServer("192.0.2.1", 5353)),
        ("2001:db8::1", NameServer("2001:db8::1", 53)),
        ("[2001:DB8::1]", NameServer("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", NameServer("2001:db8::1", 5353)),
    ],
)
def test_notations(text: str, server: NameServer) -> None:
    assert parse_server(text) == server
    assert parse_server(server.label) == server


@pytest.mark.parametrize(
    "text", ["", "ns.example", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "[::1]x", "[::1]:²", "1.2.3.4:5:6"]
)
def test_what_names_no_server(text: str) -> None:
    if text == "192.0.2.1:":
        assert parse_server(text) == NameServer("192.0.2.1")
    else:
        assert parse_server(text) is None


def test_the_systems_file_is_read_as_the_system_does() -> None:
    text = "# a comment\nsearch example\nnameserver 192.0.2.1\nnameserver\nnameserver 2001:db8::1\nnameserver 192.0.2.1\nnameserver no\n"
    assert parse_system_file(text) == (NameServer("192.0.2.1"), NameServer("2001:db8::1"))
    many = "".join(f"nameserver 192.0.2.{n}\n" for n in range(1, 50))
    assert len(parse_system_file(many)) == SERVERS_LIMIT


def test_configured_servers_win_then_the_system_then_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    assert choose_servers(("192.0.2.1:5353",), file) == (NameServer("192.0.2.1", 5353),)
    assert choose_servers((), file) == (NameServer("127.0.0.1"),)
    file.write_text("nameserver 192.0.2.7\n")
    assert choose_servers((), file) == (NameServer("192.0.2.7"),)
