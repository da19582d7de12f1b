"""What the learner knows: `Memory`, the mapped weights with the journal and the snapshot they are made of.

Weights are always snapshot + steps of the journal's entries. So they are made anew from these two at every start, and a
learner that is killed in the middle of a step, or a fall of power, leaves nothing half done; a file of weights that
breaks or goes while the learner runs costs nothing that was taught. Used by the learner alone.
"""

import contextlib
import zlib
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from gatepost.antispam.classifier.learned import LearnedState, Scope, Weights, map_file
from gatepost.antispam.classifier.lesson import Lesson, parse_lesson
from gatepost.antispam.classifier.model import BaseModel
from gatepost.antispam.classifier.scoring import judge
from gatepost.antispam.classifier.training import Step, apply_state, apply_step, plan_step
from gatepost.master.learning import AUTO, WEIGHTS_FILE
from gatepost.master.learning_journal import Entry, Journal
from gatepost.model.learned_weights import DOMAIN_SHIFT, HEADER_BITS
from gatepost.storage.weights_file import lay_blank, look_at
from gatepost.storage.whole_file import replace_file

ENTRIES_LIMIT: Final = 20_000
"""Messages that can be taken back; older ones are folded into the snapshot. Some 6 KB each."""
FOLDED: Final = 2_000
"""Entries folded at a time."""
DAY_S: Final = 86_400.0
FULL_FORCE: Final = 50
"""Messages a day that a source other than the operator teaches with full force; of n times as many each counts 1/n."""
OPERATOR: Final = "operator"
AUTO_A_DAY: Final = 100
"""Messages of each kind that are learned by themselves: so neither kind outweighs the other, nor what people teach."""
AUTO_OF_ONE: Final = 5
"""Of them from one sender: nobody shall shape the classifier by writing much."""
RECENT: Final = 200
"""Latest lessons that the status tells of."""
_ROUNDING: Final = 1e-4
"""A weight below was taken back, or is none that anybody could notice."""
SNAPSHOT_VERSION: Final = 1
SNAPSHOT_FILE: Final = "snapshot.bin"


class Snapshot(msgspec.Struct, frozen=True):
    """Weights of messages that are no longer in the journal."""

    version: int
    through: int
    """Entries up to this id are in it."""
    state: LearnedState
    tables: dict[str, bytes]
    """By scope ("" for the gateway): text, header and squares, float32, deflated."""


