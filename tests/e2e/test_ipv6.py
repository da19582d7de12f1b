"""IPv6 with real sockets, in and out: sessions, TLS, DANE, networks, rates, families of hosts.

The only address of IPv6 that every machine has is ::1, so clients with other addresses are told of by a balancer, and
one test at a time has port 25 of it.
"""

import contextlib
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.support.certificates import shared_authority
from tests.support.dns import StubDns, Trouble
from tests.support.gateway import Gateway
from tests.support.mailnet import QUICK_TIMES, SMTP_PORT, new_address
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.silence import silent_address
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from gatepost.relay.dialling import CONNECT_LIMIT_S, CONNECTIONS, FAILED

T = TypeVar("T")

HERE = "::1"


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind((HERE, 0))
        return True
    return False


pytestmark = pytest.mark.skipif(not _has_ipv6(), reason="this host has no ::1")

OURS, DENIED = "2001:db8:1", "2001:db8:bad"


class SixGateway(Gateway):
    """Listens at ::1 as well, plainly and behind a balancer, and asks its name server by IPv6."""

    def __init__(self, state: Path, next_hop: Sink, dns: StubDns) -> None:
        self.six, self.balanced = free_port(), free_port()
        certificate = shared_authority().issue("gw.example.org")
        self.certificate = certificate
        super().__init__(
            state,
            next_hop.port,
            settings=f"""
[resolve]
name_servers = ["{dns.address}"]
io_network_timeout = "3 s"
prefer = "ipv6"

[rates]
interval = "1 day"
client_mails = 3

[tls]
ca_file = "{shared_authority().file}"

[[tls_policy]]
destinations = ["*.dane.example"]
level = "dane"

[[listener]]
address = "[{HERE}]:{self.six}"

[[listener]]
address = "[{HERE}]:{self.balanced}"
proxy_protocol = true
""",
            replace={
                **QUICK_TIMES,
                f'next_hop = "[127.0.0.1:{next_hop.port}]"': f'next_hop = "[[{HERE}]:{next_hop.port}]"',
                'recipients = ["*"]': 'recipients = ["example.org", "example.net"]',
                "[network]\n": f'[network]\ntls_cert = "{certificate.chain}"\ntls_key = "{certificate.key}"\n',
                "[access]\n": f'[access]\nproxy_networks = ["{HERE}"]\ndeny_clients = ["{DENIED}::/48"]\n',
                '"127.0.0.0/8", "::1/128",': f'"127.0.0.0/8", "::1/128", "{OURS}::/48",',
            },
        )

    def talk(self) -> Wire:
        """A conversation by IPv6."""
        return Wire(self.six, source=HERE, host=HERE)

    @contextlib.contextmanager
    def from_elsewhere(self, client: str) -> Iterator[Wire]:
        """A conversation of a client with any address."""
        with Wire(self.balanced, source=HERE, host=HERE) as wire:
            wire.send(f"PROXY TCP6 {client} {HERE} 4711 25\r\n".encode())
            yield wire


@pytest.fixture(scope="module")
def dns() -> Iterator[StubDns]:
    with StubDns(HERE) as server:
        yield server


@pytest.fixture(scope="module")
def home() -> Iterator[Sink]:
    with Sink(host=HERE) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, home: Sink, dns: StubDns) -> Iterator[SixGateway]:
    with SixGateway(tmp_path_factory.mktemp("six") / "gw", home, dns) as one:
        yield one
        assert one.stop() == 0


def in_turn(hold: Callable[[], T]) -> T:
    """Do what takes port 25 of ::1, when it is our turn."""

    def look() -> T | None:
        try:
            return hold()
        except PermissionError:
            pytest.skip("port 25 needs CAP_NET_BIND_SERVICE")
        except OSError:
            return None

    return wait_for(look, "port 25 of ::1 to be free")


def mail_host(tls: ssl.SSLContext | None = None) -> Sink:
    """Listen at port 25 of ::1."""
    return in_turn(lambda: Sink(SMTP_PORT, host=HERE, tls=tls))


def dead_host() -> socket.socket:
    """Hold port 25 of ::1 without listening: connections are refused."""

    def hold() -> socket.socket:
        sock = socket.socket(socket.AF_INET6)
        try:
            sock.bind((HERE, SMTP_PORT))
        except OSError:
            sock.close()
            raise
        return sock

    return in_turn(hold)


