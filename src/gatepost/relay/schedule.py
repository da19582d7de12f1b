"""The schedule: reads back from the spool what is due, and gives up what has waited too long.

Run by `relay.pipeline` beside the stages; hands everything to `relay.delivery`. A destination that failed is asked
with one message until it answers, so a dead one costs one attempt, however much waits for it.
"""

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from gatepost.model.ids import format_queue_id
from gatepost.relay.age import is_delayed, is_outlived
from gatepost.relay.delivery import Delivery
from gatepost.relay.retry import RetryRules
from gatepost.relay.suspects import Suspects
from gatepost.relay.work import Work
from gatepost.spool import clock
from gatepost.spool.interface import Corrupt, Spool, SpoolError, State, Stored

BATCH = 50
"""Messages of one destination read back at once."""
_RETRY_S = 1.0
_IDLE_LOOK_S = 30.0
_BUSY_LOOK_S = 0.5
_SOON_S = 0.02
_CLOCK_SLACK_S = 60.0
"""A clock that is put back by less is let be: mail waits so much longer."""
_EXPIRY_LOOK_S = 60.0
_EXPIRY_LOOKS = 10
"""Looks in a message's life, so that a short one is kept to as well."""
_SOONEST_EXPIRY_LOOK_S = 1.0
_DELAY_WALK_S = 3600.0
"""Pause between two walks through the queue for senders to be told of a delay: mail that was held, or not inspected,
when its turn came is found by the next one."""
_AHEAD_LIMIT = 1000
"""Messages dated by a clock that was ahead which one look for expired mail passes over: they must not hide what came
after them, and a look must end."""
_DELAY_PAGES = 4
"""Pages read at one look for senders to be told of a delay: a long queue is walked through in many looks."""


