"""Which messages a filter means, in both of its steps."""

import msgspec
import pytest

from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.relay.queue_filter import Choice, QueueFilter
from gatepost.spool.interface import Brief, ContentRef, Pending, State, Stored

NOW = 10_000.0


def brief(
    state: State = State.READY,
    sender: str = "a@from.example",
    recipients: tuple[str, ...] = ("b@to.example",),
    age: float = 0,
) -> Brief:
    return Brief(1, state, 10, NOW - age, sender, recipients, "")


def stored(pending: tuple[int, ...], addresses: tuple[str, ...] = ("b@to.example", "c@two.example")) -> Stored:
    envelope = Envelope("a@from.example", tuple(map(Recipient, addresses)), Client("192.0.2.1"))
    waiting = tuple(Pending(index, addresses[index].rpartition("@")[2], 0.0) for index in pending)
    state = State.READY if pending else State.WAITING
    return Stored(1, 1, state, NOW, envelope, ContentRef(1, 10, in_file=False), b"", pending=waiting)


def wants(one: Brief, **parts: object) -> bool:
    return Choice(QueueFilter(**parts), NOW).wants(one)  # type: ignore[arg-type]


def test_nothing_given_wants_everything_without_looking() -> None:
    choice = Choice(QueueFilter(), NOW)
    assert choice.plain
    assert not any((choice.nothing, choice.needs_state, choice.needs_message))
    assert choice.place is None


@pytest.mark.parametrize(
    ("mask", "sender", "match"),
    [
        ("a@from.example", "A@from.example", True),
        ("a@*", "a@from.example", True),
        ("from.example", "x@from.example", True),
        ("from.example", "x@sub.from.example", False),
        ("*.from.example", "x@sub.from.example", True),
        ("<>", "", True),
        ("<>", "a@from.example", False),
        ("from.example", "", False),
        ("any", "", True),
    ],
)
def test_senders(mask: str, sender: str, match: bool) -> None:
    assert wants(brief(sender=sender), senders=(mask,)) is match


def test_ages_are_bounds() -> None:
    assert wants(brief(age=60), older_than_s=60.0)
    assert not wants(brief(age=59), older_than_s=60.0)
    assert wants(brief(age=60), younger_than_s=60.0)
    assert not wants(brief(age=61), younger_than_s=60.0)


def test_all_kinds_must_match_and_one_mask_of_each() -> None:
    parts = {"senders": ("x@x.example", "from.example"), "domains": ("t?.example",)}
    assert wants(brief(), **parts)
    assert not wants(brief(recipients=("b@other.example",)), **parts)
    assert not wants(brief(sender="a@elsewhere.example"), **parts)


@pytest.mark.parametrize(
    ("states", "place", "needs_state", "nothing"),
    [
        (("HLD",), State.HELD, False, False),
        (("WFC",), State.WAITING, True, False),
        (("WFC", "CHK"), State.WAITING, False, False),
        (("QUE",), State.READY, True, False),
        (("QUE", "HLD"), None, True, False),
        (("WFS", "SPL"), None, False, True),
    ],
)
def test_states_are_looked_for_where_they_are(
    states: tuple[str, ...], place: State | None, needs_state: bool, nothing: bool
) -> None:
    choice = Choice(QueueFilter(states=states), NOW)
    assert (choice.place, choice.needs_state, choice.nothing) == (place, needs_state, nothing)


def test_several_places_are_told_apart_by_the_first_step() -> None:
    choice = Choice(QueueFilter(states=("QUE", "HLD")), NOW)
    assert [choice.wants(brief(state)) for state in State] == [False, True, True]
    assert [choice.wants_state(name) for name in ("QUE", "SND", "HLD")] == [True, False, True]


def test_recipients_that_have_their_mail_do_not_count() -> None:
    choice = Choice(QueueFilter(domains=("two.example",)), NOW)
    assert choice.needs_message
    assert choice.wants(brief(recipients=("b@to.example", "c@two.example")))
    assert choice.wants_message(stored((1,)), (), "")
    assert not choice.wants_message(stored((0,)), (), "")
    assert choice.wants_message(stored(()), (), "")


def test_reasons_may_stand_anywhere_unless_masked() -> None:
    for mask, reason, match in (
        ("timed out", "451 4.4.1 connection timed out", True),
        ("timed*", "451 4.4.1 connection timed out", False),
        ("451*", "451 4.4.1 connection timed out", True),
        ("timed out", "", False),
    ):
        assert Choice(QueueFilter(reasons=(mask,)), NOW).wants_message(stored((0,)), (), reason) is match


@pytest.mark.parametrize(
    ("mask", "user", "match"),
    [("bob", "bob", True), ("bob", "ann", False), ("bob", "", False), ("b*", "bob", True), ("*", "bob", True),
     ("*", "", False), ("bob@corp.example", "bob@corp.example", True)],
)  # fmt: skip
def test_mail_is_found_by_who_signed_in(mask: str, user: str, match: bool) -> None:
    choice = Choice(QueueFilter(users=(mask,)), NOW)
    assert choice.needs_message
    entry = stored((0,))
    client = msgspec.structs.replace(entry.envelope.client, user=user)
    entry = msgspec.structs.replace(entry, envelope=msgspec.structs.replace(entry.envelope, client=client))
    assert choice.wants_message(entry, (), "") is match


def test_next_hops_are_asked_only_when_wanted() -> None:
    def asked() -> object:
        raise AssertionError("next hops were asked for")
        yield

    assert Choice(QueueFilter(reasons=("x",)), NOW).wants_message(stored((0,)), asked(), "x")  # type: ignore[arg-type]
    choice = Choice(QueueFilter(next_hops=("10.0.0.1:*",)), NOW)
    assert choice.wants_message(stored((0,)), ["10.0.0.2:25", "10.0.0.1:25"], "")
    assert not choice.wants_message(stored((0,)), [], "")


@pytest.mark.parametrize(
    "bad", [QueueFilter(states=("XXX",)), QueueFilter(senders=("a",) * 101), QueueFilter(older_than_s=-1.0)]
)
def test_what_makes_no_sense_is_said(bad: QueueFilter) -> None:
    with pytest.raises(ValueError, match=r"state|masks|age"):
        bad.check()