def arrived(sink: Sink, subject: str) -> Mail:
    def look() -> list[Mail]:
        return [mail for mail in list(sink.mails) if f"\r\nSubject: {subject}\r\n".encode() in mail.header]

    return wait_for(look, f"mail {subject!r}")[0]


def sent_line(gateway: Gateway, queue_id: str) -> str:
    return wait_for(lambda: gateway.lines("status=sent", queue_id), "its outcome")[0]


def test_mail_comes_in_and_goes_on_by_ipv6(gateway: SixGateway, home: Sink) -> None:
    with gateway.talk() as wire:
        wire.expect(("", "220 "))
        assert f"[{HERE}]" in wire.ask(f"EHLO [IPv6:{HERE}]")
        wire.expect(("MAIL FROM:<a@example.net>", "250"), ("RCPT TO:<user@example.org>", "250"))
        answer = wire.data(plain("six"))
        assert answer.startswith("250 ")
    mail = arrived(home, "six")
    assert mail.header.startswith(f"Received: from [IPv6:{HERE}] (unknown [IPv6:{HERE}])\r\n".encode())
    assert mail.without_trace() == plain("six")
    assert f"[{HERE}]:{home.port}" in sent_line(gateway, answer.split()[-1])


def test_starttls_in(gateway: SixGateway, home: Sink) -> None:
    context = shared_authority().client_context()
    with socket.create_connection((HERE, gateway.six), timeout=120) as sock, sock.makefile("rb") as stream:
        for said in (b"", b"EHLO client.example.net\r\n", b"STARTTLS\r\n"):
            sock.sendall(said)
            while stream.readline()[3:4] == b"-":
                pass
        with context.wrap_socket(sock, server_hostname="gw.example.org") as secured:
            secured.sendall(
                b"EHLO client.example.net\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<user@example.org>\r\nDATA\r\n"
            )
            with secured.makefile("rb") as replies:
                while not (line := replies.readline()).startswith(b"354"):
                    assert line[:1] == b"2", line
                secured.sendall(plain("six tls") + b".\r\n")
                assert replies.readline().startswith(b"250 ")
    assert b" with ESMTPS (TLSv1.3 " in re.sub(rb"\r\n\t", b" ", arrived(home, "six tls").header)


def test_mail_host_with_addresses_of_ipv6_only(gateway: SixGateway, dns: StubDns) -> None:
    dns.add("only6.example.com", "MX", "10 mx.only6.example.com.")
    dns.add("mx.only6.example.com", "AAAA", HERE)
    with mail_host() as sink:
        queue_id = gateway.send(plain("only six"), "user@only6.example.com")
        arrived(sink, "only six")
        assert f"server={HERE} mx.only6.example.com:25" in sent_line(gateway, queue_id)


def test_domain_without_mail_host_and_an_address_of_ipv6(gateway: SixGateway, dns: StubDns) -> None:
    dns.add("bare6.example.com", "AAAA", HERE)
    with mail_host() as sink:
        gateway.send(plain("bare six"), "user@bare6.example.com")
        arrived(sink, "bare six")


def test_address_literal(gateway: SixGateway) -> None:
    with mail_host() as sink:
        gateway.send(plain("literal six"), f"user@[IPv6:{HERE}]")
        assert arrived(sink, "literal six").recipients == [f"user@[IPv6:{HERE}]"]


def test_a_family_that_swallows_packets_delays_mail_by_seconds(gateway: SixGateway, dns: StubDns) -> None:
    """No word comes of what is dropped: it cost half a minute at each session."""
    ip, name = new_address(), "mx.hole.example.com"
    dns.add("hole.example.com", "MX", f"10 {name}.")
    dns.add(name, "A", ip)
    dns.add(name, "AAAA", HERE)
    with contextlib.ExitStack() as stack:

        def hold() -> bool:
            stack.enter_context(silent_address(HERE, SMTP_PORT))
            return True

        in_turn(hold)
        sink = stack.enter_context(Sink(SMTP_PORT, host=ip))
        before = {each: gateway.counter(each) for each in (CONNECTIONS, FAILED)}
        queue_id = gateway.send(plain("around the hole"), "user@hole.example.com")
        began = time.time()
        mail = arrived(sink, "around the hole")
        assert mail.at - began < CONNECT_LIMIT_S - 5
        assert f"server={ip} {name}:25" in sent_line(gateway, queue_id)
        assert not gateway.lines("DEFERRED", queue_id)
        wait_for(lambda: gateway.counter(FAILED) == before[FAILED] + 1, "the attempt that was given up")
        assert gateway.counter(CONNECTIONS) == before[CONNECTIONS] + 2
        assert sink.connections == 1


