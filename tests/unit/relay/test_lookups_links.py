"""Links against DNS lists (F-AS-10)."""

import asyncio

import pytest
from lookup_bench import EVERYTHING, SERVFAIL, Bench, found, with_links

from gatepost.model.spam import Method, SpamFacts
from gatepost.relay.lookups.links import ASKED_LIMIT, WEIGHT_LIMIT

ONE = 'surbl_zones = ["uri.example 100"]\n'


def test_a_listed_domain_is_a_strong_sign():
    bench = Bench(ONE)
    bench.names.list("bad.example", "uri.example")
    facts = bench.ask(with_links("good.example", "bad.example"))
    (sign,) = facts.signs
    assert sign.method is Method.SURBL
    assert sign.weight == pytest.approx(3.5)
    assert "bad.example" in sign.evidence
    assert "uri.example" in sign.evidence
    assert facts.dnsbl_sum == 0


def test_an_address_is_asked_about_backwards_unless_the_list_knows_names_only():
    bench = Bench('surbl_zones = ["uri.example 100", "dom.example 100 names"]\n')
    bench.names.list("9.100.51.198", "uri.example")
    assert [sign.method for sign in bench.ask(with_links("198.51.100.9")).signs] == [Method.SURBL]
    assert not any(name.endswith(".dom.example") and "198" in name for name in bench.names.asked)


def test_bits_of_the_answer_decide():
    bench = Bench('surbl_zones = ["uri.example=8,64 100"]\n')
    bench.names.list("phish.example", "uri.example", "127.0.0.8")
    bench.names.list("grey.example", "uri.example", "127.0.0.4")
    facts = bench.ask(with_links("phish.example", "grey.example"))
    assert [("phish.example" in sign.evidence) for sign in facts.signs] == [True]


@pytest.mark.parametrize("code", ["127.0.0.1", "127.255.255.255"])
def test_a_list_that_refuses_us_lists_nothing(code: str):
    bench = Bench('surbl_zones = ["uri.example=8,64 100"]\n')
    bench.names.list("bad.example", "uri.example", code)
    facts = bench.ask(with_links("bad.example"))
    assert facts.signs == ()
    assert facts.troubles


def test_own_skipped_and_well_known_domains_and_private_addresses_are_not_asked_about():
    bench = Bench(ONE + 'surbl_skip = ["partner.example"]\n')
    links = ("example.org", "google.com", "partner.example", "10.0.0.1", "127.0.0.1")
    assert bench.ask(with_links(*links)).signs == ()
    assert not bench.names.asked


def test_each_domain_is_asked_about_once_and_so_many_at_most():
    bench = Bench(ONE)
    hosts = [f"d{number}.example" for number in range(200)]
    bench.ask(with_links(*hosts, *hosts))
    asked = [name for name in bench.names.asked if name.endswith(".uri.example") and name.startswith("d")]
    assert len(asked) == ASKED_LIMIT
    assert "d0.example.uri.example" in asked
    assert "d199.example.uri.example" in asked
    assert max(bench.names.asked.values()) == 1


def test_many_listed_links_do_not_weigh_without_end_and_two_lists_count_once_for_a_link():
    bench = Bench('surbl_zones = ["uri.example 100", "two.example 50"]\n')
    for number in range(5):
        bench.names.list(f"d{number}.example", "uri.example")
        bench.names.list(f"d{number}.example", "two.example")
    one = bench.ask(with_links("d0.example"))
    assert [sign.weight for sign in one.signs] == [pytest.approx(3.5)]
    all_of_them = bench.ask(with_links(*(f"d{number}.example" for number in range(5))))
    assert sum(sign.weight for sign in all_of_them.signs) == pytest.approx(WEIGHT_LIMIT)


def test_a_list_that_has_everything_makes_no_signs():
    bench = Bench(ONE)
    bench.names.table[EVERYTHING] = found("127.0.0.2")

    async def ask() -> None:
        assert (await bench.asking(with_links("bad.example"))).signs == ()
        assert list(bench.zones.off()) == ["uri.example"]

    asyncio.run(ask())


def test_trouble_is_no_sign_and_without_links_nothing_is_asked():
    bench = Bench(ONE)
    bench.names.table["bad.example.uri.example"] = SERVFAIL
    facts = bench.ask(with_links("bad.example"))
    assert facts.signs == ()
    assert any("uri.example" in each for each in facts.troubles)
    bench.names.asked.clear()
    bench.ask(SpamFacts())
    assert not bench.names.asked
