"""DNS lists of addresses: ratings, steps, hops, and lists that lie or hang (F-AS-04 to F-AS-07)."""

import asyncio

import pytest
from lookup_bench import (
    EVERYTHING,
    INTERNAL,
    OUTBOUND,
    SERVFAIL,
    STRANGER,
    Bench,
    config_of,
    found,
    with_hops,
)

from gatepost.config.dns_lists import parse_link_service, parse_list_service, parse_step_list
from gatepost.model.spam import Method
from gatepost.relay.lookups import zones as zones_module
from gatepost.relay.lookups.zones import BELIEVED_S, OFF_S, REST_S, STRIKES

BACKWARDS = "7.100.51.198"
TWO = 'dnsbl.service = ["one.example 60", "two.example 60"]\n'
STEPS = 'dnsbl_premium = ["p.example"]\ndnsbl_reliable = ["r1.example", "r2.example"]\ndnsbl_standard = ["s.example"]\n'


def test_ratings_of_the_lists_that_have_the_client_are_summed():
    bench = Bench(TWO)
    bench.names.list(BACKWARDS, "one.example")
    one = bench.ask()
    assert one.dnsbl_sum == 60
    assert one.dnsbl == ("one.example",)
    (sign,) = one.signs
    assert sign.method is Method.DNSBL
    assert sign.weight == pytest.approx(1.6)
    assert STRANGER in sign.evidence
    assert "one.example" in sign.evidence
    bench.names.list(BACKWARDS, "two.example")
    bench.names.kept.clear()
    both = bench.ask()
    assert both.dnsbl_sum == 120
    assert both.dnsbl == ("one.example", "two.example")


def test_nothing_is_found_of_a_client_that_no_list_has():
    bench = Bench(TWO)
    facts = bench.ask()
    assert (facts.signs, facts.dnsbl_sum, facts.dnsbl, facts.troubles) == ((), 0, (), ())
    assert bench.names.asked[f"{BACKWARDS}.one.example"] == bench.names.asked[f"{BACKWARDS}.two.example"] == 1


def test_questions_about_the_client_are_on_their_way_before_the_filter_has_answered():
    bench = Bench(TWO + STEPS)
    asyncio.run(bench.beginning())
    asked = {name.removeprefix(BACKWARDS + ".") for name in bench.names.ahead if name.startswith(BACKWARDS)}
    assert asked == {"one.example", "two.example", "p.example"}


def test_an_ipv6_client_is_asked_about_by_its_nibbles():
    bench = Bench('dnsbl.service = ["one.example 60"]\n')
    nibbles = ".".join(reversed("20010db8000000000000000000000001"))
    bench.names.list(nibbles, "one.example")
    assert bench.ask(ip="2001:db8::1").dnsbl_sum == 60


@pytest.mark.parametrize(
    ("service", "codes", "listed"),
    [
        ("one.example 60", ("127.0.0.2",), True),
        ("one.example 60", ("127.0.0.10",), True),
        ("one.example=127.0.0.2,127.0.0.4-7 60", ("127.0.0.10",), False),
        ("one.example=127.0.0.2,127.0.0.4-7 60", ("127.0.0.10", "127.0.0.5"), True),
        ("one.example=127.0.0.2,127.0.0.4-7 60", ("127.0.0.7",), True),
        ("one.example=127.0.0.2,127.0.0.4-7 60", ("127.0.0.8",), False),
        ("one.example=8,64 60", ("127.0.0.72",), True),
        ("one.example=8,64 60", ("127.0.0.16",), False),
        ("one.example=127.0.0.1 60", ("127.0.0.1",), True),
    ],
)
def test_only_the_answers_that_the_configuration_names_count(service: str, codes: tuple[str, ...], listed: bool):
    bench = Bench(f'dnsbl.service = ["{service}"]\n')
    bench.names.list(BACKWARDS, "one.example", *codes)
    facts = bench.ask()
    assert facts.dnsbl_sum == (60 if listed else 0)
    assert facts.troubles == ()


@pytest.mark.parametrize("code", ["127.255.255.252", "127.255.255.254", "127.255.255.255", "127.0.0.1", "127.0.1.255"])
def test_a_list_that_refuses_to_answer_lists_nobody_and_is_off_for_a_while(code: str):
    bench = Bench(TWO)
    bench.names.list(BACKWARDS, "one.example", code)
    facts = bench.ask()
    assert facts.dnsbl_sum == 0
    assert facts.signs == ()
    assert any("one.example" in each and code in each for each in facts.troubles)
    assert any("one.example" in each and each.startswith("W") for each in bench.told)
    bench.names.asked.clear()
    bench.names.kept.clear()

    async def later() -> dict[str, str]:
        await bench.asking()
        return bench.zones.off()

    off = asyncio.run(later())
    assert list(off) == ["one.example"]
    assert bench.names.asked[f"{BACKWARDS}.one.example"] == 0
    assert bench.names.asked[f"{BACKWARDS}.two.example"] == 1
    bench.moved = OFF_S + 1
    bench.names.list(BACKWARDS, "one.example")
    assert bench.ask().dnsbl_sum == 60


