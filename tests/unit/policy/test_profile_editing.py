"""Rules at work on a message: after the groups' verdicts, and down to the bytes that are delivered."""

import asyncio
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.antispam.spots import find_spots
from gatepost.antispam.view import build_view
from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.config.services import Antispam
from gatepost.filter.dialogue import check_analysis
from gatepost.filter.hostile import HostileAnswer
from gatepost.mime.edit import apply_splices
from gatepost.mime.named_fields import find_named
from gatepost.mime.structure import parse
from gatepost.model.authn import AuthnMaterial, SignatureMaterial
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis, NamedField, ObjectKind, ObjectReport, ObjectStatus
from gatepost.model.profile import (
    Act,
    Action,
    Condition,
    ConditionKind,
    FieldEdit,
    Profile,
    ProfileRef,
    Rule,
    RuleEnd,
    RuleOutcome,
    RuleSet,
)
from gatepost.model.record import Ruled
from gatepost.model.spam import FieldSpot, SpamFacts, SpamOptions, SpamStatus
from gatepost.model.verdict import ObjectAction, ObjectDecision, SpamActions, SpamEnd, SpamVerdict, Verdict
from gatepost.policy.group import GroupPolicy
from gatepost.policy.profile_table import RuleTable
from gatepost.relay.copies import change_recipients, ready_copy
from gatepost.relay.disposal import Share
from gatepost.relay.editing import Edited, Editing, Subject, Wording
from gatepost.relay.rejecting import find_refusal
from gatepost.relay.rule_header import change_header
from gatepost.relay.rule_stage import build_ruled, divide_by_rules, keep_untold, with_rules
from gatepost.relay.telling import decide_telling
from gatepost.relay.work import Work
from gatepost.spool.interface import ContentRef, State, Stored

HOST = "gw.example.org"
NAMES = ("subject", "x-a", "x-b", "keywords", "x-spamtest-status", "content-type")
MAIL = b"From: <a@b.example>\r\nSubject: hello\r\nX-A: one\r\nx-a:\r\n two\r\nX-B: b\r\n\r\ntext\r\n"
SEEN = SpamVerdict(SpamStatus.NOT_DETECTED, 5)
TO = tuple(Recipient(f"{name}@example.org") for name in "abc")


def group(**settings: object) -> GroupPolicy:
    policy = GroupPolicy.from_config(Group(**settings), Ave(), 60.0, antispam=Antispam())  # type: ignore[arg-type]
    return msgspec.structs.replace(policy, scan=msgspec.structs.replace(policy.scan, fields=NAMES))


def work(content: bytes = MAIL, kind: str = "") -> Work:
    envelope = Envelope("a@b.example", TO, Client("192.0.2.1"))
    stored = Stored(1, 1, State.WAITING, 0.0, envelope, ContentRef(1, len(content), False), b"", kind=kind)
    return Work(stored, content)


def analyse(content: bytes = MAIL, signed: tuple[str, ...] = ()) -> Analysis:
    message = parse(content)
    spots = find_spots(build_view(message, SpamOptions()))
    signature = SignatureMaterial("b.example", "s", "rsa-sha256", fields=signed)
    authn = AuthnMaterial(signatures=(signature,) if signed else ())
    facts = SpamFacts(subject=spots.subject, foreign=spots.foreign, keywords=spots.keywords, authn=authn)
    return Analysis((), spam=facts, fields=find_named(message, NAMES))


def edits(*ordered: tuple[Act, str, str]) -> tuple[FieldEdit, ...]:
    return tuple(FieldEdit(do, name, value) for do, name, value in ordered)


def deliver(
    content: bytes,
    ordered: tuple[FieldEdit, ...],
    spam: SpamVerdict | None = SEEN,
    *,
    analysis: Analysis | None = None,
    policy: GroupPolicy | None = None,
    decisions: tuple[ObjectDecision, ...] = (),
) -> tuple[bytes, Edited]:
    """Return the message as it goes on, and its edits."""
    editing, own = Editing(), policy or group()
    editing.configure(Wording(hostname=HOST))
    verdict = Verdict("policy", (), decisions, spam=spam, rules=RuleOutcome(fields=ordered))
    mail = work(content)
    subject = Subject(mail.stored, 1, own, ("a@example.org",), verdict)
    told = analysis if analysis is not None else analyse(content)
    edited = asyncio.run(editing.edit(mail, subject, decisions, told, 0.0))
    short = editing.in_front(mail, own, verdict, told, 0.0)
    if short is not None:  # the way of mail about which nothing else is to be done comes to the same
        assert (short, ()) == (edited.prefix, edited.splices)
        assert not edited.breaks
    return edited.prefix + b"".join(apply_splices(content, edited.splices)), edited


