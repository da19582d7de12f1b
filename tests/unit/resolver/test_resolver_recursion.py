"""Own recursion: the walk by itself with invented answers, and through real servers that play a tree of zones."""

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resolver_bench import Bench, build_config
from tests.support.dns import StubDns, Trouble

from gatepost.resolver import inquiry
from gatepost.resolver.answers import Kind, Mx, Outcome
from gatepost.resolver.message import Reading, build_query, read_message
from gatepost.resolver.names import parse_name
from gatepost.resolver.recursion import Ask, Walk, ZoneCuts, load_root_hints
from gatepost.resolver.resolver import Resolver

ROOT = "198.51.100.1"
Rows = tuple[str, ...]


def respond(
    ask: Ask, *, answers: Rows = (), authority: Rows = (), additional: Rows = (), code: int = 0, aa: bool = False
) -> dns.message.Message:
    query = dns.message.from_wire(build_query(ask.name, ask.kind, recursion=False).raw)
    message = dns.message.make_response(query)
    message.set_rcode(dns.rcode.Rcode(code))
    if aa:
        message.flags |= dns.flags.AA
    for section, rows in ((message.answer, answers), (message.authority, authority), (message.additional, additional)):
        for row in rows:
            owner, ttl, kind, value = row.split(" ", 3)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", kind, value))
    return dns.message.from_wire(message.to_wire(max_size=65535))


Server = Callable[[Ask], dns.message.Message | None]


def walk(
    servers: dict[str, Server],
    name: str = "www.example.org",
    kind: Kind = Kind.A,
    *,
    limit: int = 32,
    cuts: ZoneCuts | None = None,
    now: float = 0.0,
) -> tuple[Reading, list[tuple[str, str]]]:
    """Return the end of a walk and the questions it took; servers that are not there are silent."""
    steps: list[tuple[str, str]] = []
    path = Walk(parse_name(name), kind, cuts or ZoneCuts((ROOT,)), limit, now)
    while isinstance(step := path.next_step(), Ask):
        steps.append((step.ip, f"{step.name.to_text(omit_final_dot=True)} {step.kind.name}"))
        assert len(steps) < 200
        path.take(servers.get(step.ip, lambda _: None)(step))
    return step, steps


def refer(zone: str, *hosts: str, glue: Rows = ()) -> Server:
    return lambda ask: respond(ask, authority=tuple(f"{zone}. 300 NS {host}." for host in hosts), additional=glue)


def answer(*rows: str) -> Server:
    return lambda ask: respond(ask, answers=rows, aa=True)


def missing(ask: Ask) -> dns.message.Message:
    soa = ("example.org. 60 SOA ns.example.org. h.example.org. 1 2 3 4 30",)
    return respond(ask, authority=soa, code=3, aa=True)


def test_delegations_are_followed_to_the_answer() -> None:
    reading, steps = walk(
        {
            ROOT: refer("org", "a.nic.org", glue=("a.nic.org. 300 A 198.51.100.2",)),
            "198.51.100.2": refer("example.org", "ns.example.org", glue=("ns.example.org. 300 A 198.51.100.3",)),
            "198.51.100.3": answer("www.example.org. 77 A 192.0.2.1"),
        }
    )
    assert (reading.outcome, reading.values, reading.ttl_s) == (Outcome.FOUND, ("192.0.2.1",), 77)
    assert [ip for ip, _ in steps] == [ROOT, "198.51.100.2", "198.51.100.3"]


def test_nothing_is_authentic_whatever_a_server_claims() -> None:
    def boast(ask: Ask) -> dns.message.Message:
        message = respond(ask, answers=("www.example.org. 77 A 192.0.2.1",), aa=True)
        message.flags |= dns.flags.AD
        return message

    assert not walk({ROOT: boast})[0].authentic


def test_names_that_are_not_there() -> None:
    reading, _ = walk(
        {
            ROOT: refer("example.org", "ns.example.org", glue=("ns.example.org. 300 A 198.51.100.3",)),
            "198.51.100.3": missing,
        }
    )
    assert (reading.outcome, reading.ttl_s) == (Outcome.NO_NAME, 30)


