"""Authentication in the relay (F-AS-09): SPF beside the filter, one deadline, answers kept by the resolver."""

import asyncio
import time

import msgspec
import pytest
from lookup_bench import NOTHING, SERVFAIL, STRANGER, TableNames, config_of
from tests.support.dns import StubDns

from gatepost.antispam.rating import rate
from gatepost.authn.results import build_results_field
from gatepost.config.schema import Config
from gatepost.model.authn import AuthnMaterial, AuthnResults
from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.model.spam import Method, NetworkFacts, SpamFacts
from gatepost.relay.lookups.authentication import CONTENT_METHODS, AuthenticationLookup
from gatepost.relay.lookups.checks import NetworkChecks
from gatepost.relay.lookups.zones import Names, Zones
from gatepost.resolver.answers import Answer, Mx, Outcome
from gatepost.resolver.resolver import Resolver

SPF = frozenset((Method.SPF,))
ALL = SPF | CONTENT_METHODS
AUTHOR = SpamFacts(authn=AuthnMaterial(("ann@example.net",)))


def text(*texts: str) -> Answer[bytes]:
    return Answer(Outcome.FOUND, tuple(each.encode() for each in texts))


class AuthenticationBench:
    """One lookup over a table of names, or over any resolver."""

    def __init__(self, settings: str = "", *, names: Names | None = None, budget_s: float = 60.0) -> None:
        self.table = TableNames()
        self.told: list[str] = []
        config = config_of(settings)
        used = self.table if names is None else names
        self.lookup = AuthenticationLookup(config, used, time.monotonic, lambda: 1_000_000.0)
        zones = Zones(used, time.monotonic, self._tell)
        self.checks = NetworkChecks([self.lookup], budget_s, zones, time.monotonic, self._tell)

    def _tell(self, level: str, told: str) -> None:
        self.told.append(f"{level} {told}")

    async def asking(self, spam: SpamFacts = AUTHOR, **others: object) -> NetworkFacts:
        methods = others.pop("methods", ALL)
        client = Client(str(others.pop("ip", STRANGER)), helo=str(others.pop("helo", "mail.example.net")))
        sender = str(others.pop("sender", "ann@example.net"))
        envelope = Envelope(sender, (Recipient("r@example.org"),), client, **others)
        ongoing = self.checks.begin("Q", envelope, methods)
        if ongoing is None:
            return NetworkFacts()
        await asyncio.sleep(0)
        facts = await ongoing.finish(spam)
        ongoing.cancel()
        return facts

    def ask(self, spam: SpamFacts = AUTHOR, **others: object) -> NetworkFacts:
        return asyncio.run(self.asking(spam, **others))


def names_of(facts: NetworkFacts) -> dict[str, float]:
    return {sign.name: sign.weight for sign in facts.signs}


@pytest.mark.feature("F-AS-09")
def test_a_policy_that_forbids_the_client_raises_the_rating_and_is_kept():
    with StubDns() as dns:
        dns.add("example.net", "TXT", '"v=spf1 ip4:192.0.2.0/24 -all"')

        async def twice() -> list[NetworkFacts]:
            config = config_of("")
            loaded = Resolver(_with_server(config, dns.address))
            try:
                bench = AuthenticationBench(names=loaded, budget_s=5)
                return [await bench.asking(methods=SPF) for _ in range(2)]
            finally:
                await loaded.close()

        first, second = asyncio.run(twice())
        assert dns.count("example.net", "TXT") == 1
    assert first.signs == second.signs
    (sign,) = first.signs
    assert (sign.method, sign.name) == (Method.SPF, "spf-fail")
    assert STRANGER in sign.evidence
    assert "-all of example.net" in sign.evidence
    assert rate(first.signs) > rate(()) + 5
    assert second.authn.spf == "fail"


def _with_server(config: Config, address: str) -> Config:
    resolve = msgspec.structs.replace(config.resolve, name_servers=(address,))
    return msgspec.structs.replace(config, resolve=resolve)


def test_all_of_it_with_answers_of_the_network_and_then_without():
    bench = AuthenticationBench()
    bench.table.table["example.net"] = text("v=spf1 mx -all", "other")
    bench.table.table["_dmarc.example.net"] = text("v=DMARC1; p=reject")
    facts = bench.ask()
    assert facts.authn.spf == "fail"
    assert (facts.authn.dmarc, facts.authn.dmarc_policy) == ("fail", "reject")
    assert names_of(facts) == {"spf-fail": pytest.approx(1.2), "dmarc-fail-reject": pytest.approx(3.0)}
    asked = dict(bench.table.asked)
    again = bench.ask()
    assert again.signs == facts.signs
    assert bench.table.asked == asked
    assert bench.lookup.status() == {"checked": 2, "from_cache": 1, "unknown": 0, "spf_waiting": 0, "spf_refused": 0}
    field = build_results_field("gw.example.org", again.authn)
    assert b"spf=fail smtp.mailfrom=example.net" in field
    assert b"dmarc=fail (p=reject) header.from=example.net" in field