@pytest.mark.parametrize("dead", ["ipv6", "ipv4"])
def test_one_family_dead_costs_no_deferral(gateway: SixGateway, dns: StubDns, dead: str) -> None:
    ip, name = new_address(), f"mx.dead-{dead}.example.com"
    dns.add(f"dead-{dead}.example.com", "MX", f"10 {name}.")
    dns.add(name, "A", ip)
    dns.add(name, "AAAA", HERE)
    subject = f"{dead} is dead"
    gateway.edit('prefer = "ipv6"', f'prefer = "{dead}"')
    try:
        assert gateway.command("reload").returncode == 0
        with contextlib.ExitStack() as stack:
            if dead == "ipv6":
                stack.enter_context(dead_host())
                sink = stack.enter_context(Sink(SMTP_PORT, host=ip))
            else:
                sink = stack.enter_context(mail_host())
            queue_id = gateway.send(plain(subject), f"user@dead-{dead}.example.com")
            arrived(sink, subject)
            sent_line(gateway, queue_id)
            assert not gateway.lines("DEFERRED", queue_id)
    finally:
        gateway.edit(f'prefer = "{dead}"', 'prefer = "ipv6"')
        assert gateway.command("reload").returncode == 0


@pytest.mark.parametrize("ipv4", ["silent", "signed", "absent"])
def test_dane_by_ipv6_whatever_is_known_of_the_other_family(gateway: SixGateway, dns: StubDns, ipv4: str) -> None:
    domain = f"{ipv4}.dane.example"
    name = f"mx.{domain}"
    certificate = shared_authority().issue("whatever.example")
    dns.add(domain, "MX", f"10 {name}.", authentic=True)
    dns.add(name, "AAAA", HERE, authentic=True)
    if ipv4 == "signed":
        dns.add(name, "A", new_address(), authentic=True)
    elif ipv4 == "silent":
        dns.trouble(name, Trouble.SERVFAIL, "A")
    digest = hashlib.sha256(certificate.public_key_der).hexdigest()
    dns.add(f"_25._tcp.{name}", "TLSA", f"3 1 1 {digest}", authentic=True)
    with mail_host(certificate.server_context()) as sink:
        queue_id = gateway.send(plain(f"dane {ipv4}"), f"user@{domain}")
        arrived(sink, f"dane {ipv4}")
        assert sink.encrypted == ["TLSv1.3"]
        assert "/dane" in sent_line(gateway, queue_id)


def test_networks_of_ipv6(gateway: SixGateway, home: Sink) -> None:
    far = "RCPT TO:<a@elsewhere.example>"
    for client, relayed in ((f"{OURS}:7::5", "250"), ("2001:db8:2::5", "554 5.7.1"), (HERE, "250")):
        with gateway.from_elsewhere(client) as wire:
            wire.expect(("", "220 "), ("EHLO client.example.net", "250"), ("MAIL FROM:<a@example.org>", "250"))
            wire.expect((far, relayed), ("RSET", "250"))
    with gateway.from_elsewhere(f"{DENIED}:5::1") as wire:
        assert wire.reply().startswith("554 ")
    with gateway.from_elsewhere(f"{OURS}:7::5") as wire:
        wire.begin(sender="six@example.org")
        answer = wire.data(plain("of ours"))
    mail = arrived(home, "of ours")
    assert f"(unknown [IPv6:{OURS}:7::5])" in mail.header.decode()
    (line,) = wait_for(lambda: gateway.lines("RECEIVED", answer.split()[-1]), "it in the log")
    assert f"{OURS}:7::5" in line


def test_rates_count_a_network_of_64_bits_as_one_client(gateway: SixGateway) -> None:
    def ask(client: str) -> str:
        with gateway.from_elsewhere(client) as wire:
            wire.expect(("", "220 "), ("EHLO client.example.net", "250"))
            return wire.ask("MAIL FROM:<a@example.net>")[:3]

    same = [ask(f"2001:db8:2:7:{n}::{n}") for n in range(1, 5)]
    assert same == ["250", "250", "250", "450"]
    assert ask("2001:db8:2:8::1") == "250"
    assert ask("2001:db8:2:7:ffff::") == "450"
    ours = [ask(f"{OURS}::{n}") for n in range(1, 6)]
    assert ours == ["250"] * 5