def values(content: bytes, name: str) -> list[str]:
    return [field.spot.text.strip() for field in find_named(parse(content), (name,))]


@pytest.mark.parametrize(
    ("ordered", "name", "becomes"),
    [
        (edits((Act.HEADER_DELETE, "X-A", "")), "x-a", []),
        (edits((Act.HEADER_REPLACE, "X-A", "new")), "x-a", ["new"]),
        (edits((Act.HEADER_REPLACE, "X-New", "new")), "x-new", ["new"]),
        (edits((Act.HEADER_ADD, "X-A", " more")), "x-a", ["one more", "two"]),
        (edits((Act.HEADER_ADD, "X-New", "more")), "x-new", ["more"]),
        (edits((Act.HEADER_ADD, "X-B", " ü")), "x-b", ["b ü"]),
        (edits((Act.HEADER_NEW, "X-B", "z"), (Act.HEADER_NEW, "X-B", "y")), "x-b", ["y", "z", "b"]),
        (edits((Act.HEADER_NEW, "X-B", "z"), (Act.HEADER_DELETE, "x-b", "")), "x-b", []),
        (edits((Act.HEADER_LABEL, "Subject", "[l]"), (Act.HEADER_LABEL, "subject", "[l]")), "subject", ["[l] hello"]),
        (edits((Act.HEADER_LABEL, "X-None", "[l]")), "x-none", ["[l]"]),
        (edits((Act.HEADER_LABEL, "Subject", "Знак")), "subject", ["Знак hello"]),
        (edits((Act.HEADER_NEW, "X-C", "Ж" * 400)), "x-c", ["Ж" * 400]),
        (edits((Act.HEADER_ADD, "X-B", "z" * 500), (Act.HEADER_ADD, "X-B", "y" * 400)), "x-b", ["b" + "z" * 500 + "y" * 400]),
    ],
)  # fmt: skip
def test_what_actions_make_of_fields(ordered: tuple[FieldEdit, ...], name: str, becomes: list[str]) -> None:
    text, edited = deliver(MAIL, ordered)
    assert values(text, name) == becomes
    assert text.endswith(b"\r\n\r\ntext\r\n")
    assert max(map(len, text.split(b"\r\n"))) <= 998
    assert not edited.breaks
    for line in (b"From: <a@b.example>\r\n", *((b"x-a:\r\n two\r\n",) if name != "x-a" else ())):
        assert line in text  # what is not changed stays byte for byte


def test_a_label_of_the_group_and_one_of_a_rule_stand_there_once() -> None:
    spam = SpamVerdict(SpamStatus.SPAM, 99, labels=("[!! SPAM]",), actions=SpamActions(mark=True))
    text, _ = deliver(MAIL, edits((Act.HEADER_LABEL, "Subject", "[!! SPAM]")), spam)
    assert values(text, "subject") == ["[!! SPAM] hello"]
    text, _ = deliver(MAIL, edits((Act.HEADER_REPLACE, "Subject", "ours")), spam)
    assert values(text, "subject") == ["ours"]
    text, _ = deliver(MAIL, edits((Act.HEADER_NEW, "X-B", "1")), spam)
    assert values(text, "subject") == ["[!! SPAM] hello"]
    text, _ = deliver(b"From: a\r\n\r\ntext\r\n", edits((Act.HEADER_LABEL, "Subject", "[x]")), spam)
    assert values(text, "subject") == ["[!! SPAM] [x]"] or values(text, "subject") == ["[x] [!! SPAM]"]


def test_fields_that_we_write_can_be_changed_and_those_of_strangers_are_not_there() -> None:
    forged = b"X-SpamTest-Status: Trusted\r\n" + MAIL
    text, _ = deliver(forged, edits((Act.HEADER_ADD, "X-SpamTest-Status", " indeed")))
    assert values(text, "x-spamtest-status") == ["Not detected indeed"]
    text, _ = deliver(forged, edits((Act.HEADER_DELETE, "X-SpamTest-Status", "")))
    assert values(text, "x-spamtest-status") == []
    assert values(text, "x-spamtest-rate") == ["5"]


