"""Which queued messages an operator means: by state, sender, recipient, domain, age, next hop and reason. Pure.

`QueueFilter` is what the command line builds and the control socket carries; `Choice` is its compiled form, which
`relay.queue_view` asks in two steps: first of the little that a search reads of every message, then, where that does
not decide, of the whole message.
"""

from collections.abc import Iterable

import msgspec

from gatepost.config.masks import MaskSet
from gatepost.model.address import domain_of
from gatepost.relay.queue_scope import may_concern
from gatepost.spool.interface import Brief, State, Stored

STATES = {
    "WFC": State.WAITING,
    "CHK": State.WAITING,
    "QUE": State.READY,
    "SND": State.READY,
    "HLD": State.HELD,
}
"""Documented states (specification management.md §5.4) and where the spool has such messages."""
PASSING_STATES = frozenset(("WFS", "SPL"))
"""Documented too, and never seen: a message is inspected and split in one commit."""
MASKS_LIMIT = 100
"""Masks of one kind: more is a list for a script, not for a command line."""


class QueueFilter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Messages that match one of the masks of every kind given. Nothing given: all."""

    states: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    """Address masks; without `@` a domain; `<>` is the null sender."""
    recipients: tuple[str, ...] = ()
    """As senders, of recipients that still wait."""
    domains: tuple[str, ...] = ()
    """Masks of recipient domains that still wait."""
    next_hops: tuple[str, ...] = ()
    """Masks of `host:port` by the present routes."""
    users: tuple[str, ...] = ()
    """Masks of who signed in to send them."""
    reasons: tuple[str, ...] = ()
    """Masks of the reason shown; one without wildcards may stand anywhere in it."""
    older_than_s: float = 0.0
    younger_than_s: float = 0.0
    scope: tuple[str, ...] = ()
    """Domains in lower case: only what those may see who see only these (`queue_scope`)."""

    def check(self) -> None:
        """Raise ValueError with a sentence when a part makes no sense."""
        for state in self.states:
            if state not in STATES and state not in PASSING_STATES:
                raise ValueError(f"{state!r} is no state: one of {', '.join((*STATES, *sorted(PASSING_STATES)))}")
        kinds = (self.senders, self.recipients, self.domains, self.next_hops, self.users, self.reasons)
        if max(map(len, kinds)) > MASKS_LIMIT:
            raise ValueError(f"more than {MASKS_LIMIT} masks of one kind")
        if self.older_than_s < 0 or self.younger_than_s < 0:
            raise ValueError("an age is not negative")


class Choice:
    """A compiled filter, at one moment."""

    def __init__(self, chosen: QueueFilter, now: float) -> None:
        """`now`: Unix time from which ages count."""
        self._states = frozenset(chosen.states)
        self._senders = _addresses(chosen.senders)
        self._recipients = _addresses(chosen.recipients)
        self._domains = MaskSet(chosen.domains) if chosen.domains else None
        self._hops = MaskSet(chosen.next_hops) if chosen.next_hops else None
        self._users = MaskSet(chosen.users) if chosen.users else None
        self._reasons = MaskSet(map(_anywhere, chosen.reasons)) if chosen.reasons else None
        self.scope = frozenset(chosen.scope)
        self._before = now - chosen.older_than_s if chosen.older_than_s else None
        self._after = now - chosen.younger_than_s if chosen.younger_than_s else None
        places = {STATES[state] for state in self._states if state in STATES}
        self.nothing = bool(self._states) and not places
        """No message can match."""
        self.place = next(iter(places)) if len(places) == 1 else None
        """The one place in the spool where matching messages are, None = several."""
        self._places = frozenset(places) if len(places) > 1 else None
        self.plain = not (self._brief_decides or self._places)
        """The first step has nothing to look at."""
        self.needs_state = bool(self._states) and not self._states >= {
            name for name, place in STATES.items() if place in places
        }
        """The documented state must be looked at: it says what the spool does not know."""
        more = (self._recipients, self._domains, self._hops, self._users, self._reasons, self.scope)
        self.needs_message = any(more)
        """The second step must see the whole message."""

    @property
    def _brief_decides(self) -> bool:
        return any((self._senders, self._recipients, self._domains, self._before, self._after, self.scope))

    def wants(self, brief: Brief) -> bool:
        """Tell whether a message may match: the first step, called for each of a million."""
        if self._places is not None and brief.state not in self._places:
            return False
        if self._before is not None and brief.received_at > self._before:
            return False
        if self._after is not None and brief.received_at < self._after:
            return False
        if self.scope and not may_concern(brief, self.scope):
            return False
        if self._senders is not None and not self._senders.matches(brief.sender):
            return False
        if self._recipients is not None and not any(map(self._recipients.matches, brief.recipients)):
            return False
        return self._domains is None or any(map(self._domains.matches, map(domain_of, brief.recipients)))

    def wants_state(self, name: str) -> bool:
        """Tell whether a documented state matches."""
        return not self._states or name in self._states

    def wants_message(self, entry: Stored, next_hops: Iterable[str], reason: str) -> bool:
        """Tell whether a whole message matches: the second step, for what passed the first.

        `next_hops` are asked only when the filter names some; `reason` is the one shown. `entry` is what `narrow_entry`
        has left of it: what somebody may not see they do not find by guessing either.
        """
        if self._recipients is not None or self._domains is not None:
            everyone = entry.envelope.recipients
            waiting = everyone if not entry.pending else [everyone[p.recipient] for p in entry.pending]
            addresses = [each.address for each in waiting]
            if self._recipients is not None and not any(map(self._recipients.matches, addresses)):
                return False
            if self._domains is not None and not any(map(self._domains.matches, map(domain_of, addresses))):
                return False
        if self._users is not None and not ((user := entry.envelope.client.user) and self._users.matches(user)):
            return False
        if self._reasons is not None and not self._reasons.matches(reason):
            return False
        return self._hops is None or any(map(self._hops.matches, next_hops))


def _addresses(masks: tuple[str, ...]) -> MaskSet | None:
    """Compile address masks; one without `@` and wildcard for everything is a domain."""
    if not masks:
        return None
    return MaskSet("" if m == "<>" else m if "@" in m or m in {"*", "any"} else f"*@{m}" for m in masks)


def _anywhere(mask: str) -> str:
    return mask if "*" in mask or "?" in mask else f"*{mask}*"
