"""What a spam verdict changes in a message, and what it leaves alone because somebody has signed it."""

import msgspec
import pytest

from gatepost.antispam.spots import find_spots
from gatepost.antispam.view import build_view
from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.config.services import Antispam
from gatepost.mime.edit import apply_splices
from gatepost.mime.structure import parse
from gatepost.model.authn import AuthnMaterial, AuthnResults, SignatureMaterial
from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.spam import NetworkFacts, SpamFacts, SpamOptions, SpamStatus
from gatepost.model.verdict import SignedEdits, SpamActions, SpamVerdict
from gatepost.policy.group import GroupPolicy
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
