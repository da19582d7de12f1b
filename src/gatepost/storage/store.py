"""A store: message files with an index, used by several relays and commands at once.

`relay.saving` puts messages in, `relay.releasing` lets them go, `gatepost quarantine|backup|archive` shows and clears
them, `relay.retention` ends what is past its time.

Promises: what `put` has taken is on the disk, file and name, and in the index; taking it again changes nothing. Items
are shown and read while others write. A damaged index is made anew from the files by whoever meets it. Calls block:
relays make them on a thread of their own. One object is for one thread.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

import apsw
import msgspec

from gatepost.storage.container import Container, Damaged, Event, append_event, content_of, read_container, write_item
from gatepost.storage.index import DAMAGE, Index, Row, Totals
from gatepost.storage.item import Item
from gatepost.storage.layout import Layout, make_durably, sync_directory
from gatepost.storage.lock import StoreLock
from gatepost.storage.query import ItemFilter
from gatepost.storage.syncing import Syncers

DELETE_AT_ONCE: Final = 100
"""Items deleted in one transaction: others that write wait for it."""
ENTER_AT_ONCE: Final = 1000
_TOLD_DAMAGES: Final = 20

T = TypeVar("T")
Report = Callable[[str, str], None]


class StoreError(OSError):
    """The store cannot be used now: no space, no permission, a directory that is gone. Nothing is lost by it."""


class UnknownItem(StoreError):  # noqa: N818 - named for what is wrong
    """The item is not, or not any more, in the store."""


class New(msgspec.Struct):
    """A message to be stored."""

    item: Item
    content: Callable[[], Iterable[bytes]]
    """Gives the bytes; called once for each attempt."""


def _silent(_level: str, _text: str) -> None:
    pass


class Store:
    """One store directory."""

    def __init__(self, directory: str, report: Report = _silent, *, create: bool = False) -> None:
        """Nothing is opened before it is needed. `create`: make the directory when it is missing, at every use: it may
        lie on a disk that was not mounted. `report(level, text)` tells of repairs.
        """
        self.layout = Layout(directory)
        self._create = create
        self._report = report
        self._lock: StoreLock | None = None
        self._index: Index | None = None
        self._syncers = Syncers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files; the next use opens them again."""
        self._syncers.close()
        if self._index is not None:
            self._index.close()
            self._index = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # --- storing

    def put(self, news: Sequence[New]) -> list[Exception | None]:
        """Store messages; for each None, or why it is not stored (OSError, ValueError). One commit of the index."""
        outcomes: list[Exception | None] = [None] * len(news)
        try:
            self._use(lambda _: None)  # an index that is missing is made before there is more to enter
        except OSError as error:
            return [error] * len(news)
        opened: list[tuple[int, Item, int, str]] = []
        done: list[tuple[Item, Container]] = []
        try:
            for number, new in enumerate(news):
                try:
                    descriptor, temporary = self._write(new, number)
                    opened.append((number, new.item, descriptor, temporary))
                except (OSError, ValueError) as error:
                    outcomes[number] = error
            # All are written before they are synced together: their syncs share the disk's work.
            synced = self._syncers.sync([descriptor for _, _, descriptor, _ in opened])
            for (number, item, descriptor, temporary), trouble in zip(opened, synced, strict=True):
                try:
                    if trouble is not None:
                        raise trouble
                    container = read_container(descriptor)
                    Path(temporary).rename(self.layout.path_of(item.id))
                except (OSError, ValueError) as error:
                    outcomes[number] = error
                    Path(temporary).unlink(missing_ok=True)
                else:
                    done.append((item, container))
        finally:
            for _, _, descriptor, _ in opened:
                os.close(descriptor)
        try:
            for folder in {self.layout.folder_of(item.id) for item, _ in done}:
                sync_directory(folder)
            self._use(lambda index: self._enter(index, done))
        except OSError as error:
            return [outcome or error for outcome in outcomes]
        return outcomes

    def _write(self, new: New, number: int) -> tuple[int, str]:
        """Write a message's file, unsynced, and return its descriptor and path. What an earlier file of the item told
        of releases is kept.
        """
        item_id = new.item.id
        temporary = f"{self.layout.coming}/{item_id}.{os.getpid()}.{number}"
        make_durably(self.layout.folder_of(item_id))
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_item(descriptor, new.item, new.content())
            for event in self._events_before(item_id):
                append_event(descriptor, event)
        except BaseException:
            os.close(descriptor)
            Path(temporary).unlink(missing_ok=True)
            raise
        return descriptor, temporary

    def _events_before(self, item_id: str) -> Sequence[Event]:
        """Return what has happened to an item that is stored already, but for its storing."""
        try:
            return self.container(item_id).events[1:]
        except (UnknownItem, Damaged):
            return ()

    @staticmethod
    def _enter(index: Index, done: Sequence[tuple[Item, Container]]) -> None:
        with index.writing():
            for item, container in done:
                index.put(item, container)

    # --- reading

    def page(self, chosen: ItemFilter, now: float, before: int = 0, limit: int = 1000) -> list[Row]:
        """Return up to `limit` items in front of number `before` (0 = from the end), the newest first."""
        return self._use(lambda index: index.page(chosen, now, before, limit))

    def totals(self, chosen: ItemFilter, now: float) -> Totals:
        """Return number and bytes of the items meant."""
        return self._use(lambda index: index.totals(chosen, now))

    def row(self, item_id: str) -> Row | None:
        """Return one item as lists show it."""
        return self._use(lambda index: index.row(item_id))

    def releasing(self) -> list[Row]:
        """Return the items whose release is under way, or was broken off."""
        return self._use(lambda index: index.releasing())

    def oldest(self, store: str, until: float, limit: int) -> Sequence[tuple[str, int]]:
        """Return (id, bytes) of the oldest items of a kind that were stored before `until`."""
        return self._use(lambda index: index.oldest(store, until, limit))

    def container(self, item_id: str) -> Container:
        """Return everything that an item's file says of itself. UnknownItem, Damaged, OSError."""
        with self._opened(item_id) as descriptor:
            return read_container(descriptor)

    def content(self, item_id: str) -> Iterator[bytes]:
        """Yield an item's content; Damaged, at the latest at its end, when it is not what was stored."""
        with self._opened(item_id) as descriptor:
            yield from content_of(descriptor, read_container(descriptor))

    @contextlib.contextmanager
    def _opened(self, item_id: str, flags: int = os.O_RDONLY) -> Iterator[int]:
        try:
            descriptor = os.open(self.layout.path_of(item_id), flags | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise UnknownItem(f"{item_id}: no such message in {self.layout.directory}") from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    # --- deleting

    def delete(self, item_ids: Sequence[str]) -> dict[str, str]:
        """Delete items; return for those that stay why (id → reason). Those that are being released stay."""
        refused: dict[str, str] = {}
        for start in range(0, len(item_ids), DELETE_AT_ONCE):
            self._use(lambda index, part=item_ids[start : start + DELETE_AT_ONCE]: self._delete(index, part, refused))  # type: ignore[misc]
        return refused

    def _delete(self, index: Index, item_ids: Sequence[str], refused: dict[str, str]) -> None:
        # Under the write lock of the index nobody can begin to release one of them.
        with index.writing():
            for item_id in item_ids:
                row = index.row(item_id)
                if row is not None and row.state == "releasing":
                    refused[item_id] = "it is being released"
                    continue
                try:
                    os.unlink(self.layout.path_of(item_id))  # noqa: PTH108 - many
                except FileNotFoundError:
                    if row is None:
                        refused[item_id] = "no such message"
                except OSError as error:
                    refused[item_id] = error.strerror or str(error)
                    continue
                index.remove(item_id)
        for item_id in item_ids:
            self.layout.forget_empty(item_id)

    # --- releases: see `storage.release`

    def change_events(self, item_id: str, decide: Callable[[Container], Event | None]) -> Container:
        """Add to what has happened to an item, under the index's write lock: `decide` looks at it and returns the
        event, or None; it may raise. Durable, in the file first. UnknownItem, Damaged, OSError.
        """
        return self._use(lambda index: self._change_events(index, item_id, decide))

    def _change_events(self, index: Index, item_id: str, decide: Callable[[Container], Event | None]) -> Container:
        with index.writing(), self._opened(item_id, os.O_RDWR) as descriptor:
            container = read_container(descriptor)
            event = decide(container)
            if event is None:
                return container
            end = os.fstat(descriptor).st_size
            try:
                append_event(descriptor, event)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
            changed = msgspec.structs.replace(container, events=(*container.events, event))
            index.note(item_id, changed)
            return changed

    # --- the index

    def reindex(self) -> int:
        """Make the index anew from the files; return the number of items. Others wait meanwhile. OSError."""
        self._prepare()
        assert self._lock is not None
        with self._lock.alone():
            return self._rebuild()

    def _rebuild(self) -> int:
        if self._index is not None:
            self._index.close()
            self._index = None
        layout = self.layout
        for leftover in (layout.new_index, f"{layout.new_index}-journal"):
            Path(leftover).unlink(missing_ok=True)
        descriptor = os.open(layout.new_index, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            layout.own(descriptor)
            count = self._fill(layout.new_index)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        for part in ("", "-wal", "-shm"):
            Path(layout.index + part).unlink(missing_ok=True)
        Path(layout.new_index).rename(layout.index)
        sync_directory(layout.directory)
        return count

    def _fill(self, path: str) -> int:
        index = Index(path, fresh=True)
        count = 0
        try:
            ids = self.layout.item_ids()
            damages = iter(range(_TOLD_DAMAGES))
            while part := list(itertools.islice(ids, ENTER_AT_ONCE)):
                with index.writing():
                    for item_id in part:
                        try:
                            container = self.container(item_id)
                        except (OSError, Damaged) as error:
                            if next(damages, None) is not None:
                                self._report("W", f"{self.layout.path_of(item_id)} is left out of the index: {error}")
                        else:
                            index.put(container.item, container)
                            count += 1
            index.filled()
        finally:
            index.close()
        return count

    def _prepare(self) -> None:
        if not self.layout.exists:
            if not self._create:
                raise UnknownStore(f"{self.layout.directory}: there is no store")
            self.close()
            self.layout.make()
        if self._lock is None:
            self._lock = StoreLock(self.layout.lock)
            self.layout.own(self._lock.descriptor)

    def _use(self, work: Callable[[Index], T]) -> T:
        """Do something with the index; one that is damaged, or missing, is made anew first."""
        self._prepare()
        assert self._lock is not None
        for attempt in range(2):
            try:
                with self._lock.shared():
                    index = self._current()
                    if index is not None:
                        return work(index)
                why = "there is none"
            except DAMAGE as error:
                if attempt:
                    raise StoreError(f"{self.layout.index}: {error}") from error
                why = str(error)
            except apsw.FullError as error:
                raise StoreError(f"{self.layout.directory}: no space left") from error
            except apsw.Error as error:
                raise StoreError(f"{self.layout.index}: {error}") from error
            try:
                with self._lock.alone():
                    self._mend(why)
            except apsw.Error as error:
                raise StoreError(f"{self.layout.index} cannot be made anew: {error}") from error
        raise StoreError(f"{self.layout.index} cannot be opened")

    def _current(self) -> Index | None:
        """Return the index in force: another process may have replaced it. None when there is none."""
        try:
            inode = os.stat(self.layout.index).st_ino  # noqa: PTH116 - at every use
        except FileNotFoundError:
            inode = 0
        if self._index is not None and self._index.inode != inode:
            self._index.close()
            self._index = None
        if self._index is None and inode:
            self._index = Index(self.layout.index)
        return self._index

    def _mend(self, why: str) -> None:
        """Make the index anew, unless somebody has done so meanwhile."""
        with contextlib.suppress(*DAMAGE):
            if self._current() is not None and self._index is not None and self._index.sound():
                return
        began = time.monotonic()
        empty = next(self.layout.item_ids(), None) is None
        count = self._rebuild()
        if not empty:
            took = time.monotonic() - began
            told = f"{self.layout.index} was made anew from {count} message(s) in {took:.1f} s"
            self._report("W", f"{told}: {why}")


class UnknownStore(StoreError):  # noqa: N818 - named for what is wrong
    """There is no store in that directory."""
