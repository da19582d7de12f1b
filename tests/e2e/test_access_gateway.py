"""Rules, lists, rates, verification and directions in a running gateway, with a DNS of our own.

Inside is 127.0.0.1, everything else of 127.0.0.0/8 is a stranger. One gateway has rules for single recipients, so that
every case has a recipient of its own; the other has rules for everybody, and three relays.
"""

from collections.abc import Iterator

import pytest
from tests.support.dns import StubDns, Trouble
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import loopback_network
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

INSIDE = {
    '  "127.0.0.0/8", "::1/128",\n': '  "127.0.0.1/32", "::1/128",\n',
    '# trusted_networks = ["10.0.0.0/8"]': 'trusted_networks = ["127.0.0.1/32"]',
}
ZONES = '["one.bl.example", "two.bl.example"]'

SINGLE = f"""
dns_black_list = {ZONES}
connect_rule = [
  "deny from no_name to named@example.org", "deny from has_name to nameless@example.org",
  "deny from in_dnsbl to unlisted@example.org", "deny from out_dnsbl to listed@example.org",
]
helo_rule = [
  "deny from no_ip to helo-ip@example.org", "deny from has_ip to helo-noip@example.org",
  "deny from diff_ip to helo-same@example.org", "deny from same_ip to helo-diff@example.org",
]
mailfrom_rule = [
  "deny from no_ip to from-ip@example.org", "deny from has_ip to from-noip@example.org",
  "deny from no_mx to from-mx@example.org", "deny from has_mx to from-nomx@example.org",
]
"""
EVERYBODY = f"""
dns_black_list = {ZONES}
connect_rule = ["deny from in_dnsbl to *", "deny from no_name to *"]
mailfrom_rule = ["allow from has_mx to *", "deny from no_ip to *"]
deny_clients = ["{loopback_network()}.66.0/24"]
allow_clients = ["{loopback_network()}.66.9"]
recipient_verification = "call_ahead"
"""
RATES = """
[rates]
interval = "1 day"
client_connections = 12
client_mails = 4
sender_mails = 3
"""


def only_known(step: str, argument: str, _: Sink) -> str | None:
    return "550 5.1.1 No such user" if step == "rcpt" and "unknown" in argument else None


@pytest.fixture(scope="module")
def dns() -> Iterator[StubDns]:
    with StubDns() as server:
        server.add("mx-only.example", "MX", "10 mx.mx-only.example.")
        server.add("address.example", "A", "192.0.2.80")
        yield server


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink(script=only_known) as server:
        yield server


def settings(dns: StubDns, more: str = "") -> str:
    return f'\n[resolve]\nname_servers = ["{dns.address}"]\nio_network_timeout = "2 s"\n{more}'