def test_glue_from_outside_the_zone_is_walked_to_instead() -> None:
    """The server of org may not say where a host of net is: an attacker would point us to his."""
    servers: dict[str, Server] = {
        "198.51.100.2": refer("example.org", "ns.victim.net", glue=("ns.victim.net. 300 A 203.0.113.66",)),
        "198.51.100.4": answer("ns.victim.net. 300 A 198.51.100.5"),
        "198.51.100.5": answer("www.example.org. 77 A 192.0.2.1"),
    }

    def root(ask: Ask) -> dns.message.Message:
        if ask.name.to_text().endswith("net."):
            return respond(ask, authority=("net. 300 NS a.net.",), additional=("a.net. 300 A 198.51.100.4",))
        return respond(ask, authority=("org. 300 NS a.org.",), additional=("a.org. 300 A 198.51.100.2",))

    reading, steps = walk({ROOT: root, **servers})
    assert reading.values == ("192.0.2.1",)
    assert "203.0.113.66" not in {ip for ip, _ in steps}


def test_glue_nobody_asked_for_is_ignored() -> None:
    glue = ("other.example.org. 300 A 203.0.113.66", "ns.example.org. 300 A 198.51.100.3")
    _, steps = walk({ROOT: refer("example.org", "ns.example.org", glue=glue)})
    assert {ip for ip, _ in steps} == {ROOT, "198.51.100.3"}


def test_records_outside_the_servers_zone_are_not_believed() -> None:
    servers: dict[str, Server] = {
        "198.51.100.3": answer("www.example.org. 60 CNAME bank.example.net.", "bank.example.net. 60 A 203.0.113.66"),
        "198.51.100.4": answer("bank.example.net. 60 A 192.0.2.7"),
    }

    def root(ask: Ask) -> dns.message.Message:
        net = ask.name.to_text().endswith("net.")
        zone, ip = ("example.net", "198.51.100.4") if net else ("example.org", "198.51.100.3")
        return respond(ask, authority=(f"{zone}. 300 NS ns.{zone}.",), additional=(f"ns.{zone}. 300 A {ip}",))

    reading, _ = walk({ROOT: root, **servers})
    assert (reading.values, reading.aliased, reading.ttl_s) == (("192.0.2.7",), True, 60)


@pytest.mark.parametrize(
    "lame",
    [
        lambda _: None,
        lambda ask: respond(ask, code=2),
        lambda ask: respond(ask, code=5),
        respond,
        lambda ask: respond(ask, code=3),
        lambda ask: respond(ask, authority=(". 300 NS a.root.",)),
        lambda ask: respond(ask, authority=("example.org. 300 NS ns.example.org.",)),
        lambda ask: respond(ask, authority=("example.com. 300 NS ns.example.com.",)),
    ],
    ids=["silent", "servfail", "refused", "empty", "nxdomain", "upward", "itself", "sideways"],
)
def test_lame_servers_are_passed_over(lame: Server) -> None:
    glue = ("ns1.example.org. 300 A 198.51.100.3", "ns2.example.org. 300 A 198.51.100.4")
    good = answer("www.example.org. 60 A 192.0.2.1")
    for bad, fine in (("198.51.100.3", "198.51.100.4"), ("198.51.100.4", "198.51.100.3")):
        reading, steps = walk(
            {ROOT: refer("example.org", "ns1.example.org", "ns2.example.org", glue=glue), bad: lame, fine: good}
        )
        assert reading.values == ("192.0.2.1",)
        assert len(steps) <= 3


def test_steps_are_limited() -> None:
    depth = 0

    def deeper(ask: Ask) -> dns.message.Message:
        nonlocal depth
        depth += 1
        zone = ".".join(ask.name.to_text(omit_final_dot=True).split(".")[-depth:])
        return respond(ask, authority=(f"{zone}. 300 NS ns.{zone}.",), additional=(f"ns.{zone}. 300 A {ROOT}",))

    reading, steps = walk({ROOT: deeper}, ".".join("abcdefghijklmnopqrstuvwxyz"), limit=5)
    assert reading.outcome is Outcome.FAILED
    assert len(steps) == 5


def test_servers_that_name_each_other_end() -> None:
    def circle(ask: Ask) -> dns.message.Message:
        org = ask.name.to_text().endswith("org.")
        zone, host = ("example.org", "ns.example.net") if org else ("example.net", "ns.example.org")
        return respond(ask, authority=(f"{zone}. 300 NS {host}.",))

    reading, steps = walk({ROOT: circle})
    assert reading.outcome is Outcome.FAILED
    assert len(steps) <= 32


