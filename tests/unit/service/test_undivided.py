"""One copy for all recipients: what its parts say, put together."""

import pytest

from gatepost.model.filtering import Deed, Mark, Part, Threat
from gatepost.model.reply import reply
from gatepost.service.undivided import join_parts

NO = reply(550, "5.7.1", "no")


def part(name: str, **fields: object) -> Part:
    return Part(**({"recipients": (name,), "group": name} | fields))  # type: ignore[arg-type]


def test_a_single_part_is_the_whole() -> None:
    one = part("a", deed=Deed.REJECT, reply=NO)
    assert join_parts([one]) is one


@pytest.mark.parametrize(
    ("deeds", "deed", "recipients"),
    [
        ([Deed.DELIVER, Deed.DELIVER], Deed.DELIVER, ("a", "b")),
        ([Deed.REJECT, Deed.DELIVER], Deed.DELIVER, ("b",)),
        ([Deed.DISCARD, Deed.DELIVER], Deed.DELIVER, ("b",)),
        ([Deed.REJECT, Deed.REJECT], Deed.REJECT, ("a", "b")),
        ([Deed.DISCARD, Deed.DISCARD], Deed.DISCARD, ("a", "b")),
        ([Deed.REJECT, Deed.DISCARD], Deed.DISCARD, ("a", "b")),
    ],
)
def test_who_is_refused_or_withheld_from_is_not_among_its_recipients(
    deeds: list[Deed], deed: Deed, recipients: tuple[str, ...]
) -> None:
    parts = [part(name, deed=each, reply=NO) for name, each in zip("ab", deeds, strict=True)]
    whole = join_parts(parts)
    assert (whole.deed, whole.recipients) == (deed, recipients)
    assert whole.reply == (NO if deed is Deed.REJECT else None)


def test_the_gravest_status_and_all_that_was_found_are_told() -> None:
    spam = part("a", status="spam", rate=99, methods=("DNSBL",), marks=(Mark("x", 2.0),), objects=("clean",))
    virus = part(
        "b", status="not_detected", methods=("none",), objects=("infected",), threats=(Threat("V", "infected"),)
    )
    whole = join_parts([virus, spam])
    assert (whole.status, whole.rate) == ("spam", 99)
    assert whole.methods == ("none", "DNSBL")
    assert whole.objects == ("infected", "clean")
    assert whole.threats == virus.threats
    assert whole.marks == spam.marks
    assert whole.group == "b, a"


def test_copies_of_all_parts_are_made_and_a_redirect_beside_others_is_one_more_copy() -> None:
    whole = join_parts([part("a", copies=("c@x",)), part("b", redirect=("r@x",)), part("d", deed=Deed.DISCARD)])
    assert (whole.recipients, whole.copies, whole.redirect) == (("a",), ("c@x", "r@x"), ())


def test_a_redirect_of_all_parts_is_one_of_the_whole() -> None:
    whole = join_parts([part("a", redirect=("r@x",)), part("b", redirect=("r@x", "s@x"))])
    assert (whole.recipients, whole.copies, whole.redirect) == (("a", "b"), (), ("r@x", "s@x"))
