"""Addresses, mail hosts, reverse names and DNS lists: answers made of answers, against a real server."""

from pathlib import Path

import pytest
from resolver_bench import Bench, build_config
from tests.support.dns import StubDns, Trouble

from gatepost.resolver.answers import Families, MailHosts, Mx, Outcome
from gatepost.resolver.resolver import Resolver
from gatepost.resolver.servers import parse_hosts


def test_addresses_of_both_families_take_turns(bench: Bench, dns: StubDns) -> None:
    dns.add("h.example", "A", "192.0.2.1", "192.0.2.2", "192.0.2.3")
    dns.add("h.example", "AAAA", "2001:db8::1")

    async def scenario(resolver: Resolver) -> None:
        both = (await resolver.addresses("h.example")).values
        assert both[0] == "2001:db8::1"
        assert sorted(both[1:]) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        v4_first = (await resolver.addresses("h.example", families=Families.IPV4)).values
        assert (":" in v4_first[0], ":" in v4_first[1]) == (False, True)
        assert (await resolver.addresses("h.example", families=Families.IPV6_ONLY)).values == ("2001:db8::1",)
        only_v4 = await resolver.addresses("h.example", families=Families.IPV4_ONLY)
        assert sorted(only_v4.values) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        assert only_v4.through_cache
        resolver.configure(build_config(name_servers=[dns.address], prefer="ipv4"))
        assert (await resolver.addresses("h.example")).values == v4_first

    bench.run(scenario)


def test_hosts_of_the_systems_own_file_are_not_asked_for(bench: Bench, dns: StubDns, tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("# ours\n192.0.2.9 Inner.example inner # an alias\n2001:db8::9\tinner.example\nnonsense here\n")
    assert parse_hosts(file.read_text())["inner.example"] == ("192.0.2.9", "2001:db8::9")

    async def scenario(_: Resolver) -> None:
        resolver = Resolver(build_config(name_servers=[dns.address], prefer="ipv4"), hosts_file=file)
        assert (await resolver.addresses("INNER.example.")).values == ("192.0.2.9", "2001:db8::9")
        assert (await resolver.addresses("inner", families=Families.IPV6_ONLY)).outcome is Outcome.NO_DATA
        await resolver.close()

    bench.run(scenario)
    assert dns.count() == 0


def test_addresses_are_their_own(bench: Bench, dns: StubDns) -> None:
    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.addresses("192.0.2.1")).values == ("192.0.2.1",)
        assert (await resolver.addresses("[IPv6:2001:db8::1]")).values == ("2001:db8::1",)
        assert (await resolver.addresses("localhost")).values == ("::1", "127.0.0.1")

    bench.run(scenario)
    assert dns.count() == 0


def test_aliases_are_followed(bench: Bench, dns: StubDns) -> None:
    dns.alias("www.example", "one.example")
    dns.alias("one.example", "two.example")
    dns.add("two.example", "A", "192.0.2.1")

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.addresses("www.example")).values == ("192.0.2.1",)

    bench.run(scenario)


def test_a_circle_of_aliases_ends(bench: Bench, dns: StubDns) -> None:
    dns.alias("a.example", "b.example")
    dns.alias("b.example", "a.example")

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.addresses("a.example")).outcome is Outcome.FAILED

    bench.run(scenario)


def test_one_family_failing_does_not_hide_the_other(bench: Bench, dns: StubDns) -> None:
    dns.add("h.example", "A", "192.0.2.1")
    dns.trouble("h.example", Trouble.SERVFAIL, "AAAA")
    dns.add("v6.example", "TXT", '"x"')
    dns.trouble("v6.example", Trouble.SERVFAIL, "AAAA")

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.addresses("h.example")).values == ("192.0.2.1",)
        assert (await resolver.addresses("v6.example")).outcome is Outcome.FAILED
        assert (await resolver.addresses("none.example")).outcome is Outcome.NO_NAME

    bench.run(scenario)