def test_answers_outside_the_lists_range_are_a_parked_domain_or_a_liar():
    bench = Bench(TWO)
    bench.names.table[EVERYTHING] = found("203.0.113.66")
    facts = bench.ask()
    assert (facts.dnsbl_sum, facts.signs) == (0, ())
    assert any("outside 127.0.0.0/8" in each for each in facts.troubles)


def test_a_resolver_that_lists_everything_makes_no_signs():
    bench = Bench(TWO + STEPS)
    bench.names.table[EVERYTHING] = found("127.0.0.2")

    async def ask() -> None:
        for _ in range(2):
            facts = await bench.asking()
            assert (facts.signs, facts.dnsbl_sum, facts.dnsbl) == ((), 0, ())
        assert all("lists everything" in why for why in bench.zones.off().values())
        assert "one.example" in bench.zones.off()

    asyncio.run(ask())
    assert bench.names.asked["1.0.0.127.one.example"] == 1


def test_a_hit_does_not_count_while_the_test_point_cannot_be_asked():
    bench = Bench(TWO)
    bench.names.list(BACKWARDS, "one.example")
    bench.names.table["1.0.0.127.one.example"] = SERVFAIL
    facts = bench.ask()
    assert (facts.signs, facts.dnsbl_sum) == ((), 0)
    assert any("test point" in each for each in facts.troubles)


def test_the_test_point_is_asked_once_in_a_while():
    bench = Bench('dnsbl.service = ["one.example 60"]\n')
    bench.names.list(BACKWARDS, "one.example")

    async def ask() -> list[int]:
        sums = [(await bench.asking()).dnsbl_sum for _ in range(2)]
        bench.names.table["1.0.0.127.one.example"] = found("127.0.0.2")
        bench.names.kept.clear()
        sums.append((await bench.asking()).dnsbl_sum)
        bench.moved = BELIEVED_S + 1
        sums.append((await bench.asking()).dnsbl_sum)
        return sums

    assert asyncio.run(ask()) == [60, 60, 60, 0]
    assert bench.names.asked["1.0.0.127.one.example"] == 2


def test_a_failure_is_trouble_and_no_sign():
    bench = Bench(TWO)
    bench.names.table[f"{BACKWARDS}.one.example"] = SERVFAIL
    bench.names.list(BACKWARDS, "two.example")
    facts = bench.ask()
    assert facts.dnsbl_sum == 60
    assert any("one.example" in each and "SERVFAIL" in each for each in facts.troubles)


def test_the_verdict_comes_within_the_budget_when_a_list_hangs_and_what_others_said_counts():
    bench = Bench(TWO, budget_s=0.1)
    bench.names.hangs.add("one.example")
    bench.names.list(BACKWARDS, "two.example")
    facts = bench.ask()
    assert facts.dnsbl_sum == 60
    assert facts.elapsed_ms < 5_000
    assert any("one.example" in each for each in facts.troubles)


def test_a_list_that_has_no_time_to_answer_is_not_to_blame():
    bench = Bench(TWO, budget_s=0.1)
    bench.names.hangs.add("one.example")

    async def ask() -> None:
        for _ in range(2 * STRIKES):
            assert (await bench.asking()).troubles
        assert bench.zones.off() == {}

    asyncio.run(ask())


def test_a_list_that_does_not_answer_rests_and_costs_no_more_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zones_module, "PATIENCE_S", 0.0)
    bench = Bench(TWO, budget_s=0.1)
    bench.names.hangs.add("one.example")

    async def ask() -> None:
        for _ in range(STRIKES):
            await bench.asking()
        assert list(bench.zones.off()) == ["one.example"]
        bench.names.asked.clear()
        bench.names.kept.clear()
        facts = await bench.asking()
        assert facts.troubles == ()
        assert bench.names.asked[f"{BACKWARDS}.one.example"] == 0
        assert bench.names.asked[f"{BACKWARDS}.two.example"] == 1
        bench.moved += REST_S + 1
        bench.names.hangs.clear()
        bench.names.list(BACKWARDS, "one.example")
        assert (await bench.asking()).dnsbl_sum == 60

    asyncio.run(ask())


def test_only_messages_in_a_row_without_an_answer_make_a_list_rest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zones_module, "PATIENCE_S", 0.0)
    bench = Bench(TWO, budget_s=0.1)

    async def ask() -> None:
        for turn in range(2 * STRIKES):
            bench.names.kept.clear()
            bench.names.hangs = {"one.example"} if turn % STRIKES else set()
            await bench.asking()
        assert bench.zones.off() == {}

    asyncio.run(ask())


def test_steps_are_asked_in_their_order_until_one_has_the_client():
    bench = Bench(STEPS)
    bench.names.list(BACKWARDS, "r2.example")
    bench.names.list(BACKWARDS, "s.example")
    facts = bench.ask()
    (sign,) = facts.signs
    assert sign.detail == "RBL: 'reliable' list"
    assert facts.dnsbl == ("r2.example",)
    assert facts.dnsbl_sum == 0
    asked = {name.removeprefix(BACKWARDS + ".") for name in bench.names.asked if name.startswith(BACKWARDS)}
    assert asked == {"p.example", "r1.example", "r2.example"}


