"""Conditions of rules: each true, false and unknown, with and without negation; order and conjunction."""

import itertools
from collections.abc import Iterable

import pytest

from gatepost.model.profile import (
    Act,
    Action,
    AddressList,
    Condition,
    ConditionKind,
    DnsList,
    DnsService,
    NetworkList,
    Profile,
    ProfileRef,
    Rule,
    RuleSet,
)
from gatepost.model.spam import Method, SpamStatus
from gatepost.model.verdict import SpamVerdict
from gatepost.policy.profile_header import HeaderView, Line
from gatepost.policy.profile_table import MailFacts, RuleTable, ShareFacts
from gatepost.policy.profiles import decide_rules

K = ConditionKind
FACTS = MailFacts(
    client_ip="192.0.2.7",
    sender="Ann@Example.org",
    recipients=("bob@example.net", "carol@example.com"),
    size=10 * 1024 + 1,
    listed={"bl.example": True, "wl.example": False},
    in_dns=False,
    categories=("spam/adult/video", "other_things"),
    obscene=True,
)
UNKNOWN = MailFacts(sender="x@y.example", recipients=("bob@example.net",))
SPAM = SpamVerdict(SpamStatus.SPAM, rate=93, methods=(Method.DNSBL,), details=("Headers: Suspicious From",))
LISTS = {
    "emails": {"ann": AddressList(name="a", addresses=("ann@example.org",)), "none": AddressList(name="n")},
    "iplists": {
        "near": NetworkList(name="n", networks=("192.0.2.0/29", "2001:db8::/32")),
        "far": NetworkList(name="f"),
    },
    "dnsbl": {
        "bad": DnsList(name="b", services=(DnsService(zone="wl.example"), DnsService(zone="BL.example"))),
        "good": DnsList(name="g", services=(DnsService(zone="wl.example"),)),
        "half": DnsList(name="h", services=(DnsService(zone="wl.example"), DnsService(zone="silent.example"))),
        "listed": DnsList(name="l", services=(DnsService(zone="silent.example"), DnsService(zone="bl.example"))),
        "silent": DnsList(name="s", services=(DnsService(zone="silent.example"),)),
    },
}


def header() -> HeaderView:
    return HeaderView([Line("Subject", "Große Freude  VIAGRA now"), Line("received", "one"), Line("received", "two")])


def condition(test: ConditionKind, value: str = "", **more: object) -> Condition:
    return Condition(test=test, value=value, **more)  # type: ignore[arg-type]


def holds(
    conditions: Iterable[Condition],
    facts: MailFacts = FACTS,
    spam: SpamVerdict | None = SPAM,
    view: HeaderView | None = None,
    *,
    known_header: bool = True,
) -> bool:
    """Whether a rule with these conditions holds in a common profile."""
    rule = Rule(conditions=tuple(conditions), actions=(Action(do=Act.LOG, value="yes"),))
    table = RuleTable(
        RuleSet(common=(ProfileRef(file="p"),), profiles={"p": Profile(name="P", rules=(rule,))}, **LISTS)  # type: ignore[arg-type]
    )
    shown = (view or header()) if known_header else None
    share = ShareFacts(indices=range(len(facts.recipients)), spam=spam, header=lambda: shown)
    [shares] = decide_rules(table, facts, [share])
    [(_, outcome)] = shares
    return outcome.log == ("yes",)


