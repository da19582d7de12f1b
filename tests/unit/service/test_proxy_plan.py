"""What a ruling means for a proxy: copies, fates, and the one answer of SMTP."""

import pytest

from gatepost.model.envelope import Notify, Recipient
from gatepost.model.filtering import Deed, Part, Ruling
from gatepost.model.reply import reply
from gatepost.model.verdict import Splice
from gatepost.service.proxy_plan import Fate, Kind, PlanError, join_fates, plan_copies, resolve_fates

A, B, C = (Recipient(f"{name}@example.org") for name in "abc")
OK = reply(250, "2.0.0", "queued as 1")
NO = reply(550, "5.7.1", "spam")
LATER = reply(452, "4.2.2", "full")


def part(*recipients, **fields):
    return Part(recipients=tuple(each.address for each in recipients), **fields)


def plan(*parts, whole=None, divide=True, recipients=(A, B, C)):
    made = Ruling(parts=parts, whole=whole or parts[0])
    return plan_copies(made, recipients, divide=divide, size=100)


def sent(planned):
    return [([each.address[0] for each in copy.recipients], copy.prefix) for copy in planned.copies]


def test_parts_with_the_same_edits_share_a_transaction_and_others_have_their_own():
    planned = plan(part(A, prefix=b"X: 1\r\n"), part(B), part(C, prefix=b"X: 1\r\n"))
    assert sent(planned) == [(["a", "c"], b"X: 1\r\n"), (["b"], b"")]
    assert planned.fates == {}
    assert [copy.edited for copy in planned.copies] == [True, False]


def test_who_is_refused_or_gets_nothing_is_in_no_copy():
    planned = plan(part(A, deed=Deed.REJECT, reply=NO), part(B, deed=Deed.DISCARD), part(C))
    assert sent(planned) == [(["c"], b"")]
    assert {number: fate.kind for number, fate in planned.fates.items()} == {0: Kind.REFUSED, 1: Kind.DISCARDED}
    assert planned.fates[0].reply == NO


def test_without_division_all_who_get_anything_get_the_one_copy():
    whole = part(A, B, prefix=b"X-A: 1\r\nX-B: 1\r\n", splices=(Splice(0, 1, b""),))
    planned = plan(
        part(A, prefix=b"X-A: 1\r\n"),
        part(B, prefix=b"X-B: 1\r\n"),
        part(C, deed=Deed.REJECT),
        whole=whole,
        divide=False,
    )
    assert sent(planned) == [(["a", "b"], whole.prefix)]
    assert planned.copies[0].splices == whole.splices
    assert planned.fates[2].reply.code == 550


def test_redirected_mail_goes_to_others_and_its_recipients_share_their_fate():
    (copy,) = plan(part(A, B, C, redirect=("x@example.org", "y@example.org"))).copies
    assert [each.address for each in copy.recipients] == ["x@example.org", "y@example.org"]
    assert {each.notify for each in copy.recipients} == {(Notify.NEVER,)}
    fates = resolve_fates(copy, (OK, LATER), (A, B, C))
    assert {fate.kind for fate in fates.values()} == {Kind.FAILED}


def test_copies_besides_go_along_and_decide_nothing():
    (copy,) = plan(part(A, B, C, copies=("x@example.org", "b@example.org"))).copies
    assert [each.address for each in copy.recipients] == [
        "a@example.org",
        "b@example.org",
        "c@example.org",
        "x@example.org",
    ]
    fates = resolve_fates(copy, (OK, NO, LATER, NO), (A, B, C))
    assert [fates[number].kind for number in range(3)] == [Kind.DELIVERED, Kind.FAILED, Kind.FAILED]


def test_what_is_discarded_but_for_a_copy_is_settled_by_that_copy():
    (copy,) = plan(part(A, B, C, deed=Deed.DISCARD, copies=("x@example.org",))).copies
    assert (copy.members, copy.deciding) == ((0, 1, 2), 1)
    refused = plan(part(A, B, C, deed=Deed.REJECT, reply=NO, copies=("x@example.org",)))
    assert [fate.kind for fate in refused.fates.values()] == [Kind.REFUSED] * 3
    assert [(copy.members, copy.deciding, len(copy.recipients)) for copy in refused.copies] == [((), 0, 1)]


def test_undivided_redirection_takes_its_own_off_the_copy():
    whole = part(A, B, redirect=("x@example.org",))
    planned = plan(part(A, redirect=("x@example.org",)), part(B), part(C, deed=Deed.DISCARD), whole=whole, divide=False)
    assert [[each.address[0] for each in copy.recipients] for copy in planned.copies] == [["b", "x"]]
    assert planned.copies[0].members == (0, 1)


@pytest.mark.parametrize(
    "broken",
    [
        part(A, B),
        part(A, B, C, splices=(Splice(50, 101, b""),)),
        part(A, B, C, splices=(Splice(9, 9, b""), Splice(3, 4, b""))),
    ],
    ids=["nobody for c", "outside", "not rising"],
)
def test_a_ruling_that_does_not_fit_is_no_plan(broken):
    with pytest.raises(PlanError):
        plan(broken)


def fates(*pairs):
    return [Fate(kind, answer) for kind, answer in pairs]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (fates((Kind.DELIVERED, OK)), 250),
        (fates((Kind.REFUSED, NO)), 550),
        (fates((Kind.DISCARDED, OK), (Kind.REFUSED, NO)), 250),
        (fates((Kind.DELIVERED, OK), (Kind.REFUSED, NO)), 250),
        (fates((Kind.DELIVERED, OK), (Kind.FAILED, LATER)), 452),
        (fates((Kind.FAILED, NO), (Kind.FAILED, LATER)), 452),
        (fates((Kind.DELIVERED, OK), (Kind.FAILED, NO)), 554),
        (fates((Kind.FAILED, NO), (Kind.FAILED, NO)), 550),
    ],
)
def test_one_answer_for_all_never_hides_a_failure(given, code):
    assert join_fates(given).code == code


def test_a_next_hop_that_closes_says_nothing_about_our_session():
    (copy,) = plan(part(A, B, C)).copies
    assert resolve_fates(copy, (reply(421, "4.3.2", "bye"),) * 3, (A, B, C))[0].reply.code == 451
