"""What a divided ruling makes of a message: copies, and what the sender is told."""

import pytest

from gatepost.client.copies import REFUSED, Copy, Plan, PlanError, plan_copies
from gatepost.model.filtering import Deed, Part, Ruling
from gatepost.model.reply import reply
from gatepost.model.verdict import Splice

NO = reply(550, "5.7.1", "No")
LATER = reply(451, "4.7.1", "Later")
EDIT = (Splice(0, 1, b"x"),)


def plan(*parts: Part, to: tuple[str, ...] = ("a", "b")) -> Plan:
    return plan_copies(Ruling(parts=parts, whole=parts[0]), to)


def test_as_it_came() -> None:
    made = plan(Part(recipients=("b", "a")))
    assert made.is_plain(("a", "b"))
    assert not plan(Part(recipients=("a", "b"), prefix=b"X: 1\r\n")).is_plain(("a", "b"))
    assert not plan(Part(recipients=("a", "b"), copies=("c",))).is_plain(("a", "b"))


def test_a_copy_for_each_form() -> None:
    made = plan(Part(recipients=("a",), prefix=b"X", splices=EDIT), Part(recipients=("b",)))
    assert made.copies == (Copy(("a",), b"X", EDIT), Copy(("b",)))
    same = plan(Part(recipients=("a",), splices=EDIT), Part(recipients=("b",), splices=EDIT, copies=("a", "c")))
    assert same.copies == (Copy(("a", "b", "c"), b"", EDIT),)


def test_others_get_it_instead_and_besides() -> None:
    made = plan(
        Part(recipients=("a",), redirect=("r",), copies=("c",)),
        Part(recipients=("b",), deed=Deed.DISCARD, copies=("d",)),
    )
    assert made.copies == (Copy(("r", "c", "d")),)


def test_refusals() -> None:
    assert plan(Part(recipients=("a", "b"), deed=Deed.REJECT)).refusal == REFUSED
    beside = plan(Part(recipients=("a",), deed=Deed.REJECT, reply=NO), Part(recipients=("b",)))
    assert beside == Plan((Copy(("b",)),))
    both = plan(
        Part(recipients=("a",), deed=Deed.REJECT, reply=NO), Part(recipients=("b",), deed=Deed.REJECT, reply=LATER)
    )
    assert both.refusal == LATER
    assert plan(Part(recipients=("a", "b"), deed=Deed.DISCARD)) == Plan()


@pytest.mark.parametrize(
    "parts",
    [
        (Part(recipients=("a",)),),
        (Part(recipients=("a", "b", "c")),),
        (Part(recipients=("a", "b")), Part(recipients=("b",), deed=Deed.DISCARD)),
    ],
)
def test_a_ruling_that_does_not_fit(parts: tuple[Part, ...]) -> None:
    with pytest.raises(PlanError):
        plan(*parts)
