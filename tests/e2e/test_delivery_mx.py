"""Delivery by DNS: mail hosts in their order, what domains say of themselves, and what is remembered of both."""

from collections.abc import Iterator

import pytest
from tests.support.dns import StubDns, Trouble
from tests.support.mailnet import SMTP_PORT, MailNet, MailNetGateway, new_address
from tests.support.mails import plain
from tests.support.sink import THEN_CLOSE, Mail, Sink
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def net() -> Iterator[MailNet]:
    with StubDns() as dns:
        yield MailNet(dns)


@pytest.fixture(scope="module")
def home() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def own_ip() -> str:
    """An address that the gateway listens at, on port 25."""
    return new_address()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, net: MailNet, home: Sink, own_ip: str
) -> Iterator[MailNetGateway]:
    routes = (
        f'\n[[listener]]\naddress = "{own_ip}:{SMTP_PORT}"\n'
        '\n[[route]]\nrecipients = ["routed.example.com"]\nnext_hop = "target.example.com"\n'
        '\n[[route]]\nrecipients = ["moved.example.com"]\nnext_hop = "moving.example.com"\n'
        '\n[[route]]\nrecipients = ["chosen@mixed.example.com"]\nnext_hop = "target.example.com"\n'
    )
    with MailNetGateway(tmp_path_factory.mktemp("mx") / "gw", home, net, settings=routes) as gateway:
        yield gateway
        assert gateway.stop() == 0


def arrived(sink: Sink, count: int = 1) -> None:
    wait_for(lambda: len(sink.mails) >= count, f"{count} mails at the sink")


def report_to(home: Sink, sender: str) -> Mail:
    return wait_for(lambda: [mail for mail in home.mails if mail.recipients == [sender]], f"a report to {sender}")[0]


def reason_of(gateway: MailNetGateway, queue_id: str) -> str:
    def look() -> list[str]:
        return [line.partition('reply="')[2] for line in gateway.lines("DEFERRED", queue_id)]

    return wait_for(look, "a deferral")[0]


@pytest.mark.feature("F-ROUT-03")
def test_first_route_else_own_mail_hosts_else_own_address(gateway: MailNetGateway, net: MailNet) -> None:
    (target, target_ip), (own, own_ip), (bare, bare_ip) = net.host(), net.host(), net.host()
    net.mx("target.example.com", f"10 {target}")
    net.mx("mixed.example.com", f"10 {own}")
    asked = gateway.counter("mta_routing_queries_total")
    with net.sink(target_ip) as routed, net.sink(own_ip) as by_mx, net.sink(bare_ip) as by_address:
        gateway.send(
            plain("three ways"),
            ["chosen@mixed.example.com", "other@mixed.example.com", f"user@{bare}", "a@routed.example.com"],
        )
        arrived(routed, 1)
        arrived(by_mx)
        arrived(by_address)
        wait_for(lambda: sum(routed.recipients().values()) == 2, "both routed recipients")
        assert set(routed.recipients()) == {"chosen@mixed.example.com", "a@routed.example.com"}
        assert set(by_mx.recipients()) == {"other@mixed.example.com"}
        assert set(by_address.recipients()) == {f"user@{bare}"}
    wait_for(lambda: gateway.counter("mta_routing_queries_total") >= asked + 4, "four decisions")


@pytest.mark.feature("F-ROUT-02")
def test_change_in_dns_counts_for_mail_that_waits(gateway: MailNetGateway, net: MailNet) -> None:
    (old, _), (new, new_ip) = net.host(), net.host()
    net.mx("moving.example.com", f"10 {old}", ttl=1)
    with net.sink(new_ip) as sink:
        queue_id = gateway.send(plain("queued"), "waits@moved.example.com")
        assert f"connect to {old}" in reason_of(gateway, queue_id)
        net.mx("moving.example.com", f"10 {new}", ttl=1)
        arrived(sink)


