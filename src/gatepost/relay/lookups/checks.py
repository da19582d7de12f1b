"""All network checks of a relay: which of them a message needs, and their common deadline (F-AS-07).

Called by `relay.inspection`: `begin` when a message is taken up, `Ongoing.finish` when its filter has answered. What a
check asks of the envelope alone is on its way meanwhile. Promises an answer within the time given, whatever resolvers
and servers do; what was found until then counts. Outbound and internal mail is not checked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from gatepost.control.faults import describe_fault
from gatepost.model.envelope import Direction, Envelope
from gatepost.model.spam import Method, NetworkFacts, SpamFacts
from gatepost.relay.lookups.base import EnvelopeFacts, Lookup, NetworkNotes, Query
from gatepost.relay.lookups.zones import Zones

RESERVE: Final = 0.05
"""Share of the time that is kept to take what has come in: checks are told the deadline without it."""

OUT_OF_TIME_LIMIT: Final = 5
"""Messages in a row that used all of their time before the next ones get less ..."""
HASTE_S: Final = 1.0
"""... namely this, until one of them is done in time: mail must not queue up when the name servers are down."""
IN_TIME: Final = 0.9
"""Share of its time below which a message was done in time."""

_INBOUND: Final = Direction.INBOUND
_NOTHING: Final = SpamFacts()


class NetworkChecks:
    """The checks of one configuration."""

    def __init__(
        self,
        lookups: Sequence[Lookup],
        budget_s: float,
        zones: Zones,
        clock: Callable[[], float],
        report: Callable[[str, str], None],
        last: Sequence[Lookup] = (),
    ) -> None:
        """`budget_s`: for how long a message may wait for them. `clock`: the event loop's time. `last`: checks that
        build on what the others have noted, and ask nobody.
        """
        self._lookups = (*lookups, *last)
        self._last = frozenset(each.name for each in last)
        self._budget_s = budget_s
        self._zones = zones
        self._clock = clock
        self._report = report
        self._out_of_time = 0
        self._wanted: dict[frozenset[Method], tuple[Lookup, ...]] = {}

    def begin(self, queue_id: str, envelope: Envelope, methods: frozenset[Method]) -> "Ongoing | None":
        """Start the checks that groups using `methods` need; None when there are none."""
        if envelope.direction is not _INBOUND:
            return None
        lookups = self._wanted.get(methods)
        if lookups is None:
            lookups = self._wanted[methods] = tuple(
                each for each in self._lookups if each.methods & methods or not each.methods
            )
        if not lookups:
            return None
        facts = EnvelopeFacts(queue_id, envelope, methods)
        ongoing = Ongoing(self, self._clock, self._report, self._last)
        for lookup in lookups:
            ongoing.start(lookup, facts)
        return ongoing

    @property
    def budget_s(self) -> float:
        """For how long a message may wait now."""
        return self._budget_s if self._out_of_time < OUT_OF_TIME_LIMIT else min(HASTE_S, self._budget_s)

    def ended(self, *, in_time: bool) -> None:
        """Take note of a message that had to wait."""
        if in_time:
            if self._out_of_time >= OUT_OF_TIME_LIMIT:
                self._report("I", "network checks are done in time again")
            self._out_of_time = 0
            return
        self._out_of_time += 1
        if self._out_of_time == OUT_OF_TIME_LIMIT and self.budget_s < self._budget_s:
            told = f"{OUT_OF_TIME_LIMIT} messages in a row got no answers in time"
            self._report("W", f"network checks: {told}, the next ones wait for {self.budget_s:g} s only")

    def status(self) -> dict[str, Any]:
        """Return what the status shows."""
        return {"checks": {each.name: each.status() for each in self._lookups}, "lists_off": self._zones.off()}


class Ongoing:
    """The checks of one message."""

    __slots__ = ("_checks", "_clock", "_facts", "_last", "_notes", "_queries", "_report")

    def __init__(
        self,
        checks: NetworkChecks,
        clock: Callable[[], float],
        report: Callable[[str, str], None],
        last: frozenset[str],
    ) -> None:
        self._checks = checks
        self._last = last
        self._clock = clock
        self._report = report
        self._notes = NetworkNotes()
        self._queries: list[tuple[str, Query]] = []
        self._facts: NetworkFacts | None = None

    def start(self, lookup: Lookup, facts: EnvelopeFacts) -> None:
        """Begin one check."""
        try:
            query = lookup.begin(facts)
        except Exception as error:  # noqa: BLE001 - a fault of ours in one check must not cost a message the others
            self._fault(lookup.name, error)
        else:
            if query is not None:
                self._queries.append((lookup.name, query))

    async def finish(self, spam: SpamFacts | None, limit_s: float | None = None) -> NetworkFacts:
        """Return what the checks found. `spam`: what the content checks found, None when nobody could look;
        `limit_s`: there is not even the budget. Asked again it says the same.
        """
        if self._facts is not None:
            return self._facts
        started = self._clock()
        budget_s = self._checks.budget_s
        whole_s = budget_s if limit_s is None else max(0.0, min(limit_s, budget_s))
        deadline = started + whole_s * (1.0 - RESERVE)
        known = spam or _NOTHING
        waiting: list[tuple[str, Awaitable[None]]] = []
        for name, query in self._queries:
            later = self._take(name, query, known, deadline) if name not in self._last else None
            if later is not None:
                waiting.append((name, later))
        if waiting:
            await self._wait(waiting, started + whole_s, whole_s)
            if whole_s == budget_s:
                self._checks.ended(in_time=self._clock() < started + whole_s * IN_TIME)
        if self._last:
            for name, query in self._queries:
                if name in self._last:
                    self._take(name, query, known, deadline)
        self._facts = self._notes.facts((self._clock() - started) * 1000)
        return self._facts

    def _take(self, name: str, query: Query, spam: SpamFacts, deadline: float) -> Awaitable[None] | None:
        try:
            return query.finish(spam, self._notes, deadline)
        except Exception as error:  # noqa: BLE001 - as in `start`
            self._fault(name, error)
            return None

    def cancel(self) -> None:
        """End what is under way: nobody wants to know any more."""
        for _, query in self._queries:
            query.cancel()
        self._queries.clear()

    async def _wait(self, waiting: Sequence[tuple[str, Awaitable[None]]], end: float, whole_s: float) -> None:
        tasks: dict[asyncio.Future[None], str] = {asyncio.ensure_future(later): name for name, later in waiting}
        started = self._clock()

        def note_cost(task: "asyncio.Future[None]") -> None:
            self._notes.cost(tasks[task], (self._clock() - started) * 1000)

        for task in tasks:
            task.add_done_callback(note_cost)
        try:
            done, late = await asyncio.wait(tasks, timeout=max(0.0, end - self._clock()))
        finally:
            for task in tasks:
                task.cancel()
        for task in late:
            self._notes.trouble(f"{tasks[task]}: not done within {whole_s:g} s")
        if late:
            for _, query in self._queries:
                query.cancel()
        for task in done:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                self._fault(tasks[task], error)

    def _fault(self, name: str, error: BaseException) -> None:
        told = f"{name}: internal error: {describe_fault(error)}"
        self._notes.trouble(told)
        self._report("E", told)
