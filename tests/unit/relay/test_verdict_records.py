"""Records of inspections and verdicts: everything an operator asks for is there, and nothing is unbounded."""

import msgspec

from gatepost.config.load import load_text
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis, Finding, ObjectKind, ObjectReport, ObjectStatus
from gatepost.model.record import (
    DECODER,
    ENCODER,
    OBJECTS_TOLD,
    SIGNS_TOLD,
    TEXT_TOLD,
    ObjectNote,
    Scanned,
    SignNote,
    SpamChecked,
)
from gatepost.model.spam import Method, NetworkFacts, Sign, SpamFacts, SpamStatus
from gatepost.model.verdict import (
    ObjectAction,
    ObjectDecision,
    SpamActions,
    SpamEnd,
    SpamVerdict,
    Verdict,
)
from gatepost.policy.group import GroupPolicy, GroupTable
from gatepost.relay.verdict_records import build_checked, build_inspected
from gatepost.spool.interface import ContentRef, State, Stored

HUGE = "x" * 5000
RECORD_LIMIT = 64 * 1024
"""Bytes of any record here, whatever a message holds."""


CONFIG = """
[network]
hostname = "gw.example.org"
[policy]
check = true
"""


def a_group() -> GroupPolicy:
    loaded = load_text(CONFIG, "x.toml")
    assert loaded.config is not None, loaded.problems
    return GroupTable.from_config(loaded.config.groups, loaded.config.ave, 60.0).groups[-1]


def stored() -> Stored:
    envelope = Envelope("s@example.net", (Recipient("r@example.org"),), Client("192.0.2.1"))
    return Stored(7, 7, State.WAITING, 100.0, envelope, ContentRef(7, 5, in_file=False), b"")


def report(status: ObjectStatus, name: str = "a.exe", text: str = "why") -> ObjectReport:
    return ObjectReport(
        -1, ObjectKind.PART, status, name, "text/plain", 9, "Threat", text, found="pe", engine="builtin"
    )


def test_an_inspection_tells_subject_costs_and_what_is_not_clean():
    analysis = Analysis(
        (report(ObjectStatus.CLEAN), report(ObjectStatus.INFECTED)),
        (Finding("mime-odd", "odd"),),
        elapsed_ms=5.0,
        subject="Figures",
        spam=SpamFacts(elapsed_ms=2.0, costs=(("headers", 1.5),), trouble="one check failed", categories=("a/b",)),
        network=NetworkFacts(elapsed_ms=3.0, costs=(("DNSBL", 2.5),), troubles=("no answer",)),
    )
    found = build_inspected(stored(), analysis, 40.0, 9.0, 101.0)
    assert (found.id, found.at, found.subject, found.waited_ms, found.elapsed_ms) == (7, 101.0, "Figures", 40.0, 9.0)
    assert found.stages == (
        ("filter", 5.0),
        ("content", 2.0),
        ("headers", 1.5),
        ("network", 3.0),
        ("DNSBL", 2.5),
    )
    assert found.objects == 2
    assert found.notable == (ObjectNote("a.exe", "pe", 9, "infected", "Threat", "builtin", "why"),)
    assert (found.findings, found.troubles) == (("mime-odd",), ("one check failed", "no answer"))
    assert found.categories == ("a/b",)


def test_an_inspection_of_a_monster_is_a_small_record():
    analysis = Analysis(
        tuple(report(ObjectStatus.ERROR, HUGE, HUGE) for _ in range(1000)),
        tuple(Finding(HUGE[:1000], "") for _ in range(500)),
        network=NetworkFacts(troubles=(HUGE,) * 100),
    )
    found = build_inspected(stored(), analysis, 0.0, 0.0, 1.0)
    assert (found.objects, len(found.notable)) == (1000, OBJECTS_TOLD)
    assert max(len(each.evidence) for each in found.notable) == TEXT_TOLD
    assert len(ENCODER.encode(found)) < RECORD_LIMIT


def verdict(signs: tuple[Sign, ...], actions: SpamActions = SpamActions()) -> Verdict:  # noqa: B008 - frozen
    spam = SpamVerdict(SpamStatus.SPAM, 99, (Method.CONTENT,), signs=signs, actions=actions, reason="because")
    decision = ObjectDecision(0, ObjectStatus.INFECTED, ObjectAction.REMOVE, "a.exe", "Threat")
    return Verdict("g", (ObjectStatus.INFECTED,), (decision,), reason="a.exe: infected", spam=spam)


def checked(given: Verdict) -> tuple[SpamChecked, Scanned]:
    spam, scanned = build_checked(stored(), a_group(), 1, given, Analysis((report(ObjectStatus.INFECTED),)), 1.0)
    assert isinstance(spam, SpamChecked)
    assert isinstance(scanned, Scanned)
    return spam, scanned


def test_a_verdict_tells_signs_with_weight_and_evidence_the_heaviest_first():
    signs = (
        Sign(Method.SPF, "fact", "passed", 0.0),
        Sign(Method.CONTENT, "word", "free", 1.234),
        Sign(Method.DKIM, "signed", "by example.net", -2.0),
    )
    spam, scanned = checked(verdict(signs))
    assert spam.notes == (
        SignNote("DKIM", "signed", -2.0, "by example.net"),
        SignNote("content", "word", 1.23, "free"),
        SignNote("SPF", "fact", 0.0, "passed"),
    )
    assert spam.signs == ("signed", "word")
    assert (spam.action, spam.extras, spam.to, spam.reason) == ("deliver", (), (), "because")
    assert scanned.actions == (("a.exe", "infected", "remove"),)
    assert (scanned.reason, scanned.names) == ("a.exe: infected", ("Threat",))


def test_a_verdict_tells_what_is_done():
    actions = SpamActions(SpamEnd.REDIRECT, mark=True, quarantine=True, copies=("c@x",), redirect=("r@x",))
    spam, _ = checked(verdict((), actions))
    assert (spam.action, spam.extras, spam.to) == ("redirect", ("mark", "quarantine", "copy"), ("r@x", "c@x"))


def test_a_thousand_signs_make_a_small_record():
    spam, _ = checked(verdict(tuple(Sign(Method.CONTENT, f"s{n}", HUGE, float(n)) for n in range(1000))))
    assert len(spam.notes) == SIGNS_TOLD
    assert len(ENCODER.encode(spam)) < RECORD_LIMIT


def test_records_of_an_older_version_are_still_read():
    short = ["received", 1, 2.0, "a@b", 1, 3, "192.0.2.1", "h", "<m>", "E"]
    attempt = ["delivered", 1, 2.0, "a@b", "host", 3, True]
    (received, delivered) = DECODER.decode(msgspec.msgpack.encode([short, attempt]))
    assert received.addresses == ()  # type: ignore[union-attr]
    assert not delivered.more  # type: ignore[union-attr]