def test_a_fan_of_servers_without_glue_is_held_by_the_limit() -> None:
    """One question must not become hundreds of packets to others (RFC 9520, "NXNS")."""

    def fan(ask: Ask) -> dns.message.Message:
        return respond(ask, authority=tuple(f"example.org. 300 NS n{n}.victim{n}.net." for n in range(100)))

    def root(ask: Ask) -> dns.message.Message:
        return fan(ask) if ask.name.to_text().endswith("org.") else missing(ask)

    reading, steps = walk({ROOT: root}, limit=20)
    assert reading.outcome is Outcome.FAILED
    assert len(steps) <= 20


def test_circles_of_aliases_end() -> None:
    reading, steps = walk({ROOT: lambda ask: respond(ask, answers=(f"{ask.name} 60 CNAME x{ask.name}",), aa=True)})
    assert reading.outcome is Outcome.FAILED
    assert len(steps) <= 10


def test_delegations_are_remembered_for_their_life() -> None:
    cuts = ZoneCuts((ROOT,))
    servers = {
        ROOT: refer("example.org", "ns.example.org", glue=("ns.example.org. 300 A 198.51.100.3",)),
        "198.51.100.3": answer("www.example.org. 60 A 192.0.2.1"),
    }
    assert len(walk(servers, cuts=cuts)[1]) == 2
    assert [ip for ip, _ in walk(servers, cuts=cuts, now=299)[1]] == ["198.51.100.3"]
    assert len(walk(servers, cuts=cuts, now=300)[1]) == 2


def test_a_delegation_that_leads_nowhere_is_forgotten() -> None:
    cuts = ZoneCuts((ROOT,))
    servers = {ROOT: refer("example.org", "ns.example.org", glue=("ns.example.org. 300 A 198.51.100.3",))}
    assert walk(servers, cuts=cuts)[0].outcome is Outcome.FAILED
    servers = {
        ROOT: refer("example.org", "ns.example.org", glue=("ns.example.org. 300 A 198.51.100.4",)),
        "198.51.100.4": answer("www.example.org. 60 A 192.0.2.1"),
    }
    assert walk(servers, cuts=cuts)[0].values == ("192.0.2.1",)


@pytest.mark.parametrize("ip", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1"])
def test_strangers_cannot_make_us_ask_ourselves(ip: str) -> None:
    kind = "AAAA" if ":" in ip else "A"
    _, steps = walk({ROOT: refer("example.org", "ns.example.org", glue=(f"ns.example.org. 300 {kind} {ip}",))})
    assert ip not in {asked for asked, _ in steps}


def test_the_shipped_hints_are_the_thirteen_root_servers() -> None:
    addresses = [ipaddress.ip_address(ip) for ip in load_root_hints()]
    assert len([a for a in addresses if a.version == 4]) == len([a for a in addresses if a.version == 6]) == 13
    assert all(address.is_global for address in addresses)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damaged_referrals_never_raise(data: st.DataObject) -> None:
    glue = ("ns.example.org. 300 A 198.51.100.3", "ns.example.org. 300 AAAA 2001:db8::1")
    good = refer("example.org", "ns.example.org", "ns.example.net", glue=glue)

    def damaged(ask: Ask) -> dns.message.Message | None:
        message = good(ask)
        assert message is not None
        raw = bytearray(message.to_wire())
        for _ in range(data.draw(st.integers(1, 3))):
            raw[data.draw(st.integers(2, len(raw) - 1))] = data.draw(st.integers(0, 255))
        return read_message(bytes(raw), referrals=True)

    reading, steps = walk({ROOT: damaged, "198.51.100.3": damaged}, limit=4)
    assert len(steps) <= 4
    assert not reading.authentic


@pytest.fixture
def tree() -> Iterator[tuple[StubDns, StubDns, StubDns]]:
    """A root, a zone `test` and a zone `example.test`, on one port of three loopback addresses; none recurses."""
    with ExitStack() as stack:
        root = stack.enter_context(StubDns("127.0.0.2", authoritative=True))
        top = stack.enter_context(StubDns("127.0.0.3", root.port, authoritative=True))
        leaf = stack.enter_context(StubDns("127.0.0.4", root.port, authoritative=True))
        root.delegate("test", {"ns.test": ("127.0.0.3",)})
        top.delegate("example.test", {"ns.example.test": ("127.0.0.4",)})
        yield root, top, leaf


def walking(bench: Bench, root: StubDns, **resolve: object) -> None:
    bench.config = build_config(internal_recursion_enabled=True, io_network_timeout=15, **resolve)
    bench.more = {"root_hints": (root.host,), "recursion_port": root.port}


@pytest.mark.feature("F-ROUT-13")
def test_a_tree_of_zones_answers_without_a_recursive_server(
    bench: Bench, dns: StubDns, tree: tuple[StubDns, StubDns, StubDns]
) -> None:
    root, top, leaf = tree
    walking(bench, root)
    leaf.add("example.test", "MX", "10 mx.example.test.")
    leaf.add("mx.example.test", "A", "127.0.0.9")
    leaf.trouble("mx.example.test", Trouble.TRUNCATED, "A")

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.mail_hosts("example.test")).hosts == (Mx(10, "mx.example.test"),)
        assert (await resolver.addresses("mx.example.test")).values == ("127.0.0.9",)
        assert (await resolver.ask("none.example.test", Kind.A)).outcome is Outcome.NO_NAME

    bench.run(scenario)
    assert (root.count(), top.count()) == (1, 1)
    assert dns.count() == 0
    assert not any(question.recursion_desired for server in tree for question in server.questions)