def test_steps_weigh_less_the_less_reliable_they_are():
    weights = []
    for zone in ("p.example", "r1.example", "s.example"):
        bench = Bench(STEPS)
        bench.names.list(BACKWARDS, zone)
        weights.append(bench.ask().signs[0].weight)
    assert weights == sorted(weights, reverse=True)
    assert weights[0] > 5.2


@pytest.mark.parametrize(("limit", "listed"), [(2, True), (1, False), (0, False)])
def test_addresses_of_the_first_received_fields_are_asked_about(limit: int, listed: bool):
    bench = Bench(f'dnsbl.service = ["one.example 60"]\nfilter_received_headers_limit = {limit}\n')
    bench.names.list("9.100.51.198", "one.example")
    facts = bench.ask(with_hops("198.51.100.8", "198.51.100.9", "198.51.100.10"))
    assert facts.dnsbl_sum == (60 if listed else 0)
    assert bench.names.asked["10.100.51.198.one.example"] == 0
    if listed:
        assert "198.51.100.9" in facts.signs[0].evidence
        assert "relay" in facts.signs[0].evidence


def test_a_list_that_has_client_and_hop_counts_once():
    bench = Bench('dnsbl.service = ["one.example 60"]\n')
    bench.names.list(BACKWARDS, "one.example")
    bench.names.list("8.100.51.198", "one.example")
    facts = bench.ask(with_hops("198.51.100.8"))
    assert facts.dnsbl_sum == 60
    assert len(facts.signs) == 1


def test_hops_of_our_own_and_private_addresses_are_not_asked_about():
    bench = Bench('dnsbl.service = ["one.example 60"]\n')
    ours = ("203.0.113.5", "192.0.2.1", STRANGER)  # trusted, a front relay, the client as the front relay names it
    bench.ask(with_hops(*ours, "10.0.0.1", "198.51.100.8", "198.51.100.9"))
    asked = {name.removesuffix(".one.example") for name in bench.names.asked if name.endswith(".one.example")}
    assert asked - {"1.0.0.127"} == {BACKWARDS, "8.100.51.198"}


def test_a_list_for_clients_only_is_not_asked_about_hops():
    bench = Bench('dnsbl.service = ["one.example 40 client"]\n')
    bench.names.list("8.100.51.198", "one.example")
    assert bench.ask(with_hops("198.51.100.8")).dnsbl_sum == 0
    bench.names.list(BACKWARDS, "one.example")
    bench.names.kept.clear()
    assert bench.ask(with_hops("198.51.100.8")).dnsbl_sum == 40


@pytest.mark.parametrize("ip", ["10.1.2.3", "127.0.0.1", "192.168.0.9", "fe80::1", "::1", "", "unknown"])
def test_addresses_that_nobody_outside_can_know_are_not_asked_about(ip: str):
    bench = Bench(TWO)
    assert bench.ask(ip=ip).signs == ()
    assert not bench.names.asked


def test_outbound_and_internal_mail_and_groups_that_do_not_want_it_ask_nothing():
    bench = Bench(TWO)
    bench.ask(direction=OUTBOUND)
    bench.ask(direction=INTERNAL)
    bench.ask(methods=frozenset((Method.CONTENT,)))
    bench.ask(methods=frozenset())
    assert not bench.names.asked
    assert not bench.names.ahead


def test_what_is_kept_is_answered_at_once_and_counted():
    bench = Bench(TWO)
    bench.ask()
    bench.names.asked.clear()
    bench.ask()
    assert not bench.names.asked
    assert bench.checks.status()["checks"]["DNSBL"] == {"asked": 4, "cached": 2, "failed": 0, "listed": 0}


@pytest.mark.parametrize(
    "text",
    [
        "zone.example",
        "zone.example 0",
        "zone.example 101",
        "zone.example 60 60",
        "zone.example= 60",
        "zone.example=300 60",
        "zone.example=0 60",
        "zone.example=192.0.2.1 60",
        "zone.example=127.0.0.9-7 60",
        "zone.example=127.255.255.254 60",
        "zone.example=127.0.0.2-x 60",
        "nodot 60",
        "a b c d",
        "-bad.example 60",
        "zone.example 60 names",
    ],
)
def test_a_service_that_cannot_be_meant_is_refused(text: str):
    with pytest.raises(ValueError, match=r"."):
        parse_list_service(text)


def test_services_are_written_as_they_are_read():
    for text in ("zone.example 60", "zone.example=127.0.0.2,127.0.0.4-7 60 client", "zone.example=8,64 100"):
        assert str(parse_list_service(text.upper() if "client" not in text else text)) == text
    assert str(parse_link_service("zone.example=8,16 80 names")) == "zone.example=8,16 80 names"
    assert str(parse_step_list("Zone.Example. client")) == "zone.example client"
    with pytest.raises(ValueError, match="client"):
        parse_step_list("zone.example 60")
    assert config_of(TWO).antispam.dnsbl.service == ("one.example 60", "two.example 60")
