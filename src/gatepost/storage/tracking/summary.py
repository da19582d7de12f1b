"""What a list of mails shows of one: made out of its records, one after the other. Pure.

`Summary.apply` takes a record of the mail or of one of its copies. What a summary holds is bounded whatever the records
say; the records themselves are kept beside it.
"""

import enum
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from gatepost.model.filtering import Purpose
from gatepost.model.record import (
    Answered,
    Blocked,
    Bypassed,
    Deferred,
    Delivered,
    Discarded,
    Generated,
    Held,
    Inspected,
    Notified,
    Operated,
    Received,
    Record,
    Refused,
    Removed,
    Ruled,
    Saved,
    Scanned,
    Shadowed,
    SpamChecked,
    Split,
)

ADDRESSES_KEPT = 50
NAMES_KEPT = 32
HOPS_KEPT = 16
STORED_KEPT = 16
TEXT_KEPT = 400
"""Characters of one text: longer than any honest address or message id; the records hold what was cut."""

QUARANTINES: Final = frozenset({"quarantine", "spam-quarantine"})
"""Stores whose mail waits for a decision."""


class Outcome(enum.StrEnum):
    """What has become of a mail, all its recipients and copies together."""

    WAITING = "waiting"
    """For inspection or for its first attempt."""
    DEFERRED = "deferred"
    """An attempt failed for the time being."""
    HELD = "held"
    """Waits for an operator."""
    DELIVERED = "delivered"
    """To everybody."""
    PARTLY = "partly"
    """To some; nobody waits any more."""
    FAILED = "failed"
    """To nobody: their servers did not take it, or not in time."""
    QUARANTINED = "quarantined"
    """To nobody; it is kept apart."""
    BLOCKED = "blocked"
    """To nobody, for what it holds."""
    DISCARDED = "discarded"
    """To nobody, as a group wants it for spam."""
    REMOVED = "removed"
    """Taken out of the queue by an operator."""
    REFUSED = "refused"
    """Never accepted."""
    PASSED = "passed"
    """Another mail system asked about it, and was told to deliver it to everybody."""
    TOLD = "told"
    """A program asked what it is, was told, and does with it what it is set to do."""
    UNJUDGED = "unjudged"
    """Another mail system asked about it, and could not be told anything."""


class Kind(enum.StrEnum):
    """What a row is."""

    MAIL = ""
    """Came in."""
    REFUSAL = "refusal"
    """An attempt that was refused."""
    RELEASED = "released"
    """Came back out of a store."""
    OWN = "own"
    """The gateway wrote it: a report, a notification, a blind copy."""


class Summary(msgspec.Struct, array_like=True, gc=False):
    """One mail, or one refused attempt. Fields are only ever added at the end."""

    id: int
    at: float
    """Accepted, or refused."""
    kind: str = Kind.MAIL
    what: str = ""
    """Of OWN: `dsn-failed`, `notice-admin` …; of REFUSAL: the stage and the cause, `rcpt relaying`."""
    sender: str = ""
    recipients: list[str] = []
    """The first `ADDRESSES_KEPT` ..."""
    expected: int = 0
    """... of so many."""
    size: int = 0
    ip: str = ""
    helo: str = ""
    client: str = ""
    tls: str = ""
    user: str = ""
    listener: str = ""
    direction: str = ""
    message_id: str = ""
    subject: str = ""
    groups: list[str] = []
    statuses: list[str] = []
    """Of anti-virus."""
    spam: str = ""
    """The gravest of its groups' spam statuses ..."""
    rate: int = -1
    """... and the highest rate; -1: not checked."""
    threats: list[str] = []
    findings: list[str] = []
    """Names of signs, and of what is odd about it."""
    hops: list[str] = []
    """Servers it was offered to."""
    stored: list[str] = []
    """`store/item`."""
    outcome: str = Outcome.WAITING
    last: float = 0.0
    """Moment of its latest record."""
    sent: int = 0
    failed: int = 0
    blocked: int = 0
    discarded: int = 0
    deferrals: int = 0
    held: bool = False
    removed: bool = False
    source: int = 0
    """Of OWN and RELEASED: the mail it is about, 0 when that is not known."""
    code: int = 0
    """Of REFUSAL: the reply."""
    delay_s: float = 0.0
    """From acceptance to the latest delivery."""
    waited_ms: float = 0.0
    elapsed_ms: float = 0.0
    """Of the inspection."""
    door: str = ""
    """Kind of the door at which another mail system asked about it; "" for mail of ours."""
    reference: str = ""
    """Its queue id there."""
    deed: str = ""
    """What that system was told (`model.record.Answered`) ..."""
    passed: int = 0
    """... and how many recipients get it ..."""
    rejected: int = 0
    """... or are refused."""
    asker: str = ""
    """Address of that system, "" on a local socket."""
    only_asked: bool = False
    """It wanted to know what the mail is, and does with it what it is set to do."""

    def apply(self, record: Record) -> None:
        """Take a record of this mail into account."""
        _APPLY[type(record)](self, record)
        if record.at > self.last:  # noqa: PLR1730 - half the time of max()
            self.last = record.at

    def settle(self) -> None:
        """Find the outcome anew; call it once after the records of one batch."""
        if self.kind == Kind.REFUSAL:
            self.outcome = Outcome.REFUSED
            return
        gone = self.sent + self.failed + self.blocked + self.discarded
        if self.door:
            self.outcome = self._outcome_at_door()
        elif self.removed:
            self.outcome = Outcome.PARTLY if self.sent else Outcome.REMOVED
        elif gone < self.expected or not gone:
            self.outcome = Outcome.HELD if self.held else Outcome.DEFERRED if self.deferrals else Outcome.WAITING
        elif self.sent:
            self.outcome = Outcome.DELIVERED if gone == self.sent else Outcome.PARTLY
        elif self.failed:
            self.outcome = Outcome.FAILED
        elif any(place.partition("/")[0] in QUARANTINES for place in self.stored):
            self.outcome = Outcome.QUARANTINED
        else:
            self.outcome = Outcome.BLOCKED if self.blocked else Outcome.DISCARDED

    def _outcome_at_door(self) -> Outcome:
        """Return what its asker was told, who may have named no recipients."""
        match self.deed:
            case "":
                return Outcome.WAITING
            case "deliver" | "reject" | "discard" if self.only_asked:
                return Outcome.TOLD
            case "deliver":
                return Outcome.PARTLY if self.rejected or self.discarded else Outcome.PASSED
            case "reject":
                return Outcome.REFUSED
            case "discard":
                kept = any(place.partition("/")[0] in QUARANTINES for place in self.stored)
                return Outcome.QUARANTINED if kept else Outcome.DISCARDED
        return Outcome.UNJUDGED