def test_a_stranger_who_writes_our_fields_is_not_believed_where_nobody_checks_for_spam() -> None:
    forged = b"X-SpamTest-Status: Trusted\r\n" + MAIL
    told = msgspec.structs.replace(analyse(forged), spam=None)
    view = change_header(work(forged), group(), Verdict("policy", ()), (), told, HOST)
    assert view.values("x-spamtest-status") == []
    assert view.values("x-b") == ["b"]


def test_keywords_of_the_group_can_be_changed() -> None:
    spam = SpamVerdict(SpamStatus.SPAM, 99, actions=SpamActions(keywords=True))
    text, _ = deliver(b"Keywords: old\r\n" + MAIL, edits((Act.HEADER_ADD, "Keywords", ", more")), spam)
    assert values(text, "keywords") == ["SPAM, more"]


def test_a_signature_over_a_changed_field_is_said_to_break() -> None:
    def broken(*ordered: tuple[Act, str, str]) -> bool:
        analysis = analyse(MAIL, signed=("from", "subject"))
        return bool(deliver(MAIL, edits(*ordered), analysis=analysis)[1].breaks)

    assert broken((Act.HEADER_LABEL, "Subject", "[x]"))
    assert broken((Act.HEADER_DELETE, "Subject", ""))
    assert broken((Act.HEADER_NEW, "Subject", "another"))
    assert not broken((Act.HEADER_DELETE, "X-A", ""))
    assert not broken((Act.HEADER_NEW, "X-B", "1"))


def test_without_a_look_at_the_header_new_fields_are_all_that_is_written() -> None:
    ordered = edits(
        (Act.HEADER_DELETE, "X-A", ""), (Act.HEADER_NEW, "X-New", "1"), (Act.HEADER_LABEL, "Subject", "[x]")
    )
    text, edited = deliver(MAIL, ordered, analysis=Analysis(()))
    assert text.endswith(MAIL)
    assert values(text, "x-new") == ["1"]
    assert not edited.splices


def test_places_that_are_no_such_field_are_left_alone() -> None:
    at = MAIL.index(b"From")
    lies = (
        FieldSpot(at, MAIL.index(b"Subject"), at + 6, "x"),  # another field
        FieldSpot(MAIL.index(b"X-A"), MAIL.index(b"X-B"), MAIL.index(b"X-A") + 5, "x"),  # more than one
        FieldSpot(MAIL.index(b"text"), len(MAIL), len(MAIL), "x"),  # the body
    )
    for spot in lies:
        analysis = msgspec.structs.replace(analyse(), fields=(NamedField("x-a", spot),))
        text, edited = deliver(
            MAIL, edits((Act.HEADER_DELETE, "X-A", ""), (Act.HEADER_ADD, "X-A", "z")), analysis=analysis
        )
        assert text.endswith(MAIL)
        assert not edited.splices


def test_what_a_filter_says_of_fields_is_bounded() -> None:
    check_analysis(analyse(), len(MAIL))
    field = NamedField("x", FieldSpot(0, 5, 2, ""))
    for fields in (
        (field, field),
        (NamedField("x" * 400, FieldSpot(0, 5, 2)),),
        (NamedField("ü", FieldSpot(0, 5, 2)),),
        (NamedField("x", FieldSpot(0, 10_000, 2)),),
    ):
        with pytest.raises(HostileAnswer):
            check_analysis(msgspec.structs.replace(analyse(), fields=fields), len(MAIL))
    many = tuple(NamedField("x", FieldSpot(0, 0, 0)) for _ in range(1_001))
    with pytest.raises(HostileAnswer):
        check_analysis(msgspec.structs.replace(analyse(), fields=many), len(MAIL))


