"""Saving: copies of messages go into stores before the commit that lets the originals go.

Called by `relay.disposal` and `relay.reports`. Stores are written on a thread of its own, many messages with one commit
of the index. Promises: what `save` has returned for is durable; saving it again is harmless. A store that cannot be
written makes its messages wait: `save` fails with StoreError, the message stays where it is and comes again. Until then
nobody tries that store, and the log has said so once.
"""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from gatepost.config.schema import Config
from gatepost.mime.fields import parse_header
from gatepost.mime.part import MimeLimits
from gatepost.mime.words import decode_header
from gatepost.model.ids import format_queue_id
from gatepost.model.record import Saved
from gatepost.model.verdict import Verdict
from gatepost.relay.save_rules import Place, SaveRules, is_worth_saving, plan_places, save_rules
from gatepost.relay.work import Work, content_chunks, edited_size
from gatepost.spool.interface import Stored
from gatepost.storage.item import OBJECTS_LIMIT, Item, ItemObject, StoreKind, item_id, status_code
from gatepost.storage.store import New, Store, StoreError

BATCH: Final = 64
"""Messages of one commit of an index: others that use the store wait that long."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""Pauses between attempts on a store that cannot be written: they double from the first to the longest."""
SLEEPERS_LIMIT: Final = 200
"""Messages that wait in hand for a store: half of what inspection may have in hand. The others go back to the queue."""
HEAD_BYTES: Final = 64 * 1024
"""Bytes of a message in which its subject and author are looked for."""
WORDS_LIMIT: Final = 1000
"""Characters kept of a subject, an author, a name."""


class Save(msgspec.Struct):
    """A message on its way into a store."""

    place: Place
    message_id: int
    item: Item
    content: Callable[[], Iterable[bytes]]


class _Rest(msgspec.Struct):
    """A store that is let alone for a while."""

    until: float
    pause_s: float
    why: str


