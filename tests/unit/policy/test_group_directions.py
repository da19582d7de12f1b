"""Groups for one way of mail: each recipient of our own mail counts by its own way."""

from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.model.envelope import Direction
from gatepost.policy.group import GroupTable

INBOUND, OUTBOUND, INTERNAL = Direction.INBOUND, Direction.OUTBOUND, Direction.INTERNAL
GROUPS = (
    Group(name="out", directions=("outbound",)),
    Group(name="sales", recipients=("*@sales.example.org",), directions=("inbound", "internal")),
    Group(name="boss", senders=("boss@example.org",), directions=("internal",)),
    Group(),
)
table = GroupTable.from_config(GROUPS, Ave(), 60.0, ("example.org", "*.example.org"))


def parts(sender: str, recipients: list[str], direction: Direction) -> list[tuple[str, tuple[int, ...]]]:
    return [(group.name, indices) for group, indices in table.partition(sender, recipients, direction)]


def test_inbound_mail_meets_no_group_of_other_ways():
    assert parts("x@y.example", ["a@sales.example.org", "b@example.org"], INBOUND) == [
        ("sales", (0,)),
        ("policy", (1,)),
    ]
    # a sender's address is anybody's word: it makes no mail internal
    assert parts("boss@example.org", ["b@example.org"], INBOUND) == [("policy", (0,))]


def test_our_own_mail_is_sorted_recipient_by_recipient():
    recipients = ["b@example.org", "c@elsewhere.example", "a@sales.example.org", "d@elsewhere.example"]
    expected = [("boss", (0,)), ("out", (1, 3)), ("sales", (2,))]
    assert parts("boss@example.org", recipients, OUTBOUND) == expected
    assert parts("ann@example.org", recipients, OUTBOUND) == [("policy", (0,)), ("out", (1, 3)), ("sales", (2,))]
    assert parts("boss@example.org", ["b@example.org"], INTERNAL) == [("boss", (0,))]


def test_every_recipient_falls_into_one_group():
    recipients = [f"u{n}@{domain}" for n in range(4) for domain in ("example.org", "sales.example.org", "x.example")]
    for direction in Direction:
        found = [index for _, indices in table.partition("s@x", recipients, direction) for index in indices]
        assert sorted(found) == list(range(len(recipients)))


def test_one_group_for_both_ways_is_one_part():
    groups = (Group(name="out", recipients=("boss@*",), directions=("outbound",)), Group())
    both = GroupTable.from_config(groups, Ave(), 60.0, ("example.org",))
    found = both.partition("s@x", ["a@x.example", "a@example.org", "b@x.example"], OUTBOUND)
    assert [(group.name, indices) for group, indices in found] == [("policy", (0, 1, 2))]
