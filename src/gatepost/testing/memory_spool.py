"""A spool without a disk, for tests of what stands above one. It passes the same suite as `SqliteSpool`.

Everything is done at the call and promised at the next turn of the loop. `reopened` stands for a restart; `failure`
makes every following change fail, as a full or a broken disk would.
"""

import asyncio
import math
from collections.abc import Sequence

import msgspec

from gatepost.model.record import Record
from gatepost.spool import clock
from gatepost.spool.interface import (
    RELEASES_KEPT_S,
    Brief,
    Consumer,
    ContentCorrupt,
    ContentRef,
    Corrupt,
    Destination,
    Found,
    NewMessage,
    ReleasedAlready,
    SpoolError,
    State,
    Stored,
    UnknownMessage,
    Wanted,
)


class MemoryContent:
    """Implements `StagedContent`; never in a file."""

    def __init__(self, content_id: int) -> None:
        self.id = content_id
        self.size = 0
        self._data = bytearray()

    @property
    def ref(self) -> ContentRef:
        return ContentRef(self.id, self.size, in_file=False)

    def write(self, chunk: bytes) -> None:
        self._data += chunk
        self.size += len(chunk)

    def read(self) -> bytes:
        return bytes(self._data)

    def discard(self) -> None:
        """Nothing is left behind anyway."""