@pytest.mark.feature("F-ROUT-04")
def test_preference_and_fall_over(gateway: MailNetGateway, net: MailNet) -> None:
    domain = net.domain()
    (first, first_ip), (second, second_ip), (third, third_ip) = net.host(), net.host(), net.host()
    net.mx(domain, f"30 {third}", f"10 {first}", f"20 {second}")

    def refuse(step: str, _argument: str, _sink: Sink) -> str | None:
        return "421 4.3.2 not today" + THEN_CLOSE if step == "connect" else None

    with net.sink(third_ip) as last, net.sink(second_ip, refuse) as middle:
        queue_id = gateway.send(plain("primary down"), f"user@{domain}")  # nobody listens at the first
        arrived(last)
        assert middle.connections == 1
        wait_for(lambda: gateway.lines("status=sent", queue_id), "its outcome")
        assert f"server={third_ip} {third}:25" in gateway.lines("status=sent", queue_id)[0]
        assert not gateway.lines("DEFERRED", queue_id)
        with net.sink(first_ip) as best:
            other = net.domain()  # the first host counts as unreachable for a moment, so another name for it
            name = f"again.{first}"
            net.dns.add(name, "A", first_ip)
            net.mx(other, f"20 {second}", f"10 {name}")
            gateway.send(plain("primary back"), f"user@{other}")
            arrived(best)
            assert middle.connections == 1


def test_hosts_of_equal_preference_share_by_chance(gateway: MailNetGateway, net: MailNet) -> None:
    one, two = net.host(), net.host()
    with net.sink(one[1]) as first, net.sink(two[1]) as second:
        for number in range(1, 25):  # a domain each, but the set of hosts is one: its connections are shared
            domain = net.domain()
            net.mx(domain, f"10 {one[0]}", f"10 {two[0]}")
            gateway.send(plain("equals"), f"user@{domain}")
            if not number % 6:  # with all of it there at once, a slow machine may rightly open fifteen
                wait_for(lambda: len(first.mails) + len(second.mails) == number, "the mails so far")  # noqa: B023
        assert first.connections + second.connections <= 12


def test_all_addresses_of_a_host_are_tried(gateway: MailNetGateway, net: MailNet) -> None:
    name, _ = net.host()
    _, live_ip = net.host()
    _, dead_ip = net.host()
    net.dns.add(name, "A", dead_ip, live_ip)
    domain = net.domain()
    net.mx(domain, f"10 {name}")
    with net.sink(live_ip) as sink:
        gateway.send(plain("second address"), f"user@{domain}")
        arrived(sink)


def test_domain_that_takes_no_mail_fails_at_once(gateway: MailNetGateway, net: MailNet, home: Sink) -> None:
    domain = net.domain()
    net.dns.add(domain, "MX", "0 .")
    gateway.send(plain("null mx"), f"user@{domain}", sender="nullmx@example.net")
    assert b"Status: 5.1.10" in report_to(home, "nullmx@example.net").content


def test_domain_that_is_not_there_fails_at_once(gateway: MailNetGateway, net: MailNet, home: Sink) -> None:
    gateway.send(plain("nowhere"), f"user@{net.domain()}", sender="nowhere@example.net")
    assert b"Status: 5.1.2" in report_to(home, "nowhere@example.net").content


def test_domain_without_mail_host_and_address_fails_at_once(gateway: MailNetGateway, net: MailNet, home: Sink) -> None:
    domain = net.domain()
    net.dns.add(domain, "TXT", '"nothing here"')
    gateway.send(plain("no host"), f"user@{domain}", sender="nohost@example.net")
    assert b"Status: 5.4.4" in report_to(home, "nohost@example.net").content