def test_mail_hosts_come_in_the_order_and_form_that_spf_wants():
    bench = AuthenticationBench()
    bench.table.table["example.net"] = text("v=spf1 mx:hosts.example.net -all")
    bench.table.table["hosts.example.net"] = Answer(Outcome.FOUND, (Mx(5, "-"), Mx(10, "mx.example.net"), Mx(20, "")))
    bench.table.table["mx.example.net"] = Answer(Outcome.FOUND, (STRANGER,))
    facts = bench.ask(methods=SPF)
    assert facts.authn.spf == "pass"
    assert facts.authn.authenticated == ("example.net",)
    assert (facts.authn.dmarc, facts.authn.arc) == ("", "")
    assert "-" not in bench.table.asked


def test_spf_begins_before_the_content_is_known():
    bench = AuthenticationBench()
    bench.table.table["example.net"] = text("v=spf1 include:spf.example.net -all")

    async def begin() -> dict[str, int]:
        client = Client(STRANGER, helo="mail.example.net")
        ongoing = bench.checks.begin("Q", Envelope("ann@example.net", (), client), ALL)
        for _ in range(5):
            await asyncio.sleep(0)
        asked = dict(bench.table.asked)
        ongoing.cancel()
        return asked

    assert {"example.net", "spf.example.net"} <= asyncio.run(begin()).keys()


def test_a_resolver_that_hangs_costs_the_budget_and_no_sign():
    bench = AuthenticationBench(budget_s=0.1)
    bench.table.hangs |= {"example.net"}
    facts = bench.ask()
    assert facts.signs == ()
    assert facts.authn.spf in ("", "temperror")
    assert any("SPF" in each for each in facts.troubles)
    assert any("DMARC" in each for each in facts.troubles)
    assert facts.elapsed_ms < 5_000
    assert bench.lookup.status()["spf_waiting"] == 0


def test_trouble_of_the_server_is_told_and_no_sign():
    bench = AuthenticationBench()
    bench.table.table["example.net"] = SERVFAIL
    bench.table.table["_dmarc.example.net"] = SERVFAIL
    facts = bench.ask()
    assert facts.signs == ()
    assert facts.authn.spf == facts.authn.dmarc == "temperror"
    assert len(facts.troubles) == 2


def test_too_many_checks_that_wait_are_not_begun():
    bench = AuthenticationBench("spfd_max_queue_size = 10\n", budget_s=0.05)
    bench.table.hangs |= {"example.net"}

    async def burst() -> list[NetworkFacts]:
        return list(await asyncio.gather(*(bench.asking(methods=SPF) for _ in range(25))))

    facts = asyncio.run(burst())
    refused = [each for each in facts if "SPF: too many checks wait for answers" in each.troubles]
    assert len(refused) == 15
    assert bench.lookup.status()["spf_refused"] == 15
    assert bench.lookup.status()["spf_waiting"] == 0


@pytest.mark.parametrize("ip", ["10.0.0.5", "fe80::1", "", "nonsense"])
def test_a_client_without_a_public_address_has_no_spf(ip: str):
    bench = AuthenticationBench()
    bench.table.table["example.net"] = text("v=spf1 -all")
    facts = bench.ask(ip=ip)
    assert facts.authn.spf == ""
    assert facts.authn.dmarc == "none"
    bench.table.table["_dmarc.example.net"] = text("v=DMARC1; p=reject")
    bench.table.kept.clear()
    assert bench.ask(ip=ip).signs == ()
    nothing = bench.ask(ip=ip, methods=SPF)
    assert (nothing.signs, nothing.troubles, nothing.authn) == ((), (), AuthnResults())


@pytest.mark.parametrize("direction", [Direction.OUTBOUND, Direction.INTERNAL])
def test_our_own_mail_is_not_checked(direction: Direction):
    bench = AuthenticationBench()
    assert bench.ask(direction=direction) == NetworkFacts()
    assert not bench.table.asked


def test_the_null_sender_is_checked_by_its_helo():
    bench = AuthenticationBench()
    bench.table.table["mail.example.net"] = text("v=spf1 -all")
    facts = bench.ask(sender="")
    assert (facts.authn.spf, facts.authn.spf_domain, facts.authn.spf_helo) == ("fail", "mail.example.net", True)
    assert b"smtp.helo=mail.example.net" in build_results_field("gw", facts.authn)


def test_a_sender_beyond_ascii_is_asked_for_in_a_labels():
    bench = AuthenticationBench()
    bench.table.table["xn--bcher-kva.example"] = text("v=spf1 +all")
    facts = bench.ask(sender="ann@b\u00fccher.example", methods=SPF)
    assert (facts.authn.spf, facts.authn.spf_domain) == ("pass", "xn--bcher-kva.example")


def test_trust_comes_from_the_configuration():
    bench = AuthenticationBench('trusted_authserv_ids = ["MX.us.example"]\ntrusted_arc_sealers = ["List.example"]\n')
    assert bench.lookup.trust.sealers == {"list.example"}
    bench.table.table["_dmarc.example.net"] = text("v=DMARC1; p=reject")
    stated = AuthnMaterial(("ann@example.net",), results=("mx.us.example; spf=pass smtp.mailfrom=example.net",))
    facts = bench.ask(SpamFacts(authn=stated))
    assert (facts.authn.stated_by, facts.authn.spf, facts.authn.dmarc) == ("mx.us.example", "pass", "pass")


def test_names_that_cannot_be_are_nothing():
    bench = AuthenticationBench()
    bench.table.table["*"] = NOTHING
    facts = bench.ask(sender="x@" + "a." * 200 + "example")
    assert facts.authn.spf == "none"
