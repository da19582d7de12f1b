"""A small world of mail for delivery tests: domains in a stub DNS, mail hosts on port 25 of loopback addresses."""

import itertools
import socket
import ssl
from pathlib import Path

import pytest

from tests.support.dns import StubDns
from tests.support.lanes import LaneGateway
from tests.support.ports import loopback_network
from tests.support.sink import Script, Sink

QUICK_TIMES = {
    'minimal_backoff_time = "15 min"': 'minimal_backoff_time = "1 s"',
    'maximal_backoff_time = "4 h"': 'maximal_backoff_time = "2 s"',
}
SMTP_PORT = 25
_numbers = itertools.count(1)


def new_address() -> str:
    """Return a loopback address that nobody has used."""
    number = next(_numbers)
    return f"{loopback_network()}.{100 + number // 250}.{number % 250 + 1}"


class MailNet:
    """The DNS and the addresses of mail hosts. Domains are new for every test: `net.domain()`."""

    def __init__(self, dns: StubDns) -> None:
        try:
            socket.create_server((new_address(), SMTP_PORT)).close()
        except PermissionError:
            pytest.skip("port 25 of a loopback address needs CAP_NET_BIND_SERVICE")
        self.dns = dns

    @property
    def settings(self) -> str:
        """Lines of a configuration that make a gateway ask this DNS, and it alone."""
        return f'\n[resolve]\nname_servers = ["{self.dns.address}"]\nio_network_timeout = "3 s"\nprefer = "ipv4_only"\n'

    def domain(self) -> str:
        return f"d{next(_numbers)}.example.com"

    def host(self, *, authentic: bool = False) -> tuple[str, str]:
        """Return name and address of a new host; nothing listens there yet."""
        number, ip = next(_numbers), new_address()
        name = f"mx{number}.hosts.example"
        self.dns.add(name, "A", ip, authentic=authentic)
        return name, ip

    def mx(self, domain: str, *hosts: str, authentic: bool = False, ttl: int = 300) -> None:
        """Publish `preference name` pairs as the MX of a domain."""
        self.dns.add(domain, "MX", *(f"{host}." for host in hosts), authentic=authentic, ttl=ttl)

    def sink(
        self,
        ip: str,
        script: Script | None = None,
        extensions: tuple[str, ...] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> Sink:
        """Listen at a host's address."""
        return Sink(SMTP_PORT, script, extensions, ip, tls=tls)


class MailNetGateway(LaneGateway):
    """A gateway that finds its way by the net's DNS; only mail for example.net, reports that is, goes to `home`."""

    def __init__(
        self,
        state: Path,
        home: Sink,
        net: MailNet,
        *,
        relays: int = 1,
        settings: str = "",
        replace: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            state,
            home.port,
            relays=relays,
            settings=net.settings + settings,
            replace={**QUICK_TIMES, **(replace or {})},
            default_route=False,
        )
