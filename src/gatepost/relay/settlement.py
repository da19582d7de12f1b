"""Settlement: what was learnt of a message in work goes to the spool, in one commit with its records and reports.

Used by `relay.delivery`. A message with many jobs is settled now and then while they run, so that the cost stays
linear in its recipients and the window for duplicates after a crash stays about a second.
"""

import asyncio
from collections.abc import Callable, Sequence

from gatepost.model.ids import format_queue_id
from gatepost.model.record import Record
from gatepost.relay.tasks import Tasks
from gatepost.relay.work import Work
from gatepost.spool.interface import NewMessage, Spool, SpoolError, Stored

SETTLE_EVERY_S = 1.0
"""A message with jobs under way is settled at most this often."""
_RETRY_S = 1.0
_FLUSH_POLL_S = 0.01


class Outcome:
    """What was learnt of a message and is not settled yet."""

    __slots__ = ("generated", "records", "settled_at", "timer", "work", "writing")

    def __init__(self, work: Work, records: list[Record]) -> None:
        self.work = work
        self.records = records
        self.generated: list[NewMessage] = []
        self.settled_at = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.writing = False
        """A part of it is on its way to disk. What comes later waits, or a repeated write would undo it."""


class Settlement:
    """Outcomes of one spool's messages on their way to disk."""

    def __init__(
        self,
        spool: Spool,
        *,
        settled: Callable[[Work], None],
        reported: Callable[[Sequence[NewMessage]], None],
        report: Callable[[str, str], None],
        trouble: Callable[[BaseException], None],
    ) -> None:
        """`settled(work)`: the last word on a message is on disk; `reported(messages)`: so are these new messages.
        `report(level, text)` logs; `trouble` is told of failures of the spool.
        """
        self._spool = spool
        self._done = settled
        self._reported = reported
        self._report = report
        self._trouble = trouble
        self._outcomes: dict[int, Outcome] = {}
        self._tasks = Tasks(trouble)

    def outcome(self, work: Work) -> Outcome:
        """Return where what is learnt of a message gathers."""
        outcome = self._outcomes.get(work.stored.id)
        if outcome is None:
            outcome = self._outcomes[work.stored.id] = Outcome(work, work.records)
            work.records = []
        return outcome

    def job_done(self, work: Work) -> None:
        """Count a job as done; with the last one the message is settled."""
        work.jobs -= 1
        outcome = self.outcome(work)
        if outcome.writing:
            return
        if not work.jobs:
            self._close(work, outcome)
        elif asyncio.get_running_loop().time() - outcome.settled_at >= SETTLE_EVERY_S:
            self._flush(work)
        else:
            self._flush_later(work, outcome)

    def _close(self, work: Work, outcome: Outcome) -> None:
        """Settle a message whose last job is done."""
        if outcome.timer is not None:
            outcome.timer.cancel()
        del self._outcomes[work.stored.id]
        work.fold()
        if work.durable and not outcome.records and not outcome.generated:
            self._done(work)
            return
        remaining = work.stored if work.stored.pending else None
        future = asyncio.ensure_future(
            self._spool.settle(work.stored.id, remaining, outcome.records, outcome.generated)
        )
        future.add_done_callback(lambda done: self._settled(work, outcome, done))

    async def store(
        self, work: Work, remaining: Stored | None, records: Sequence[Record], generated: Sequence[NewMessage] = ()
    ) -> None:
        """Write an outcome, again and again while the disk refuses; each reason is told once."""
        told = ""
        while True:
            try:
                await self._spool.settle(work.stored.id, remaining, records, generated)
            except SpoolError as error:
                self._trouble(error)
                if str(error) != told:
                    told = str(error)
                    self._report("E", f"{format_queue_id(work.stored.id)}: outcome not stored, trying again: {told}")
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def flush(self, limit_s: float) -> None:
        """Settle what is known so far of all messages, for at most so long: at the end of a relay, whose jobs under way
        are over. What was delivered must not be delivered again by the next one.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        while loop.time() < end:
            left = [each for each in self._outcomes.values() if each.records or each.generated or each.writing]
            if not left:
                return
            for outcome in left:
                if not outcome.writing:
                    self._flush(outcome.work)
            await asyncio.sleep(_FLUSH_POLL_S)

    def _flush_later(self, work: Work, outcome: Outcome) -> None:
        if outcome.timer is None:
            outcome.timer = asyncio.get_running_loop().call_later(SETTLE_EVERY_S, self._flush, work)

    def _flush(self, work: Work) -> None:
        """Settle what is known so far of a message that still has jobs under way."""
        outcome = self._outcomes.get(work.stored.id)
        if outcome is None:
            return
        if outcome.timer is not None:
            outcome.timer.cancel()
            outcome.timer = None
        outcome.settled_at = asyncio.get_running_loop().time()
        work.fold()
        records, generated = outcome.records, outcome.generated
        outcome.records, outcome.generated = [], []
        outcome.writing = True
        self._tasks.spawn(self._flush_durably(work, outcome, records, generated))

    async def _flush_durably(
        self, work: Work, outcome: Outcome, records: Sequence[Record], generated: Sequence[NewMessage]
    ) -> None:
        await self.store(work, work.stored, records, generated)
        outcome.writing = False
        self._reported(generated)
        if not work.jobs:
            self._close(work, outcome)
        elif outcome.records:
            self._flush_later(work, outcome)

    def _settled(self, work: Work, outcome: Outcome, done: "asyncio.Future[None]") -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._trouble(error)
            self._tasks.spawn(self._settle_again(work, outcome))
        elif not done.cancelled():
            self._finish(work, outcome)

    async def _settle_again(self, work: Work, outcome: Outcome) -> None:
        await asyncio.sleep(_RETRY_S)
        remaining = work.stored if work.stored.pending else None
        await self.store(work, remaining, outcome.records, outcome.generated)
        self._finish(work, outcome)

    def _finish(self, work: Work, outcome: Outcome) -> None:
        self._done(work)
        if outcome.generated:
            self._reported(outcome.generated)