class Saving:
    """The stores of one pipeline."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        """`report(level, text)` logs; it is called on the event loop."""
        self._report = report
        self._stores: dict[str, Store] = {}
        self._rests: dict[str, _Rest] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: list[tuple[Save, asyncio.Future[None]]] = []
        self._busy = False
        self._sleepers = 0
        self._stopped = asyncio.Event()
        self._rules: Mapping[str, SaveRules] = {}
        self._incoming = self._outgoing = ""
        self.archives = False
        """An archive is on: every message is to be saved."""

    def configure(self, config: Config) -> None:
        """Take a (new) configuration into use."""
        self._rules = save_rules(config.groups)
        self._incoming = config.path.incoming_archive_path
        self._outgoing = config.path.outgoing_archive_path
        self.archives = bool(self._incoming or self._outgoing)

    def troubles(self) -> dict[str, str]:
        """Return the stores that cannot be written and why, for the status."""
        return {directory: rest.why for directory, rest in self._rests.items()}

    # --- plans

    def plan_accepted(self, work: Work, now: float) -> list[Save]:
        """Return what the acceptance of a message puts into the incoming archive (row F-STOR-01)."""
        if not self._incoming:
            return []
        place = Place(StoreKind.INCOMING, self._incoming)
        received = msgspec.structs.replace(work.stored, prefix=b"", splices=())
        return [self._save(place, work, received, "", None, now)]

    def plan_disposed(
        self, work: Work, copy: Stored, group: str, verdict: Verdict, now: float, *, changed: bool, share: str = ""
    ) -> list[Save]:
        """Return what one group's verdict puts into stores: the original by the group's lists, and the copy, as it is
        to be sent or because it is blocked, into the outgoing archive (row F-STOR-02).

        `copy`: the message for this group's recipients, with its edits; `changed`: some of them for what was found;
        `share`: which of several copies for one group it is.
        """
        original = msgspec.structs.replace(copy, prefix=b"", splices=())
        saves = []
        rules = self._rules.get(group)
        if rules is not None and is_worth_saving(verdict):
            places = plan_places(rules, verdict, changed=changed)
            saves += [self._save(place, work, original, group, verdict, now, share) for place in places]
        if self._outgoing:
            sent = original if verdict.withheld else copy
            saves.append(self._save(Place(StoreKind.OUTGOING, self._outgoing), work, sent, group, verdict, now, share))
        return saves

    def plan_generated(self, stored: Stored, content: bytes, now: float) -> list[Save]:
        """Return what a message of the gateway's own puts into the outgoing archive."""
        if not self._outgoing:
            return []
        place = Place(StoreKind.OUTGOING, self._outgoing)
        own = msgspec.structs.replace(stored, source=stored.id)
        return [self._save(place, Work(own, content), own, stored.kind, None, now)]

    def plan_released(self, stored: Stored, content: Callable[[], Iterable[bytes]], now: float) -> list[Save]:
        """Return what a message out of a store, which goes to delivery at once, puts into the outgoing archive."""
        if not self._outgoing:
            return []
        place = Place(StoreKind.OUTGOING, self._outgoing)
        save = self._save(place, Work(stored, b""), stored, stored.kind, None, now)
        save.content = lambda: itertools.chain((stored.prefix,), content())
        return [save]

    def _save(
        self,
        place: Place,
        work: Work,
        copy: Stored,
        group: str,
        verdict: Verdict | None,
        now: float,
        share: str = "",
    ) -> Save:
        size = copy.content.size
        content, path = work.content, work.path
        statuses = verdict.words if verdict is not None else ()
        spam = verdict.spam if verdict is not None else None
        blocked = verdict is not None and verdict.withheld
        coded = statuses if spam is None or place.store is not StoreKind.SPAM_QUARANTINE else (spam.status.value,)
        item = Item(
            id=item_id(copy.source, place.store, group + share),
            store=place.store,
            queue_id=format_queue_id(copy.id),
            source=format_queue_id(copy.source),
            saved_at=now,
            received_at=copy.received_at,
            envelope=copy.envelope,
            size=edited_size(size, copy.splices) + len(copy.prefix),
            code=status_code(place.store, coded, blocked=blocked),
            group=copy.group,
            statuses=statuses,
            objects=_objects(verdict) if verdict is not None else (),
            reason=verdict.explanation if verdict is not None else "",
            rate=spam.rate if spam is not None else 0,
            methods=tuple(method.value for method in spam.methods) if spam is not None else (),
            blocked=blocked,
            kind=copy.kind,
            prefix=b"" if place.store is StoreKind.OUTGOING else work.stored.prefix,
        )
        return Save(place, copy.id, item, lambda: content_chunks(content, path, size, copy.prefix, copy.splices))

    # --- storing

    async def save(self, saves: Sequence[Save]) -> list[Saved]:
        """Store all of these and return the records of it. StoreError: not all of them could be stored; come again."""
        if not saves:
            return []
        for directory in {save.place.directory for save in saves}:
            await self._wait_for(directory)
        results = await asyncio.gather(*map(self._submit, saves), return_exceptions=True)
        for save, result in zip(saves, results, strict=True):
            if isinstance(result, BaseException):
                raise StoreError(f"{save.place.directory}: {result}") from result
        return [
            Saved(save.message_id, save.item.saved_at, save.place.store.value, save.item.id, save.item.statuses)
            for save in saves
        ]

    def stop(self) -> None:
        """Have nobody wait for a store any more: what is not stored stays in the queue."""
        self._stopped.set()

    async def close(self) -> None:
        """End; nothing is stored afterwards."""
        self.stop()
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.get_running_loop().run_in_executor(thread, self._close_stores)
            thread.shutdown(wait=False)

    async def _wait_for(self, directory: str) -> None:
        """Wait until a store that rests may be tried again. StoreError when there is no place to wait."""
        rest = self._rests.get(directory)
        if rest is None:
            return
        pause_s = rest.until - asyncio.get_running_loop().time()
        if pause_s <= 0:
            return
        if self._sleepers >= SLEEPERS_LIMIT or self._stopped.is_set():
            raise StoreError(f"{directory}: {rest.why}")
        self._sleepers += 1
        try:
            async with asyncio.timeout(pause_s):
                await self._stopped.wait()
        except TimeoutError:
            return
        finally:
            self._sleepers -= 1
        raise StoreError(f"{directory}: {rest.why}")

    def _submit(self, save: Save) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((save, future))
        if not self._busy:
            self._begin()
        return future

    def _begin(self) -> None:
        """Hand what has gathered to the thread."""
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="stores")
        self._busy = True
        done = self._loop.run_in_executor(self._thread, self._store, [save for save, _ in batch])
        done.add_done_callback(lambda ended: self._ended(batch, ended))

    def _ended(
        self, batch: Sequence[tuple[Save, asyncio.Future[None]]], done: "asyncio.Future[list[Exception | None]]"
    ) -> None:
        self._busy = False
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or error is not None:
            outcomes: Sequence[Exception | None] = [StoreError(str(error or "stopped"))] * len(batch)
        else:
            outcomes = done.result()
        for (save, future), outcome in zip(batch, outcomes, strict=True):
            self._note(save.place.directory, outcome)
            if future.done():
                continue
            if outcome is None:
                future.set_result(None)
            else:
                future.set_exception(outcome)
        if self._waiting:
            self._begin()

    def _note(self, directory: str, outcome: Exception | None) -> None:
        """Let a store that cannot be written rest; tell of the beginning and of the end of it."""
        rest = self._rests.get(directory)
        now = asyncio.get_running_loop().time()
        if outcome is None:
            if rest is not None:
                del self._rests[directory]
                self._report("I", f"store {directory} is written again")
        elif not isinstance(outcome, OSError):
            self._report("E", f"store {directory} cannot take a message: {outcome}")
        elif rest is None:
            why = str(outcome) or type(outcome).__name__
            self._rests[directory] = _Rest(now + FIRST_PAUSE_S, FIRST_PAUSE_S, why)
            self._report("E", f"store {directory} cannot be written, its mail waits in the queue: {why}")
        elif now >= rest.until:
            rest.pause_s = min(2 * rest.pause_s, LONGEST_PAUSE_S)
            rest.until = now + rest.pause_s
            rest.why = str(outcome) or type(outcome).__name__

    # --- on the thread

    def _store(self, saves: Sequence[Save]) -> list[Exception | None]:
        outcomes: list[Exception | None] = [None] * len(saves)
        by_directory: defaultdict[str, list[int]] = defaultdict(list)
        for number, save in enumerate(saves):
            by_directory[save.place.directory].append(number)
        for directory, numbers in by_directory.items():
            news = []
            for number in numbers:
                try:
                    news.append((number, _describe(saves[number])))
                except (OSError, ValueError) as error:
                    outcomes[number] = error
            stored = self._store_of(directory).put([new for _, new in news])
            for (number, _), outcome in zip(news, stored, strict=True):
                outcomes[number] = outcome
        return outcomes

    def _store_of(self, directory: str) -> Store:
        store = self._stores.get(directory)
        if store is None:
            store = self._stores[directory] = Store(directory, self._report_from_thread, create=True)
        return store

    def _report_from_thread(self, level: str, text: str) -> None:
        self._loop.call_soon_threadsafe(self._report, level, text)

    def _close_stores(self) -> None:
        for store in self._stores.values():
            store.close()
        self._stores.clear()


def _objects(verdict: Verdict) -> tuple[ItemObject, ...]:
    return tuple(
        ItemObject(_words(decision.name), decision.status.value, _words(decision.threat), decision.action.value)
        for decision in verdict.decisions[:OBJECTS_LIMIT]
    )


def _describe(save: Save) -> New:
    """Return a message to be stored with what its header says of it."""
    head = b""
    for chunk in save.content():
        head += chunk[:HEAD_BYTES]
        if len(head) >= HEAD_BYTES:
            break
    fields = dict.fromkeys((b"subject", b"from", b"message-id"), "")
    for field in parse_header(head, 0, len(head), MimeLimits()).fields:
        name = field.name.lower()
        if fields.get(name) == "":
            fields[name] = _words(decode_header(head[field.value : field.value_end]))
    item = msgspec.structs.replace(
        save.item, subject=fields[b"subject"], author=fields[b"from"], message_id=fields[b"message-id"]
    )
    return New(item, save.content)


def _words(text: str) -> str:
    """Return foreign text as an item may carry it: cut, and without halves of surrogate pairs."""
    return text[:WORDS_LIMIT].encode("utf-8", "replace").decode()
