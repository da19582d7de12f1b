"""The emergency bypass: for some minutes mail passes without being looked at, and marked as such.

`Bypass` is an order of the master's (`control.bypass_order`) that is in force in a relay. Asked by `relay.inspection`
for each message while there is one; what stays of a verdict without a look is decided here for `relay.disposal`.

Promises: it ends by itself, by the clock of running time and by the wall clock, whichever comes first, so a clock that
is set, a restart or a master that is away never makes it longer. It is for fresh mail only: what came out of a store,
what the gateway wrote, and what was in hand when a relay died is looked at as ever. Block lists count as ever.
"""

from collections.abc import Callable, Sequence

import msgspec

from gatepost.control.bypass_order import Order
from gatepost.model.envelope import Envelope
from gatepost.model.spam import SpamStatus
from gatepost.model.verdict import SpamVerdict, Verdict
from gatepost.policy.group import GroupPolicy
from gatepost.policy.spam import NOT_PROCESSED, decide_spam
from gatepost.spool.interface import Stored

Shares = Sequence[tuple[GroupPolicy, Sequence[int]]]
"""Groups of one message with the indices of their recipients."""


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