def test_a_removed_object_stays_removed_whatever_rules_change() -> None:
    content = MAIL.replace(b"text", b"malware")
    report = ObjectReport(parent=-1, kind=ObjectKind.MEMBER, status=ObjectStatus.INFECTED, threat="Bad")
    told = msgspec.structs.replace(analyse(content), objects=(report,))
    decision = ObjectDecision(-1, ObjectStatus.INFECTED, ObjectAction.PLACEHOLDER, "(the whole message)", "Bad")
    ordered = edits((Act.HEADER_DELETE, "X-A", ""), (Act.HEADER_LABEL, "Subject", "[x]"))
    text, _ = deliver(content, ordered, analysis=told, decisions=(decision,))
    assert b"malware" not in text
    assert values(text, "x-a") == []
    assert values(text, "subject") == ["[x] hello"]


WORDS = st.text("ab \t", max_size=5)
LINES = st.lists(
    st.tuples(st.sampled_from(["Subject", "X-A", "x-a", "X-B", "From", "Keywords"]), WORDS, st.booleans()), max_size=8
)
ORDERED = st.lists(
    st.tuples(
        st.sampled_from([Act.HEADER_DELETE, Act.HEADER_REPLACE, Act.HEADER_ADD, Act.HEADER_NEW, Act.HEADER_LABEL]),
        st.sampled_from(["Subject", "X-A", "X-B", "Keywords", "X-SpamTest-Status"]),
        st.sampled_from(["one", "[zwei]", "drei ü", "x" * 300]),
    ),
    max_size=6,
)


@given(lines=LINES, ordered=ORDERED, spam=st.sampled_from([None, SEEN]))
def test_what_rules_have_seen_is_what_is_delivered(
    lines: list[tuple[str, str, bool]], ordered: list[tuple[Act, str, str]], spam: SpamVerdict | None
) -> None:
    head = "".join(f"{name}:{' ' if blank else ''}{value}\r\n" for name, value, blank in lines)
    content = f"{head}\r\nbody\r\n".encode()
    changes = edits(*((do, name, value[:50]) for do, name, value in ordered))
    text, _ = deliver(content, changes, spam)
    verdict = Verdict("policy", (), spam=spam)
    view = change_header(work(content), group(), verdict, changes, analyse(content), HOST)

    def squeezed(found: list[str]) -> list[str]:
        return [re.sub(r"\s+", "", each) for each in found]

    for name in ("subject", "x-a", "x-b", "keywords", "x-spamtest-status"):
        assert squeezed(values(text, name)) == squeezed(view.values(name)), name
    assert values(text, "from") == values(content, "from")
    assert text.endswith(b"\r\nbody\r\n")


def table(*rules: Rule, personal: tuple[Rule, ...] = ()) -> RuleTable:
    return RuleTable(
        RuleSet(
            common=(ProfileRef(file="c"),),
            personal=(ProfileRef(file="p"),),
            profiles={
                "c": Profile(name="C", rules=rules),
                "p": Profile(name="P", recipients=("a@example.org",), rules=personal),
            },
        )
    )


def act(do: Act, *addresses: str, header: str = "", value: str = "") -> Action:
    return Action(do=do, addresses=addresses, header=header, value=value)


ACCEPT = Rule(actions=(act(Act.ACCEPT),))
REJECT = Rule(actions=(act(Act.REJECT),))


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("policy", (ObjectStatus.INFECTED,), blocked=True, spam=SEEN),
        Verdict("policy", (), spam=SpamVerdict(SpamStatus.SPAM, actions=SpamActions(end=SpamEnd.BLOCK))),
        Verdict("policy", (), spam=SpamVerdict(SpamStatus.SPAM, actions=SpamActions(end=SpamEnd.DELETE))),
    ],
)
def test_what_policy_withholds_no_rule_lets_pass(verdict: Verdict) -> None:
    plans = [(group(), (0, 1, 2), verdict)]
    assert divide_by_rules(table(ACCEPT), work(), plans, analyse(), HOST) == plans


def test_what_is_withheld_from_one_group_stays_beside_what_rules_do_for_another() -> None:
    blocked = Verdict("one", (ObjectStatus.INFECTED,), blocked=True, spam=SEEN)
    plans = [(group(), (0,), blocked), (group(), (1, 2), Verdict("two", (), spam=SEEN))]
    divided = divide_by_rules(table(REJECT), work(), plans, analyse(), HOST)
    assert [(tuple(own), verdict.blocked, verdict.rules is not None) for _, own, verdict in divided] == [
        ((0,), True, False),
        ((1, 2), False, True),
    ]


