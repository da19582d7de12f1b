"""The emergency bypass: for some minutes mail passes without being looked at, and marked as such.

`Order` is what the master keeps in one file of the state directory (`BYPASS_FILE`) and sends to the relays;
`Bypass` is one that is in force in a relay. Asked by `relay.inspection` for each message while there is one; what
stays of a verdict without a look is decided here for `relay.disposal`.

Promises: it ends by itself, by the clock of running time and by the wall clock, whichever comes first, so a clock that
is set, a restart or a master that is away never makes it longer. It is for fresh mail only: what came out of a store,
what the gateway wrote, and what was in hand when a relay died is looked at as ever. Block lists count as ever.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatepost.model.envelope import Direction, Envelope
from gatepost.model.spam import SpamStatus
from gatepost.model.verdict import SpamVerdict, Verdict
from gatepost.policy.group import GroupPolicy
from gatepost.policy.spam import NOT_PROCESSED, decide_spam
from gatepost.spool.interface import Stored

Shares = Sequence[tuple[GroupPolicy, Sequence[int]]]
"""Groups of one message with the indices of their recipients."""
BYPASS_FILE: Final = "bypass.json"
MINUTES_LIMIT: Final = 240
"""Longest bypass: whoever needs more says so again, and why."""
REASON_LIMIT: Final = 200
"""Characters of a reason."""


class Order(msgspec.Struct, frozen=True):
    """A bypass that somebody has ordered."""

    since: float
    """Unix time."""
    until: float
    """Unix time at which it ends, whatever the running time says ..."""
    left_s: float
    """... and running time that is left, whatever the wall clock says."""
    reason: str
    by: str
    groups: tuple[str, ...] = ()
    """Names; () = all."""
    directions: tuple[Direction, ...] = ()
    """() = all."""

    def describe(self) -> str:
        """Return who has ordered it and why, in one line."""
        return f"emergency bypass by {self.by}: {self.reason}"


class Bypass:
    """One in force."""

    def __init__(self, order: Order, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self.order = order
        self._monotonic = monotonic
        self._wall = wall
        self._ends_at = monotonic() + order.left_s

    def is_on(self) -> bool:
        """Tell whether it still holds."""
        return self._monotonic() < self._ends_at and self._wall() < self.order.until

    def waive(self, stored: Stored, partition: Shares) -> Shares:
        """Return the groups of a message with nothing to look for in those the bypass is for."""
        order = self.order
        if stored.kind or stored.strikes or not self.is_on():
            return partition
        if order.directions and stored.envelope.direction not in order.directions:
            return partition
        return [
            (_unscanned(group, order.describe()) if not order.groups or group.name in order.groups else group, indices)
            for group, indices in partition
        ]


def _unscanned(group: GroupPolicy, why: str) -> GroupPolicy:
    scan = msgspec.structs.replace(group.scan, scan=False, text_spots=False, spam=None)
    return msgspec.structs.replace(group, check=False, scan=scan, bypass=why)


def judge_unscanned(group: GroupPolicy, envelope: Envelope, now: float) -> Verdict:
    """Return the verdict on a message that nobody has looked at: its sender may be on a block list, no more is known.
    It has no status, so that nobody takes it for clean.
    """
    spam = decide_spam(None, envelope, group, now)
    if spam is not None and spam.status is not SpamStatus.BLACKLISTED:
        spam = SpamVerdict(
            SpamStatus.NOT_DETECTED, info=f"{NOT_PROCESSED}: emergency bypass", checked=False, shown=spam.shown
        )
    return Verdict(group.name, (), reason=f"not scanned: {group.bypass}", spam=spam)


def read_order(state_path: str) -> Order | None:
    """Return the order that is kept, None when there is none, or none that can be read: then mail is scanned."""
    try:
        return msgspec.json.decode((Path(state_path) / BYPASS_FILE).read_bytes(), type=Order)
    except (OSError, msgspec.MsgspecError):
        return None