def test_dns_that_fails_is_temporary_and_the_rest_is_delivered(gateway: MailNetGateway, net: MailNet) -> None:
    good, bad = net.domain(), net.domain()
    name, ip = net.host()
    net.mx(good, f"10 {name}")
    net.mx(bad, f"10 {name}")
    net.dns.trouble(bad, Trouble.SERVFAIL)
    with net.sink(ip) as sink:
        queue_id = gateway.send(plain("half known"), [f"a@{good}", f"b@{bad}"])
        arrived(sink)
        wait_for(lambda: [r["recipients"] for r in gateway.queue() if r["queue_id"] == queue_id] == [[f"b@{bad}"]], "b")
        assert "4.4.3" in next(row["reason"] for row in gateway.queue() if row["queue_id"] == queue_id)
        net.dns.heal(bad)
        arrived(sink, 2)


def test_mail_never_comes_back_to_ourselves(gateway: MailNetGateway, net: MailNet, home: Sink) -> None:
    better, better_ip = net.host()
    worse, worse_ip = net.host()
    domain, last = net.domain(), net.domain()
    net.dns.add("gw.example.org", "A", "127.0.0.1")
    net.mx(domain, f"10 {better}", "20 gw.example.org", f"30 {worse}")
    net.mx(last, "10 gw.example.org", f"20 {worse}")
    with net.sink(better_ip) as good, net.sink(worse_ip) as bad:
        gateway.send(plain("loop"), [f"a@{domain}", f"b@{last}"], sender="loop@example.net")
        arrived(good)
        assert b"Status: 5.4.6" in report_to(home, "loop@example.net").content
        assert not bad.connections


@pytest.mark.parametrize("way", ["name", "unspecified", "no mx", "address literal", "alias"])
def test_mail_never_comes_back_by_an_address_of_ours(
    gateway: MailNetGateway, net: MailNet, home: Sink, own_ip: str, way: str
) -> None:
    domain, sender = net.domain(), f"{way.replace(' ', '-')}@example.net"
    name, _ = net.host()
    net.dns.add(name, "A", "0.0.0.0" if way == "unspecified" else own_ip)
    if way == "alias":
        net.dns.alias(f"www.{domain}", name)
    if way == "no mx":
        net.dns.add(domain, "A", own_ip)
    else:
        net.mx(domain, f"10 www.{domain}" if way == "alias" else f"10 {name}")
    recipient = f"user@[{own_ip}]" if way == "address literal" else f"user@{domain}"
    gateway.send(plain(way), recipient, sender=sender)
    assert b"Status: 5.4.6" in report_to(home, sender).content
    assert len(gateway.lines(f"RECEIVED, from=<{sender}>")) == 1


def test_mail_host_that_is_an_alias_takes_mail(gateway: MailNetGateway, net: MailNet) -> None:
    """Against RFC 5321 §5.1, and yet seen: others deliver there, too."""
    (name, ip), domain = net.host(), net.domain()
    net.dns.alias(f"mail.{domain}", name)
    net.mx(domain, f"10 mail.{domain}")
    with net.sink(ip) as sink:
        gateway.send(plain("alias of a host"), f"user@{domain}")
        arrived(sink)


def test_mail_host_that_is_a_bare_address_is_none(gateway: MailNetGateway, net: MailNet) -> None:
    """A mistake in a zone, which gets mended: mail waits, and goes by the hosts that are named rightly."""
    (name, ip), (_, bare) = net.host(), net.host()
    only, both = net.domain(), net.domain()
    net.mx(only, f"10 {bare}")
    net.mx(both, f"10 {bare}", f"20 {name}")
    with net.sink(ip) as sink, net.sink(bare) as never:
        queue_id = gateway.send(plain("bare address"), f"user@{only}")
        gateway.send(plain("a name, too"), f"user@{both}")
        arrived(sink)
        assert "no MX record names a host" in reason_of(gateway, queue_id)
        assert not never.connections
        gateway.command("queue", "remove", "--yes", queue_id)