class Memory:
    """The learner's memory below one directory."""

    def __init__(self, folder: Path, base: BaseModel) -> None:
        """Open it and make the weights. JournalError, OSError, ValueError."""
        self._folder = folder
        self._base = base
        self._weights = folder / WEIGHTS_FILE
        self._squares: dict[str, Weights] = {}
        self._inode = 0
        self._journal = Journal(folder / "journal.db")
        try:
            self.mended = self.mend()
            """Why the weights lie in a new file since it was opened, "" when they lie where they lay."""
            if not self.mended:
                self.rebuild()
        except BaseException:
            self._journal.close()
            raise

    def close(self) -> None:
        self._journal.close()

    def mend(self) -> str:
        """Map the file of weights, unless it is mapped; put a new one, made of all that was taught, in the place of one
        that is broken, gone or not ours. Return what was wrong, "" for nothing. OSError, ValueError: it stays as it is.
        """
        look = look_at(self._weights)
        if look.inode and look.inode == self._inode:
            return ""
        trouble = look.trouble or ("another file took its place" if self._inode else "")
        if not trouble:
            try:
                learned = map_file(self._weights, writable=True)
                trouble = "" if learned.orderly else "its tables are in disorder"
            except (OSError, ValueError) as error:
                trouble = f"it cannot be written: {error.strerror if isinstance(error, OSError) else error}"
        if trouble:
            self._make_anew()
        else:
            self.learned, self._inode = learned, look.inode
        return trouble

    def _make_anew(self) -> None:
        """Filters never meet a file that lacks anything: it is complete before it takes its name."""
        tables = self._read_all()
        fresh = self._weights.with_name(f".{self._weights.name}.new")
        try:
            lay_blank(fresh)
            inode = fresh.stat().st_ino
            self.learned = map_file(fresh, writable=True)
            self._publish(tables)
            fresh.replace(self._weights)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        self._inode = inode

    def rebuild(self) -> None:
        """Make the weights of snapshot and journal."""
        self._publish(self._read_all())

    def _read_all(self) -> "_Tables":
        tables = _Tables(self._read_snapshot())
        for entry in self._journal.entries(tables.through):
            tables.apply(entry)
        return tables

    def learn(self, raw: bytes, *, spam: bool, who: str, source: str, domain: str, now: float) -> str:
        """Learn a message: `learned`, `known` when it was taught like this before, `moved` when not.

        `enough`: source `AUTO`, and there were enough of that today. It never changes what was taught. LessonError.
        """
        lesson = parse_lesson(raw)
        domain = domain if domain and self.learned.add_domain(domain) is not None else ""
        old = self._journal.find(lesson.digest, domain)
        if source == AUTO and (old is not None or self._has_enough(spam, who, now)):
            return "known" if old is not None else "enough"
        if old is not None and old.spam == spam:
            return "known"
        if old is not None:
            self._change(old.step, parse_lesson(old.packed), domain, -1)
        opinion = judge(lesson.features, self._base, self.learned, domain)
        step = plan_step(
            lesson.features, spam, self._base, self.learned, self._squares_of(domain), domain,
            self._force(who, source, now),
        )  # fmt: skip
        self._journal.replace(old, Entry(0, lesson.digest, spam, now, who, source, domain, opinion.weight, raw, step))
        self._change(step, lesson, domain, 1)
        if self._journal.count() > ENTRIES_LIMIT:
            self._fold()
        return "learned" if old is None else "moved"

    def forget(self, raw: bytes, domain: str) -> str:
        """Take back what a message taught: `forgotten`, or `unknown`. LessonError."""
        old = self._journal.find(parse_lesson(raw).digest, domain)
        if old is None:
            return "unknown"
        self._take_back(old)
        return "forgotten"

    def undo(self, who: str, since: float) -> int:
        """Take back all that somebody taught since a moment; return how many messages."""
        entries = self._journal.of(who, since)
        for entry in entries:
            self._take_back(entry)
        return len(entries)

    def reset(self) -> None:
        """Forget everything."""
        self._journal.clear()
        (self._folder / SNAPSHOT_FILE).unlink(missing_ok=True)
        self._publish(_Tables(None))

    def status(self) -> dict[str, Any]:
        """Return what an operator wants to know."""
        state = self.learned.state
        latest = self._journal.latest(RECENT)
        wrong = [entry for entry in latest if (entry.opinion > 0) != entry.spam]
        used = self.learned.gateway.text
        teachers: dict[str, int] = {}
        for entry in latest:
            teachers[f"{entry.source}: {entry.who}"] = teachers.get(f"{entry.source}: {entry.who}", 0) + 1
        return {
            "spam": state.spam,
            "ham": state.ham,
            "trust": state.trust,
            "journal": self._journal.count(),
            "domains": sorted(name for name in self.learned.domains if self._knows(name)),
            "weights_used": float(np.count_nonzero(used)) / len(used),
            "recent": len(latest),
            "recent_disagreed": len(wrong),
            "recent_disagreed_ham": sum(not entry.spam for entry in wrong),
            "teachers": dict(sorted(teachers.items(), key=lambda item: -item[1])[:10]),
        }

    def recent(self, limit: int) -> list[dict[str, Any]]:
        """Return the latest lessons, newest first."""
        return [
            {
                "id": entry.id, "at": entry.at, "digest": entry.digest.hex(), "spam": entry.spam, "who": entry.who,
                "source": entry.source, "domain": entry.domain, "opinion": round(entry.opinion, 2),
            }
            for entry in self._journal.latest(limit)
        ]  # fmt: skip

    def export(self, path: Path) -> None:
        """Write all that was learned to a file, for a backup or another gateway."""
        replace_file(path, msgspec.msgpack.encode(self._read_all().snapshot(0)))

    def take(self, path: Path, *, merge: bool) -> None:
        """Put what a file holds in the place of what was learned, or, `merge`, mix both by their numbers of messages.

        What was in the journal can no longer be taken back. OSError, ValueError.
        """
        theirs = _Tables(read_snapshot(path))
        if merge:
            theirs.mix(self._read_all())
        last = max((entry.id for entry in self._journal.latest(1)), default=0)
        replace_file(self._folder / SNAPSHOT_FILE, msgspec.msgpack.encode(theirs.snapshot(last)))
        self._journal.drop_until(last)
        self.rebuild()

    def _has_enough(self, spam: bool, who: str, now: float) -> bool:
        """Tell whether enough was learned by itself within a day: of the kind, or of one sender."""
        return (
            self._journal.taught_from(AUTO, now - DAY_S, spam=spam) >= AUTO_A_DAY
            or self._journal.taught_by(who, now - DAY_S) >= AUTO_OF_ONE
        )

    def _knows(self, domain: str) -> bool:
        """Tell whether anything that was taught for a domain still counts; steps back leave roundings of zero."""
        scope = self._scope(domain)
        return bool(max(np.abs(scope.text).max(), np.abs(scope.header).max()) > _ROUNDING)

    def _take_back(self, entry: Entry) -> None:
        self._journal.replace(entry, None)
        self._change(entry.step, parse_lesson(entry.packed), entry.domain, -1)

    def _change(self, step: Step, lesson: Lesson, domain: str, sign: int) -> None:
        apply_step(step, lesson.features, self._scope(domain), self._squares_of(domain), sign)
        self.learned.state = apply_state(step, self.learned.state, sign)

    def _force(self, who: str, source: str, now: float) -> float:
        if source == OPERATOR:
            return 1.0
        return min(1.0, FULL_FORCE / (1 + self._journal.taught_by(who, now - DAY_S)))

    def _scope(self, domain: str) -> Scope:
        number = self.learned.add_domain(domain) if domain else None
        return self.learned.gateway if number is None else self.learned.domain(number)

    def _squares_of(self, domain: str) -> Weights:
        if domain not in self._squares:
            self._squares[domain] = np.zeros((1 << HEADER_BITS) >> (DOMAIN_SHIFT if domain else 0), np.float32)
        return self._squares[domain]

    def _read_snapshot(self) -> Snapshot | None:
        try:
            return read_snapshot(self._folder / SNAPSHOT_FILE)
        except FileNotFoundError:
            return None

    def _fold(self) -> None:
        """Move the oldest entries into the snapshot: it is complete before they leave the journal."""
        tables = _Tables(self._read_snapshot())
        last = tables.through
        for entry in self._journal.entries(tables.through, FOLDED):
            tables.apply(entry)
            last = entry.id
        replace_file(self._folder / SNAPSHOT_FILE, msgspec.msgpack.encode(tables.snapshot(last)))
        self._journal.drop_until(last)

    def _publish(self, tables: "_Tables") -> None:
        self._squares = {}
        for number in range(len(self.learned.domains)):
            scope = self.learned.domain(number)
            scope.text[:] = 0
            scope.header[:] = 0
        for domain, (text, header, squares) in tables.scopes.items():
            scope = self._scope(domain)
            scope.text[:] = text
            scope.header[:] = header
            self._squares[domain] = squares
        if "" not in tables.scopes:
            self.learned.gateway.text[:] = 0
            self.learned.gateway.header[:] = 0
        self.learned.state = tables.state


