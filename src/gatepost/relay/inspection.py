"""Inspection: accepted message → examination by filter and network → verdict per group → disposal.

Called by `relay.intake` for fresh mail and, for what a restart or a full memory left in the spool, by its own backlog
reader. A message is inspected once, with the union of its groups' checks, however many copies it becomes.

A message that an engine has to see and cannot now is left in the spool and rests, together with all such: they are
tried again after pauses that grow while none succeeds, and at the end of the queue's life it goes on as not scanned.

Promises: never more than `ACTIVE_LIMIT` messages and `MEMORY_LIMIT` bytes in hand; beyond that mail waits in the spool
only and is read back in order of acceptance. Mail unsettled at an unclean stop goes through `relay.suspects`.
"""

import asyncio
import contextlib
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from gatepost.control.faults import describe_fault
from gatepost.filter.pool import FilterPool, FilterUnavailable
from gatepost.model.finding import Analysis, ScanOptions
from gatepost.model.ids import format_queue_id
from gatepost.policy.decide import error_analysis
from gatepost.policy.group import GroupTable, scan_options
from gatepost.relay.age import is_outlived
from gatepost.relay.bypass import Bypass
from gatepost.relay.disposal import Disposal, Disposition, Partition
from gatepost.relay.examination import Examination, Examiner, NotInspected
from gatepost.relay.lookups.service import NetworkService
from gatepost.relay.resting import Cause, Resting
from gatepost.relay.suspects import Suspects
from gatepost.relay.tasks import Tasks
from gatepost.relay.work import Work, read_content
from gatepost.spool.interface import Corrupt, Spool, SpoolError, Stored

ACTIVE_LIMIT = 400
"""Messages in hand between acceptance and disposition."""
MEMORY_LIMIT = 32 * 1024 * 1024
"""Bytes of their contents kept in memory."""
PAGE = 200
_RETRY_S = 1.0
FILTER_WAIT_S = 10.0
"""How long suspects are kept back for the first filter: far more than a template needs, and then they go on."""
_FILTER_POLL_S = 0.02
DECISION_S = 1.0
"""Time of a before-queue deadline that network checks leave for the verdict and what it makes."""


