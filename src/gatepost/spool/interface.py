"""What the relay asks of a spool. Durable when the awaitable returns; one call is one transaction.

A message has no status of its own beyond where it waits: `State.WAITING` (accepted, to be inspected) or
`State.READY` (inspected, its disposition durable, to be delivered) or `State.HELD` (for an operator). What is still to
be delivered is in its `Pending` recipients, kept per recipient domain.

Commit rules (docs/architecture.md §7): a clean single-group mail needs only `accept` and `settle`; in all other cases
`dispose` comes first; a deferral writes the disposition with it; a final failure and its DSN, a split and all its
copies, are one transaction; every change carries its records, written in the same commit.
"""

import enum
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from gatepost.model.envelope import Envelope
from gatepost.model.record import Record
from gatepost.model.verdict import Splice


class State(enum.IntEnum):
    """Where a message waits."""

    WAITING = 0
    """Accepted, awaiting inspection (WFC of spec management.md §5.4)."""
    READY = 1
    """Inspected, awaiting delivery (QUE)."""
    HELD = 2
    """Waits for an operator."""


class ContentRef(msgspec.Struct, frozen=True, array_like=True):
    """Where the received bytes of a message lie. Virtual copies share one content."""

    id: int
    size: int
    in_file: bool
    """True: a file of its own below the shard; False: a row of the content table."""


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """One recipient that has no final status yet."""

    recipient: int
    """Index into `Stored.envelope.recipients`."""
    domain: str
    """Queue it waits in: the recipient's domain in lower case."""
    due: float
    """Unix time of the next attempt (the destination's own back-off may be later)."""
    attempts: int = 0
    """Attempts that reached a peer."""
    reply: str = ""
    """Last temporary reply or error, for the operator and for the DSN."""


class Stored(msgspec.Struct, frozen=True):
    """A message, or a virtual copy of one, as the spool keeps it."""

    id: int
    source: int
    """Id of the message it was copied from; its own id when it is no copy (`srcid` of the log)."""
    state: State
    received_at: float
    """Unix time of acceptance; a copy has that of its source."""
    envelope: Envelope
    content: ContentRef
    prefix: bytes
    """Header fields of ours that go in front of the content (Received), CRLF included; may be empty."""
    group: str = ""
    """Group whose verdict it carries; "" before inspection."""
    splices: tuple[Splice, ...] = ()
    """Edits of the disposition, in rising order, relative to the content."""
    pending: tuple[Pending, ...] = ()
    """Recipients without a final status. Empty while WAITING: then all of the envelope's."""
    strikes: int = 0
    """How often a relay that had it in work stopped uncleanly."""
    reason: str = ""
    """Why it is HELD."""
    kind: str = ""
    """"" for received mail, else what we made: `dsn-failed`, … (no DSN and no inspection for these)."""
    route: str = ""
    """Next hop an operator has chosen for it, as `next_hop` of a route is written; "" = the routing table decides."""
    told: bool = False
    """Its sender has had a report that it is delayed."""


class StagedContent(Protocol):
    """Content on its way in; its `ref` is what `Stored.content` of the message must be.

    Small content stays in memory, large content goes to a file as it arrives.
    """

    size: int

    @property
    def ref(self) -> ContentRef:
        """Where the content will lie; final when everything has been written."""

    def write(self, chunk: bytes) -> None:
        """Add received bytes. OSError when the disk refuses (full, quota)."""

    def discard(self) -> None:
        """Forget it; leaves nothing behind. Harmless when repeated or after the commit."""

    def read(self) -> bytes:
        """Return everything written so far, also after `accept` (the caller knows that `size` is acceptable)."""


class NewMessage(msgspec.Struct, frozen=True):
    """A message to be made durable by `accept`, or together with another change (DSN).

    `stored.content.id` equals `stored.id`; with `stored.state` READY its `pending` is complete.
    """

    stored: Stored
    content: StagedContent
    plain: bool = False
    """The content can be sent by DATA as it is (`smtp.server_events.DataEnd.plain`)."""


class Destination(msgspec.Struct, frozen=True, array_like=True):
    """A recipient domain with waiting mail, and its own back-off."""

    domain: str
    waiting: int
    """READY messages with a recipient there (not read by `back_off`)."""
    due: float
    """Earliest moment at which something may be tried: max(earliest pending due, retry_at)."""
    retry_at: float = 0.0
    """Do not try the destination before (0 = no back-off)."""
    failures: int = 0
    """Attempts in a row that reached no peer."""
    reason: str = ""
    paused: bool = False
    """An operator lets it wait (`pause`); then nothing of it is ever due (not read by `back_off`)."""


