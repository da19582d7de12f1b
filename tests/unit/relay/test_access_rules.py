"""Rules on facts: first match decides, doubt is temporary, and what may be said before the recipient is known."""

import pytest

from gatepost.relay.rules import Answer, Fact, connect_rules, hello_rules, sender_rules

ALLOW, DENY, UNKNOWN = Answer.ALLOW, Answer.DENY, Answer.UNKNOWN
LISTED, NAMED = Fact.LISTED, Fact.NAMED


@pytest.mark.parametrize(
    ("rules", "known", "recipient", "answer"),
    [
        ((), {}, "a@x.example", (ALLOW, "")),
        (("deny from in_dnsbl to *",), {LISTED: True}, "a@x.example", (DENY, "dnsbl")),
        (("deny from in_dnsbl to *",), {LISTED: False}, "a@x.example", (ALLOW, "")),
        (("deny from out_dnsbl to *",), {LISTED: False}, "a@x.example", (DENY, "connect")),
        (("deny from no_name to *",), {NAMED: False}, "a@x.example", (DENY, "no-name")),
        (("deny from has_name to *",), {NAMED: True}, "a@x.example", (DENY, "connect")),
        (("deny from any to *@x.example",), {}, "a@x.example", (DENY, "connect")),
        (("deny from any to *@x.example",), {}, "a@y.example", (ALLOW, "")),
        # the first whose condition and mask both match decides
        (("allow from has_name to *", "deny from in_dnsbl to *"), {NAMED: True, LISTED: True}, "a@x", (ALLOW, "")),
        (("allow from has_name to *", "deny from in_dnsbl to *"), {NAMED: False, LISTED: True}, "a@x", (DENY, "dnsbl")),
        (("deny from in_dnsbl to *", "allow from has_name to *"), {NAMED: True, LISTED: True}, "a@x", (DENY, "dnsbl")),
        # not to be had: temporary, unless it makes no difference
        (("deny from in_dnsbl to *",), {LISTED: None}, "a@x", (UNKNOWN, "dns")),
        (("deny from in_dnsbl to *",), {}, "a@x", (UNKNOWN, "dns")),
        (("deny from in_dnsbl to b@x",), {LISTED: None}, "a@x", (ALLOW, "")),
        (("allow from in_dnsbl to *",), {LISTED: None}, "a@x", (ALLOW, "")),
        (("deny from in_dnsbl to *", "deny from any to *"), {LISTED: None}, "a@x", (DENY, "connect")),
        (("allow from has_name to *", "deny from any to *"), {NAMED: None}, "a@x", (UNKNOWN, "dns")),
    ],
)
def test_connect_rules(rules, known, recipient, answer):
    assert connect_rules(rules).decide(known, recipient) == answer


@pytest.mark.parametrize(
    ("compile_rules", "condition", "fact", "value", "cause"),
    [
        (hello_rules, "has_ip", Fact.HELLO_ADDRESS, True, "helo"),
        (hello_rules, "no_ip", Fact.HELLO_ADDRESS, False, "helo"),
        (hello_rules, "same_ip", Fact.HELLO_SAME, True, "helo"),
        (hello_rules, "diff_ip", Fact.HELLO_SAME, False, "helo"),
        (sender_rules, "has_ip", Fact.SENDER_ADDRESS, True, "mailfrom"),
        (sender_rules, "no_ip", Fact.SENDER_ADDRESS, False, "mailfrom"),
        (sender_rules, "has_mx", Fact.SENDER_HOSTS, True, "mailfrom"),
        (sender_rules, "no_mx", Fact.SENDER_HOSTS, False, "mailfrom"),
    ],
)
def test_conditions(compile_rules, condition, fact, value, cause):
    rules = compile_rules((f"deny from {condition} to *",))
    assert rules.decide({fact: value}, "a@x") == (DENY, cause)
    assert rules.decide({fact: not value}, "a@x") == (ALLOW, "")
    assert rules.needed("a@x") == [fact]


def test_only_what_a_recipient_needs_is_asked():
    rules = connect_rules(("deny from no_name to a@x", "allow from any to b@x", "deny from in_dnsbl to *"))
    assert rules.needed("a@x") == [NAMED, LISTED]
    assert rules.needed("b@x") == []
    assert rules.needed("c@x") == [LISTED]
    assert rules.needed_by_all() == [LISTED]


@pytest.mark.parametrize(
    ("rules", "known", "cause"),
    [
        (("deny from in_dnsbl to *",), {LISTED: True}, "dnsbl"),
        (("deny from in_dnsbl to *",), {LISTED: False}, ""),
        (("deny from in_dnsbl to *",), {LISTED: None}, ""),
        (("deny from in_dnsbl to *@x",), {LISTED: True}, ""),
        # somebody may still be allowed
        (("allow from any to postmaster@*", "deny from in_dnsbl to *"), {LISTED: True}, ""),
        (("allow from has_name to b@x", "deny from in_dnsbl to *"), {LISTED: True, NAMED: False}, "dnsbl"),
        (("allow from has_name to b@x", "deny from in_dnsbl to *"), {LISTED: True, NAMED: None}, ""),
        (("deny from any to a@x", "deny from in_dnsbl to *"), {LISTED: True}, "dnsbl"),
    ],
)
def test_refusing_before_the_recipient_is_known(rules, known, cause):
    assert connect_rules(rules).refuses_everybody(known) == cause


def test_what_is_said_to_everybody_is_said_to_each():
    texts = ("allow from has_name to b@x", "deny from in_dnsbl to a@x", "deny from in_dnsbl to *", "deny from any to *")
    for count in range(len(texts) + 1):
        rules = connect_rules(texts[:count])
        for listed in (True, False, None):
            for named in (True, False, None):
                known = {LISTED: listed, NAMED: named}
                if rules.refuses_everybody(known):
                    assert {rules.decide(known, recipient)[0] for recipient in ("a@x", "b@x", "c@y")} == {DENY}


def test_a_bounce_is_judged_by_unconditional_rules_only():
    rules = sender_rules(("deny from no_ip to *", "deny from any to closed@x")).unconditional()
    assert rules.decide({Fact.SENDER_ADDRESS: False}, "a@x") == (ALLOW, "")
    assert rules.decide({}, "closed@x") == (DENY, "mailfrom")
