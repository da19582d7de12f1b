"""The resolver as its callers see it, against a real server: caches, coalescing, budget, deadlines, counters."""

import asyncio

import pytest
from resolver_bench import LEAST_TIMEOUT_S, Bench, build_config
from tests.support.dns import StubDns, Trouble

from gatepost.resolver import resolver as resolver_module
from gatepost.resolver.answers import Kind, Mx, Outcome, Tlsa
from gatepost.resolver.resolver import QUERIES, QUERIES_FAILED, THROUGH_CACHE, Resolver


def test_every_kind_comes_back_as_its_type(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")
    dns.add("a.example", "AAAA", "2001:0db8::0:1")
    dns.add("a.example", "NS", "NS.a.example.")
    dns.add("a.example", "MX", "20 b.example.", "10 A.example.")
    dns.add("a.example", "TXT", '"v=spf1 " "-all"')
    dns.add("a.example", "PTR", "host.example.", "not_a/host.example.")
    dns.add("_25._tcp.a.example", "TLSA", "3 1 1 " + "00ff" * 16)
    dns.alias("b.example", "a.example")

    async def scenario(resolver: Resolver) -> dict[str, object]:
        kinds = (Kind.A, Kind.AAAA, Kind.NS, Kind.MX, Kind.TXT, Kind.PTR)
        found: dict[str, object] = {kind.name: (await resolver.ask("A.Example.", kind)).values for kind in kinds}
        found["TLSA"] = (await resolver.ask("_25._tcp.a.example", Kind.TLSA)).values
        found["CNAME"] = (await resolver.ask("b.example", Kind.CNAME)).values
        return found

    assert bench.run(scenario) == {
        "A": ("192.0.2.1",),
        "AAAA": ("2001:db8::1",),
        "NS": ("ns.a.example",),
        "MX": (Mx(10, "a.example"), Mx(20, "b.example")),
        "TXT": (b"v=spf1 -all",),
        "PTR": ("host.example",),
        "TLSA": (Tlsa(3, 1, 1, b"\x00\xff" * 16),),
        "CNAME": ("a.example",),
    }


def test_the_second_question_is_answered_without_a_packet(bench: Bench, dns: StubDns) -> None:
    dns.add("example.org", "MX", "10 mx.example.org.", ttl=60)

    async def scenario(resolver: Resolver) -> None:
        assert resolver.cached("example.org", Kind.MX) is None
        first = await resolver.mail_hosts("example.org")
        assert resolver.counters == {QUERIES: 1, THROUGH_CACHE: 0, QUERIES_FAILED: 0}
        second = await resolver.mail_hosts("Example.ORG.")
        assert resolver.counters == {QUERIES: 2, THROUGH_CACHE: 1, QUERIES_FAILED: 0}
        assert first.hosts == second.hosts == (Mx(10, "mx.example.org"),)
        assert (first.through_cache, second.through_cache) == (False, True)
        assert dns.count("example.org", "MX") == 1
        bench.clock.now += 60
        assert not (await resolver.mail_hosts("example.org")).through_cache
        assert dns.count("example.org", "MX") == 2

    bench.run(scenario)


@pytest.mark.feature("F-ROUT-12")
def test_a_name_that_is_not_there_is_asked_for_once_in_its_life(bench: Bench, dns: StubDns) -> None:
    dns.negative_ttl = 3600
    bench.config = build_config(name_servers=[dns.address], unresolved_ttl=600)

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.ask("none.example", Kind.MX)).outcome is Outcome.NO_NAME
        bench.clock.now += 599
        for kind in (Kind.MX, Kind.A, Kind.AAAA):
            again = await resolver.ask("none.example", kind)
            assert (again.outcome, again.through_cache) == (Outcome.NO_NAME, True)
        assert dns.count("none.example") == 1
        bench.clock.now += 1
        assert not (await resolver.ask("none.example", Kind.MX)).through_cache
        assert dns.count("none.example") == 2

    bench.run(scenario)


def test_the_zones_own_word_on_negative_answers_counts_when_it_is_shorter(bench: Bench, dns: StubDns) -> None:
    dns.negative_ttl = 30
    dns.add("a.example", "A", "192.0.2.1")

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.ask("a.example", Kind.MX)).outcome is Outcome.NO_DATA
        bench.clock.now += 29
        assert resolver.cached("a.example", Kind.MX) is not None
        bench.clock.now += 1
        assert resolver.cached("a.example", Kind.MX) is None

    bench.run(scenario)


def test_a_name_missing_for_ipv6_may_still_have_ipv4(bench: Bench, dns: StubDns) -> None:
    """Some load balancers say NXDOMAIN when asked for AAAA."""

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.ask("a.example", Kind.AAAA)).outcome is Outcome.NO_NAME
        dns.add("a.example", "A", "192.0.2.1")
        assert (await resolver.ask("a.example", Kind.A)).values == ("192.0.2.1",)

    bench.run(scenario)


