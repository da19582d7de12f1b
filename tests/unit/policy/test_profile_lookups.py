"""What rules ask of the DNS: only what an active profile names, and what is not answered is not known."""

import asyncio
import time
from typing import Any

import pytest

from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.model.profile import (
    Act,
    Action,
    Condition,
    ConditionKind,
    DnsList,
    DnsService,
    Profile,
    ProfileRef,
    Rule,
    RuleSet,
)
from gatepost.model.spam import NetworkFacts, SpamFacts
from gatepost.relay.lookups.checks import NetworkChecks
from gatepost.relay.lookups.rules import RuleLookup
from gatepost.relay.lookups.zones import Zones
from gatepost.resolver.answers import Answer, Kind, Outcome

IP = "198.51.100.7"
BACKWARDS = "7.100.51.198"
REVERSE = f"{BACKWARDS}.in-addr.arpa"
FAILED: Answer[Any] = Answer(Outcome.FAILED, reason="SERVFAIL")


def rules(*, active: bool = True) -> RuleSet:
    conditions = (
        Condition(test=ConditionKind.CLIENT_DNSBL, value="bad"),
        Condition(test=ConditionKind.CLIENT_NOT_IN_DNS),
    )
    used = Profile(name="Used", rules=(Rule(conditions=conditions, actions=(Action(do=Act.SKIP),)),))
    asleep = Condition(test=ConditionKind.CLIENT_DNSBL, value="unused")
    other = Profile(name="Asleep", rules=(Rule(conditions=(asleep,), actions=(Action(do=Act.SKIP),)),))
    return RuleSet(
        common=(ProfileRef(file="used", active=active), ProfileRef(file="asleep", active=False)),
        profiles={"used": used, "asleep": other},
        dnsbl={
            "bad": DnsList(services=(DnsService(zone="one.example"), DnsService(zone="two.example"))),
            "unused": DnsList(services=(DnsService(zone="unused.example"),)),
        },
    )


class Names:
    """Answers from a table, "no such name" for the rest."""

    def __init__(self) -> None:
        self.table: dict[str, Answer[Any]] = {}
        self.asked: set[str] = set()

    def cached(self, name: str, kind: Kind) -> Answer[Any] | None:
        return None

    def prefetch(self, name: str, kind: Kind) -> bool:
        self.asked.add(name)
        return True

    async def ask(self, name: str, kind: Kind, *, deadline_s: float | None = None) -> Answer[Any]:
        self.asked.add(name)
        await asyncio.sleep(0)
        return self.table.get(name, Answer(Outcome.NO_NAME, reason="no such name"))


def ask(names: Names, rule_set: RuleSet | None = None, *, ip: str = IP, name: str = "", **more: Any) -> NetworkFacts:
    zones = Zones(names, time.monotonic, lambda *_: None)
    lookup = RuleLookup(rule_set or rules(), zones, names, time.monotonic)

    async def asking() -> NetworkFacts:
        checks = NetworkChecks([lookup] if lookup.asks else [], 5.0, zones, time.monotonic, lambda *_: None)
        envelope = Envelope("s@example.net", (Recipient("r@example.org"),), Client(ip, name=name), **more)
        ongoing = checks.begin("Q", envelope, frozenset())
        return await ongoing.finish(SpamFacts()) if ongoing is not None else NetworkFacts()

    return asyncio.run(asking())


def test_who_has_answered_is_known() -> None:
    names = Names()
    names.table[f"{BACKWARDS}.one.example"] = Answer(Outcome.FOUND, ("127.0.0.2",))
    facts = ask(names)
    assert dict(facts.listed) == {"one.example": True, "two.example": False}
    assert facts.in_dns is False
    assert not facts.signs  # a rule's list is no sign of spam
    assert not any("unused" in each for each in names.asked)


def test_who_has_not_answered_is_not_known() -> None:
    names = Names()
    names.table |= {f"{BACKWARDS}.one.example": FAILED, REVERSE: FAILED}
    facts = ask(names)
    assert dict(facts.listed) == {"two.example": False}
    assert facts.in_dns is None
    assert facts.troubles


def test_a_list_that_lists_everything_is_not_believed() -> None:
    names = Names()
    names.table |= {
        f"{BACKWARDS}.one.example": Answer(Outcome.FOUND, ("127.0.0.2",)),
        "1.0.0.127.one.example": Answer(Outcome.FOUND, ("127.0.0.2",)),
    }
    assert "one.example" not in dict(ask(names).listed)


def test_a_client_with_a_name_is_in_dns() -> None:
    names = Names()
    names.table[REVERSE] = Answer(Outcome.FOUND, ("mail.example.net",))
    assert ask(names).in_dns is True
    known = Names()
    assert ask(known, name="mail.example.net").in_dns is True
    assert REVERSE not in known.asked


@pytest.mark.parametrize(
    "more", [{"ip": "10.0.0.1"}, {"ip": ""}, {"direction": Direction.OUTBOUND}, {"direction": Direction.INTERNAL}]
)
def test_nobody_is_asked_about_our_own_and_about_private_addresses(more: dict[str, Any]) -> None:
    names = Names()
    facts = ask(names, **more)
    assert facts.listed == ()
    assert facts.in_dns is None
    assert not names.asked


def test_a_set_that_names_no_service_asks_nothing() -> None:
    names = Names()
    assert ask(names, rules(active=False)) == NetworkFacts()
    assert not names.asked