TRUE = [
    condition(K.CLIENT_IP, "192.0.2.7"),
    condition(K.CLIENT_IP, "192.0.2.0/24"),
    condition(K.CLIENT_LIST, "near"),
    condition(K.CLIENT_DNSBL, "bad"),
    condition(K.CLIENT_DNSBL, "listed"),
    condition(K.CLIENT_NOT_IN_DNS),
    condition(K.SENDER, "ann@example.org"),
    condition(K.SENDER, "@example.org"),
    condition(K.SENDER, "a*@*"),
    condition(K.SENDER_LIST, "ann"),
    condition(K.RECIPIENT, "carol@example.com"),
    condition(K.RECIPIENT, "@EXAMPLE.net"),
    condition(K.HEADER_EXISTS, header="SUBJECT"),
    condition(K.HEADER_MATCHES, "viagra", header="subject"),
    condition(K.HEADER_MATCHES, "GROẞE|große freude", header="subject"),
    condition(K.HEADER_MATCHES, "^two$", header="Received"),
    condition(K.SIZE_OVER, number=10),
    condition(K.CATEGORY, "spam"),
    condition(K.CATEGORY, "SPAM/adult"),
    condition(K.CATEGORY, "other-things"),
    condition(K.STATUS, "spam"),
    condition(K.RATE_OVER, number=93),
    condition(K.METHOD, "dnsbl"),
    condition(K.METHOD, "Headers: Suspicious"),
    condition(K.OBSCENE),
]
FALSE = [
    condition(K.CLIENT_IP, "192.0.2.8"),
    condition(K.CLIENT_IP, "192.0.3.0/24"),
    condition(K.CLIENT_LIST, "far"),
    condition(K.CLIENT_DNSBL, "good"),
    condition(K.SENDER, "bann@example.org"),
    condition(K.SENDER, "@sub.example.org"),
    condition(K.SENDER, ""),
    condition(K.SENDER_LIST, "none"),
    condition(K.RECIPIENT, "dave@example.com"),
    condition(K.RECIPIENT_LIST, "ann"),
    condition(K.HEADER_EXISTS, header="X-None"),
    condition(K.HEADER_MATCHES, "^viagra", header="subject"),
    condition(K.HEADER_MATCHES, "x", header="X-None"),
    condition(K.SIZE_OVER, number=11),
    condition(K.CATEGORY, "spam/adul"),
    condition(K.CATEGORY, "other"),
    condition(K.STATUS, "probable_spam"),
    condition(K.RATE_OVER, number=94),
    condition(K.METHOD, "SPF"),
]
NOT_KNOWN = [
    condition(K.CLIENT_IP, "192.0.2.7"),
    condition(K.CLIENT_LIST, "near"),
    condition(K.CLIENT_DNSBL, "silent"),
    condition(K.CLIENT_NOT_IN_DNS),
    condition(K.HEADER_EXISTS, header="Subject"),
    condition(K.HEADER_MATCHES, "x", header="Subject"),
    condition(K.CATEGORY, "spam"),
    condition(K.STATUS, "spam"),
    condition(K.RATE_OVER, number=1),
    condition(K.METHOD, "x"),
    condition(K.OBSCENE),
]


def negated(plain: Condition) -> Condition:
    return Condition(
        test=plain.test, value=plain.value, header=plain.header, number=plain.number, negated=not plain.negated
    )


def test_every_kind_is_in_the_tables() -> None:
    assert {each.test for each in TRUE} | {K.RECIPIENT_LIST} == set(K)
    assert {each.test for each in FALSE} | {K.CLIENT_NOT_IN_DNS, K.OBSCENE} == set(K)


@pytest.mark.feature("F-ASP-03")
@pytest.mark.feature("F-ASP-05")
@pytest.mark.feature("F-ASP-06")
@pytest.mark.parametrize("plain", TRUE, ids=str)
def test_what_is_so_holds_and_its_negation_does_not(plain: Condition) -> None:
    assert holds([plain])
    assert not holds([negated(plain)])


@pytest.mark.feature("F-ASP-03")
@pytest.mark.parametrize("plain", FALSE, ids=str)
def test_what_is_not_so_does_not_hold_and_its_negation_does(plain: Condition) -> None:
    assert not holds([plain])
    assert holds([negated(plain)])


@pytest.mark.parametrize("plain", NOT_KNOWN, ids=str)
def test_of_what_nobody_knows_neither_the_condition_nor_its_negation_holds(plain: Condition) -> None:
    assert not holds([plain], UNKNOWN, None, known_header=False)
    assert not holds([negated(plain)], UNKNOWN, None, known_header=False)


def test_a_list_of_services_is_known_when_one_lists_the_client_or_all_have_answered() -> None:
    assert holds([condition(K.CLIENT_DNSBL, "listed")])
    assert not holds([condition(K.CLIENT_DNSBL, "half")])
    assert not holds([condition(K.CLIENT_DNSBL, "half", negated=True)])


def test_a_null_sender_is_a_sender_that_rules_can_name() -> None:
    facts = MailFacts(sender="", recipients=("a@b.example",))
    assert holds([condition(K.SENDER, "")], facts)
    assert not holds([condition(K.SENDER, "@b.example")], facts)


def test_a_client_that_has_a_name_is_in_dns() -> None:
    facts = MailFacts(client_ip="192.0.2.7", in_dns=True)
    assert holds([condition(K.CLIENT_NOT_IN_DNS, negated=True)], facts)
    assert not holds([condition(K.CLIENT_NOT_IN_DNS)], facts)


@pytest.mark.feature("F-ASP-03")
@pytest.mark.parametrize("wanted", list(itertools.product((True, False), repeat=3)))
def test_a_rule_holds_when_all_of_its_conditions_do(wanted: tuple[bool, ...]) -> None:
    kinds = (
        condition(K.SIZE_OVER, number=10),
        condition(K.STATUS, "spam"),
        condition(K.RECIPIENT, "bob@example.net"),
    )
    chosen = [plain if each else negated(plain) for plain, each in zip(kinds, wanted, strict=True)]
    assert holds(chosen) is all(wanted)


def test_a_rule_without_conditions_always_holds() -> None:
    assert holds([])