@pytest.fixture(scope="module")
def single(dns: StubDns, sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    changes = INSIDE | {"[access]\n": "[access]\n" + SINGLE}
    state = tmp_path_factory.mktemp("single") / "gw"
    with Gateway(state, sink.port, settings=settings(dns), replace=changes) as one:
        yield one


@pytest.fixture(scope="module")
def everybody(dns: StubDns, sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    changes = INSIDE | {"[access]\n": "[access]\n" + EVERYBODY}
    state = tmp_path_factory.mktemp("everybody") / "gw"
    with Gateway(state, sink.port, relays=3, settings=settings(dns, RATES), replace=changes) as one:
        yield one


_numbers = iter(range(1, 255))


@pytest.fixture
def stranger() -> str:
    """An address that no other test uses."""
    return f"{loopback_network()}.7.{next(_numbers)}"


def answers(
    gateway: Gateway, client: str, *recipients: str, sender: str = "s@address.example", helo: str = "client.example"
) -> list[str]:
    """Return the replies to MAIL and each RCPT, or to what was refused before."""
    with Wire(gateway.port, source=client) as wire:
        greeting = wire.reply()
        if not greeting.startswith("220 "):
            return [greeting]
        wire.expect((f"EHLO {helo}", "250"))
        replies = [wire.ask(f"MAIL FROM:<{sender}>")]
        if replies[0].startswith("250 "):
            replies += [wire.ask(f"RCPT TO:<{recipient}@example.org>") for recipient in recipients]
        wire.ask("QUIT")
        return replies


def codes(*arguments: object, **more: str) -> list[str]:
    return [answer[:3] for answer in answers(*arguments, **more)]  # type: ignore[arg-type]


def listing(client: str, zone: str) -> str:
    return ".".join(reversed(client.split("."))) + "." + zone


@pytest.mark.feature("F-ACL-03", "F-ACL-06", "F-ACL-09")
def test_clients_with_and_without_a_name(single: Gateway, dns: StubDns, stranger: str) -> None:
    assert codes(single, stranger, "named", "nameless", "other") == ["250", "554", "250", "250"]
    other = f"{loopback_network()}.8.1"
    dns.add_ptr(other, "client.example.")
    assert codes(single, other, "named", "nameless", "other") == ["250", "250", "554", "250"]


@pytest.mark.feature("F-ACL-05")
def test_clients_in_the_second_zone(single: Gateway, dns: StubDns, stranger: str) -> None:
    dns.add(listing(stranger, "two.bl.example"), "A", "127.0.0.2")
    before = single.counter("mta_incoming_connections_refused_for_dnsbl")
    assert codes(single, stranger, "unlisted", "listed") == ["250", "554", "250"]
    assert codes(single, f"{loopback_network()}.8.2", "unlisted", "listed") == ["250", "250", "554"]
    wait_for(
        lambda: single.counter("mta_incoming_connections_refused_for_dnsbl") == before + 1, "the refusal to be counted"
    )
    # Our own clients are not asked about.
    dns.forget()
    assert codes(single, "127.0.0.1", "unlisted", "named", "helo-ip", "from-ip") == ["250"] * 5
    assert dns.count() == 0


@pytest.mark.feature("F-ACL-07")
def test_names_at_hello(single: Gateway, dns: StubDns, stranger: str) -> None:
    recipients = ("helo-ip", "helo-noip", "helo-same", "helo-diff")
    assert codes(single, stranger, *recipients, helo="none.example") == ["250", "554", "250", "554", "250"]
    assert codes(single, stranger, *recipients, helo="address.example") == ["250", "250", "554", "554", "250"]
    dns.add("own.example", "A", "192.0.2.80", stranger)
    assert codes(single, stranger, *recipients, helo="own.example") == ["250", "250", "554", "250", "554"]
    assert codes(single, stranger, *recipients, helo=f"[{stranger}]") == ["250", "250", "554", "250", "554"]


@pytest.mark.feature("F-ACL-08")
def test_domains_of_senders(single: Gateway, stranger: str) -> None:
    recipients = ("from-ip", "from-noip", "from-mx", "from-nomx")
    assert codes(single, stranger, *recipients, sender="s@none.example") == ["250", "554", "250", "554", "250"]
    assert codes(single, stranger, *recipients, sender="s@address.example") == ["250", "250", "554", "554", "250"]
    assert codes(single, stranger, *recipients, sender="s@mx-only.example") == ["250", "554", "250", "250", "554"]
    assert codes(single, stranger, *recipients, sender="") == ["250"] * 5


def test_trouble_in_dns_is_temporary_for_whom_it_decides(single: Gateway, dns: StubDns, stranger: str) -> None:
    dns.trouble(listing(stranger, "one.bl.example"), Trouble.SERVFAIL)
    mail, other, unlisted = answers(single, stranger, "other", "unlisted")
    assert (mail[:3], other[:3]) == ("250", "250")
    assert unlisted.startswith("451 4.4.3")


@pytest.mark.feature("F-ACL-02")
def test_no_relay_for_strangers(single: Gateway, stranger: str) -> None:
    before = single.counter("mta_incoming_connections_refused_for_relaying")
    with Wire(single.port, source=stranger) as wire:
        wire.begin(["user@example.org", "postmaster"])
        for recipient in ("a@elsewhere.example", "a%elsewhere.example@other.example", '"a@example.org"@x.example'):
            assert wire.ask(f"RCPT TO:<{recipient}>").startswith("554 5.7.1")
    with Wire(single.port) as wire:
        wire.begin(["a@elsewhere.example"])
    wait_for(
        lambda: single.counter("mta_incoming_connections_refused_for_relaying") == before + 3, "refusals to be counted"
    )


# Rules for everybody; three relays.


@pytest.mark.feature("F-ACL-03")
def test_rules_for_everybody_are_told_at_the_first_contact(everybody: Gateway, dns: StubDns, stranger: str) -> None:
    (greeting,) = answers(everybody, stranger)
    assert greeting.startswith("554 5.7.1")
    dns.add_ptr(stranger2 := f"{loopback_network()}.9.1", "client.example.")
    assert codes(everybody, stranger2, "user") == ["250", "250"]


@pytest.mark.feature("F-ACL-04")
def test_sender_domains_nobody_can_answer(everybody: Gateway, dns: StubDns, stranger: str) -> None:
    dns.add_ptr(stranger, "client.example.")
    assert codes(everybody, stranger, sender="s@none.example") == ["554"]
    assert codes(everybody, stranger, "user", sender="s@mx-only.example") == ["250", "250"]
    assert codes(everybody, stranger, "user", sender="s@address.example") == ["250", "250"]
    assert codes(everybody, stranger, "user", sender="") == ["250", "250"]


@pytest.mark.feature("F-ACL-10")
def test_lists_of_clients(everybody: Gateway) -> None:
    before = everybody.counter("mta_incoming_connections_refused_for_denied_clients")
    network = f"{loopback_network()}.66"
    assert codes(everybody, f"{network}.1", "user") == ["554"]
    assert codes(everybody, f"{network}.9", "user") == ["250", "250"]  # allowed, and spared of connect_rule
    wait_for(
        lambda: everybody.counter("mta_incoming_connections_refused_for_denied_clients") == before + 1,
        "the refusal to be counted",
    )


def test_recipients_the_next_hop_does_not_know(everybody: Gateway, dns: StubDns, stranger: str) -> None:
    dns.add_ptr(stranger, "client.example.")
    _, known, unknown = answers(everybody, stranger, "user", "unknown")
    assert known.startswith("250 ")
    assert unknown.startswith("550 5.1.1")
    assert codes(everybody, "127.0.0.1", "unknown") == ["250", "250"]


def test_rates_hold_over_three_relays(everybody: Gateway, dns: StubDns, stranger: str) -> None:
    dns.add_ptr(stranger, "client.example.")
    replies = [answers(everybody, stranger)[0] for _ in range(14)]
    assert [reply[:3] for reply in replies] == ["250"] * 4 + ["450"] * 8 + ["421"] * 2
    assert "messages from your address" in replies[4]
    assert "connections from your address" in replies[-1]
    assert len({relay["pid"] for relay in everybody.status()["relays"]}) == 3


def test_outbound_mail_of_one_sender(everybody: Gateway) -> None:
    with Wire(everybody.port) as wire:
        wire.expect(("", "220 "), ("EHLO client.example", "250"))
        for expected in ("250", "250", "250", "450"):
            wire.expect(("MAIL FROM:<joe@example.org>", "250 "), ("RCPT TO:<in@example.org>", "250 "))
            assert wire.ask("RCPT TO:<a@elsewhere.example>").startswith(f"{expected} ")
            wire.expect(("RSET", "250"))


def test_a_mail_passes_all_of_it(everybody: Gateway, sink: Sink, dns: StubDns, stranger: str) -> None:
    dns.add_ptr(stranger, "client.example.")
    with Wire(everybody.port, source=stranger) as wire:
        wire.begin(["passes@example.org"], sender="s@address.example")
        assert wire.data(plain("passes")).startswith("250 ")
    wait_for(lambda: any(mail.recipients == ["passes@example.org"] for mail in list(sink.mails)), "the mail")
