"""Releasing: a stored message goes into the queue again, exactly once for each release however often it is begun.

`relay.questions` calls `Releases.release` for an operator; a relay calls `recover` at its start for what was broken
off.
The steps are those of `storage.release`; what is accepted, and under which id, is the spool's to say. A release is tied
to the shard that began it. When that shard has no relay any more, the relay that would adopt it looks into it.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from gatepost.config.schema import Config
from gatepost.model.address import domain_of
from gatepost.model.envelope import Recipient
from gatepost.model.ids import QueueIds, format_queue_id
from gatepost.model.record import ADDRESSES_TOLD, Operated
from gatepost.relay.pipeline import Pipeline, clock_ms
from gatepost.relay.reports import RELEASED, RELEASED_WANTED
from gatepost.relay.work import Work
from gatepost.spool import clock
from gatepost.spool.interface import (
    NewMessage,
    Pending,
    ReleasedAlready,
    SpoolBroken,
    SpoolError,
    StagedContent,
    State,
    Stored,
)
from gatepost.spool.shard import ShardBusy, shard_directory, shard_number
from gatepost.spool.writer import SqliteSpool
from gatepost.storage.container import Container, Damaged, Event
from gatepost.storage.item import Item, StoreKind, parse_item_id
from gatepost.storage.places import store_places
from gatepost.storage.release import (
    Elsewhere,
    ReleasedBefore,
    abandon_release,
    begin_release,
    check_recipients,
    end_release,
    take_over_release,
)
from gatepost.storage.store import Store, UnknownItem


class ReleaseOrder(msgspec.Struct, frozen=True):
    """What an operator wants with stored messages."""

    directory: str
    """Of the store."""
    items: tuple[str, ...]
    who: str
    recipients: tuple[str, ...] = ()
    """Instead of the original ones."""
    checked: bool = True
    """It passes the checks again, as it did when it came."""
    again: bool = False
    """Also when it has been released before."""

    def check(self) -> None:
        """ValueError with a sentence when it cannot be carried out."""
        check_recipients(self.recipients)
        for item in self.items:
            parse_item_id(item)


class ItemOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of the release of one item."""

    queue_id: str = ""
    """The message it is now, or became before."""
    before: bool = False
    """It had been released before, and was let alone."""
    who: str = ""
    at: float = 0.0
    """before: who released it, and when."""
    refused: str = ""
    """Why it is not released."""
    elsewhere: int = -1
    """Another relay's shard has to say what came of a release that was begun there."""