def test_the_depth_limit_counts_in_real_life(bench: Bench, tree: tuple[StubDns, StubDns, StubDns]) -> None:
    root, _, leaf = tree
    leaf.add("mx.example.test", "A", "127.0.0.9")

    async def scenario(resolver: Resolver) -> Outcome:
        return (await resolver.ask("mx.example.test", Kind.A)).outcome

    walking(bench, root, internal_recursions_limit=2)
    assert bench.run(scenario) is Outcome.FAILED
    walking(bench, root, internal_recursions_limit=3)
    assert bench.run(scenario) is Outcome.FOUND


class _Servers(NamedTuple):
    silences: list[bool]
    told: tuple[str, ...]
    found: list[bool]


def test_without_any_server_a_walk_is_one_packet_and_the_root_is_asked_until_it_answers(
    bench: Bench, tree: tuple[StubDns, StubDns, StubDns], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiry, "SILENCE_S", 0.0)
    root, _, leaf = tree
    walking(bench, root)
    leaf.add("mx.example.test", "A", "127.0.0.9")

    async def scenario(resolver: Resolver) -> _Servers:
        first = await resolver.ask("mx.example.test", Kind.A)
        silences = [resolver.silence is not None]
        for server in tree:
            server.trouble("*", Trouble.SILENT)
        second = await resolver.ask("a.example.test", Kind.A)
        silences.append(resolver.silence is not None)
        await resolver.look_for_silence()
        told = resolver.silence.servers if resolver.silence is not None else ()
        packets = sum(server.count() for server in tree)
        third = await resolver.ask("b.test", Kind.A)
        assert sum(server.count() for server in tree) == packets + 1
        for server in tree:
            server.heal("*")
        while resolver.silence is not None:  # a root that is slow today is asked again
            await resolver.look_for_silence()
        bench.clock.now += 3600
        fourth = await resolver.ask("mx.example.test", Kind.A)
        return _Servers(silences, told, [each.found for each in (first, second, third, fourth)])

    seen = bench.run(scenario)
    assert seen.silences == [False, False]
    assert seen.told == ("1 of 1 root servers' addresses: no answer in time",)
    assert seen.found == [True, False, False, True]


def test_dead_servers_of_a_zone_are_no_silence_of_the_root(
    bench: Bench, tree: tuple[StubDns, StubDns, StubDns], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiry, "SILENCE_S", 0.0)
    root, _, leaf = tree
    walking(bench, root)
    leaf.trouble("*", Trouble.SILENT)

    async def scenario(resolver: Resolver) -> list[bool]:
        silences = []
        for name in ("a.example.test", "b.example.test"):
            assert not (await resolver.ask(name, Kind.A)).found
            await resolver.look_for_silence()
            silences.append(resolver.silence is not None)
        return silences

    assert bench.run(scenario) == [False, False]
    assert root.count(inquiry.PROBE_NAME) == 2


def test_a_moment_without_an_answer_asks_no_root(
    bench: Bench, tree: tuple[StubDns, StubDns, StubDns], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inquiry.SILENCE_S > 2 * inquiry.STEP_WAIT_S
    monkeypatch.setattr(inquiry, "SILENCE_S", 600.0)
    root, _, leaf = tree
    walking(bench, root)
    leaf.trouble("*", Trouble.SILENT)

    async def scenario(resolver: Resolver) -> None:
        await resolver.ask("a.example.test", Kind.A)
        await resolver.look_for_silence()

    bench.run(scenario)
    assert root.count(inquiry.PROBE_NAME) == 0