class Schedule:
    """What waits in one spool for its time."""

    def __init__(
        self,
        spool: Spool,
        delivery: Delivery,
        suspects: Suspects,
        *,
        report: Callable[[str, str], None],
        trouble: Callable[[BaseException], None],
    ) -> None:
        """`report(level, text)` logs; `trouble` is told of failures of the spool."""
        self._spool = spool
        self._delivery = delivery
        self._suspects = suspects
        self._report = report
        self._trouble = trouble
        self._looked_at = 0.0
        self._untouchable: set[int] = set()
        """Damaged messages that cannot even be held; left alone until the next look for what has expired."""

    def configure(self, rules: RetryRules) -> None:
        """Take (new) rules into use."""
        self._rules = rules
        self._longest_pause_s = max(rules.minimal_backoff_s, rules.maximal_backoff_s) + _CLOCK_SLACK_S
        self._expiry_look_s = min(_EXPIRY_LOOK_S, max(rules.lifetime_s / _EXPIRY_LOOKS, _SOONEST_EXPIRY_LOOK_S))
        self._next_expiry_look = 0.0
        self._next_delay_look = 0.0
        self._told_upto = 0
        """Senders of messages up to this id have been told, or need not be. Ids rise with time."""
        self._next_delay_walk = 0.0
        self._walked = True
        """The last look came to the end of those that have waited long enough."""

    async def run(self) -> None:
        """Take up what is due, for as long as the relay lives."""
        wake = self._delivery.wake
        while True:
            try:
                pause = await self._look()
            except SpoolError as error:
                self._trouble(error)
                self._report("E", f"cannot read the delivery queue, trying again: {error}")
                pause = _RETRY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pause, clock.longest_pause_s)):
                    await wake.wait()
            wake.clear()

    async def _look(self) -> float:
        """Take up what is due and return how long nothing will be."""
        now = clock.now()
        delivery = self._delivery
        latest = now + self._longest_pause_s
        if now < self._looked_at - _CLOCK_SLACK_S:
            self._report(
                "W", f"the clock was put back by {self._looked_at - now:.0f} s: no mail waits for its former time"
            )
            self._next_expiry_look = self._next_delay_look = self._next_delay_walk = 0.0
            delivery.destinations.clock_put_back(latest)
        self._looked_at = now
        delivery.forget_unused()
        if now >= self._next_expiry_look:
            self._next_expiry_look = now + self._expiry_look_s
            self._untouchable.clear()
            await self._expire(now)
            if delivery.running:
                delivery.destinations.forget_unused(now)
        if self._rules.delay_report_s and now >= self._next_delay_look:
            self._next_delay_look = now + await self._tell_of_delays(now)
        idle = min(_IDLE_LOOK_S, self._next_expiry_look - now)
        if self._rules.delay_report_s:
            idle = min(idle, self._next_delay_look - now)
        if not delivery.running:
            return idle
        for destination in await self._spool.destinations(now, latest=latest):
            room = min(BATCH, delivery.room())
            if not room:
                return _BUSY_LOOK_S
            room = min(room, delivery.room_for(destination.domain))
            if room <= 0 or delivery.destinations.retry_at(destination.domain) > now:
                continue  # it has enough in hand, or its rest has not reached the disk yet
            if destination.failures:
                if delivery.in_hand(destination.domain):
                    continue  # that one finds out
                rested_until = min(destination.retry_at, now)
                delivery.destinations.recall(msgspec.structs.replace(destination, retry_at=rested_until))
                room = 1
            await self._take_due(destination.domain, now, room, latest)
        due = await self._spool.next_due()
        if due is None:
            return idle
        soonest = _BUSY_LOOK_S if delivery.in_work() or self._untouchable else _SOON_S
        return min(max(due - clock.now(), soonest), idle)

    async def _take_due(self, domain: str, now: float, limit: int, latest: float) -> None:
        delivery = self._delivery
        suspects: list[Stored] = []
        corrupt: list[Corrupt] = []
        # Nothing is waited for until all have been taken up: what was read grows stale when an operator acts on it.
        for found in await self._spool.due(domain, now, limit, delivery.ids_in_work() | self._untouchable, latest):
            if isinstance(found, Corrupt):
                corrupt.append(found)
                continue
            entry = _dated(found, now, latest)
            if delivery.is_in_work(entry.id):
                continue
            if not self._suspects.is_suspect(entry.id):
                delivery.submit(Work(entry, None, durable=True))
            elif not self._suspects.knows(entry.id):
                suspects.append(entry)
        if suspects:
            await self._suspects.take(suspects, self._take_suspect)
        for damaged in corrupt:
            try:
                await self._suspects.hold(damaged.id, f"corrupt spool entry: {damaged.what}")
            except SpoolError as error:
                self._untouchable.add(damaged.id)
                self._report("E", f"{format_queue_id(damaged.id)} can be neither read nor held: {error}")

    def _take_suspect(self, entry: Stored) -> None:
        self._delivery.submit(Work(entry, None, durable=True, suspect=True))

    async def _expire(self, now: float) -> None:
        """Give up what has waited too long, whatever its destination's back-off (F-ROUT-07).

        Ids rise with time, so the first young message ends the search, unless a clock that was ahead has dated it.
        """
        after = 0
        ahead = 0
        while True:
            page = await self._spool.listing(after, BATCH, State.READY)
            for entry in page:
                after = entry.id
                if isinstance(entry, Corrupt):
                    continue
                if entry.received_at > now and ahead < _AHEAD_LIMIT:
                    ahead += 1
                    continue
                if not is_outlived(entry, self._rules.lifetime_s):
                    return
                if self._delivery.is_in_work(entry.id) or self._suspects.knows(entry.id):
                    continue
                if not self._delivery.room():
                    self._next_expiry_look = now + _SOONEST_EXPIRY_LOOK_S
                    return
                if self._suspects.is_suspect(entry.id):
                    await self._suspects.take([entry], self._give_up_suspect)
                    break  # meanwhile an operator may have acted on the rest of the page: it is read again
                self._delivery.give_up(entry)
            else:
                if len(page) < BATCH:
                    return

    async def _tell_of_delays(self, now: float) -> float:
        """Tell senders of messages that have waited long; return the pause before the next look."""
        if self._walked and now >= self._next_delay_walk:
            self._next_delay_walk = now + _DELAY_WALK_S
            self._told_upto = 0
        self._walked = False
        for _ in range(_DELAY_PAGES):
            page = await self._spool.listing(self._told_upto, BATCH, State.READY)
            for entry in page:
                if not isinstance(entry, Corrupt):
                    if now >= entry.received_at > now - self._rules.delay_report_s:
                        self._walked = True
                        return self._expiry_look_s
                    if self._suspects.is_suspect(entry.id):
                        return self._expiry_look_s  # its own work comes first
                    if is_delayed(entry, self._rules) and not await self._delivery.tell_of_delay(entry):
                        return _SOONEST_EXPIRY_LOOK_S  # somebody has it in hand
                self._told_upto = entry.id
            if len(page) < BATCH:
                self._walked = True
                return self._expiry_look_s
        return _SOONEST_EXPIRY_LOOK_S

    def _give_up_suspect(self, entry: Stored) -> None:
        self._delivery.give_up(entry, suspect=True)


def _dated(entry: Stored, now: float, latest: float) -> Stored:
    """Return a message with what would wait beyond `latest` due now: a clock that was ahead has dated it."""
    if all(each.due <= latest for each in entry.pending):
        return entry
    pending = tuple(each if each.due <= latest else msgspec.structs.replace(each, due=now) for each in entry.pending)
    return msgspec.structs.replace(entry, pending=pending)