def test_released_mail_and_mail_by_the_bypass_are_left_alone() -> None:
    plain = Verdict("policy", (), spam=SEEN)
    plans = [(group(), (0, 1, 2), plain)]
    assert divide_by_rules(table(REJECT), work(kind="released"), plans, analyse(), HOST) == plans
    bypassed = [(msgspec.structs.replace(group(), bypass="because"), (0, 1, 2), plain)]
    assert divide_by_rules(table(REJECT), work(), bypassed, analyse(), HOST) == bypassed


def test_copies_of_one_group_have_shares_of_their_own() -> None:
    plans = [(group(), (0, 1, 2), Verdict("policy", (), spam=SEEN))]
    divided = divide_by_rules(table(personal=(REJECT,)), work(), plans, analyse(), HOST)
    assert sorted(tuple(own) for _, own, _ in divided) == [(0,), (1, 2)]
    assert len({policy.share for policy, _, _ in divided}) == 2
    whole = divide_by_rules(table(ACCEPT), work(), plans, analyse(), HOST)
    assert [policy.share for policy, _, _ in whole] == [""]


def test_a_status_of_its_group_is_what_a_rule_sees() -> None:
    rule = Rule(conditions=(Condition(test=ConditionKind.STATUS, value="spam"),), actions=(act(Act.BLACK_HOLE),))
    spam = Verdict("one", (), spam=SpamVerdict(SpamStatus.SPAM, 99))
    plans = [(group(), (0,), spam), (group(), (1, 2), Verdict("two", (), spam=SEEN))]
    ends = [verdict.withheld for _, _, verdict in divide_by_rules(table(rule), work(), plans, analyse(), HOST)]
    assert ends == [True, False]


def test_how_a_message_ends_its_way_is_in_the_spam_verdict() -> None:
    plain = Verdict("policy", ())
    for outcome, end in (
        (RuleOutcome(RuleEnd.REJECT), SpamEnd.REJECT),
        (RuleOutcome(RuleEnd.DISCARD), SpamEnd.DELETE),
        (RuleOutcome(kept=False), SpamEnd.DELETE),
    ):
        verdict = with_rules(plain, outcome)
        assert verdict.withheld
        assert verdict.spam is not None
        assert (verdict.spam.actions.end, verdict.spam.checked) == (end, False)
    going = with_rules(plain, RuleOutcome(kept=False, added=("x@y.example",)))
    assert not going.withheld
    assert with_rules(plain, RuleOutcome()) is plain


def test_only_a_common_rejection_is_told_in_the_session() -> None:
    def refusal(*outcomes: RuleOutcome) -> str:
        reply = find_refusal(1, [(group(), with_rules(Verdict("policy", ()), each)) for each in outcomes])
        return reply.text if reply is not None else ""

    common = RuleOutcome(RuleEnd.REJECT, in_session=True, reply_text="no entry")
    assert refusal(common, common).startswith("no entry; our reference")
    assert refusal(common, RuleOutcome(RuleEnd.REJECT)) == ""
    assert refusal(common, RuleOutcome()) == ""


def test_whose_sender_cannot_be_told_has_a_copy_kept() -> None:
    def kept(outcome: RuleOutcome) -> tuple[SpamEnd, bool, bool]:
        verdict = keep_untold(with_rules(Verdict("policy", ()), outcome))
        assert verdict.spam is not None
        assert verdict.rules is not None
        return verdict.spam.actions.end, verdict.spam.actions.quarantine, verdict.rules.bounce

    assert kept(RuleOutcome(RuleEnd.REJECT)) == (SpamEnd.BLOCK, True, False)
    assert kept(RuleOutcome(RuleEnd.DISCARD, bounce=True)) == (SpamEnd.BLOCK, True, False)
    assert kept(RuleOutcome(bounce=True)) == (SpamEnd.DELIVER, True, False)
    quiet = with_rules(Verdict("policy", ()), RuleOutcome(RuleEnd.DISCARD))
    assert keep_untold(quiet) is quiet


COMMON = RuleOutcome(RuleEnd.REJECT, in_session=True)
PERSONAL = RuleOutcome(RuleEnd.REJECT)
BOUNCED = RuleOutcome(bounce=True)
GOES = RuleOutcome()