class Brief(msgspec.Struct, frozen=True):
    """What a search looks at of every message: enough to choose by, little enough to read a million of."""

    id: int
    state: State
    size: int
    received_at: float
    sender: str
    recipients: tuple[str, ...]
    """Addresses, those with a final status included."""
    reason: str
    """Why it is HELD."""


Wanted = Callable[[Brief], bool]
"""Chooses messages; called on the spool's thread, so it must be pure and quick."""


class Found(msgspec.Struct, frozen=True):
    """One step of a search through the queue."""

    ids: tuple[int, ...]
    """Messages that are wanted, rising; with no choice given, those that cannot be read too."""
    upto: int
    """Everything up to this id has been looked at: the next step begins behind it."""
    seen: int
    """Messages looked at."""
    ended: bool
    """There is nothing behind."""


class Corrupt(msgspec.Struct, frozen=True):
    """An entry that could not be read back: reported as a value, the others go on."""

    id: int
    what: str


RELEASES_KEPT_S = 30 * 86400.0
"""How long a spool remembers the ids of releases: far longer than any of them stays half done."""

Consumer = Callable[[int, Sequence[Record]], None]
"""Called on the event loop after a commit with (number of the first record, the records)."""

Follower = Callable[[int, int, bytes], None]
"""Called on the event loop after a commit with (number of the first record, count, encoded records)."""


