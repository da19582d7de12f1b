"""The text in place of an object, and the facts it is made of."""

import pytest

from gatepost.model.finding import Analysis, ObjectKind, ObjectReport, ObjectStatus
from gatepost.model.verdict import ObjectAction, ObjectDecision, Verdict
from gatepost.notices.facts import THREATS_LIMIT, MessageFacts, ObjectFacts, build_values, gather_object_facts
from gatepost.notices.placeholder import LAST_RESORT, build_placeholder
from gatepost.notices.template import parse_template, shipped_template

MESSAGE = MessageFacts(hostname="gw.example", now=0.0, queue_id="01ABCDEFGHJKM", sender="a@b.example")


def facts(status=ObjectStatus.INFECTED, name="grüße.exe", threats=("Test-Threat",)):
    return ObjectFacts(
        name=name, content_type="application/x", status=status, action=ObjectAction.PLACEHOLDER, threats=threats
    )


def test_the_shipped_text_names_object_reason_and_number():
    text = build_placeholder(shipped_template("placeholder"), facts(), MESSAGE).decode()
    for words in ("gw.example", "grüße.exe", "application/x", "malicious code", "Test-Threat", "01ABCDEFGHJKM"):
        assert words in text
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (ObjectStatus.SUSPICIOUS, "looked like malicious code"),
        (ObjectStatus.PROTECTED, "password"),
        (ObjectStatus.ERROR, "could not be examined"),
        (ObjectStatus.FILTERED, "name or type"),
        (ObjectStatus.DISINFECTED, "malicious code"),
    ],
)
def test_each_status_has_its_reason(status, words):
    text = build_placeholder(shipped_template("placeholder"), facts(status, "", ()), MESSAGE).decode()
    assert words in text
    assert "(without a name)" in text
    assert "Found:" not in text


def test_an_own_template_and_an_empty_one():
    template = parse_template(b"%OBJECT_NAME% %OBJECT_STATUS% %OBJECT_ACTION% %VIRUS% %SENDER%")
    assert build_placeholder(template, facts(name="x"), MESSAGE) == b"x infected replaced Test-Threat a@b.example\r\n"
    assert build_placeholder(parse_template(b" "), facts(), MESSAGE) == LAST_RESORT.encode()


def test_date_and_time_follow_the_formats():
    values = build_values(MessageFacts(hostname="h", now=1e9, date_format="%Y", time_format="<%M>"))
    assert values["DATE"] == "2001"
    assert values["TIME"] == "<46>"
    assert "SUBJECT" not in values


def test_threats_of_members_are_told_of_what_holds_them():
    def member(parent, threat):
        return ObjectReport(parent, ObjectKind.MEMBER, ObjectStatus.INFECTED, threat=threat)

    objects = (
        ObjectReport(-1, ObjectKind.PART, ObjectStatus.INFECTED, name="a.zip"),
        member(0, "one"),
        member(1, "two"),
        member(0, "one"),
        ObjectReport(-1, ObjectKind.PART, ObjectStatus.CLEAN),
        *(member(4, f"t{i}") for i in range(50)),
    )
    decisions = tuple(ObjectDecision(i, ObjectStatus.INFECTED, ObjectAction.REMOVE) for i in (0, 4, -1))
    found = gather_object_facts(Analysis(objects), Verdict("g", (), decisions))
    assert set(found[0].threats) == {"one", "two"}
    assert len(found[1].threats) == THREATS_LIMIT
    assert found[2].threats == ()