@pytest.mark.parametrize(
    ("known", "outcomes", "said"),
    [
        # Proved: rejections of personal profiles and ordered reports are ours to send, the others are the asker's reply.
        ("proved", [COMMON, COMMON], ["reject", "reject"]),
        ("proved", [COMMON, GOES], ["block kept", "deliver"]),
        ("proved divided", [COMMON, GOES], ["reject", "deliver"]),
        ("proved", [PERSONAL], ["delete told"]),
        ("proved", [PERSONAL, GOES], ["delete told", "deliver"]),
        ("proved", [PERSONAL, COMMON], ["delete told", "block kept"]),
        ("proved accepted", [PERSONAL, COMMON], ["delete told", "block kept"]),
        ("proved", [BOUNCED], ["deliver told"]),
        ("proved accepted divided", [BOUNCED, COMMON], ["deliver told", "reject"]),
        # Not proved: only the session says no; behind it, and instead of reports, a copy is kept.
        ("", [COMMON], ["reject"]),
        ("", [PERSONAL], ["reject"]),
        ("", [PERSONAL, GOES], ["block kept", "deliver"]),
        ("", [BOUNCED], ["deliver kept"]),
        ("", [BOUNCED, GOES], ["deliver kept", "deliver"]),
        ("accepted", [COMMON, BOUNCED, GOES], ["block kept", "deliver kept", "deliver"]),
        ("accepted divided", [PERSONAL], ["block kept"]),
    ],
)
def test_who_is_told_of_what_another_mail_system_asks_about(
    known: str, outcomes: list[RuleOutcome], said: list[str]
) -> None:
    def words(verdict: Verdict) -> str:
        assert verdict.spam is None or verdict.rules is not None
        end = verdict.spam.actions.end.name.lower() if verdict.spam is not None else "deliver"
        kept = " kept" if verdict.spam is not None and verdict.spam.actions.quarantine else ""
        return end + kept + (" told" if verdict.rules is not None and verdict.rules.bounce else "")

    how = {name: name in known.split() for name in ("proved", "accepted", "divided")}
    verdicts = [with_rules(Verdict("policy", ()), outcome) for outcome in outcomes]
    assert [words(each) for each in decide_telling(verdicts, handle=True, **how)] == said


def test_who_only_asks_hears_the_verdict_as_it_is() -> None:
    verdicts = [with_rules(Verdict("policy", ()), outcome) for outcome in (COMMON, PERSONAL, BOUNCED, GOES)]
    for proved in (True, False):
        assert decide_telling(verdicts, proved=proved, accepted=False, handle=False, divided=False) == verdicts


def test_a_mail_system_that_asks_is_told_of_added_recipients() -> None:
    mail = work()
    copy = ready_copy(mail.stored, 2, "policy", (0, 1, 2), Edited(b""), 0.0)

    def told(outcome: RuleOutcome) -> tuple[tuple[str, ...], tuple[str, ...]]:
        verdict = with_rules(Verdict("policy", (), spam=SEEN), outcome)
        share = Share(copy, Subject(mail.stored, 2, group(), ("a@example.org",), verdict))
        return share.copies, share.redirect

    assert told(RuleOutcome(added=("x@y.example",))) == (("x@y.example",), ())
    assert told(RuleOutcome(kept=False, added=("x@y.example",))) == ((), ("x@y.example",))
    assert told(RuleOutcome(RuleEnd.REJECT)) == ((), ())


def test_recipients_of_a_copy_and_what_is_on_record_of_them_agree() -> None:
    mail = work()
    copy = ready_copy(mail.stored, 2, "policy", (0, 1), Edited(b""), 0.0)
    for outcome, expected in (
        (RuleOutcome(added=("x@y.example",)), ["a@example.org", "b@example.org", "x@y.example"]),
        (RuleOutcome(kept=False, added=("x@y.example",)), ["x@y.example"]),
        (RuleOutcome(), ["a@example.org", "b@example.org"]),
    ):
        changed = change_recipients(copy, outcome, 0.0)
        assert [each.address for each in changed.envelope.recipients] == expected
        assert [each.recipient for each in changed.pending] == list(range(len(expected)))
        assert changed.envelope.sender == "a@b.example"
        told = msgspec.structs.replace(outcome, log=("x",))
        [record] = build_ruled(copy, group(), 2, with_rules(Verdict("policy", ()), told), 0.0)
        assert isinstance(record, Ruled)
        assert 2 + record.gained == len(expected)