ENCODER = msgspec.msgpack.Encoder()
DECODER = msgspec.msgpack.Decoder(Summary)

_GRAVITY: Final = {
    status: gravity
    for gravity, status in enumerate(
        ("", "trusted", "not_detected", "formal", "probable_spam", "spam", "blacklisted"),
    )
}


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_KEPT else text[:TEXT_KEPT]


def _add(known: list[str], new: Iterable[str], limit: int) -> None:
    for text in new:
        if text and text not in known and len(known) < limit:
            known.append(text if len(text) <= TEXT_KEPT else text[:TEXT_KEPT])


def _received(s: Summary, r: Received) -> None:
    s.at = r.at
    s.kind = Kind.MAIL
    s.sender = _cut(r.sender)
    s.recipients = [_cut(address) for address in r.addresses[:ADDRESSES_KEPT]]
    s.expected = r.recipients
    s.size = r.size
    s.ip = r.ip
    s.helo = _cut(r.helo)
    s.client = _cut(r.client)
    s.tls = r.tls
    s.user = _cut(r.user)
    s.listener = r.listener
    s.direction = r.direction
    s.message_id = _cut(r.message_id)
    s.door, s.reference, s.asker = r.door, _cut(r.reference), r.asker


def _answered(s: Summary, r: Answered) -> None:
    s.deed, s.only_asked = r.deed, r.purpose == Purpose.ASK
    s.passed, s.rejected = r.recipients, r.rejected
    s.discarded += r.discarded
    if r.info:
        _add(s.findings, (r.info.lower(),), NAMES_KEPT)


def _inspected(s: Summary, r: Inspected) -> None:
    s.subject = _cut(r.subject)
    s.waited_ms, s.elapsed_ms = r.waited_ms, r.elapsed_ms
    if r.findings:
        _add(s.findings, r.findings, NAMES_KEPT)
    if r.categories:
        _add(s.findings, r.categories, NAMES_KEPT)
    if r.notable:
        _add(s.threats, [note.threat for note in r.notable], NAMES_KEPT)


def _scanned(s: Summary, r: Scanned) -> None:
    _add(s.groups, (r.group,), NAMES_KEPT)
    _add(s.statuses, r.statuses, NAMES_KEPT)
    if r.names:
        objects = {name for name, _, _ in r.actions}  # what has no threat is called by its own name, and is none
        _add(s.threats, [name for name in r.names if name not in objects], NAMES_KEPT)
        _add(s.findings, [name for name in r.names if name in objects], NAMES_KEPT)
    if r.breaks:
        _add(s.findings, [f"breaks-{name}" for name in r.breaks], NAMES_KEPT)


