"""What of the queue those see who see only some domains: theirs, nobody else's addresses, and nothing by guessing."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.unit.relay.test_queue_filter import NOW, brief, stored

from gatepost.control.desk import Desk, Refused
from gatepost.control.rights import RIGHTS_OF, Caller, Role
from gatepost.control.socket import Request
from gatepost.master.calls import Calls
from gatepost.model.envelope import Direction
from gatepost.relay.queue_filter import Choice, QueueFilter
from gatepost.relay.queue_scope import narrow_entry
from gatepost.spool.interface import Stored

MINE = frozenset({"to.example"})
SENDERS = frozenset({"from.example"})


def _sent(direction: Direction, user: str = "") -> Stored:
    entry = stored((0, 1))
    client = msgspec.structs.replace(entry.envelope.client, user=user)
    envelope = msgspec.structs.replace(entry.envelope, direction=direction, client=client)
    return msgspec.structs.replace(entry, envelope=envelope)


def test_of_mail_from_elsewhere_only_their_recipients_are_seen() -> None:
    """With what is known of these, by their new places."""
    seen = narrow_entry(stored((0, 1)), frozenset({"two.example"}))
    assert seen is not None
    assert [each.address for each in seen.envelope.recipients] == ["c@two.example"]
    assert [(each.recipient, each.domain) for each in seen.pending] == [(0, "two.example")]


def test_before_the_inspection_all_recipients_wait() -> None:
    """There is nothing pending yet."""
    seen = narrow_entry(stored(()), MINE)
    assert seen is not None
    assert [each.address for each in seen.envelope.recipients] == ["b@to.example"]
    assert seen.pending == ()


def test_what_is_not_theirs_or_no_longer_is_not_there() -> None:
    """Neither by its recipients nor when theirs have it already."""
    assert narrow_entry(stored((0, 1)), frozenset({"elsewhere.example"})) is None
    assert narrow_entry(stored((1,)), MINE) is None


@pytest.mark.parametrize(
    ("entry", "seen"),
    [
        (_sent(Direction.OUTBOUND), True),
        (_sent(Direction.INTERNAL), True),
        (_sent(Direction.INBOUND, user="ann"), True),
        (_sent(Direction.INBOUND), False),
    ],
    ids=["outbound", "internal", "signed in", "a stranger who claims so"],
)
def test_what_they_sent_themselves_is_seen_whole(entry: Stored, *, seen: bool) -> None:
    """A sender address proves nothing."""
    assert narrow_entry(entry, SENDERS) == (entry if seen else None)


def test_without_domains_everything_is_seen() -> None:
    """Nothing is copied."""
    entry = stored((0,))
    assert narrow_entry(entry, ()) is entry


def test_a_search_looks_at_what_may_be_theirs_and_then_at_the_whole() -> None:
    """The first step is cheap, the second decides."""
    choice = Choice(QueueFilter(scope=("to.example",)), NOW)
    assert not choice.plain
    assert choice.needs_message
    assert choice.wants(brief())
    assert choice.wants(brief(sender="x@to.example", recipients=("c@two.example",)))
    assert not choice.wants(brief(recipients=("c@two.example",)))


class _Relays:
    """Keeps what relays are asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.all = [object()]

    async def ask_all(self, what: str, **arguments: Any) -> list[Any]:
        self.asked.append((what, arguments))
        return [{"items": [], "upto": 0, "seen": 0, "ended": True}]

    async def ask(self, _: object, what: str, **arguments: Any) -> Any:
        self.asked.append((what, arguments))
        return None


def test_relays_are_told_whose_mail_a_caller_sees_whatever_the_caller_asks() -> None:
    """Acts, totals and destinations are refused: a message may be others', too."""
    relays, desk = _Relays(), Desk()
    nothing: Any = SimpleNamespace()
    Calls(
        relays=relays,  # type: ignore[arg-type]
        ports=nothing,
        pauses=nothing,
        config=nothing,
        template=nothing,
        bases=nothing,
        say=nothing,
        file=Path("gatepost.toml"),
        exports=Path(),
        supervision=nothing,
        switches=Path(),
    ).register(desk)

    def call(name: str, role: Role, domains: tuple[str, ...], **arguments: Any) -> Any:
        caller = Caller("ann", RIGHTS_OF[role], domains, via="console")
        return asyncio.run(desk.handle(Request(name, arguments), caller))

    call("queue", Role.DOMAIN, ("To.example",), filter={"senders": ["x"], "scope": ["other.example"]})
    call("show", Role.DOMAIN, ("To.example",), id=5, scope=[])
    call("queue", Role.OPERATOR, ())
    assert [(what, found.get("filter", found).get("scope")) for what, found in relays.asked] == [
        ("queue", ["to.example"]),
        ("show", ["to.example"]),
        ("queue", []),
    ]
    for name in ("act", "summary", "pause", "queue.content"):
        if name in desk.calls:
            with pytest.raises(Refused):
                call(name, Role.OPERATOR, ("to.example",), verb="hold", ids=[5], domain="to.example", paused=True)