class _Tables:
    """Weights in memory of its own, while they are made."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self.state = LearnedState() if snapshot is None else snapshot.state
        self.through = 0 if snapshot is None else snapshot.through
        self.scopes: dict[str, tuple[Weights, Weights, Weights]] = {}
        for domain, packed in ({} if snapshot is None else snapshot.tables).items():
            size = (1 << HEADER_BITS) >> (DOMAIN_SHIFT if domain else 0)
            data = zlib.decompressobj().decompress(packed, 12 * size + 1)
            if len(data) != 12 * size:
                raise ValueError("learned weights of another shape")
            both = np.frombuffer(data, "<f4").astype(np.float32)
            self.scopes[domain] = (both[:size], both[size : 2 * size], both[2 * size :])

    def apply(self, entry: Entry) -> None:
        text, header, squares = self._scope(entry.domain)
        lesson = parse_lesson(entry.packed)
        shift = DOMAIN_SHIFT if entry.domain else 0
        apply_step(entry.step, lesson.features, Scope(text, header, shift), squares)
        self.state = apply_state(entry.step, self.state)

    def mix(self, other: "_Tables") -> None:
        """Add another's, each by its share of the messages."""
        mine, theirs = self.state.spam + self.state.ham, other.state.spam + other.state.ham
        share = mine / (mine + theirs) if mine + theirs else 0.5
        for domain in {*self.scopes, *other.scopes}:
            for own, foreign in zip(self._scope(domain), other._scope(domain), strict=True):
                own[:] = np.float32(share) * own + np.float32(1 - share) * foreign
        a, b = self.state, other.state
        self.state = LearnedState(
            a.spam + b.spam,
            a.ham + b.ham,
            share * a.text_slope + (1 - share) * b.text_slope,
            share * a.header_slope + (1 - share) * b.header_slope,
            share * a.bias + (1 - share) * b.bias,
        )

    def snapshot(self, through: int) -> Snapshot:
        tables = {
            domain: zlib.compress(np.concatenate(each).astype("<f4").tobytes(), 6)
            for domain, each in self.scopes.items()
        }
        return Snapshot(SNAPSHOT_VERSION, through, self.state, tables)

    def _scope(self, domain: str) -> tuple[Weights, Weights, Weights]:
        if domain not in self.scopes:
            size = (1 << HEADER_BITS) >> (DOMAIN_SHIFT if domain else 0)
            self.scopes[domain] = (np.zeros(size, np.float32), np.zeros(size, np.float32), np.zeros(size, np.float32))
        return self.scopes[domain]


def read_snapshot(path: Path) -> Snapshot:
    """Read a file of learned weights. OSError, ValueError."""
    try:
        found = msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
    except msgspec.MsgspecError:
        raise ValueError(f"{path}: not a file of `gatepost spam model export`") from None
    if found.version != SNAPSHOT_VERSION:
        raise ValueError(f"{path}: version {found.version}, this program reads {SNAPSHOT_VERSION}")
    return found
