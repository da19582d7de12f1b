"""What is found out about one message: a filter looks at it, and network checks run beside the filter.

Made by `relay.inspection` for every message it has inspected, accepted or (before-queue) not yet. Whoever begins an
examination cancels it in the end: checks nobody waits for any longer cost nothing.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from gatepost.filter.pool import FilterFailed, FilterPool
from gatepost.model.finding import Analysis, ScanOptions
from gatepost.model.ids import format_queue_id
from gatepost.policy.decide import error_analysis
from gatepost.policy.listings import Listings
from gatepost.relay.disposal import Partition
from gatepost.relay.lookups.base import describe_troubles
from gatepost.relay.lookups.service import NetworkService
from gatepost.relay.sparing import build_judge
from gatepost.relay.verdict_records import note_inspection
from gatepost.relay.work import Work
from gatepost.spool import clock


class NotInspected(Exception):  # noqa: N818 - a state of ours, not a failure of the message
    """A message for which somebody waits could not be inspected. `level` is how the log says why."""

    def __init__(self, level: str, why: str) -> None:
        super().__init__(why)
        self.level = level


class Examiner:
    """What all examinations of a relay share."""

    __slots__ = ("network", "pool", "report")

    def __init__(self, pool: FilterPool, network: NetworkService, report: Callable[[str, str], None]) -> None:
        """`report(level, text)` writes to the log."""
        self.pool = pool
        self.network = network
        self.report = report

    def begin(
        self,
        work: Work,
        partition: Partition,
        options: ScanOptions,
        listings: Listings,
        limit_s: float | None = None,
    ) -> "Examination":
        """Start the network checks that need not wait for the filter. `limit_s`: time of the checks a filter waits for,
        where it is less than their own.
        """
        return Examination(self, work, partition, options, listings, limit_s)


class Examination:
    """One message under examination."""

    __slots__ = ("_began", "_examiner", "_judge", "_ongoing", "_options", "_partition", "_since", "_work")

    def __init__(
        self,
        examiner: Examiner,
        work: Work,
        partition: Partition,
        options: ScanOptions,
        listings: Listings,
        limit_s: float | None,
    ) -> None:
        """As `Examiner.begin`."""
        self._examiner = examiner
        self._work = work
        self._partition = partition
        self._options = options
        self._since, self._began = clock.now(), asyncio.get_running_loop().time()
        self._ongoing = examiner.network.begin(work.stored, partition)
        self._judge = build_judge(work.stored, partition, options, self._ongoing, listings, limit_s)

    async def ask_filter(self) -> Analysis:
        """Return what the filter found; what two filters could not do is an analysis that says so. FilterUnavailable,
        OSError: it is to be tried again.
        """
        work, examiner = self._work, self._examiner
        stored = work.stored
        content = work.content if work.content is not None else Path(work.path or "")
        queue_id = format_queue_id(stored.id)
        try:
            return await examiner.pool.inspect(
                queue_id,
                content,
                stored.content.size,
                examiner.network.describe(self._options, stored),
                self._judge,
            )
        except FilterFailed as error:
            examiner.report("E", f"{queue_id}: inspection failed twice: {error}")
            return error_analysis(str(error))

    async def finish(self, analysis: Analysis, limit_s: float | None = None) -> Analysis:
        """Return the filter's analysis with what the network checks found; what they could not tell is logged, what the
        inspection cost is put on record. `limit_s`: what is left for the checks, where it is less than their own.
        """
        if self._ongoing is not None:
            stored, network = self._work.stored, self._examiner.network
            facts = await self._ongoing.finish(analysis.spam, limit_s)
            if facts.troubles:
                queue_id = format_queue_id(stored.id)
                self._examiner.report("W", f"{queue_id}: network checks: {describe_troubles(facts.troubles)}")
            analysis = msgspec.structs.replace(analysis, network=facts)
            network.learn(stored.envelope, analysis)
            if not stored.kind:
                network.tell(stored.envelope, self._partition, analysis)
        elapsed_s = asyncio.get_running_loop().time() - self._began
        note_inspection(self._work, analysis, self._since, clock.now(), elapsed_s)
        return analysis

    def cancel(self) -> None:
        """End the checks that are still under way."""
        if self._ongoing is not None:
            self._ongoing.cancel()