class Releases:
    """The releases of one relay."""

    def __init__(
        self,
        *,
        index: int,
        config: Callable[[], Config],
        pipelines: Callable[[], Sequence[Pipeline]],
        ids: QueueIds,
        report: Callable[[str, str], None],
    ) -> None:
        """`config` and `pipelines` (the relay's own first) are those at work now; `report(level, text)` logs."""
        self._index = index
        self._config = config
        self._pipelines = pipelines
        self._ids = ids
        self._report = report

    async def release(self, order: ReleaseOrder) -> dict[str, ItemOutcome]:
        """Release items; return what came of each. ValueError when the order makes no sense."""
        order.check()
        return {item: await self._release(order, parse_item_id(item)) for item in order.items}

    async def _release(self, order: ReleaseOrder, item_id: str) -> ItemOutcome:
        wanted = Event(
            "releasing",
            clock.now(),
            shard=self._shard(self._pipelines()[0]),
            who=order.who,
            recipients=order.recipients,
            checked=order.checked,
        )
        store = Store(order.directory)
        try:
            try:
                claim, container = await asyncio.to_thread(begin_release, store, item_id, wanted, again=order.again)
            except Elsewhere as elsewhere:
                return await self._go_on(store, item_id, elsewhere.claim)
            return await self._finish(self._pipelines()[0], store, container, claim)
        except ReleasedBefore as before:
            release = before.release
            return ItemOutcome(release.queue_id, before=True, who=release.who, at=release.at)
        except (OSError, SpoolError, Damaged) as error:
            return ItemOutcome(refused=str(error) or type(error).__name__)
        finally:
            await asyncio.to_thread(store.close)

    async def _go_on(self, store: Store, item_id: str, claim: Event) -> ItemOutcome:
        """Take up a release that some shard has begun."""
        container = await asyncio.to_thread(store.container, item_id)
        for pipeline in self._pipelines():
            if self._shard(pipeline) == claim.shard:
                return await self._finish(pipeline, store, container, claim)
        relays = self._config().relay.relays
        if claim.shard < relays or claim.shard % relays != self._index % relays:
            return ItemOutcome(elsewhere=claim.shard)
        # A former relay's shard, and nobody works it: what it knows is read out, and if it knows nothing, nothing
        # has been accepted there, and never will be.
        became = await self._ask_shard(claim)
        if became is not None:
            return await self._end(store, item_id, claim, became)
        own = self._pipelines()[0]
        if await asyncio.to_thread(take_over_release, store, item_id, claim, self._shard(own)):
            claim = msgspec.structs.replace(claim, shard=self._shard(own))
            return await self._finish(own, store, container, claim)
        return ItemOutcome(elsewhere=claim.shard)

    async def _ask_shard(self, claim: Event) -> int | None:
        """Return what a release became in a shard that has no relay. SpoolError when it cannot be asked."""
        directory = shard_directory(self._config().path.queue_path, claim.shard)
        if not await asyncio.to_thread(Path(directory).exists):
            return None
        try:
            spool = await asyncio.to_thread(SqliteSpool.open, directory, asyncio.get_running_loop())
        except ShardBusy as error:
            raise SpoolError(f"shard {claim.shard}, which began its release, is in use: try again") from error
        await spool.start()
        try:
            return await spool.released(claim.release)
        finally:
            await spool.close()

    async def _finish(self, pipeline: Pipeline, store: Store, container: Container, claim: Event) -> ItemOutcome:
        """Bring a claimed release to its end."""
        item_id = container.item.id
        became = await pipeline.spool.released(claim.release)
        if became is None:
            try:
                became = await self._accept(pipeline, store, container.item, claim)
            except ReleasedAlready as already:
                became = already.message_id
            except SpoolBroken:
                raise  # the disk says at the next start whether it has been accepted
            except (OSError, SpoolError, Damaged):
                await asyncio.to_thread(abandon_release, store, item_id, claim, clock.now())
                raise
        return await self._end(store, item_id, claim, became)

    async def _accept(self, pipeline: Pipeline, store: Store, item: Item, claim: Event) -> int:
        """Put an item into the queue; return the message it is there."""
        now = clock.now()
        spool = pipeline.spool
        number = self._ids.next(clock_ms())
        staged = spool.stage(number)
        try:
            await asyncio.to_thread(_copy, store, item.id, staged)
            stored = _message(number, item, claim, staged, now)
            if not claim.checked:
                saving = pipeline.saving
                await saving.save(saving.plan_released(stored, lambda: store.content(item.id), now))
            envelope = stored.envelope
            told = tuple([each.address for each in envelope.recipients[:ADDRESSES_TOLD]])
            what = _describe(item, claim, store.layout.directory)
            note = Operated(number, now, "release", what, envelope.sender, told, stored.content.size)
            await spool.accept(NewMessage(stored, staged), (note,), release=claim.release)
        except SpoolBroken:
            raise  # it may have been accepted, and needs its content then
        except BaseException:
            staged.discard()
            raise
        if claim.checked:
            pipeline.inspection.look_again(number - 1)
        else:
            pipeline.delivery.submit(Work(stored, None, durable=True))
        return number

    async def _end(self, store: Store, item_id: str, claim: Event, became: int) -> ItemOutcome:
        queue_id = format_queue_id(became)
        release = await asyncio.to_thread(end_release, store, item_id, claim, queue_id, clock.now())
        return ItemOutcome(release.queue_id, who=release.who, at=release.at)

    async def recover(self) -> None:
        """Bring releases to their end that were broken off in a shard of this relay."""
        for directory in {place.directory for place in store_places(self._config())}:
            store = Store(directory)
            try:
                if store.layout.exists:
                    for row in await asyncio.to_thread(store.releasing):
                        if row.event is not None:
                            await self._recover(store, row.id, row.event)
            except (OSError, SpoolError, Damaged) as error:
                self._report("E", f"releases out of {directory} are not looked at: {error}")
            finally:
                await asyncio.to_thread(store.close)

    async def _recover(self, store: Store, item_id: str, claim: Event) -> None:
        try:
            outcome = await self._go_on(store, item_id, claim)
        except UnknownItem:
            return
        except (OSError, SpoolError, Damaged) as error:
            self._report("E", f"{item_id}: its release was broken off, and cannot go on: {error}")
            return
        if outcome.queue_id:
            self._report("I", f"{item_id}: its release was broken off; it is message {outcome.queue_id}")

    @staticmethod
    def _shard(pipeline: Pipeline) -> int:
        return shard_number(pipeline.spool.directory)


def _copy(store: Store, item_id: str, staged: StagedContent) -> None:
    for chunk in store.content(item_id):
        staged.write(chunk)


def _message(number: int, item: Item, claim: Event, staged: StagedContent, now: float) -> Stored:
    envelope = item.envelope
    if claim.recipients:
        envelope = msgspec.structs.replace(envelope, recipients=tuple(map(Recipient, claim.recipients)))
    pending = tuple(Pending(i, domain_of(each.address), now) for i, each in enumerate(envelope.recipients))
    return Stored(
        number,
        number,
        State.WAITING if claim.checked else State.READY,
        now,
        envelope,
        staged.ref,
        item.prefix,
        pending=() if claim.checked else pending,
        kind=item.kind or _kind(item, claim),
    )


def _kind(item: Item, claim: Event) -> str:
    if not claim.checked:
        return RELEASED
    return RELEASED_WANTED if item.store is StoreKind.SPAM_QUARANTINE else ""


def _describe(item: Item, claim: Event, directory: str) -> str:
    whom = ", ".join(f"<{recipient}>" for recipient in claim.recipients) or "its recipients"
    how = "to be checked again" if claim.checked else "without checks"
    return f"{item.id} out of {directory} by {claim.who} to {whom}, {how}"
