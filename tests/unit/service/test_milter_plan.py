"""What a ruling becomes for a mail system with one copy: the copy is the judge's, and nobody gets it who should not."""

import pytest
from tests.support.milter_peer import CONTENT, carried_out, packets
from tests.support.scripted_judge import ruling

from gatepost.mime.field_edits import plan_field_edits
from gatepost.model.filtering import Deed, FieldEdit, FieldOp, Part, Ruling
from gatepost.model.reply import reply
from gatepost.model.verdict import Splice
from gatepost.service.milter_plan import PlanError, edited_body, plan_answer

ANNA, BERT = "anna@example.com", "bert@example.com"
TOLD = {ANNA: [b"<anna@example.com>"], BERT: [b"<bert@example.com>", b"<BERT>"]}


def plan(answer, content=CONTENT, *, hold=False, recipients=TOLD):
    return b"".join(plan_answer(answer, recipients, content, exact_values=True, hold=hold))


def commands(stream):
    return [(command, data) for command, data in packets(stream)]


def test_clean_mail_goes_on():
    assert commands(plan(ruling(recipients=(ANNA, BERT)))) == [("c", b"")]


def test_fields_and_body_make_the_copy():
    subject = CONTENT.index(b"one\r\n two")
    body = CONTENT.index(b"Hello")
    part = Part(
        prefix=b"X-A: 1\r\nX-B: 2\r\n folded\r\n",
        splices=(Splice(subject, subject, b"[SPAM] "), Splice(body, len(CONTENT), b"removed\r\n")),
        field_edits=(
            FieldEdit(FieldOp.INSERT, "X-B", b"2\r\n folded"),
            FieldEdit(FieldOp.INSERT, "X-A", b"1"),
            FieldEdit(FieldOp.CHANGE, "Subject", b"[SPAM] one\r\n two"),
        ),
        body_changed=True,
    )
    copy = part.prefix + CONTENT[:subject] + b"[SPAM] " + CONTENT[subject:body] + b"removed\r\n"
    assert carried_out(CONTENT, plan(ruling(part))) == copy


def test_fields_of_one_name_are_changed_last_first():
    content = b"A: 1\r\nA: 2\r\nA: 3\r\n\r\n"
    part = Part(
        field_edits=(
            FieldEdit(FieldOp.DELETE, "A", index=1),
            FieldEdit(FieldOp.INSERT, "A", b"0"),
            FieldEdit(FieldOp.CHANGE, "A", b"two", index=2),
            FieldEdit(FieldOp.APPEND, "B", b"last"),
            FieldEdit(FieldOp.DELETE, "A", index=3),
        )
    )
    assert carried_out(content, plan(ruling(part), content)) == b"A: 0\r\nA: two\r\nB: last\r\n\r\n"


def test_planned_edits_make_the_header_of_the_copy():
    """With the edits the judge makes of its splices."""
    at = CONTENT.index(b"two")
    splices = (Splice(0, CONTENT.index(b"Subject"), b""), Splice(at, at + 3, b"2"))
    prefix = b"X-A: 1\r\nX-B: 2\r\n folded\r\n"
    edits, body_changed = plan_field_edits(CONTENT, CONTENT.index(b"\r\n\r\n") + 2, prefix, splices)
    part = Part(prefix=prefix, splices=splices, field_edits=edits, body_changed=body_changed)
    copy = prefix + CONTENT[CONTENT.index(b"Subject") :].replace(b"two", b"2")
    assert carried_out(CONTENT, plan(ruling(part))) == copy


@pytest.mark.parametrize(
    ("content", "prefix", "splices", "body"),
    [
        (b"A: 1\r\n\r\nbody", b"", (Splice(8, 12, b"other"),), b"other"),
        (b"\r\nbody", b"", (), b"body"),
        (b"\r\nbody", b"X: 1\r\n", (), b"body"),
        (b"A: 1\r\n\r\n", b"", (), b""),
        (b"A: 1\r\n\r\nbody", b"", (Splice(0, 12, b"B: 1\r\n\r\nnew\r\n\r\nlines"),), b"new\r\n\r\nlines"),
        (b"A: 1\r\n", b"", (), b""),
    ],
)
def test_the_body_of_the_copy(content, prefix, splices, body):
    assert edited_body(Part(prefix=prefix, splices=splices), content) == body


def test_splices_that_do_not_fit_are_a_fault():
    with pytest.raises(PlanError):
        plan(ruling(Part(splices=(Splice(0, len(CONTENT) + 1, b""),), body_changed=True)))


def test_refused():
    assert commands(plan(ruling(deed=Deed.REJECT, reply=reply(554, "5.7.0", "spam")))) == [("y", b"554 5.7.0 spam\0")]
    ((command, data),) = commands(plan(ruling(deed=Deed.REJECT)))
    assert (command, data[:10]) == ("y", b"550 5.7.1 ")


def test_dropped_or_held():
    answer = ruling(deed=Deed.DISCARD, reason="spam, kept")
    assert commands(plan(answer)) == [("d", b"")]
    assert commands(plan(answer, hold=True)) == [("q", b"spam, kept\0"), ("c", b"")]


def test_who_is_refused_is_taken_off_as_he_was_told():
    whole = Part(recipients=(ANNA,))
    for deed in (Deed.REJECT, Deed.DISCARD):
        answer = ruling(whole, Part(recipients=(ANNA,)), Part(recipients=(BERT,), deed=deed))
        assert commands(plan(answer)) == [("-", b"<bert@example.com>\0"), ("-", b"<BERT>\0"), ("c", b"")]


def test_copies_and_other_addresses():
    whole = Part(recipients=(ANNA, BERT), copies=("post@example.com", BERT), redirect=("spam@example.com",))
    parts = (Part(recipients=(ANNA,), redirect=("spam@example.com",)), Part(recipients=(BERT,), copies=(BERT,)))
    answer = Ruling(parts=parts, whole=whole)
    assert commands(plan(answer)) == [
        ("+", b"<spam@example.com>\0"),
        ("+", b"<post@example.com>\0"),
        ("-", b"<anna@example.com>\0"),
        ("c", b""),
    ]


def test_a_dropped_message_can_still_have_copies():
    answer = ruling(Part(deed=Deed.DISCARD, copies=("post@example.com",), recipients=(ANNA, BERT)))
    assert commands(plan(answer)) == [
        ("+", b"<post@example.com>\0"),
        ("-", b"<anna@example.com>\0"),
        ("-", b"<bert@example.com>\0"),
        ("-", b"<BERT>\0"),
        ("c", b""),
    ]


def test_a_ruling_about_strangers_is_not_carried_out():
    with pytest.raises(PlanError, match="eve@example"):
        plan(ruling(Part(), Part(recipients=("eve@example.com",), deed=Deed.REJECT)))
