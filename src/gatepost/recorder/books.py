"""All that the recorder keeps, in step: tracking, history and views take each batch, and are made durable together.
Where tracking is off there are only the views.

One thread. An error of a file it cannot do without (apsw.Error, OSError) goes up: the process ends, and begins
anew from what is on the disk, without what is damaged; relays send again what was not confirmed. A view's fault is its
own.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from gatepost.model.record import DECODER, ENCODER, Record
from gatepost.recorder.frames import Rows
from gatepost.recorder.json_view import JsonView
from gatepost.recorder.masking import Masking, load_mask_key
from gatepost.recorder.settings import RecorderSettings
from gatepost.recorder.view import Batch, View
from gatepost.storage.tracking.damage import drop_put_aside, look_at_suspects, note_suspects, open_sound
from gatepost.storage.tracking.day import RawRecord
from gatepost.storage.tracking.history import History
from gatepost.storage.tracking.store import TrackingStore

COMMIT_S: Final = 1.0
"""From the first batch to the commit that confirms it: what is sent again after a kill, and how late a view is."""
COMMIT_BYTES: Final = 1024 * 1024
"""Records at which a commit does not wait: a quarter of what a relay lets be under way, ten times that when decoded."""
HISTORY_FILE: Final = "history.db"
PIECES: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
"""Cuts a row into its records as they are: a tenth of what encoding them again takes."""


class Books:
    """The recorder's files."""

    def __init__(self, settings: RecorderSettings, say: Callable[[str, str], None], views: Sequence[View] = ()) -> None:
        """`views`: besides the JSON lines. apsw.Error, OSError, ValueError when the files cannot be used."""
        self._say = say
        self.directory = Path(settings.directory)
        self.directory.mkdir(0o700, parents=True, exist_ok=True)
        look_at_suspects(self.directory, say)
        self._store = TrackingStore(self.directory, say) if settings.tracking else None
        self._key = load_mask_key(self.directory)
        self._history = open_sound(self.directory / HISTORY_FILE, History, say) if settings.tracking else None
        self._views: list[View] = [JsonView(say), *views]
        self._troubled: set[int] = set()
        self._ends: dict[str, int] = {}
        self._bytes = 0
        self.configure(settings)

    def configure(self, settings: RecorderSettings) -> None:
        """Take (new) settings, and open anew what may have been rotated."""
        self._settings = settings
        self.masking = Masking(settings.subjects, settings.addresses, self._key)
        for view in self._views:
            self._guard(view, partial(view.configure, settings))

    def take(self, source: str, shard: int, rows: Sequence[Rows]) -> None:
        """Take rows of an outbox, in their order. What follows one another without a gap is one batch."""
        first = 0
        records: list[Record] = []
        raw_records: list[msgspec.Raw] = []
        for row in rows:
            self._ends[source] = row.first + row.count - 1
            self._bytes += len(row.records)
            try:
                read = DECODER.decode(row.records)
            except ValueError as error:  # DecodeError is one, text that is no UTF-8 another
                self._say("E", f"shard {shard}: records from number {row.first} cannot be read: {error}")
                continue
            if records and row.first == first + len(records):
                records += read
                raw_records += PIECES.decode(row.records)
                continue
            if records:
                self._apply(source, shard, first, records, raw_records)
            first, records, raw_records = row.first, read, PIECES.decode(row.records)
        if records:
            self._apply(source, shard, first, records, raw_records)

    def _apply(
        self, source: str, shard: int, first: int, records: list[Record], raw_records: Sequence[RawRecord]
    ) -> None:
        if self.masking.needed:
            records = [self.masking.mask(record) for record in records]
            raw_records = [ENCODER.encode(record) for record in records]
        if self._store is not None:
            self._store.apply(source, shard, first, records, raw_records)
        if self._history is not None:
            self._history.apply(source, first, records)
        batch = Batch(source, shard, first, records)
        for view in self._views:
            self._guard(view, partial(view.consume, batch))

    def sample(self, at: float, shard: int, queue: tuple[int, int, int]) -> None:
        """Take note of the state of a shard's queue."""
        if self._history is not None:
            self._history.sample(at, shard, queue)

    @property
    def full(self) -> bool:
        """So much was taken that a commit should not wait."""
        return self._bytes >= COMMIT_BYTES

    def commit(self) -> dict[str, int]:
        """Make everything durable; return the outboxes and the numbers up to which that is so."""
        for view in self._views:
            self._guard(view, view.flush)
        if self._store is not None:
            self._store.commit()
        if self._history is not None:
            self._history.commit()
        ends, self._ends, self._bytes = self._ends, {}, 0
        return ends

    def note_suspects(self) -> None:
        """Have the files that are open looked through in the next life, for one of them is damaged. OSError."""
        if self._store is not None:
            note_suspects(self.directory, [*self._store.open_files, self.directory / HISTORY_FILE])

    def tend(self, now: float | None) -> None:
        """Drop what is older than is kept; nothing when the time (`now`) cannot be believed."""
        days = self._settings.retention_days
        if self._store is not None and now is not None:
            for name in self._store.retain(days, now):
                self._say("I", f"tracking: {name} is older than {days} days and was dropped")
            drop_put_aside(self.directory, now - days * 86_400, self._say)
        if self._store is not None:
            self._store.tidy()
        if self._history is not None and now is not None:
            self._history.retain(now)

    def seal(self) -> None:
        """Index what has gathered."""
        if self._store is not None:
            self._store.seal()

    def close(self) -> None:
        """Make everything durable, and let go of the files."""
        self.commit()
        for view in self._views:
            self._guard(view, view.close)
        if self._store is not None:
            self._store.close()
        if self._history is not None:
            self._history.close()

    def _guard(self, view: View, act: Callable[[], None]) -> None:
        """Have a view do something; what it raises is told once, until it works again."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - a view that fails must not stop the others
            if id(view) not in self._troubled:
                self._troubled.add(id(view))
                self._say("E", f"{type(view).__name__} failed: {type(error).__name__}: {error}")
        else:
            self._troubled.discard(id(view))
