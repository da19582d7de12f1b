"""What a ruling means for a program that hands whole messages on: which copy goes to whom, or what the sender is told.

Used by client programs without a session of their own (`client.qmail`, `client.cgpro`). Pure. Promises: who is told
nothing of in the ruling, or is no recipient, makes it a `PlanError`, never a lost message.
"""

from collections.abc import Sequence

import msgspec

from gatepost.model.filtering import Deed, Ruling
from gatepost.model.reply import Reply, reply
from gatepost.model.verdict import Splice

REFUSED = reply(550, "5.7.1", "Message refused")
"""For a ruling that says no words of its own."""


class PlanError(ValueError):
    """The ruling does not fit the message; the text says how."""


class Copy(msgspec.Struct, frozen=True):
    """One copy and whom it goes to."""

    recipients: tuple[str, ...]
    prefix: bytes = b""
    splices: tuple[Splice, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """What is to be done."""

    copies: tuple[Copy, ...] = ()
    """None and no refusal: the message is taken and given to nobody."""
    refusal: Reply | None = None
    """What the sender is told, when nobody gets it. Recipients that refuse beside others who take it are left out."""

    def is_plain(self, recipients: Sequence[str]) -> bool:
        """Whether the message goes to its recipients, and to nobody else, as it came."""
        if len(self.copies) != 1:
            return False
        (only,) = self.copies
        return not only.prefix and not only.splices and sorted(only.recipients) == sorted(set(recipients))


def plan_copies(ruling: Ruling, recipients: Sequence[str]) -> Plan:
    """Return what a divided ruling makes of a message to `recipients`. PlanError."""
    waiting = set(recipients)
    shares: dict[tuple[bytes, tuple[Splice, ...]], dict[str, None]] = {}
    for part in ruling.parts:
        if not waiting.issuperset(part.recipients):
            raise PlanError("the ruling is about somebody who is no recipient, or twice about one")
        waiting.difference_update(part.recipients)
        to = [*part.copies]
        if part.deed is Deed.DELIVER:
            to = [*(part.redirect or part.recipients), *to]
        elif part.deed is Deed.DISCARD:
            to = [*part.redirect, *to]
        if to:
            shares.setdefault((part.prefix, part.splices), {}).update(dict.fromkeys(to))
    if waiting:
        raise PlanError(f"the ruling says nothing of {len(waiting)} recipients")
    if shares:
        return Plan(tuple(Copy(tuple(to), *changes) for changes, to in shares.items()))
    refusals = [part.reply or REFUSED for part in ruling.parts if part.deed is Deed.REJECT]
    if not refusals:
        return Plan()
    # A temporary refusal of some is one of all: the sender comes again, and nobody is told a failure that may pass.
    return Plan(refusal=next((each for each in refusals if not each.permanent), refusals[0]))