def _spam_checked(s: Summary, r: SpamChecked) -> None:
    _add(s.groups, (r.group,), NAMES_KEPT)
    if _gravity(r.status) > _gravity(s.spam):
        s.spam = r.status
    s.rate = max(s.rate, r.rate)
    if r.action == "redirect":
        s.expected += len(r.to) - r.recipients
    if r.notes:
        _add(s.findings, [note.name for note in r.notes], NAMES_KEPT)
    elif r.signs:
        _add(s.findings, r.signs, NAMES_KEPT)


def _gravity(status: str) -> int:
    return _GRAVITY.get(status, 1)


def _delivered(s: Summary, r: Delivered) -> None:
    if r.sent:
        s.sent += 1
        s.delay_s = max(s.delay_s, r.delay_s)
    else:
        s.failed += 1
    _attempted(s, r)


def _deferred(s: Summary, r: Deferred) -> None:
    s.deferrals += 1
    _attempted(s, r)


def _attempted(s: Summary, r: Delivered | Deferred) -> None:
    if r.recipient not in s.recipients:
        _add(s.recipients, (r.recipient,), ADDRESSES_KEPT)
    _add(s.hops, (r.host, r.ip) if r.host or r.ip else (r.server,), HOPS_KEPT)
    s.held = False


def _blocked(s: Summary, r: Blocked) -> None:
    s.blocked += len(r.recipients)
    _add(s.recipients, r.recipients, ADDRESSES_KEPT)


def _discarded(s: Summary, r: Discarded) -> None:
    s.discarded += len(r.recipients)
    _add(s.recipients, r.recipients, ADDRESSES_KEPT)


def _split(s: Summary, r: Split) -> None:
    if r.group:
        _add(s.recipients, r.addresses, ADDRESSES_KEPT)
    else:  # for others besides its recipients
        s.expected += r.recipients


def _held(s: Summary, _: Held) -> None:
    s.held = True


def _generated(s: Summary, r: Generated) -> None:
    if r.id != s.id:
        return  # told in the life of the mail it is about
    s.kind, s.what = Kind.OWN, r.kind
    s.at = r.at
    s.sender = _cut(r.sender)
    s.recipients, s.expected = [_cut(r.recipient)], 1
    s.size = r.size


def _notified(s: Summary, r: Notified) -> None:
    if r.id != s.id:
        return
    s.kind, s.what = Kind.OWN, f"notice-{r.role}"
    s.at = r.at
    s.sender = _cut(r.sender)
    s.recipients = [_cut(address) for address in r.addresses[:ADDRESSES_KEPT]]
    s.expected = r.recipients
    s.size = r.size


def _saved(s: Summary, r: Saved) -> None:
    _add(s.stored, (f"{r.store}/{r.item}",), STORED_KEPT)


def _removed(s: Summary, _: Removed) -> None:
    s.removed = True


def _operated(s: Summary, r: Operated) -> None:
    if r.id == s.id:
        s.held = False


def _ruled(s: Summary, r: Ruled) -> None:
    s.expected += r.gained
    _add(s.findings, [each.partition(":")[0] for each in r.rules], NAMES_KEPT)


def _bypassed(s: Summary, _: Bypassed) -> None:
    _add(s.statuses, ("bypassed",), NAMES_KEPT)
    _add(s.findings, ("bypassed",), NAMES_KEPT)


def _shadowed(s: Summary, r: Shadowed) -> None:
    if r.changed:
        _add(s.findings, (f"shadow:{r.shadow}",), NAMES_KEPT)


def _refused(s: Summary, r: Refused) -> None:
    s.kind, s.what = Kind.REFUSAL, f"{r.stage} {r.cause}"
    s.at = r.at
    s.sender = _cut(r.sender)
    _add(s.recipients, (r.recipient, *r.addresses), ADDRESSES_KEPT)
    s.ip, s.helo, s.client = r.ip, _cut(r.helo), _cut(r.client)
    s.tls, s.user, s.listener = r.tls, _cut(r.user), r.listener
    s.size, s.code = r.size, r.code


_APPLY: dict[type, Callable[[Any, Any], None]] = {
    Received: _received,
    Inspected: _inspected,
    Scanned: _scanned,
    SpamChecked: _spam_checked,
    Split: _split,
    Delivered: _delivered,
    Deferred: _deferred,
    Blocked: _blocked,
    Discarded: _discarded,
    Held: _held,
    Generated: _generated,
    Notified: _notified,
    Saved: _saved,
    Removed: _removed,
    Operated: _operated,
    Answered: _answered,
    Ruled: _ruled,
    Refused: _refused,
    Bypassed: _bypassed,
    Shadowed: _shadowed,
}
