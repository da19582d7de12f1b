"""The tracking store as the recorder writes it: records go to the day on which their mail was accepted.

Owned by one thread. `apply` takes the records of one commit of a spool, `commit` makes everything durable; what is
applied again changes nothing. apsw.Error leaves the store useless: the recorder begins anew from what is on disk.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gatepost.model.ids import EPOCH_MS, parse_queue_id
from gatepost.model.record import Generated, Notified, Operated, Received, Record, Refused, Split
from gatepost.storage.tracking.damage import open_sound
from gatepost.storage.tracking.day import DayFile, Entry, RawRecord, Touched
from gatepost.storage.tracking.layout import day_at, day_file, day_of, list_days, remove_day
from gatepost.storage.tracking.summary import Kind, Summary

OPEN_LIMIT: Final = 4
"""Days kept open to be written: today, and the days of mail that waits."""
COPIES_LIMIT: Final = 4096
"""Copies whose mail is remembered; others are looked up."""
_REFUSALS_FROM: Final = 1024
"""Refused attempts take the upper half of a millisecond's sequence, which mail reaches at a million a second."""
_SPECIAL: Final = frozenset({Received, Refused, Split, Generated, Notified, Operated})
"""Records that are more than the next one of the message they name."""


class TrackingStore:
    """All days."""

    def __init__(self, directory: Path, say: Callable[[str, str], None]) -> None:
        """`say(level, text)` logs. OSError when the directory cannot be made."""
        directory.mkdir(0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._say = say
        self._days: OrderedDict[int, DayFile] = OrderedDict()
        self._mail_of: OrderedDict[int, int] = OrderedDict()
        self._tidy: set[int] = set()
        """Days that are wholly in the index."""
        self._gathered: dict[str, dict[int, Touched]] = {}
        """By outbox and message: mails with records since the last commit."""
        self._ends: dict[str, int] = {}
        """Outboxes, and the number up to which they were applied since the last commit."""

    def apply(
        self, source: str, shard: int, first: int, records: Sequence[Record], raw_records: Sequence[RawRecord]
    ) -> None:
        """Take records of an outbox that follow one another, the first of which has the number `first`; `raw_records`
        are the same as they are kept.
        """
        gathered = self._gathered.setdefault(source, {})
        number = first
        seen = 0
        mail: Touched | None = None
        for record, raw_record in zip(records, raw_records, strict=True):
            # Most records follow others of the same mail.
            if record.id != seen:
                seen, mail = record.id, gathered.get(record.id)
            if mail is not None and type(record) not in _SPECIAL:
                mail.add(record, raw_record)
            else:
                self._apply_one(shard, Entry(source, number, record, raw_record), gathered)
                mail = gathered.get(seen)
            number += 1
        self._ends[source] = number - 1

    def _apply_one(self, shard: int, entry: Entry, gathered: "dict[int, Touched]") -> None:
        record = entry.record
        match record:
            case Received():
                waiting = self._take(record.id, entry, Summary(record.id, record.at))
            case Refused():
                place = record.id or refusal_id(record.at, shard, entry.number)
                self._take(place, entry, None)
                return
            case Split():
                mail = self._find_mail(record.source)
                self._add_copy(record.id, mail, entry)
                waiting = self._take(mail, entry, None)
            case Generated() | Notified():
                mail = self._find_mail(record.source)
                own = Summary(record.id, record.at, Kind.OWN, source=mail)
                waiting = self._take(record.id, entry, own)
                self._tell(mail, entry)
            case Operated(act="release"):
                self._take_release(record, entry)
                return
            case _:
                waiting = self._take(self._find_mail(record.id), entry, None)
        if waiting is not None:
            gathered[record.id] = waiting

    def _take(self, mail: int, entry: Entry, new: Summary | None) -> Touched | None:
        """Have a record in the life of a mail; return what the next ones may be added to."""
        day = self._day(day_of(mail))
        if entry.number <= day.applied.get(entry.source, 0):
            return None
        return day.take(mail, entry, new, self._forget)

    def _forget(self) -> None:
        """What a day gathered is written: more begins new lists."""
        for gathered in self._gathered.values():
            gathered.clear()

    def _tell(self, mail: int, entry: Entry) -> None:
        """Have a record of another mail in the life of the one it is about, when there is one."""
        if mail and self._day(day_of(mail)).find(mail) is not None:
            self._take(mail, entry, None)

    def _take_release(self, record: Operated, entry: Entry) -> None:
        """A release makes a new message of a stored one, or sets free one that was held."""
        new = None
        origin = _parse_origin(record.detail)
        if origin and origin != record.id and self._day(day_of(record.id)).find(record.id) is None:
            mail = self._find_mail(origin)
            known = self._day(day_of(mail)).find(mail)
            new = _released(record, known, mail)
            self._tell(mail, entry)
        self._take(self._find_mail(record.id), entry, new)

    def _find_mail(self, message_id: int) -> int:
        """Return the mail a message is, or is a copy of."""
        mail = self._mail_of.get(message_id)
        if mail is not None:
            return mail
        day = self._day(day_of(message_id))
        if day.knows(message_id):
            return message_id
        return day.mail_of(message_id) or message_id

    def _add_copy(self, message_id: int, mail: int, entry: Entry) -> None:
        self._mail_of[message_id] = mail
        if len(self._mail_of) > COPIES_LIMIT:
            self._mail_of.popitem(last=False)
        day = self._day(day_of(message_id))
        if entry.number > day.applied.get(entry.source, 0):
            day.add_copy(message_id, mail)

    def _day(self, number: int) -> DayFile:
        day = self._days.get(number)
        if day is None:
            day = self._days[number] = self._open(number)
            self._tidy.discard(number)
        return day

    def _open(self, number: int) -> DayFile:
        return open_sound(day_file(self._directory, number), DayFile, self._say)

    @property
    def open_files(self) -> list[Path]:
        """Those that are being written."""
        return [day_file(self._directory, number) for number in self._days]

    def commit(self) -> None:
        """Make everything durable that was applied."""
        self._gathered.clear()
        for day in self._days.values():
            day.commit(self._ends)
        self._ends = {}
        while len(self._days) > OPEN_LIMIT:
            self._finish(min(self._days))

    def tidy(self) -> None:
        """Index the rest of days that are over, and what came late for them. Call it now and then, after a commit."""
        for number in list_days(self._directory)[1:]:
            if number not in self._tidy:
                self._finish(number)

    def _finish(self, number: int) -> None:
        day = self._day(number)
        while day.seal(1):
            pass
        self._days.pop(number).close()
        self._tidy.add(number)

    def seal(self) -> None:
        """Index what has gathered; call it after a commit, when there is time."""
        for day in self._days.values():
            day.seal()

    def retain(self, days: int, now: float) -> list[str]:
        """Drop days older than `days` before `now`; return the names of files that are gone. OSError."""
        dropped = []
        for number in list_days(self._directory):
            if number < day_at(now) - days:
                if number in self._days:
                    self.commit()
                    self._days.pop(number).close()
                remove_day(self._directory, number)
                dropped.append(day_file(self._directory, number).name)
        return dropped

    def close(self) -> None:
        """Commit, and let go of the files."""
        try:
            self.commit()
        finally:
            for day in self._days.values():
                day.close()
            self._days.clear()


def refusal_id(at: float, shard: int, number: int) -> int:
    """Return the row of a refused attempt: in the order of time among mails, the same whenever its record comes."""
    moment = max(0, int(at * 1000) - EPOCH_MS)
    return moment << 22 | (number >> 10 & 0x3F) << 16 | (shard & 31) << 11 | _REFUSALS_FROM | (number & 1023)


def _parse_origin(detail: str) -> int:
    """Return the message a stored item was made of; 0 when a release is about something else."""
    with contextlib.suppress(ValueError):
        return parse_queue_id(detail.partition("-")[0])
    return 0


def _released(record: Operated, known: Summary | None, mail: int) -> Summary:
    """Return the summary of a mail that came back out of a store."""
    new = Summary(record.id, record.at, Kind.RELEASED, source=mail)
    if known is not None:
        new.sender, new.subject, new.message_id = known.sender, known.subject, known.message_id
        new.size, new.ip, new.helo, new.client = known.size, known.ip, known.helo, known.client
        new.recipients, new.expected = list(known.recipients), known.expected
    whom = record.detail.partition(" to ")[2].rpartition(", ")[0]
    if whom.startswith("<"):
        new.recipients = [address.strip("<> ") for address in whom.split(",")]
        new.expected = len(new.recipients)
    return new
