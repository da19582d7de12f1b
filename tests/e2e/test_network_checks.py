"""Network checks on a real gateway, against a DNS server on loopback: lists, names, links, budget, greylisting."""

import re
import time
from collections.abc import Iterator

import pytest
from tests.support.dns import StubDns, Trouble
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

ZONES = ("one.bl.example", "two.bl.example")
SETTINGS = """
[antispam]
filter_dns_timeout = "1 s"
surbl_zones = ["uri.example 100"]
dnsbl_premium = ["premium.example"]
dnsbl_reliable = ["reliable.example"]
dnsbl_standard = ["standard.example"]
[antispam.dnsbl]
service = ["one.bl.example 60", "two.bl.example 60", "liar.bl.example 60"]
[resolve]
name_servers = ["{dns}"]
io_network_timeout = "{timeout} s"
[greylisting]
enabled = true
delay = "1 s"
skip_senders = ["*@example.net"]
[[group]]
name = "unchecked"
recipients = ["nolists@example.org"]
use_dnsbl = false
use_surbl = false
use_reverse_dns = false
use_spf = false
use_authentication = false
[[group]]
name = "refusing"
recipients = ["refusing@example.org"]
action_blacklisted = ["reject"]
reject_text = "No thanks"
[[door]]
name = "proxy"
kind = "proxy"
address = "tcp:127.0.0.1:{door}"
next_hop = "tcp:127.0.0.1:{sink}"
"""
SERVER_TIMEOUT_S = 60
DOOR = free_port()
RATE = re.compile(rb"^X-SpamTest-Rate: (\d+)", re.MULTILINE)
METHOD = re.compile(rb"^X-SpamTest-Method: ([^\r\n]*)", re.MULTILINE)
STATUS = re.compile(rb"^X-SpamTest-Status-Extended: ([^\r\n]*)", re.MULTILINE)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def dns() -> Iterator[StubDns]:
    """Its list `liar.bl.example` has what no list has."""
    with StubDns() as server:
        server.add("1.0.0.127.liar.bl.example", "A", "127.0.0.2")
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, dns: StubDns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Believes what 127.0.0.1 tells of its clients by XCLIENT."""
    replace = {
        "[access]\n": '[access]\nxclient_networks = ["127.0.0.1/32"]\n',
        '"127.0.0.0/8", "::1/128",': '"127.0.0.1/32",',
    }
    state = tmp_path_factory.mktemp("network") / "gw"
    with Gateway(
        state,
        sink.port,
        settings=SETTINGS.format(dns=dns.address, door=DOOR, sink=sink.port, timeout=SERVER_TIMEOUT_S),
        replace=replace,
        antispam=True,
        spam_fields=True,
    ) as one:
        yield one


class Sender:
    """Sends mail of strangers, each with an address of its own, and returns what arrives."""

    def __init__(self, gateway: Gateway, sink: Sink, dns: StubDns) -> None:
        self.gateway = gateway
        self.sink = sink
        self.dns = dns
        self.number = 10

    def stranger(self, name: str = "mail.example.net") -> str:
        """Return a new address; with a name that leads back to it."""
        self.number += 1
        ip = f"198.51.100.{self.number}"
        if name:
            host = f"h{self.number}.{name}"
            self.dns.add_ptr(ip, host + ".")
            self.dns.add(host, "A", ip)
        return ip

    def list(self, ip: str, zone: str, code: str = "127.0.0.2") -> None:
        self.dns.add(".".join(reversed(ip.split("."))) + "." + zone, "A", code)

    def send(
        self, ip: str, body: str = "Hello.", *, received: tuple[str, ...] = (), to: str = "user@example.org"
    ) -> Mail:
        hops = "".join(
            f"Received: from a.example ([{hop}]) by b.example; Sun, 22 Nov 2026 08:00:00 +0000\r\n" for hop in received
        )
        number = len(self.sink.mails)
        subject = f"network {self.number} {number}"
        head = f"From: A <sender@example.net>\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Sun, 22 Nov 2026 08:00:00 +0000\r\n"
        head += f"Message-ID: <{self.number}.{number}@example.net>\r\n"
        with Wire(self.gateway.port) as wire:
            wire.expect(
                ("", "220 "),
                ("EHLO proxy.example", "250"),
                (f"XCLIENT ADDR={ip}", "220 "),
                ("EHLO client.example.net", "250"),
                ("MAIL FROM:<sender@example.net>", "250"),
                (f"RCPT TO:<{to}>", "250"),
                ("DATA", "354"),
                (f"{hops}{head}\r\n{body}\r\n.", "250 "),
            )

        def look() -> list[Mail]:
            return [mail for mail in list(self.sink.mails) if f"Subject: {subject}\r\n".encode() in _unlabelled(mail)]

        return wait_for(look, "the mail")[0]


def _unlabelled(mail: Mail) -> bytes:
    return re.sub(rb"^Subject: \[[^\]]*\] ", b"Subject: ", mail.header + b"\r\n", flags=re.MULTILINE)


def rate(mail: Mail) -> int:
    found = RATE.search(mail.header)
    assert found is not None, mail.header
    return int(found[1])


def methods(mail: Mail) -> bytes:
    return b", ".join(METHOD.findall(mail.header))


def status(mail: Mail) -> bytes:
    found = STATUS.search(mail.header)
    assert found is not None, mail.header
    return found[1]


@pytest.fixture
def sender(gateway: Gateway, sink: Sink, dns: StubDns) -> Sender:
    return _sender(gateway, sink, dns)


_made: dict[int, Sender] = {}


def _sender(gateway: Gateway, sink: Sink, dns: StubDns) -> Sender:
    return _made.setdefault(gateway.port, Sender(gateway, sink, dns))


@pytest.mark.feature("F-AS-04")
def test_ratings_above_a_hundred_together_are_blacklisted_and_below_a_sign_only(sender: Sender) -> None:
    clean = sender.send(sender.stranger())
    one, both = sender.stranger(), sender.stranger()
    sender.list(one, ZONES[0])
    sender.list(both, ZONES[0])
    sender.list(both, ZONES[1])
    sign, listed = sender.send(one), sender.send(both)
    assert b"DNSBL" not in methods(clean)
    assert rate(clean) < rate(sign)
    assert status(sign) != b"blacklisted"
    assert status(listed) == b"blacklisted"
    assert b"DNSBL" in methods(listed)


@pytest.mark.feature("F-CLI-03")
def test_a_mail_system_at_the_proxy_door_tells_whose_mail_it_is_and_hears_a_rejection(sender: Sender) -> None:
    """What XFORWARD names is asked for, not the mail system that speaks."""
    clean, listed = sender.stranger(), sender.stranger()
    for zone in ZONES:
        sender.list(listed, zone)

    def give(ip: str, to: str) -> str:
        with Wire(DOOR) as wire:
            wire.expect(
                ("", "220 "),
                ("EHLO mta.example", "250"),
                (f"XFORWARD ADDR={ip} HELO=client.example.net SOURCE=REMOTE", "250"),
                ("MAIL FROM:<sender@example.net>", "250"),
                (f"RCPT TO:<{to}>", "250"),
                ("DATA", "354"),
            )
            head = "From: A <sender@example.net>\r\nSubject: by the door\r\nDate: Sun, 22 Nov 2026 08:00:00 +0000\r\n"
            return wire.ask(f"{head}To: {to}\r\nMessage-ID: <{ip}@example.net>\r\n\r\nHello.\r\n.")

    before = len(sender.sink.mails)
    for ip in (clean, listed):
        assert give(ip, "user@example.org").startswith("250 ")
    passed, caught = sender.sink.mails[before:]
    assert b"DNSBL" not in methods(passed)
    assert b"DNSBL" in methods(caught)
    assert status(caught) == b"blacklisted"
    assert give(listed, "refusing@example.org").startswith("550 5.7.1 No thanks")
    assert len(sender.sink.mails) == before + 2


@pytest.mark.feature("F-AS-05")
def test_lists_of_steps_are_asked_in_order_until_one_has_the_client(sender: Sender) -> None:
    ip = sender.stranger()
    sender.list(ip, "premium.example")
    sender.list(ip, "reliable.example")
    mail = sender.send(ip)
    assert b"RBL: 'premium' list" in methods(mail)
    assert status(mail) == b"spam"
    backwards = ".".join(reversed(ip.split(".")))
    asked = [sender.dns.count(f"{backwards}.{step}.example", "A") for step in ("premium", "reliable", "standard")]
    assert asked == [1, 0, 0]
    other = sender.stranger()
    sender.list(other, "standard.example")
    assert b"RBL: 'standard' list" in methods(sender.send(other))


@pytest.mark.feature("F-AS-06")
def test_the_second_relay_of_the_received_fields_is_looked_up(sender: Sender, gateway: Gateway) -> None:
    bad, between = sender.stranger(), sender.stranger()
    sender.list(bad, ZONES[0])
    sender.list(bad, ZONES[1])
    assert status(sender.send(sender.stranger(), received=(between, bad))) == b"blacklisted"
    assert status(sender.send(sender.stranger(), received=(between, between, bad))) != b"blacklisted"
    for limit, found in ((0, False), (2, True)):
        gateway.ask(
            "configuration.apply",
            changes=[{"section": "antispam", "name": "filter_received_headers_limit", "value": limit}],
        )
        assert (status(sender.send(sender.stranger(), received=(between, bad))) == b"blacklisted") is found


@pytest.mark.feature("F-AS-08")
def test_a_client_without_a_name_has_a_higher_rating(sender: Sender) -> None:
    named, nameless = sender.send(sender.stranger()), sender.send(sender.stranger(name=""))
    assert rate(nameless) > rate(named)


@pytest.mark.feature("F-AS-10")
def test_a_listed_host_in_a_link_raises_the_rating(sender: Sender) -> None:
    sender.dns.add("bad-shop.example.uri.example", "A", "127.0.0.2")
    good = sender.send(sender.stranger(), "See http://www.good-shop.example/offer for all of it.")
    bad = sender.send(sender.stranger(), "See http://www.bad-shop.example/offer for all of it.")
    assert rate(bad) > rate(good)
    assert sender.dns.count("good-shop.example.uri.example", "A") == 1


@pytest.mark.feature("F-AS-07")
def test_the_verdict_comes_although_lists_hang(sender: Sender, gateway: Gateway) -> None:
    ip = sender.stranger()
    for zone in ZONES:
        sender.dns.trouble(".".join(reversed(ip.split("."))) + "." + zone, Trouble.SILENT)
    since = time.monotonic()
    mail = sender.send(ip)
    assert status(mail) == b"not_detected"
    wait_for(lambda: gateway.lines("network checks: ", ""), "the trouble in the log")
    # The budget is a second; without it the servers would be waited for.
    assert time.monotonic() - since < SERVER_TIMEOUT_S


def test_what_no_group_uses_is_not_asked(sender: Sender) -> None:
    ip = sender.stranger()
    sender.dns.forget()
    sender.send(ip, "See http://www.unasked.example/ now.", to="nolists@example.org")
    asked = [name for name, _ in sender.dns.counts() if "bl.example" in name or "uri.example" in name]
    assert asked == []


def test_a_list_that_has_everything_is_switched_off_and_shown(sender: Sender, gateway: Gateway) -> None:
    ip = sender.stranger()
    sender.list(ip, "liar.bl.example")
    sender.list(ip, ZONES[0])
    assert status(sender.send(ip)) == b"not_detected"
    off = gateway.status()["relays"][0]["network_checks"]["lists_off"]
    assert list(off) == ["liar.bl.example"]
    assert "lists everything" in off["liar.bl.example"]
    assert gateway.counter("antispam_dnsbl_asked") >= 2
    assert "does not ask the DNS list liar.bl.example" in gateway.command("status").stdout


def test_a_stranger_is_asked_to_come_again_and_then_taken(sender: Sender, gateway: Gateway) -> None:
    ip = sender.stranger()

    def attempt() -> str:
        with Wire(gateway.port) as wire:
            wire.expect(
                ("", "220 "),
                ("EHLO proxy.example", "250"),
                (f"XCLIENT ADDR={ip}", "220 "),
                ("EHLO client.example.net", "250"),
                ("MAIL FROM:<news@grey.example>", "250"),
            )
            return wire.ask("RCPT TO:<user@example.org>")

    assert attempt().startswith("451 4.7.1 ")
    wait_for(lambda: attempt().startswith("250"), "the retry to be taken")
    wait_for(lambda: gateway.lines("cause=greylisted"), "the refusal in the log")
    assert gateway.counter("mta_receivings_refused_for_greylisting") >= 1
