"""Two looks at one message: what is told to differ, and what a record cannot tell."""

from typing import Any

from gatepost.cli.explanation import ExplainedFinding, ExplainedGroup, ExplainedObject, Explanation
from gatepost.cli.rescan_difference import Change, Look, compare, facts_in, look_in, look_of
from gatepost.cli.spam_explanation import ExplainedSign, ExplainedSpam
from gatepost.model.record import SIGNS_TOLD
from gatepost.model.spam import Method
from gatepost.policy.spam import DNSBL_LIMIT


def note(name: str, weight: float, method: str = "content") -> dict[str, Any]:
    return {"method": method, "name": name, "weight": weight, "evidence": "seen"}


def scanned(**changes: Any) -> dict[str, Any]:
    told = {"type": "scanned", "group": "policy", "statuses": ["clean"], "blocked": False, "actions": []}
    return told | changes


def checked(*notes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    told = {"type": "spam-checked", "group": "policy", "status": "spam", "rate": 90, "methods": ["content"]}
    return told | {"notes": list(notes), "action": "deliver"} | changes


def inspected(**changes: Any) -> dict[str, Any]:
    return {"type": "inspected", "findings": [], "notable": [], **changes}


def recorded(*records: dict[str, Any]) -> Look:
    look = look_in(records)
    assert look is not None
    return look


def test_the_same_has_no_difference() -> None:
    records = (inspected(), scanned(), checked(note("word", 1.5)))
    assert compare(recorded(*records), recorded(*records)) == []


def test_new_gone_and_changed_are_told() -> None:
    before = recorded(
        inspected(findings=["odd"], notable=[{"name": "a.exe", "status": "suspicious", "threat": ""}]),
        scanned(statuses=["suspicious"], actions=[["a.exe", "suspicious", "placeholder"]]),
        checked(note("gone", 1.0), note("changed", 2.0)),
    )
    after = recorded(
        inspected(notable=[{"name": "a.exe", "status": "infected", "threat": "Worm"}]),
        scanned(statuses=["infected"], blocked=True, actions=[["a.exe", "infected", "remove"]]),
        checked(note("new", 1.0), note("changed", 2.5), status="probable_spam", rate=60),
    )
    assert compare(before, after) == [
        Change("message", "object", "a.exe", "suspicious", "infected Worm"),
        Change("message", "finding", "odd", "there", ""),
        Change("policy", "verdict", "", "suspicious", "infected"),
        Change("policy", "spam", "", "spam", "probable_spam"),
        Change("policy", "rate", "", "90 %", "60 %"),
        Change("policy", "end", "", "deliver", "blocked"),
        Change("policy", "sign", "content gone", "+1.00", ""),
        Change("policy", "sign", "content changed", "+2.00", "+2.50"),
        Change("policy", "sign", "content new", "", "+1.00"),
        Change("policy", "edit", "a.exe: suspicious, placeholder", "done", ""),
    ]


def test_another_group_is_told() -> None:
    before, after = recorded(scanned()), recorded(scanned(group="sales", blocked=True))
    assert compare(before, after) == [
        Change("policy", "group", "policy", "deliver", ""),
        Change("sales", "group", "sales", "", "blocked"),
    ]


def test_a_full_record_may_lack_lighter_signs() -> None:
    many = [note(f"s{number}", 3.0) for number in range(SIGNS_TOLD)]
    before = recorded(scanned(), checked(*many))
    after = recorded(scanned(), checked(*many, note("light", 0.5), note("heavy", 4.0)))
    assert compare(before, after) == [Change("policy", "sign", "content heavy", "", "+4.00")]


def test_the_last_look_on_record_counts() -> None:
    assert look_in([{"type": "received"}]) is None
    first = (inspected(findings=["odd"]), scanned(group="old"))
    assert compare(recorded(*first, inspected(), scanned()), recorded(inspected(), scanned())) == []


def test_an_explanation_and_its_record_are_the_same_look() -> None:
    sign = ExplainedSign(1.504, "content", "word", "seen", "")
    spam = ExplainedSpam(
        "spam",
        90,
        "standard",
        80,
        50,
        1.5,
        (),
        (),
        (sign,),
        (),
        "",
        "",
        obscene=False,
        formal="",
        labels=(),
        actions=(),
    )
    group = ExplainedGroup(
        "policy", (), "", ("infected",), "", ("a.exe: infected, remove",), (), (), {}, (), "delivered", spam
    )
    objects = (
        ExplainedObject(0, "a.exe", "", "part", "", 1, "infected", "Worm", "", ""),
        ExplainedObject(0, "", "", "part", "", 1, "clean", "", "", ""),
    )
    told = Explanation("inbound", "", "", objects, (ExplainedFinding("odd", ""),), (), (), "", (group,))
    record = recorded(
        inspected(findings=["odd"], notable=[{"name": "a.exe", "status": "infected", "threat": "Worm"}]),
        scanned(statuses=["infected"], actions=[["a.exe", "infected", "remove"]]),
        checked(note("word", 1.5)),
    )
    assert compare(record, look_of(told)) == []


def test_network_facts_come_from_the_record() -> None:
    assert facts_in([scanned()]) is None
    facts = facts_in([checked(note("fail", 2.0, "SPF"), note("word", 1.0))])
    assert facts is not None
    assert [(sign.method, sign.name, sign.weight) for sign in facts.signs] == [(Method.SPF, "fail", 2.0)]
    assert facts.dnsbl_sum == 0
    listed = facts_in([checked(status="blacklisted", methods=["DNSBL"])])
    assert listed is not None
    assert listed.dnsbl_sum > DNSBL_LIMIT