def test_a_signed_host_stays_one_when_the_other_family_is_silenced_or_made_up(bench: Bench, dns: StubDns) -> None:
    """Else who drops the answers to AAAA does away with DANE (RFC 7672 §2.2)."""
    dns.add("signed.example", "A", "192.0.2.1", authentic=True)
    dns.trouble("signed.example", Trouble.SERVFAIL, "AAAA")
    dns.add("nat64.example", "A", "192.0.2.2", authentic=True)
    dns.add("nat64.example", "AAAA", "64:ff9b::c000:202")
    dns.add("only4.example", "A", "192.0.2.3", authentic=True)  # the stub's empty answers carry no AD
    dns.add("plain.example", "A", "192.0.2.4")

    async def scenario(resolver: Resolver) -> None:
        found = {
            name: await resolver.addresses(f"{name}.example", dnssec=True)
            for name in ("signed", "nat64", "only4", "plain")
        }
        assert {name: answer.authentic for name, answer in found.items()} == {
            "signed": True,
            "nat64": True,
            "only4": True,
            "plain": False,
        }
        assert found["signed"].values == ("192.0.2.1",)

    bench.run(scenario)


def hosts_of(bench: Bench, domain: str) -> MailHosts:
    async def scenario(resolver: Resolver) -> MailHosts:
        return await resolver.mail_hosts(domain)

    return bench.run(scenario)


def test_mail_hosts_come_by_preference(bench: Bench, dns: StubDns) -> None:
    dns.add("d.example", "MX", "20 c.example.", "10 b.example.", "10 a.example.")
    hosts = hosts_of(bench, "d.example")
    assert hosts.hosts == (Mx(10, "a.example"), Mx(10, "b.example"), Mx(20, "c.example"))
    assert (hosts.outcome, hosts.implicit, hosts.null_mx) == (Outcome.FOUND, False, False)


def test_a_domain_without_mx_is_its_own_host(bench: Bench, dns: StubDns) -> None:
    dns.add("d.example", "A", "192.0.2.1")
    hosts = hosts_of(bench, "D.example.")
    assert (hosts.outcome, hosts.hosts, hosts.implicit) == (Outcome.FOUND, (Mx(0, "d.example"),), True)


def test_an_ipv6_address_makes_a_host_too(bench: Bench, dns: StubDns) -> None:
    dns.add("d.example", "AAAA", "2001:db8::1")
    assert hosts_of(bench, "d.example").implicit


def test_null_mx_takes_no_mail_even_with_an_address(bench: Bench, dns: StubDns) -> None:
    dns.add("d.example", "MX", "0 .")
    dns.add("d.example", "A", "192.0.2.1")
    hosts = hosts_of(bench, "d.example")
    assert (hosts.outcome, hosts.null_mx, hosts.hosts) == (Outcome.NO_DATA, True, ())
    assert dns.count("d.example", "A") == 0


def test_the_root_among_other_hosts_is_left_out(bench: Bench, dns: StubDns) -> None:
    dns.add("d.example", "MX", "0 .", "10 mx.example.")
    hosts = hosts_of(bench, "d.example")
    assert (hosts.hosts, hosts.null_mx) == ((Mx(10, "mx.example"),), False)


def test_mx_records_that_name_no_host_are_a_temporary_trouble_and_not_a_missing_mx(bench: Bench, dns: StubDns) -> None:
    dns.add("d.example", "MX", "10 192.0.2.7.", "20 a\\032b.example.")
    dns.add("d.example", "A", "192.0.2.1")
    hosts = hosts_of(bench, "d.example")
    assert (hosts.outcome, hosts.hosts) == (Outcome.FAILED, ())
    assert hosts.reason


def test_an_unusable_host_does_not_spoil_the_others(bench: Bench, dns: StubDns) -> None:
    dns.add("d.example", "MX", "10 192.0.2.7.", "20 mx.example.")
    assert hosts_of(bench, "d.example").hosts == (Mx(20, "mx.example"),)


def test_neither_mx_nor_address(bench: Bench, dns: StubDns) -> None:
    dns.add("d.example", "TXT", '"x"')
    assert hosts_of(bench, "d.example").outcome is Outcome.NO_DATA
    assert hosts_of(bench, "none.example").outcome is Outcome.NO_NAME


def test_trouble_with_either_question_is_temporary(bench: Bench, dns: StubDns) -> None:
    dns.trouble("mx.example", Trouble.SERVFAIL, "MX")
    dns.add("mx.example", "A", "192.0.2.1")
    dns.add("a.example", "TXT", '"x"')
    dns.trouble("a.example", Trouble.SERVFAIL, "A")
    for domain in ("mx.example", "a.example"):
        hosts = hosts_of(bench, domain)
        assert (hosts.outcome, hosts.hosts) == (Outcome.FAILED, ())
        assert "SERVFAIL" in hosts.reason