def test_an_alias_to_nothing_is_still_an_alias(bench: Bench, dns: StubDns) -> None:
    dns.alias("a.example", "gone.example")

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.ask("a.example", Kind.A)).outcome is Outcome.NO_NAME
        assert (await resolver.ask("a.example", Kind.CNAME)).values == ("gone.example",)

    bench.run(scenario)


def test_failures_are_kept_for_seconds_only_and_counted(bench: Bench, dns: StubDns) -> None:
    dns.trouble("a.example", Trouble.SERVFAIL)

    async def scenario(resolver: Resolver) -> None:
        answer = await resolver.ask("a.example", Kind.A)
        assert answer.outcome is Outcome.FAILED
        assert "SERVFAIL" in answer.reason
        assert (await resolver.ask("a.example", Kind.A)).through_cache
        assert dns.count("a.example") == 1
        assert resolver.counters == {QUERIES: 2, THROUGH_CACHE: 1, QUERIES_FAILED: 2}
        dns.heal("a.example")
        dns.add("a.example", "A", "192.0.2.1")
        bench.clock.now += resolver_module.FAILURE_LIFE_S
        assert (await resolver.ask("a.example", Kind.A)).found

    bench.run(scenario)


def test_a_record_without_life_is_not_kept(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1", ttl=0)

    async def scenario(resolver: Resolver) -> None:
        for _ in range(2):
            assert not (await resolver.ask("a.example", Kind.A)).through_cache

    bench.run(scenario)
    assert dns.count("a.example", "A") == 2


def test_no_record_lives_longer_than_a_week(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1", ttl=2**31 - 1)

    async def scenario(resolver: Resolver) -> None:
        await resolver.ask("a.example", Kind.A)
        bench.clock.now += 7 * 86400 - 1
        assert resolver.cached("a.example", Kind.A) is not None
        bench.clock.now += 1
        assert resolver.cached("a.example", Kind.A) is None

    bench.run(scenario)


def test_mx_answers_below_the_threshold_are_not_kept(bench: Bench, dns: StubDns) -> None:
    dns.add("short.example", "MX", "10 a.example.", ttl=1200)
    dns.add("long.example", "MX", "10 a.example.", ttl=1201)
    dns.add("a.example", "A", "192.0.2.1", ttl=10)
    bench.config = build_config(name_servers=[dns.address], mx_cache_threshold=1200)

    async def scenario(resolver: Resolver) -> None:
        await resolver.ask("short.example", Kind.MX)
        await resolver.ask("long.example", Kind.MX)
        await resolver.ask("a.example", Kind.A)
        assert resolver.cached("short.example", Kind.MX) is None
        assert resolver.cached("long.example", Kind.MX) is not None
        assert resolver.cached("a.example", Kind.A) is not None

    bench.run(scenario)


@pytest.mark.feature("F-ROUT-13")
def test_memory_is_freed_on_the_configured_periods(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1", ttl=10)
    dns.add("a.example", "MX", "10 a.example.", ttl=10)
    bench.config = build_config(name_servers=[dns.address], ip_cache_refresh_period=100, mx_cache_refresh_period=300)

    async def scenario(resolver: Resolver) -> None:
        assert resolver.purge(bench.clock.now) == 0
        await resolver.ask("a.example", Kind.A)
        await resolver.ask("a.example", Kind.MX)
        assert resolver.purge(bench.clock.now + 99) == 0
        assert resolver.purge(bench.clock.now + 100) == 1
        assert resolver.purge(bench.clock.now + 300) == 1

    bench.run(scenario)


def test_equal_questions_at_a_time_are_asked_once(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")

    async def scenario(resolver: Resolver) -> None:
        answers = await asyncio.gather(*(resolver.ask("a.example", Kind.A) for _ in range(50)))
        assert {answer.values for answer in answers} == {("192.0.2.1",)}

    bench.run(scenario)
    assert dns.count("a.example", "A") == 1


def test_who_gives_up_does_not_take_the_answer_from_the_others(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")
    dns.delay_s = 0.1

    async def scenario(resolver: Resolver) -> None:
        leaver = asyncio.ensure_future(resolver.ask("a.example", Kind.A))
        stayer = asyncio.ensure_future(resolver.ask("a.example", Kind.A))
        await asyncio.sleep(0)
        leaver.cancel()
        assert (await stayer).found
        with pytest.raises(asyncio.CancelledError):
            await leaver

    bench.run(scenario)


def test_a_deadline_ends_the_wait_and_not_the_question(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")
    dns.delay_s = 0.1

    async def scenario(resolver: Resolver) -> None:
        answer = await resolver.ask("a.example", Kind.A, deadline_s=0.01)
        assert (answer.outcome, answer.values) == (Outcome.FAILED, ())
        assert resolver.counters[QUERIES_FAILED] == 1
        assert (await resolver.ask("a.example", Kind.A)).found
        assert resolver.cached("a.example", Kind.A) is not None

    bench.run(scenario)


def test_beyond_the_budget_questions_wait_in_order(bench: Bench, dns: StubDns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "QUESTIONS_AT_ONCE", 1)
    names = [f"h{number}.example" for number in range(20)]
    for name in names:
        dns.add(name, "A", "192.0.2.1")

    async def scenario(resolver: Resolver) -> None:
        answers = await asyncio.gather(*(resolver.ask(name, Kind.A) for name in names))
        assert all(answer.found for answer in answers)

    bench.run(scenario)
    assert [question.name for question in dns.questions] == names


def test_what_cannot_even_wait_fails_at_once(bench: Bench, dns: StubDns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "QUESTIONS_AT_ONCE", 1)
    monkeypatch.setattr(resolver_module, "QUESTIONS_WAITING_LIMIT", 2)
    bench.config = build_config(name_servers=[dns.address], io_network_timeout=LEAST_TIMEOUT_S)
    dns.trouble("*", Trouble.SILENT)

    async def scenario(resolver: Resolver) -> None:
        waiting = [asyncio.ensure_future(resolver.ask(f"h{n}.example", Kind.A)) for n in range(3)]
        await asyncio.sleep(0)
        answer = await resolver.ask("one-too-many.example", Kind.A)
        assert (answer.outcome, answer.reason) == (Outcome.FAILED, "too many questions are waiting")
        ended = [await question for question in waiting]
        assert [answer.outcome for answer in ended] == [Outcome.FAILED] * 3

    bench.run(scenario)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, "\0", "\udcff", "a b" * 100, "é" * 200, "☃.example"])
def test_bad_names_are_no_names_and_never_raise(bench: Bench, dns: StubDns, name: str) -> None:
    async def scenario(resolver: Resolver) -> None:
        answer = await resolver.ask(name, Kind.MX)
        assert answer.outcome is Outcome.NO_NAME
        assert answer.reason
        assert (await resolver.addresses(name)).outcome is Outcome.NO_NAME
        assert (await resolver.mail_hosts(name)).outcome is Outcome.NO_NAME
        assert (await resolver.listed("192.0.2.1", name)).outcome is Outcome.NO_NAME

    bench.run(scenario)
    assert dns.count() == 0


def test_a_new_configuration_asks_other_servers_and_keeps_the_cache(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")

    async def scenario(resolver: Resolver) -> None:
        await resolver.ask("a.example", Kind.A)
        with StubDns() as other:
            other.add("b.example", "A", "192.0.2.2")
            dns.delay_s = 0.05
            under_way = asyncio.ensure_future(resolver.ask("c.example", Kind.A))
            await asyncio.sleep(0.01)
            resolver.configure(build_config(name_servers=[other.address]))
            assert (await resolver.ask("b.example", Kind.A)).values == ("192.0.2.2",)
            assert resolver.cached("a.example", Kind.A) is not None
            assert (await under_way).outcome is Outcome.NO_NAME
            assert other.count("c.example") == 0

    bench.run(scenario)


def test_signatures_are_asked_for_when_wanted_and_the_servers_word_is_passed_on(bench: Bench, dns: StubDns) -> None:
    dns.add("signed.example", "MX", "10 mx.signed.example.", authentic=True)
    dns.add("plain.example", "MX", "10 mx.plain.example.")

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.mail_hosts("signed.example", dnssec=True)).authentic
        assert (await resolver.mail_hosts("signed.example")).authentic
        assert not (await resolver.mail_hosts("plain.example")).authentic
        # What was asked without signatures does not do for somebody who needs them.
        assert not (await resolver.mail_hosts("plain.example", dnssec=True)).through_cache
        assert (await resolver.mail_hosts("plain.example", dnssec=True)).through_cache

    bench.run(scenario)
    assert [(q.name, q.dnssec_ok) for q in dns.questions] == [
        ("signed.example", True),
        ("plain.example", False),
        ("plain.example", True),
    ]


def test_the_time_for_a_question_is_the_configured_one(bench: Bench, dns: StubDns) -> None:
    bench.config = build_config(name_servers=[dns.address], io_network_timeout=LEAST_TIMEOUT_S)
    dns.trouble("a.example", Trouble.SILENT)

    async def scenario(resolver: Resolver) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await resolver.ask("a.example", Kind.A)
        assert answer.outcome is Outcome.FAILED
        assert "no answer in time" in answer.reason
        return loop.time() - began

    assert bench.run(scenario) >= LEAST_TIMEOUT_S * 0.9
    assert dns.count("a.example") == 3


def test_a_question_sent_ahead_is_joined_by_who_asks_it_and_sent_once(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")

    async def scenario(resolver: Resolver) -> None:
        assert resolver.prefetch("a.example", Kind.A)
        assert not resolver.prefetch("A.example", Kind.A)
        assert (await resolver.ask("a.example", Kind.A)).values == ("192.0.2.1",)
        assert not resolver.prefetch("a.example", Kind.A)
        assert resolver.cached("a.example", Kind.A) is not None
        assert resolver.counters == {QUERIES: 3, THROUGH_CACHE: 1, QUERIES_FAILED: 0}
        assert dns.count("a.example", "A") == 1

    bench.run(scenario)
