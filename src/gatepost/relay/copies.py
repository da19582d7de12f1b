"""What of a message goes on to delivery, as values: each group's copy, copies for addresses that actions name. Pure.

Used by `relay.disposal`. All copies of a message share its content.
"""

from collections.abc import Sequence

import msgspec

from gatepost.model.address import NULL_SENDER, domain_of
from gatepost.model.envelope import Notify, Recipient
from gatepost.model.profile import RuleOutcome
from gatepost.relay.editing import Edited
from gatepost.relay.reports import RELEASED, RELEASED_WANTED
from gatepost.spool.interface import Pending, State, Stored

COPY = "spam-copy"
REDIRECTED = "spam-redirect"
"""Kinds of copies that actions on spam send elsewhere: nothing is told about them, nothing inspects them again."""


def ready_copy(original: Stored, number: int, group: str, indices: Sequence[int], edited: Edited, now: float) -> Stored:
    """Return the message as it waits for delivery to one group's recipients."""
    everyone = original.envelope.recipients
    recipients = everyone if len(indices) == len(everyone) else tuple(everyone[i] for i in indices)
    envelope = original.envelope
    if recipients is not everyone:
        envelope = msgspec.structs.replace(envelope, recipients=recipients)
    return Stored(
        number,
        original.id,
        State.READY,
        original.received_at,
        envelope,
        original.content,
        edited.prefix,
        group,
        edited.splices,
        _pending(recipients, now),
        kind=RELEASED if original.kind == RELEASED_WANTED else "",  # its checks are done
    )


def copy_for(copy: Stored, number: int, addresses: Sequence[str], kind: str, now: float) -> Stored:
    """Return a copy for other addresses. It has the null sender: spam has mostly a forged one, who is not to get the
    bounce when such an address cannot take it.
    """
    recipients = tuple(Recipient(address, (Notify.NEVER,)) for address in addresses)
    envelope = msgspec.structs.replace(copy.envelope, sender=NULL_SENDER, recipients=recipients)
    return msgspec.structs.replace(copy, id=number, envelope=envelope, pending=_pending(recipients, now), kind=kind)


def change_recipients(copy: Stored, rules: RuleOutcome | None, now: float) -> Stored:
    """Return a copy for whom rules have it go to: the sender stays, who is told what becomes of it as of any mail."""
    if rules is None or (rules.kept and not rules.added):
        return copy
    kept = copy.envelope.recipients if rules.kept else ()
    recipients = (*kept, *(Recipient(address) for address in rules.added))
    envelope = msgspec.structs.replace(copy.envelope, recipients=recipients)
    return msgspec.structs.replace(copy, envelope=envelope, pending=_pending(recipients, now))


def is_sent_on(copy: Stored, addresses: Sequence[str]) -> bool:
    """Tell whether a message has the form of what `copy_for` makes for these addresses: it has come by again, or it is
    an automatic reply to them. To send it on once more could go round until the hops are used up, and copies for
    several addresses would double each time.
    """
    if copy.envelope.sender != NULL_SENDER:
        return False
    known = {address.lower() for address in addresses}
    return any(each.address.lower() in known for each in copy.envelope.recipients)


def _pending(recipients: Sequence[Recipient], now: float) -> tuple[Pending, ...]:
    return tuple(Pending(index, domain_of(each.address), now) for index, each in enumerate(recipients))
