"""What a spam verdict changes in a message, and what it leaves alone because somebody has signed it."""

import re

import msgspec
import pytest

from gatepost.antispam.spots import find_spots
from gatepost.antispam.view import build_view
from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.config.services import Antispam
from gatepost.filter.spam_bounds import check_spam
from gatepost.mime.edit import apply_splices
from gatepost.mime.structure import parse
from gatepost.model.authn import AuthnMaterial, AuthnResults, DkimResult, SignatureMaterial
from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.spam import FieldSpot, Method, NetworkFacts, Sign, SpamFacts, SpamOptions, SpamStatus
from gatepost.model.verdict import SignedEdits, SpamActions, SpamVerdict
from gatepost.policy.group import GroupPolicy
from gatepost.policy.spam import decide_spam
from gatepost.relay.received import build_missing, build_received, trace_of
from gatepost.relay.rejecting import may_report, rejection
from gatepost.relay.spam_editing import SpamEdits, plan_spam_edits, spam_prefix
from gatepost.relay.work import Work
from gatepost.spool.interface import ContentRef, State, Stored

ENVELOPE = Envelope("a@b.example", (Recipient("c@example.org"),), Client("192.0.2.1"))
HEAD = b"From: <a@b.example>\r\n"
TAIL = b"Subject: hello\r\n\r\ntext\r\n"
SIGNATURE = SignatureMaterial("b.example", "s", "rsa-sha256", fields=("from", "subject", "x-spamtest-status"))
SPAM = SpamVerdict(SpamStatus.SPAM, 99, labels=("[!! SPAM]",), actions=SpamActions(mark=True))
FORMAL = SpamVerdict(SpamStatus.FORMAL, 5, labels=("[--Formal Message--]",), actions=SpamActions(mark=True))
FOREIGN = b"X-SpamTest-Status: Trusted\r\n"


def group(**settings: object) -> GroupPolicy:
    return GroupPolicy.from_config(Group(**settings), Ave(), 60.0, antispam=Antispam())  # type: ignore[arg-type]


def work(content: bytes) -> Work:
    return Work(Stored(1, 1, State.WAITING, 0.0, ENVELOPE, ContentRef(1, len(content), False), b""), content)


def analyse(content: bytes, *, signed: bool, network: NetworkFacts | None = None) -> Analysis:
    spots = find_spots(build_view(parse(content), SpamOptions()))
    authn = AuthnMaterial(signatures=(SIGNATURE,) if signed else ())
    facts = SpamFacts(subject=spots.subject, foreign=spots.foreign, keywords=spots.keywords, authn=authn)
    return Analysis((), spam=facts, network=network)


def edit(
    content: bytes, verdict: SpamVerdict, *, signed: bool = False, policy: GroupPolicy | None = None
) -> tuple[bytes, SpamEdits]:
    """Return the message as it goes on, and the edits."""
    edits = plan_spam_edits(
        content, work(content), policy or group(), verdict, analyse(content, signed=signed), "gw.example.org"
    )
    splices = sorted((*edits.removed, *edits.added), key=lambda each: each.start)
    return edits.prefix + b"".join(apply_splices(content, splices)), edits


@pytest.mark.parametrize(
    ("verdict", "signed", "edits", "labelled"),
    [
        (SPAM, False, SignedEdits.HEADER, True),
        (SPAM, True, SignedEdits.HEADER, True),
        (SPAM, True, SignedEdits.SKIP, True),
        (FORMAL, False, SignedEdits.HEADER, True),
        (FORMAL, True, SignedEdits.HEADER, False),
        (FORMAL, True, SignedEdits.EDIT, True),
        (FORMAL, True, SignedEdits.SKIP, False),
    ],
)
def test_a_label_breaks_a_signature_only_where_that_is_worth_it(
    verdict: SpamVerdict, signed: bool, edits: SignedEdits, labelled: bool
) -> None:
    text, done = edit(HEAD + TAIL, verdict, signed=signed, policy=group(edit_signed=edits))
    assert (b"Subject: " + verdict.labels[0].encode() + b" hello\r\n" in text) is labelled
    assert done.breaks_dkim is (signed and labelled)
    told = edits is not SignedEdits.SKIP or not signed or verdict is SPAM
    assert (b"X-SpamTest-Status: " in text) is told


def test_every_subject_a_reader_may_show_is_labelled() -> None:
    text, _ = edit(HEAD + b"SUBJECT : first\r\nTo: x\r\nsubject:second\r\n" + TAIL, SPAM)
    for labelled in (
        b"SUBJECT : [!! SPAM] first\r\n",
        b"subject: [!! SPAM] second\r\n",
        b"Subject: [!! SPAM] hello\r\n",
    ):
        assert labelled in text
    again, edits = edit(text, SPAM)
    assert again.count(b"[!! SPAM]") == 3
    assert not edits.added


def test_a_message_without_a_subject_gets_the_label_as_one() -> None:
    text, edits = edit(HEAD + b"\r\ntext\r\n", SPAM)
    assert text.count(b"Subject: [!! SPAM]\r\n") == 1
    assert not edits.added


