"""The changes a spool can be asked for: one value each, applied whole or not at all by `database.Database`."""

from collections.abc import Sequence

import msgspec

from gatepost.model.record import Record
from gatepost.spool.interface import Destination, NewMessage, Stored


class Accept(msgspec.Struct, frozen=True):
    """Make a new message durable, `copies` in its place when there are any, and `generated` with it."""

    new: NewMessage
    records: Sequence[Record]
    copies: Sequence[Stored] = ()
    generated: Sequence[NewMessage] = ()
    release: str = ""
    """Id of the release it is; each is taken once."""


class Dispose(msgspec.Struct, frozen=True):
    """Replace a message by its copies."""

    message_id: int
    copies: Sequence[Stored]
    records: Sequence[Record]
    generated: Sequence[NewMessage]


class Settle(msgspec.Struct, frozen=True):
    """Note the outcome of an attempt; `remaining` None removes the message."""

    message_id: int
    remaining: Stored | None
    records: Sequence[Record]
    generated: Sequence[NewMessage]


class BackOff(msgspec.Struct, frozen=True):
    """Write a destination's back-off."""

    destination: Destination
    records: Sequence[Record] = ()


class Hold(msgspec.Struct, frozen=True):
    """Make a message wait for an operator."""

    message_id: int
    reason: str
    records: Sequence[Record]


class Release(msgspec.Struct, frozen=True):
    """Let a held message go on."""

    message_id: int
    now: float
    records: Sequence[Record]


class Remove(msgspec.Struct, frozen=True):
    """Delete a message."""

    message_id: int
    records: Sequence[Record]


class Strike(msgspec.Struct, frozen=True):
    """Count a strike against messages, or forget those they have."""

    message_ids: Sequence[int]
    pardon: bool = False
    records: Sequence[Record] = ()


class Advance(msgspec.Struct, frozen=True):
    """Make messages due earlier."""

    message_ids: Sequence[int]
    due: float
    records: Sequence[Record] = ()


class Pause(msgspec.Struct, frozen=True):
    """Let a destination wait, or no longer."""

    domain: str
    paused: bool
    records: Sequence[Record] = ()


Change = Accept | Dispose | Settle | BackOff | Hold | Release | Remove | Strike | Advance | Pause


def new_messages(change: Change) -> Sequence[NewMessage]:
    """Return the messages a change brings into the spool."""
    if isinstance(change, Accept):
        return (change.new, *change.generated)
    if isinstance(change, (Dispose, Settle)):
        return change.generated
    return ()