class Inspection:
    """The inspection stage of one relay."""

    def __init__(
        self,
        *,
        spool: Spool,
        pool: FilterPool,
        network: NetworkService,
        disposal: Disposal,
        suspects: Suspects,
        report: Callable[[str, str], None],
        trouble: Callable[[BaseException], None],
    ) -> None:
        """`report(level, text)` writes to the log; `trouble` is told of faults of ours."""
        self._spool = spool
        self._pool = pool
        self._examiner = Examiner(pool, network, report)
        self._disposal = disposal
        self._suspects = suspects
        self._report = report
        self._active: dict[int, int] = {}
        self._bytes = 0
        self._left = 0
        self._left_bytes = 0
        self._oldest_left = 0
        """Lowest id of what may be left in the spool, 0 when nothing is."""
        self._tasks = Tasks(trouble)
        self._backlog = True
        self._unread: int | None = 0
        self._first: deque[Stored] = deque()
        """Put ahead of the queue by an operator."""
        self._acted_on: set[int] = set()
        """Messages an operator has acted on since the page in hand was read: its view of them is stale."""
        self._resting = Resting(lambda oldest: self._read_again(oldest - 1))
        self._freed = asyncio.Event()
        self._wake = asyncio.Event()
        self._wake.set()
        self.running = True
        """False: scanning is switched off, mail waits in the spool."""
        self.bypass: Bypass | None = None

    def configure(self, groups: GroupTable, lifetime_s: float = math.inf) -> None:
        """Take a (new) policy into use for messages taken up from now on. `lifetime_s`: how long mail may wait."""
        self._groups = groups
        self._lifetime_s = lifetime_s

    def backlog(self) -> tuple[int, int]:
        """Return (messages, bytes) in hand awaiting inspection."""
        return len(self._active), self._bytes

    def waiting(self) -> tuple[int, int]:
        """Return (messages, bytes) of the whole working queue: in hand, resting, and left in the spool."""
        return len(self._active) + self._left, self._bytes + self._left_bytes

    def has(self, message_id: int) -> bool:
        """Tell whether the message is being inspected."""
        return message_id in self._active

    def reason(self, message_id: int) -> str:
        """Return what keeps a message, "" when nothing is known to."""
        return self._resting.reason(message_id)

    def reasons(self) -> Counter[str]:
        """Return how many messages each reason keeps."""
        return self._resting.reasons()

    def submit(self, work: Work) -> None:
        """Take an accepted message, or leave it in the spool when there is too much in hand."""
        if self._backlog or not self.running or not self._room():
            self._leave(work.stored)
            self._read_again(work.stored.id - 1)
            return
        self._take(work)

    def oldest(self) -> int:
        """Return the id of the oldest message of the working queue, or a lower one; 0 when it is empty."""
        in_hand = next(iter(self._active), 0)
        return min(in_hand or self._oldest_left, self._oldest_left or in_hand)

    async def judge(
        self, stored: Stored, content: bytes | None, path: str | None, deadline_s: float
    ) -> Disposition | None:
        """Inspect a message that is not accepted yet (before-queue). None: it cannot be had in time.

        It counts like any other that is in hand; nobody waits for room. OSError and the like are answers too: None.
        """
        if not self.running or not self._room():
            return None
        work = Work(stored, content, path)
        partition = self.partition(stored)
        options = scan_options([group for group, _ in partition])

        async def decide(analysis: Analysis | None) -> Disposition:
            return await self._disposal.judge(work, partition, analysis)

        try:
            return await self._judge(work, partition, options, deadline_s, decide)
        except NotInspected as error:
            queue_id = format_queue_id(stored.id)
            self._report(error.level, f"{queue_id}: not inspected, its client is to come again: {error}")
            return None

    async def answer(
        self,
        work: Work,
        partition: Partition,
        options: ScanOptions | None,
        deadline_s: float,
        *,
        handle: bool,
        divided: bool,
        accepted: bool = False,
    ) -> Disposition:
        """Inspect a message that another mail system asks about, and say what it is to do (`Disposal.answer`). It waits
        for room as it waits for a filter. NotInspected.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        while self.running and not self._room():
            self._freed.clear()
            try:
                async with asyncio.timeout_at(end):
                    await self._freed.wait()
            except TimeoutError as error:
                raise NotInspected("W", f"there are too many messages in hand for {deadline_s:.0f} s") from error
        if not self.running:
            raise NotInspected("W", "scanning is switched off")

        async def decide(analysis: Analysis | None) -> Disposition:
            return await self._disposal.answer(
                work, partition, analysis, handle=handle, divided=divided, accepted=accepted
            )

        return await self._judge(work, partition, options, end - loop.time(), decide)

    async def _judge(
        self,
        work: Work,
        partition: Partition,
        options: ScanOptions | None,
        deadline_s: float,
        decide: Callable[[Analysis | None], Awaitable[Disposition]],
    ) -> Disposition:
        """Have a message examined and decided about while somebody waits for it. NotInspected."""
        stored, content = work.stored, work.content
        self._active[stored.id] = size = len(content) if content is not None else 0
        self._bytes += size
        analysis: Analysis | None = None
        examination: Examination | None = None
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                if options is not None:
                    listings, rest_s = self._disposal.listings, deadline_s - DECISION_S
                    examination = self._examiner.begin(work, partition, options, listings, rest_s)
                    analysis = await examination.ask_filter()
                    if analysis.unscanned:
                        raise NotInspected("W", analysis.unscanned)
                    analysis = await examination.finish(analysis, end - loop.time() - DECISION_S)
                return await decide(analysis)
        except TimeoutError as error:
            raise NotInspected("W", f"it takes more than {deadline_s:.0f} s") from error
        except (FilterUnavailable, OSError) as error:
            raise NotInspected("E", str(error)) from error
        finally:
            if examination is not None:
                examination.cancel()
            self._done(work)

    def switch(self, *, on: bool) -> None:
        """Start or stop taking up mail."""
        self.running = on
        self._read_again(0)

    def look_again(self, after: int = 0) -> None:
        """Read what waits in the spool behind this id anew: an operator has put something back."""
        self._resting.clear()
        self._read_again(after)

    def forget(self, message_id: int) -> None:
        """Do not take up what has been read of this message: an operator acts on it."""
        self._acted_on.add(message_id)
        self._resting.discard(message_id)
        if self._first:
            self._first = deque(entry for entry in self._first if entry.id != message_id)

    def take_first(self, entry: Stored) -> None:
        """Take this WAITING message up before all others (F-QUE-03); a restart of the relay forgets that."""
        self._first.append(entry)
        self._resting.discard(entry.id)
        self._read_again(entry.id - 1)

    async def stop(self, grace_s: float) -> None:
        """Take up nothing more and let what is under way end, for at most `grace_s`; the rest stays in the spool."""
        self.running = False
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while self._active and loop.time() < end:
            self._freed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(end - loop.time()):
                    await self._freed.wait()

    async def run(self) -> None:
        """Read back what waits in the spool: at the start, and whenever memory was full. Runs until cancelled."""
        await self._count_left()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self.running:
                continue
            try:
                await self._drain()
            except SpoolError as error:
                self._report("E", f"cannot read the working queue, trying again: {error}")
                await asyncio.sleep(_RETRY_S)
                self._read_again(0)

    def _read_again(self, after: int) -> None:
        """Have the spool read behind this id: a message waits there that is, or may be, in nobody's hand.

        Until it has been read fresh mail goes the same way, or a message could be taken up on both.
        """
        self._backlog = True
        self._unread = after if self._unread is None else min(after, self._unread)
        self._wake.set()

    async def _drain(self) -> None:
        """Read on to the end of what waits, over everything that is in work already, however much that is."""
        while self.running and self._unread is not None:
            await self._take_firsts()
            after, self._unread = self._unread, None
            self._acted_on.clear()
            read = await self._spool.waiting(after, PAGE)
            if read:
                self._read_again(read[-1].id)
            page = [
                entry
                for entry in read
                if entry.id not in self._active
                and entry.id not in self._resting
                and not self._suspects.knows(entry.id)
                and not self._disposal.is_in_work(entry.id)
            ]
            fresh = [entry for entry in page if isinstance(entry, Stored)]
            for entry in page:
                if isinstance(entry, Corrupt):
                    await self._hold(entry.id, f"corrupt spool entry: {entry.what}")
            suspects = [entry for entry in fresh if self._suspects.is_suspect(entry.id)]
            if suspects:
                await self._wait_for_filter()
                await self._suspects.take(suspects, self._start_suspect)
            for entry in fresh:
                if not self._suspects.is_suspect(entry.id):
                    await self._take_stored(entry, suspect=False)
            if self._oldest_left and self._unread is not None:
                self._oldest_left = self._unread + 1
        if self._unread is None:
            self._backlog = False
            self._left, self._left_bytes, self._oldest_left = self._resting.measure()

    async def _wait_for_filter(self) -> None:
        """Wait a while for a filter after the start: a stop while a suspect waits for one must not count against it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + FILTER_WAIT_S
        while self.running and loop.time() < end:
            stats = self._pool.stats()
            if stats.idle or stats.busy:
                return
            await asyncio.sleep(_FILTER_POLL_S)

    async def _count_left(self) -> None:
        """Take over what an earlier run left. The bytes are a share of all content: exact once it has been read."""
        counts = await self._spool.counts()
        stored = counts["waiting"] + counts["ready"] + counts["held"]
        self._left = counts["waiting"]
        self._left_bytes = counts["bytes"] * counts["waiting"] // max(1, stored)
        self._oldest_left = first[0].id if (first := await self._spool.waiting(0, 1)) else 0

    def _leave(self, stored: Stored) -> None:
        self._left += 1
        self._left_bytes += stored.content.size
        if not self._oldest_left or stored.id < self._oldest_left:
            self._oldest_left = stored.id

    def _start_suspect(self, entry: Stored) -> None:
        self._active[entry.id] = 0
        self._tasks.spawn(self._take_stored(entry, suspect=True))

    async def _take_firsts(self) -> None:
        """Take up what was put ahead. Whoever waits for room lets it go first."""
        while self._first:
            if not self._room():
                self._freed.clear()
                await self._freed.wait()
            elif self._first[0].id in self._active or self._disposal.is_in_work(self._first[0].id):
                self._first.popleft()
            else:
                await self._take_content(self._first.popleft(), suspect=False)

    async def _take_stored(self, entry: Stored, *, suspect: bool) -> None:
        while not self._room() or self._first:
            await self._take_firsts()
            if not self._room():
                self._freed.clear()
                await self._freed.wait()
        if entry.id in self._acted_on or (entry.id in self._active and not suspect):
            return
        await self._take_content(entry, suspect=suspect)

    async def _take_content(self, entry: Stored, *, suspect: bool) -> None:
        self._left = max(0, self._left - 1)
        self._left_bytes = max(0, self._left_bytes - entry.content.size)
        self._active[entry.id] = 0
        try:
            content = await read_content(self._spool, entry.content)
        except SpoolError as error:
            del self._active[entry.id]
            await self._hold(entry.id, f"content cannot be read: {error}")
            return
        if entry.content.in_file:  # it was read to see that it is what was accepted; work is on the file
            self._take(Work(entry, None, self._spool.content_file(entry.content), suspect=suspect))
        else:
            self._take(Work(entry, content, suspect=suspect))

    def _room(self) -> bool:
        return len(self._active) < ACTIVE_LIMIT and self._bytes < MEMORY_LIMIT

    def _take(self, work: Work) -> None:
        stored = work.stored
        size = len(work.content) if work.content is not None else 0
        self._active[stored.id] = size
        self._bytes += size
        try:
            self._begin(work)
        except Exception as error:  # noqa: BLE001 - a fault of ours: this message waits for an operator, others go on
            self._set_aside(work, error)

    def _begin(self, work: Work) -> None:
        stored = work.stored
        partition = self.partition(stored)
        options = scan_options([group for group, _ in partition])
        if options is None:
            self._dispose(work, partition, None)
            return
        self._tasks.spawn(self._inspect(work, partition, options))

    def partition(self, stored: Stored, group: str = "") -> Partition:
        """Return the groups of a message with the indices of their recipients. One without recipients falls to `group`,
        or to the policy.
        """
        envelope = stored.envelope
        addresses = [recipient.address for recipient in envelope.recipients]
        partition: Partition = self._groups.partition(envelope.sender, addresses, envelope.direction)
        if not addresses:
            partition = [(self._groups.named(group), ())]
        return partition if self.bypass is None else self.bypass.waive(stored, partition)

    async def _inspect(self, work: Work, partition: Partition, options: ScanOptions) -> None:
        """Have a filter look while the network checks that it need not wait for are on their way."""
        examination = self._examiner.begin(work, partition, options, self._disposal.listings)
        try:
            analysis = await self._analyse(work, examination)
            if analysis is not None:
                self._dispose(work, partition, await examination.finish(analysis))
        except Exception as error:  # noqa: BLE001 - as in `_take`
            self._set_aside(work, error)
        finally:
            examination.cancel()

    async def _analyse(self, work: Work, examination: Examination) -> Analysis | None:
        """Return what the filter found; None: the message is somebody else's business now."""
        stored = work.stored
        try:
            analysis = await examination.ask_filter()
        except FileNotFoundError:
            await self._set_aside_durably(work, "its content file is missing")
            return None
        except (FilterUnavailable, OSError) as error:
            self._later(work, f"not inspected, trying again: {error}")
            return None
        if analysis.unscanned:
            if not is_outlived(stored, self._lifetime_s):
                self._rest(work, Cause.ENGINE, "W", f"waits for inspection: {analysis.unscanned}")
                return None
            queue_id = format_queue_id(stored.id)
            self._report("E", f"{queue_id}: not scanned until the end of its life: {analysis.unscanned}")
            return error_analysis(f"not scanned: {analysis.unscanned}")
        self._resting.succeeded(stored.id, Cause.ENGINE)
        return analysis

    def _dispose(self, work: Work, partition: Partition, analysis: Analysis | None) -> None:
        future = self._disposal.dispose(work, partition, analysis)
        if future is None:
            self._done(work)
            return
        future.add_done_callback(lambda done: self._disposed(work, done))

    def _disposed(self, work: Work, done: "asyncio.Future[None]") -> None:
        error = None if done.cancelled() else done.exception()
        if error is None:
            self._resting.succeeded(work.stored.id, Cause.STORE)
            self._done(work)
        elif isinstance(error, SpoolError | OSError):
            self._rest(work, Cause.STORE, "E", f"disposition not stored, trying again: {error}")
        else:
            self._set_aside(work, error)

    def _set_aside(self, work: Work, error: BaseException) -> None:
        """Hold a message whose treatment met a fault of ours: trying again would only meet it again."""
        self._tasks.spawn(self._set_aside_durably(work, f"internal error: {describe_fault(error)}"))

    async def _set_aside_durably(self, work: Work, reason: str) -> None:
        await self._hold(work.stored.id, reason)
        self._done(work)

    def _later(self, work: Work, why: str) -> None:
        """Let go of a message that still waits in the spool as it was; it is taken up again in a while."""
        if self._resting.note(work.stored.id, why) and self.running:
            self._report("E", f"{format_queue_id(work.stored.id)}: {why}")
        self._done(work, remains=True)
        self._leave(work.stored)
        self._look_again(work.stored.id)

    def _rest(self, work: Work, cause: Cause, level: str, why: str) -> None:
        """Let go of a message that must have something it cannot have now; it waits in the spool."""
        stored = work.stored
        if self._resting.add(stored.id, stored.content.size, why, cause) and self.running:
            self._report(level, f"{format_queue_id(stored.id)}: {why}")
        self._done(work, remains=True)
        self._leave(stored)

    async def _hold(self, message_id: int, reason: str) -> None:
        """Have a message held; when not even that can be stored it is met again."""
        try:
            await self._suspects.hold(message_id, reason)
        except SpoolError as error:
            self._report("E", f"{format_queue_id(message_id)}: not held, trying again: {error}")
            self._look_again(message_id)

    def _look_again(self, message_id: int) -> None:
        asyncio.get_running_loop().call_later(_RETRY_S, self._read_again, message_id - 1)

    def _done(self, work: Work, *, remains: bool = False) -> None:
        self._bytes -= self._active.pop(work.stored.id, 0)
        if not remains:
            self._resting.discard(work.stored.id)
        self._freed.set()
        if work.suspect and not self._disposal.is_in_work(work.stored.id):
            self._suspects.done(work.stored.id, remains=remains)