@pytest.mark.parametrize(("signed", "breaks"), [(False, False), (True, True)])
def test_foreign_fields_go_whatever_is_signed(signed: bool, breaks: bool) -> None:
    verdict = SpamVerdict(SpamStatus.NOT_DETECTED)
    text, edits = edit(HEAD + FOREIGN + TAIL, verdict, signed=signed)
    assert text.endswith(HEAD + TAIL)
    assert b"Status: Trusted" not in text
    assert edits.breaks_dkim is breaks


def test_results_of_authentication_are_stated_under_our_name() -> None:
    network = NetworkFacts(authn=AuthnResults(spf="pass", spf_domain="b.example"))
    verdict = SpamVerdict(SpamStatus.NOT_DETECTED)
    content = HEAD + TAIL
    for policy, stated in ((group(), True), (group(add_authentication_results=False), False)):
        prefix = spam_prefix(
            work(content), policy, verdict, analyse(content, signed=False, network=network), "gw.example.org"
        )
        assert prefix is not None
        assert (b"Authentication-Results: gw.example.org;" in prefix) is stated


def test_fields_alone_need_no_edit() -> None:
    verdict = SpamVerdict(SpamStatus.NOT_DETECTED)
    keywords = SpamVerdict(SpamStatus.SPAM, actions=SpamActions(keywords=True))
    plain, forged = HEAD + TAIL, HEAD + FOREIGN + TAIL
    for content, what, analysis, alone in (
        (plain, verdict, analyse(plain, signed=True), True),
        (plain, verdict, None, True),
        (forged, verdict, analyse(forged, signed=False), False),
        (forged, verdict, None, False),
        (plain, SPAM, analyse(plain, signed=False), False),
        (plain, keywords, analyse(plain, signed=False), False),
    ):
        assert (spam_prefix(work(content), group(), what, analysis, "gw") is not None) is alone


def test_what_an_inspection_added_is_left_out_before_the_next() -> None:
    trace = build_received(ENVELOPE.client, "gw.example.org", "0ABCDEFGHJKMN", 1.0)
    trace += build_missing("gw.example.org", "0ABCDEFGHJKMN", 1.0, date=True, message_id=True)
    content = HEAD + b"\r\ntext\r\n"
    added = edit(content, SPAM)[1].prefix
    assert b"X-SpamTest-Status: SPAM" in added
    assert trace_of(trace + added) == trace
    assert trace_of(added) == trace_of(b"") == b""


# --- rejecting


PROVED = AuthnResults(spf="pass", spf_domain="b.example", authenticated=("b.example",))


@pytest.mark.parametrize(
    ("envelope", "authn", "known"),
    [
        (ENVELOPE, AuthnResults(), False),
        (ENVELOPE, AuthnResults(authenticated=("other.example",)), False),
        (ENVELOPE, PROVED, True),
        # Somebody's signed mail can be sent on in any envelope.
        (ENVELOPE, AuthnResults(authenticated=("b.example",)), False),
        (ENVELOPE, AuthnResults(dmarc="pass", dmarc_domain="b.example", authenticated=("b.example",)), False),
        (ENVELOPE, msgspec.structs.replace(PROVED, spf="softfail"), False),
        (ENVELOPE, msgspec.structs.replace(PROVED, spf_domain="other.example"), False),
        (ENVELOPE, msgspec.structs.replace(PROVED, spf_helo=True), False),
        (msgspec.structs.replace(ENVELOPE, sender="a@sub.b.example"), PROVED, False),
        (msgspec.structs.replace(ENVELOPE, direction=Direction.OUTBOUND), AuthnResults(), True),
        (msgspec.structs.replace(ENVELOPE, client=Client("192.0.2.1", user="x")), AuthnResults(), True),
        (msgspec.structs.replace(ENVELOPE, sender="", direction=Direction.INTERNAL), AuthnResults(), False),
        (msgspec.structs.replace(ENVELOPE, sender=""), msgspec.structs.replace(PROVED, spf_helo=True), False),
    ],
)
def test_only_a_sender_who_is_known_hears_of_a_rejection(envelope: Envelope, authn: AuthnResults, known: bool) -> None:
    facts = SpamFacts(authn=AuthnMaterial(authors=(envelope.sender,)))
    assert may_report(envelope, Analysis((), spam=facts, network=NetworkFacts(authn=authn))) is known
    assert may_report(envelope, None) is (known and authn is not PROVED)


def test_a_rejection_is_one_line_of_ascii() -> None:
    answer = rejection("нет\r\n250 ok" + "x" * 1000, "; our reference: ID")
    assert answer.text.isascii()
    assert "\n" not in answer.text
    assert answer.text.endswith("; our reference: ID")
    assert len(answer.text) < 500


# --- a filter that lies


LIED_ABOUT = b"From: <a@b.example>\r\nX-SpamTest-A: b\r\n\tfolded\r\nSubject: hello\r\nTo: <c@example.org>\r\n\r\ntext\r\nX-SpamTest-B: c\r\n"