def test_address_literals_are_hosts(bench: Bench, dns: StubDns) -> None:
    assert hosts_of(bench, "[192.0.2.1]").hosts == (Mx(0, "192.0.2.1"),)
    assert hosts_of(bench, "[IPv6:2001:db8::1]").hosts == (Mx(0, "2001:db8::1"),)
    assert hosts_of(bench, "[nonsense]").outcome is Outcome.NO_NAME
    assert dns.count() == 0


def test_the_number_of_mail_hosts_is_bounded(bench: Bench, dns: StubDns) -> None:
    dns.add("d.example", "MX", *(f"{n} m{n}.example." for n in range(150)))
    hosts = hosts_of(bench, "d.example").hosts
    assert len(hosts) == 100
    assert hosts[-1] == Mx(99, "m99.example")


def test_absurdly_many_records_are_refused_whole(bench: Bench, dns: StubDns) -> None:
    dns.add("d.example", "MX", *(f"{n} m{n}.example." for n in range(300)))
    assert hosts_of(bench, "d.example").outcome is Outcome.FAILED


def test_a_reverse_name_counts_when_it_leads_back(bench: Bench, dns: StubDns) -> None:
    dns.add_ptr("192.0.2.1", "liar.example.", "honest.example.")
    dns.add("honest.example", "A", "192.0.2.9", "192.0.2.1")
    dns.add("liar.example", "A", "192.0.2.2")
    dns.add_ptr("192.0.2.2", "liar2.example.")
    dns.add("liar2.example", "A", "192.0.2.3")
    dns.add_ptr("192.0.2.4", "broken.example.")
    dns.trouble("broken.example", Trouble.SERVFAIL)
    dns.add_ptr("2001:db8::1", "v6.example.")
    dns.add("v6.example", "AAAA", "2001:db8::1")

    async def scenario(resolver: Resolver) -> None:
        assert set((await resolver.name_of("192.0.2.1")).values) == {"liar.example", "honest.example"}
        assert (await resolver.confirmed_name("192.0.2.1")).values == ("honest.example",)
        assert (await resolver.confirmed_name("192.0.2.1")).through_cache
        assert (await resolver.confirmed_name("::ffff:192.0.2.1")).values == ("honest.example",)
        assert (await resolver.confirmed_name("192.0.2.2")).outcome is Outcome.NO_DATA
        assert (await resolver.confirmed_name("192.0.2.3")).outcome is Outcome.NO_NAME
        assert (await resolver.confirmed_name("192.0.2.4")).outcome is Outcome.FAILED
        assert (await resolver.confirmed_name("2001:db8::1")).values == ("v6.example",)
        assert (await resolver.confirmed_name("nonsense")).outcome is Outcome.NO_NAME

    bench.run(scenario)


def test_a_flood_of_reverse_names_makes_few_questions(bench: Bench, dns: StubDns) -> None:
    dns.add_ptr("192.0.2.1", *(f"h{n}.example." for n in range(60)))

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.confirmed_name("192.0.2.1")).outcome is Outcome.NO_DATA

    bench.run(scenario)
    assert dns.count(kind="A") == 10


@pytest.mark.parametrize(
    ("values", "outcome", "codes"),
    [
        (("127.0.0.2",), Outcome.FOUND, ("127.0.0.2",)),
        (("127.0.0.2", "203.0.113.1"), Outcome.FOUND, ("127.0.0.2",)),
        (("203.0.113.1",), Outcome.NO_DATA, ()),
        (("127.255.255.254",), Outcome.FAILED, ()),
    ],
)
def test_dns_lists(
    bench: Bench, dns: StubDns, values: tuple[str, ...], outcome: Outcome, codes: tuple[str, ...]
) -> None:
    dns.add("1.2.0.192.bl.example", "A", *values)

    async def scenario(resolver: Resolver) -> None:
        answer = await resolver.listed("192.0.2.1", "bl.example.")
        assert (answer.outcome, answer.values) == (outcome, codes)
        assert (await resolver.listed("192.0.2.2", "bl.example")).outcome is Outcome.NO_NAME
        assert (await resolver.listed("2001:db8::1", "bl.example")).outcome is Outcome.NO_NAME

    bench.run(scenario)
    assert dns.count("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example", "A") == 1
