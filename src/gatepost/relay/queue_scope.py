"""A waiting message as those see it who see only some domains: what is for or from these, and of its recipients only
their own unless one of theirs has sent it. Pure.

Used by `relay.queue_filter` and `relay.queue_view`; `storage.tracking.query` does the same for mail of the past.
"""

from collections.abc import Collection

import msgspec

from gatepost.model.address import domain_of
from gatepost.model.envelope import Direction, Envelope
from gatepost.spool.interface import Brief, Stored

_FROM_US = frozenset({Direction.OUTBOUND, Direction.INTERNAL})


def may_concern(brief: Brief, domains: Collection[str]) -> bool:
    """Tell whether a message may be for or from these domains: the little that is read of each does not tell all."""
    return domain_of(brief.sender) in domains or any(domain_of(each) in domains for each in brief.recipients)


def narrow_entry(entry: Stored, domains: Collection[str]) -> Stored | None:
    """Return a message as they see it; None when it is neither for nor from them. Without domains: all of it."""
    envelope = entry.envelope
    if not domains or _is_from(envelope, domains):
        return entry
    places = [place for place, each in enumerate(envelope.recipients) if domain_of(each.address) in domains]
    own = {place: number for number, place in enumerate(places)}
    pending = tuple(
        msgspec.structs.replace(each, recipient=own[each.recipient]) for each in entry.pending if each.recipient in own
    )
    if not own or (entry.pending and not pending):  # theirs are done with
        return None
    recipients = tuple(envelope.recipients[place] for place in places)
    return msgspec.structs.replace(
        entry, envelope=msgspec.structs.replace(envelope, recipients=recipients), pending=pending
    )


def _is_from(envelope: Envelope, domains: Collection[str]) -> bool:
    """Tell whether somebody of these sent it: out of our own network, or signed in. A stranger may claim any sender."""
    ours = envelope.direction in _FROM_US or bool(envelope.client.user)
    return ours and domain_of(envelope.sender) in domains