def spot(first: bytes, last: bytes, value: bytes = b"", *, more: int = 0) -> FieldSpot:
    """Return what stands from `first` to the end of `last`, `more` bytes longer."""
    start, end = LIED_ABOUT.index(first), LIED_ABOUT.index(last) + len(last) + more
    return FieldSpot(start, end, LIED_ABOUT.index(value) if value else start + first.find(b":") + 2)


OURS = spot(b"X-SpamTest-A: b", b"folded\r\n")


@pytest.mark.parametrize(
    "lie",
    [
        spot(b"X-SpamTest-A: b", b"Subject: hello\r\n"),
        spot(b"X-SpamTest-A: b", b"A: b\r\n"),
        spot(b"X-SpamTest-A: b", b"folded\r\n", more=-1),
        spot(b"X-SpamTest-A: b", b"folded\r\n", more=3),
        spot(b"Test-A: b", b"folded\r\n"),
        spot(b"To: <c", b"org>\r\n"),
        spot(b"From: <a", b"folded\r\n"),
        spot(b"X-SpamTest-B: c", b"B: c\r\n"),
        spot(b"X-SpamTest-A: b", b"B: c\r\n"),
        FieldSpot(0, len(LIED_ABOUT), 0),
        FieldSpot(0, len(LIED_ABOUT), len(LIED_ABOUT)),
        FieldSpot(len(LIED_ABOUT), len(LIED_ABOUT), len(LIED_ABOUT)),
    ],
)
def test_nothing_is_lost_by_what_a_filter_says_of_fields(lie: FieldSpot) -> None:
    verdict = msgspec.structs.replace(SPAM, actions=SpamActions(mark=True, keywords=True))
    facts = SpamFacts(foreign=(lie,), keywords=(lie,), subject=lie)
    check_spam(facts, len(LIED_ABOUT))
    edits = plan_spam_edits(LIED_ABOUT, work(LIED_ABOUT), group(), verdict, Analysis((), spam=facts), "gw")
    assert edits.removed == ()
    assert [each for each in edits.added if each.start != each.end] == []
    assert b"".join(apply_splices(LIED_ABOUT, edits.added)).endswith(LIED_ABOUT.partition(b"Subject")[2])
    assert edits.prefix.endswith(b"\r\n")


def test_a_true_word_of_a_filter_is_believed_beside_lies() -> None:
    facts = SpamFacts(foreign=(OURS, spot(b"To: <c", b"org>\r\n")))
    check_spam(facts, len(LIED_ABOUT))
    edits = plan_spam_edits(LIED_ABOUT, work(LIED_ABOUT), group(), SPAM, Analysis((), spam=facts), "gw")
    assert [(each.start, each.end) for each in edits.removed] == [(OURS.start, OURS.end)]


EVIL = "a\r\nX-Evil: 1\r\n\r\n\u202e\u2028é\x00"


def test_no_word_of_a_filter_writes_lines_into_a_header() -> None:
    """Every text of a filter's answer that the bounds let through, and the envelope's, in our fields."""
    signs = tuple(Sign(method, EVIL, EVIL, 3.0, EVIL * 10) for method in (Method.CONTENT, Method.HEADERS))
    signature = SignatureMaterial(EVIL, EVIL, EVIL, error=EVIL * 20, identity=EVIL)
    facts = SpamFacts(
        signs=signs,
        categories=(EVIL, *("seminars" + EVIL * 12 + str(number) for number in range(5))),
        formal=EVIL,
        obscene=True,
        authn=AuthnMaterial(authors=(EVIL,), signatures=(signature,), arc_error=EVIL, results=(EVIL,)),
        trouble=EVIL,
    )
    check_spam(facts, 1)
    authn = AuthnResults(
        spf="fail", spf_domain=EVIL, spf_reason=EVIL, dkim=(DkimResult(EVIL, EVIL, "permerror", EVIL * 20),),
        dmarc="fail", dmarc_domain=EVIL, arc="fail", arc_sealer=EVIL,
    )  # fmt: skip
    envelope = msgspec.structs.replace(ENVELOPE, sender="\udcff\r\nX-Evil: 1\r\n@" + EVIL)
    settings = group(
        action_spam=("mark", "keywords"), action_probable_spam=("mark", "keywords"), action_obscene=("mark", "keywords")
    )
    analysis = Analysis((), spam=facts, network=NetworkFacts(authn=authn))
    verdict = decide_spam(analysis, envelope, settings)
    assert verdict is not None
    stored = msgspec.structs.replace(work(LIED_ABOUT).stored, envelope=envelope)
    edits = plan_spam_edits(LIED_ABOUT, Work(stored, LIED_ABOUT), settings, verdict, analysis, "gw.example.org")
    header = edits.prefix + b"".join(each.data for each in edits.added)
    assert header.isascii()
    lines = re.sub(rb"\r\n[ \t]+(?=\S)", b" ", header).split(b"\r\n")
    assert all(
        re.match(rb"(?:X-SpamTest-[A-Za-z-]+|Authentication-Results|Subject|Keywords): ?\S", each)
        for each in lines[:-1]
    )
    assert not lines[-1]
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
    assert max(map(len, header.split(b"\r\n"))) <= 998