class MemorySpool:
    """Implements `Spool` in memory, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.unclean = False
        self.last_id = 0
        self.failure: SpoolError | None = None
        """When set, every change fails with it and changes nothing."""
        self._messages: dict[int, Stored] = {}
        self._contents: dict[int, bytes] = {}
        self._back_offs: dict[str, Destination] = {}
        self._paused: set[str] = set()
        self._releases: dict[str, tuple[int, float]] = {}
        self._records: list[Record] = []
        self._positions: dict[str, tuple[int, bytes]] = {}
        self._views: dict[str, Consumer] = {}
        self._open = True

    def reopened(self, loop: asyncio.AbstractEventLoop) -> "MemorySpool":
        """Return the spool as the next start finds it; this one is done with."""
        spool = MemorySpool(loop)
        spool.unclean = self._open
        spool.last_id = self.last_id
        spool._messages = self._messages
        spool._contents = self._contents
        spool._back_offs = self._back_offs
        spool._paused = self._paused
        spool._releases = self._releases
        spool._records = self._records
        spool._positions = self._positions
        return spool

    async def start(self) -> None:
        """Replay to every view what it has not confirmed."""
        for name, consumer in self._views.items():
            done = self.position(name)[0]
            if self._records[done:]:
                consumer(done + 1, self._records[done:])

    async def close(self) -> None:
        """Mark it as cleanly left."""
        self._open = False

    def stage(self, message_id: int, *, in_file: bool = False) -> MemoryContent:  # noqa: ARG002
        return MemoryContent(message_id)

    def _changed(self, records: Sequence[Record], error: SpoolError | None = None) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        if error is not None:
            future.set_exception(error)
        else:
            self._write(records)
            future.set_result(None)
        return future

    def _write(self, records: Sequence[Record]) -> None:
        if records:
            first = len(self._records) + 1
            self._records += records
            for consumer in self._views.values():
                self._loop.call_soon(consumer, first, list(records))

    def _refusal(self, message_id: int) -> SpoolError | None:
        if self.failure is not None:
            return self.failure
        return None if message_id in self._messages else UnknownMessage(f"no message {message_id}")

    def _store(self, stored: Stored) -> None:
        pending = tuple(sorted(stored.pending, key=lambda each: each.recipient))
        self._messages[stored.id] = msgspec.structs.replace(stored, pending=pending)
        self.last_id = max(self.last_id, stored.id)

    def _add(self, messages: Sequence[NewMessage]) -> None:
        for new in messages:
            self._contents[new.stored.id] = new.content.read()
            self._store(msgspec.structs.replace(new.stored, content=new.content.ref))

    def _drop(self, message_id: int) -> None:
        gone = self._messages.pop(message_id, None)
        if gone is not None and all(each.content.id != gone.content.id for each in self._messages.values()):
            del self._contents[gone.content.id]

    def accept(
        self,
        new: NewMessage,
        records: Sequence[Record],
        copies: Sequence[Stored] = (),
        generated: Sequence[NewMessage] = (),
        *,
        release: str = "",
    ) -> asyncio.Future[None]:
        if self.failure is not None:
            return self._changed(records, self.failure)
        if release in self._releases:
            became, _ = self._releases[release]
            return self._changed(records, ReleasedAlready(f"release {release} has been accepted before", became))
        if new.stored.id in self._messages:
            return self._changed(records, SpoolError(f"message {new.stored.id} is there already"))
        if release:
            now = new.stored.received_at
            oldest = now - RELEASES_KEPT_S if clock.is_believed() else 0.0
            self._releases = {each: known for each, known in self._releases.items() if known[1] >= oldest}
            self._releases[release] = (new.stored.id, now)
        self._add([new, *generated])
        for copy in copies:
            self._store(copy)
        if copies and all(copy.id != new.stored.id for copy in copies):
            self._drop(new.stored.id)
        return self._changed(records)

    def dispose(
        self,
        message_id: int,
        copies: Sequence[Stored],
        records: Sequence[Record],
        generated: Sequence[NewMessage] = (),
    ) -> asyncio.Future[None]:
        refusal = self._refusal(message_id)
        if refusal is None:
            content = self._messages[message_id].content
            for copy in copies:
                self._store(msgspec.structs.replace(copy, content=content))
            if all(copy.id != message_id for copy in copies):
                self._drop(message_id)
            self._add(generated)
        return self._changed(records, refusal)

    def settle(
        self,
        message_id: int,
        remaining: Stored | None,
        records: Sequence[Record],
        generated: Sequence[NewMessage] = (),
    ) -> asyncio.Future[None]:
        if self.failure is None:
            if remaining is None:
                self._drop(message_id)
            elif message_id in self._messages:
                self._store(msgspec.structs.replace(remaining, content=self._messages[message_id].content))
            self._add(generated)
        return self._changed(records, self.failure)

    def back_off(self, destination: Destination) -> asyncio.Future[None]:
        if self.failure is None:
            self._back_offs[destination.domain] = destination
        return self._changed((), self.failure)

    def hold(self, message_id: int, reason: str, records: Sequence[Record]) -> asyncio.Future[None]:
        refusal = self._refusal(message_id)
        if refusal is None:
            held = msgspec.structs.replace(self._messages[message_id], state=State.HELD, reason=reason)
            self._messages[message_id] = held
        return self._changed(records, refusal)

    def release(self, message_id: int, now: float, records: Sequence[Record]) -> asyncio.Future[None]:
        refusal = self._refusal(message_id)
        if refusal is None and self._messages[message_id].state != State.HELD:
            refusal = SpoolError(f"message {message_id} is not held")
        if refusal is None:
            held = self._messages[message_id]
            self._messages[message_id] = msgspec.structs.replace(
                held,
                state=State.READY if held.pending else State.WAITING,
                pending=tuple(msgspec.structs.replace(each, due=now) for each in held.pending),
                strikes=0,
                reason="",
            )
        return self._changed(records, refusal)

    def remove(self, message_id: int, records: Sequence[Record]) -> asyncio.Future[None]:
        refusal = self._refusal(message_id)
        if refusal is None:
            self._drop(message_id)
        return self._changed(records, refusal)

    def strike(self, message_ids: Sequence[int]) -> asyncio.Future[None]:
        return self._struck(message_ids, pardon=False)

    def pardon(self, message_ids: Sequence[int]) -> asyncio.Future[None]:
        return self._struck(message_ids, pardon=True)

    def _struck(self, message_ids: Sequence[int], *, pardon: bool) -> asyncio.Future[None]:
        if self.failure is None:
            for message_id in message_ids:
                if message_id in self._messages:
                    struck = self._messages[message_id]
                    strikes = 0 if pardon else struck.strikes + 1
                    self._messages[message_id] = msgspec.structs.replace(struck, strikes=strikes)
        return self._changed((), self.failure)

    def advance(self, message_ids: Sequence[int], due: float, records: Sequence[Record] = ()) -> asyncio.Future[None]:
        for message_id in message_ids if self.failure is None else ():
            message = self._messages.get(message_id)
            if message is not None and message.state == State.READY:
                earlier = tuple(msgspec.structs.replace(each, due=min(each.due, due)) for each in message.pending)
                self._messages[message_id] = msgspec.structs.replace(message, pending=earlier)
        return self._changed(records, self.failure)

    def pause(self, domain: str, *, paused: bool) -> asyncio.Future[None]:
        if self.failure is None:
            (self._paused.add if paused else self._paused.discard)(domain)
        return self._changed((), self.failure)

    async def paused(self) -> list[str]:
        return sorted(self._paused)

    def _all_destinations(self) -> list[Destination]:
        dues: dict[str, list[float]] = {}
        for message in self._messages.values():
            if message.state == State.READY:
                for domain in {each.domain for each in message.pending}:
                    earliest = min(each.due for each in message.pending if each.domain == domain)
                    dues.setdefault(domain, []).append(earliest)
        found = []
        for domain, moments in dues.items():
            known = self._back_offs.get(domain, Destination(domain, 0, 0.0))
            due = max(min(moments), known.retry_at)
            found.append(Destination(domain, len(moments), due, known.retry_at, known.failures, known.reason))
        return sorted(found, key=lambda each: each.due)

    def _open_destinations(self) -> list[Destination]:
        return [each for each in self._all_destinations() if each.domain not in self._paused]

    async def destinations(self, now: float, limit: int = 1000, latest: float = math.inf) -> list[Destination]:
        return [each for each in self._open_destinations() if each.due <= now or each.due > latest][:limit]

    async def destination_page(self, after: str, limit: int) -> list[Destination]:
        return [each for each in self._known_destinations() if each.domain > after][:limit]

    async def destinations_named(self, domains: Sequence[str]) -> list[Destination]:
        return [each for each in self._known_destinations() if each.domain in domains]

    def _known_destinations(self) -> list[Destination]:
        known = {domain: msgspec.structs.replace(each, waiting=0) for domain, each in self._back_offs.items()}
        known |= {domain: Destination(domain, 0, 0.0) for domain in self._paused if domain not in known}
        known |= {each.domain: each for each in self._all_destinations()}
        return [
            msgspec.structs.replace(known[domain], due=0.0, paused=True) if domain in self._paused else known[domain]
            for domain in sorted(known)
        ]

    async def next_due(self) -> float | None:
        return min((each.due for each in self._open_destinations()), default=None)

    async def oldest_waiting(self) -> int | None:
        return min((each.id for each in self._messages.values() if each.state == State.WAITING), default=None)

    async def search(self, after_id: int, rows: int, state: State | None = None, wanted: Wanted | None = None) -> Found:
        looked_at = [each for each in await self.listing(after_id, rows, state) if isinstance(each, Stored)]
        ids = tuple(each.id for each in looked_at if wanted is None or wanted(_brief(each)))
        return Found(ids, looked_at[-1].id if looked_at else after_id, len(looked_at), ended=len(looked_at) < rows)

    async def due(
        self, domain: str, now: float, limit: int, skip: frozenset[int] = frozenset(), latest: float = math.inf
    ) -> list[Stored | Corrupt]:
        found: list[tuple[float, int]] = []
        for message in self._messages.values():
            moments = [each.due for each in message.pending if each.domain == domain]
            due = bool(moments) and (min(moments) <= now or min(moments) > latest)
            if message.state == State.READY and due and message.id not in skip:
                found.append((min(moments), message.id))
        return [self._messages[message_id] for _, message_id in sorted(found)[:limit]]

    async def waiting(self, after_id: int, limit: int) -> list[Stored | Corrupt]:
        return await self.listing(after_id, limit, State.WAITING)

    async def listing(self, after_id: int, limit: int, state: State | None = None) -> list[Stored | Corrupt]:
        chosen = [each for each in self._messages if each > after_id]
        found = [self._messages[each] for each in sorted(chosen) if state in (None, self._messages[each].state)]
        return list(found[:limit])

    async def released(self, release: str) -> int | None:
        return self._releases.get(release, (None, 0.0))[0]

    async def fetch(self, message_id: int) -> Stored | Corrupt | None:
        return self._messages.get(message_id)

    async def content(self, ref: ContentRef) -> bytes:
        if ref.id not in self._contents:
            raise ContentCorrupt(f"content {ref.id} is missing")
        return self._contents[ref.id]

    def content_file(self, ref: ContentRef) -> str:
        raise SpoolError(f"content {ref.id} lies in no file")

    async def counts(self) -> dict[str, int]:
        states = [each.state for each in self._messages.values()]
        counts = {state.name.lower(): states.count(state) for state in State}
        return {**counts, "bytes": sum(map(len, self._contents.values()))}

    def consume(self, name: str, consumer: Consumer) -> None:
        self._views[name] = consumer

    def confirm(self, name: str, number: int, note: bytes = b"") -> None:
        self._positions[name] = (number, note)

    def position(self, name: str) -> tuple[int, bytes]:
        return self._positions.get(name, (0, b""))

    def enter(self, records: Sequence[Record]) -> None:
        self._write(records)


def _brief(stored: Stored) -> Brief:
    return Brief(
        stored.id,
        stored.state,
        stored.content.size,
        stored.received_at,
        stored.envelope.sender,
        tuple(each.address for each in stored.envelope.recipients),
        stored.reason,
    )