def test_domain_that_is_an_alias_has_the_mail_hosts_of_what_it_stands_for(
    gateway: MailNetGateway, net: MailNet
) -> None:
    (name, ip), domain, alias = net.host(), net.domain(), net.domain()
    net.mx(domain, f"10 {name}")
    net.dns.alias(alias, domain)
    with net.sink(ip) as sink:
        gateway.send(plain("alias"), f"user@{alias}")
        arrived(sink)
        assert sink.mails[0].recipients == [f"user@{alias}"]


def test_of_fifty_mail_hosts_the_best_thirty_are_tried(gateway: MailNetGateway, net: MailNet) -> None:
    def crowd(alive: int) -> tuple[str, str]:
        """Return a domain with fifty hosts of which one is alive, and that one's address."""
        domain, hosts = net.domain(), [net.host() for _ in range(50)]
        net.mx(domain, *(f"{10 + number} {name}" for number, (name, _) in enumerate(hosts)))
        return domain, hosts[alive][1]

    (reached, last_ip), (beyond, next_ip) = crowd(29), crowd(30)
    with net.sink(last_ip) as last, net.sink(next_ip) as too_far:
        queue_id = gateway.send(plain("thirtieth"), f"user@{reached}")
        arrived(last)
        wait_for(lambda: gateway.lines("status=sent", queue_id), "its outcome")
        assert not gateway.lines("DEFERRED", queue_id)
        queue_id = gateway.send(plain("thirty-first"), f"user@{beyond}")
        reason_of(gateway, queue_id)
        assert not too_far.connections
        gateway.command("queue", "remove", "--yes", queue_id)


@pytest.mark.feature("F-ROUT-10")
def test_second_mail_asks_dns_nothing(gateway: MailNetGateway, net: MailNet) -> None:
    domain = net.domain()
    name, ip = net.host()
    net.mx(domain, f"10 {name}")
    with net.sink(ip) as sink:
        gateway.send(plain("first"), f"user@{domain}")
        arrived(sink)
        packets = net.dns.count(domain)
        before = gateway.counter("mta_dns_queries_through_cache")
        gateway.send(plain("second"), f"user@{domain}")
        arrived(sink, 2)
        assert net.dns.count(domain) == packets == 1
        wait_for(lambda: gateway.counter("mta_dns_queries_through_cache") > before, "the counter")


@pytest.mark.feature("F-ROUT-12")
def test_name_that_is_not_there_is_asked_for_once(gateway: MailNetGateway, net: MailNet, home: Sink) -> None:
    domain = net.domain()
    for number in range(2):
        sender = f"twice{number}@example.net"
        gateway.send(plain("unresolved"), f"user@{domain}", sender=sender)
        report_to(home, sender)
    assert net.dns.count(domain, "MX") == 1


def test_host_with_all_its_addresses_dead_leaves_the_reason(gateway: MailNetGateway, net: MailNet) -> None:
    domain = net.domain()
    name, _ = net.host()
    net.mx(domain, f"10 {name}")
    queue_id = gateway.send(plain("dead"), f"user@{domain}")
    assert f"connect to {name}:{SMTP_PORT}" in reason_of(gateway, queue_id)
    gateway.command("queue", "remove", queue_id)


@pytest.mark.feature("F-ROUT-11")
def test_unreachable_host_is_let_alone(gateway: MailNetGateway, net: MailNet) -> None:
    name, ip = net.host()
    one, two = net.domain(), net.domain()
    net.mx(one, f"10 {name}")
    net.mx(two, f"10 {name}")
    before = gateway.counter("mta_outgoing_connections_failed_through_cache")
    first = gateway.send(plain("finds out"), f"user@{one}")
    reason_of(gateway, first)
    with net.sink(ip) as sink:
        second = gateway.send(plain("knows"), f"user@{two}")
        assert "a moment ago" in reason_of(gateway, second)
        assert not sink.connections
        wait_for(lambda: gateway.counter("mta_outgoing_connections_failed_through_cache") == before + 1, "the counter")
        arrived(sink, 2)  # its life is over before the next attempts