class Spool(Protocol):
    """One shard, owned by one relay under an exclusive lock. All awaitables resolve after the commit is on disk.

    Every method raises `SpoolError` (temporary, nothing changed) or, after a failed fsync, `SpoolBroken`: the
    relay stops accepting and restarts from disk. `hold`, `release`, `remove` and `dispose` raise `UnknownMessage` for
    a message that is not there.
    """

    unclean: bool
    """The last owner of the shard ended without `close`: count strikes."""
    last_id: int
    """Highest message id ever made durable here, as of the opening: ids go on after it."""

    def stage(self, message_id: int, *, in_file: bool = False) -> StagedContent:
        """Open content for a message that is coming in; `in_file`: in a file whatever its size, to spare memory."""

    def accept(
        self,
        new: NewMessage,
        records: Sequence[Record],
        copies: Sequence[Stored] = (),
        generated: Sequence[NewMessage] = (),
        *,
        release: str = "",
    ) -> Awaitable[None]:
        """Make a message durable (state WAITING, or READY for mail we wrote). 250 may follow.

        With `copies` they stand in its place, sharing its content, in the same commit: its disposition when it was
        inspected before it was accepted, or itself and a blind copy. One of them may keep its id. `generated` are made
        durable in the same commit.

        `release`: the message comes out of a store. Each such id is taken once, and remembered for
        `RELEASES_KEPT_S`: ReleasedAlready names the message it became.
        """

    def dispose(
        self,
        message_id: int,
        copies: Sequence[Stored],
        records: Sequence[Record],
        generated: Sequence[NewMessage] = (),
    ) -> Awaitable[None]:
        """Replace a WAITING message by its READY copies (sharing its content); none = it is gone (blocked).

        A copy may keep the message's own id. `generated` are made durable in the same commit.
        """

    def settle(
        self,
        message_id: int,
        remaining: Stored | None,
        records: Sequence[Record],
        generated: Sequence[NewMessage] = (),
    ) -> Awaitable[None]:
        """Note the outcome of an attempt: `remaining` None removes the message (and its content with the last copy);
        otherwise the message is rewritten as given (READY, its `pending` those that stay). Works on WAITING
        messages too: then the disposition becomes durable with the deferral. When an operator has removed the
        message meanwhile it stays removed, and the records (what happened at the peer is true) are written.
        """

    def back_off(self, destination: Destination) -> Awaitable[None]:
        """Write a destination's back-off (retry_at, failures, reason); retry_at 0 clears it."""

    def hold(self, message_id: int, reason: str, records: Sequence[Record]) -> Awaitable[None]:
        """Put a message into HELD."""

    def release(self, message_id: int, now: float, records: Sequence[Record]) -> Awaitable[None]:
        """Take a HELD message back to where it was (WAITING when it had no disposition), strikes 0, due now."""

    def remove(self, message_id: int, records: Sequence[Record]) -> Awaitable[None]:
        """Delete a message in any state, with its content when it was the last copy."""

    def advance(self, message_ids: Sequence[int], due: float, records: Sequence[Record] = ()) -> Awaitable[None]:
        """Make what these messages still wait for due at `due` unless it is due earlier; 0 puts them ahead of all
        others. Messages that are not READY, or not there, stay as they are.
        """

    def pause(self, domain: str, *, paused: bool) -> Awaitable[None]:
        """Let a destination wait, with or without mail, until it is taken up again; durable."""

    def strike(self, message_ids: Sequence[int]) -> Awaitable[None]:
        """Count a strike against messages about to be taken into work after an unclean stop."""

    def pardon(self, message_ids: Sequence[int]) -> Awaitable[None]:
        """Forget the strikes of messages that left work with their relay alive, and wait again."""

    def destinations(self, now: float, limit: int = 1000, latest: float = math.inf) -> Awaitable[list[Destination]]:
        """Return destinations that have something due at `now`, earliest first.

        What is due after `latest` counts as due, too, and comes last: no pause is so long, so it was dated by a clock
        that has been put back since.
        """

    def next_due(self) -> Awaitable[float | None]:
        """Return the earliest `Destination.due` of all, None when nothing waits."""

    def due(
        self, domain: str, now: float, limit: int, skip: frozenset[int] = frozenset(), latest: float = math.inf
    ) -> Awaitable[list[Stored | Corrupt]]:
        """Return up to `limit` READY messages with a recipient of `domain` due at `now` (or after `latest`, as for
        `destinations`), oldest due first, less those in `skip` (in work). `pending` holds all their pending
        recipients, also those of other domains.
        """

    def waiting(self, after_id: int, limit: int) -> Awaitable[list[Stored | Corrupt]]:
        """Return WAITING messages with id > `after_id` in id order: recovery, and backlog beyond memory."""

    def listing(self, after_id: int, limit: int, state: State | None = None) -> Awaitable[list[Stored | Corrupt]]:
        """Return messages of any (or one) state in id order, a page at a time."""

    def search(
        self, after_id: int, rows: int, state: State | None = None, wanted: Wanted | None = None
    ) -> Awaitable[Found]:
        """Look at up to `rows` messages with id > `after_id` in id order, of any or one state."""

    def destination_page(self, after: str, limit: int) -> Awaitable[list[Destination]]:
        """Return destinations with mail, a back-off or a pause, in order of their names, behind `after`."""

    def destinations_named(self, domains: Sequence[str]) -> Awaitable[list[Destination]]:
        """Return those of these destinations that have mail, a back-off or a pause."""

    def paused(self) -> Awaitable[list[str]]:
        """Return the destinations that `pause` lets wait."""

    def released(self, release: str) -> Awaitable[int | None]:
        """Return the id of the message that a release became here, None when there was none that is remembered."""

    def oldest_waiting(self) -> Awaitable[int | None]:
        """Return the lowest id of all WAITING messages (ids rise with the time they were given out)."""

    def fetch(self, message_id: int) -> Awaitable[Stored | Corrupt | None]:
        """Return one message, or None."""

    def content(self, ref: ContentRef) -> Awaitable[bytes]:
        """Return content whole. `ContentCorrupt` when its bytes are not those accepted, else SpoolError."""

    def content_file(self, ref: ContentRef) -> str:
        """Return the path of content that lies in a file."""

    def counts(self) -> Awaitable[dict[str, int]]:
        """Return {"waiting", "ready", "held", "bytes"}: O(1), kept with the changes."""

    def consume(self, name: str, consumer: Consumer) -> None:
        """Register a view before `start`; it first gets what it has not confirmed, then each commit's records."""

    def confirm(self, name: str, number: int, note: bytes = b"") -> None:
        """Record that view `name` is done up to `number` inclusive; goes to disk with the next commit."""

    def position(self, name: str) -> tuple[int, bytes]:
        """Return the last confirmed number (0 = none) and note of a view."""

    def enter(self, records: Sequence[Record]) -> None:
        """Add records that belong to no change of state (refusals): no fsync of their own, at most a second late."""


class SpoolError(Exception):
    """A spool operation failed and changed nothing; the same call may succeed later (full disk, busy)."""


class UnknownMessage(SpoolError):  # noqa: N818 - named for what is wrong
    """The message is not, or not any more, in the spool."""


class ReleasedAlready(SpoolError):  # noqa: N818 - an answer
    """A release with this id has been accepted before."""

    def __init__(self, text: str, message_id: int = 0) -> None:
        """`message_id`: what it became."""
        super().__init__(text)
        self.message_id = message_id


class ContentCorrupt(SpoolError):  # noqa: N818 - named for what is wrong
    """Content is missing or differs from what was accepted: trying again is pointless, hold the message."""


class SpoolBroken(SpoolError):  # noqa: N818 - a state of the spool, not one failed call
    """An fsync failed: what the disk holds is unknown. Stop accepting, restart from disk."""
