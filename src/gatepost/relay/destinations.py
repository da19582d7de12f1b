"""Destinations that rest: recipient domains whose next hop could not be reached, and for how long they are let alone.

Used by `relay.delivery` and `relay.schedule`. The back-off is state of the destination, in memory and in the spool;
the messages waiting for it are not touched.
"""

import random
from collections.abc import Callable

from gatepost.relay.retry import RetryRules, plan_backoff
from gatepost.relay.tasks import Tasks
from gatepost.spool.interface import Destination, Spool, SpoolError

NEVER = 253_402_300_799.0
"""The last second of the year 9999: when a destination that waits for an operator is tried."""


class Destinations:
    """Back-off of the destinations of one spool."""

    def __init__(
        self,
        spool: Spool,
        *,
        trouble: Callable[[BaseException], None],
        changed: Callable[[], None],
        woken: Callable[[], None] = lambda: None,
        ours: Callable[[], bool] = lambda: False,
    ) -> None:
        """`trouble` is told of failures of the spool, `changed` that something may be due at another time now, `woken`
        that an operator wants a destination tried whatever is known of it; `ours` tells whether failures are likely to
        be our own trouble, for which no destination shall rest ever longer.
        """
        self._ours = ours
        self._woken = woken
        self._spool = spool
        self._trouble = trouble
        self._changed = changed
        self._resting: dict[str, Destination] = {}
        self._paused: frozenset[str] = frozenset()
        self._tasks = Tasks(trouble)

    def configure(self, rules: RetryRules) -> None:
        """Take (new) bounds of the back-off into use."""
        self._rules = rules

    def retry_at(self, domain: str) -> float:
        """Return the Unix time before which the destination is let alone, 0 when it does not rest."""
        if self._paused and domain in self._paused:
            return NEVER
        resting = self._resting.get(domain) if self._resting else None
        return resting.retry_at if resting is not None else 0.0

    def reason(self, domain: str) -> str:
        """Return why it rests, "" when it does not."""
        resting = self._resting.get(domain)
        return resting.reason if resting is not None else ""

    async def pause(self, domains: frozenset[str]) -> None:
        """Let exactly these destinations wait for an operator, in memory at once and durably. SpoolError."""
        self._paused = domains
        before = set(await self._spool.paused())
        for domain in before ^ domains:
            await self._spool.pause(domain, paused=domain in domains)
        self._changed()

    def is_paused(self, domain: str) -> bool:
        """Tell whether an operator lets the destination wait."""
        return domain in self._paused

    def wake_up(self, domain: str) -> None:
        """End the rest of a destination, also one that only the spool remembers."""
        self._resting.pop(domain, None)
        self._woken()
        self._write(Destination(domain, 0, 0.0))

    def rest(self, domain: str, reason: str, now: float) -> None:
        """Let a destination rest: one more failure in a row. Failures while it rests already count as one."""
        known = self._resting.get(domain)
        if known is not None and known.retry_at > now:
            return
        before = known.failures if known is not None else 0
        failures = max(before, 1) if self._ours() else before + 1
        retry_at = now + plan_backoff(failures, self._rules, random.random())  # noqa: S311 - no secret
        rest = Destination(domain, 0, retry_at, retry_at, failures, reason)
        self._resting[domain] = rest
        self._write(rest)

    def recall(self, destination: Destination) -> None:
        """Take over what the spool knows of a destination that failed before (its time has come again)."""
        self._resting[destination.domain] = destination

    def clock_put_back(self, latest: float) -> None:
        """End the rest of those that would rest beyond `latest`: it was planned by a clock that was ahead."""
        for domain in [domain for domain, rest in self._resting.items() if rest.retry_at > latest]:
            self.answered(domain)

    def answered(self, domain: str) -> None:
        """End the back-off of a destination, if it has one."""
        if self._resting and self._resting.pop(domain, None) is not None:
            self._write(Destination(domain, 0, 0.0))

    def forget_unused(self, now: float) -> None:
        """Forget destinations whose rest has long been over: what waited for them would have been tried since."""
        long_ago = now - self._rules.maximal_backoff_s
        for domain in [domain for domain, rest in self._resting.items() if rest.retry_at < long_ago]:
            self.answered(domain)

    def _write(self, destination: Destination) -> None:
        self._tasks.spawn(self._store(destination))

    async def _store(self, destination: Destination) -> None:
        try:
            await self._spool.back_off(destination)
        except SpoolError as error:
            # Memory still has it; after a restart the destination is merely tried earlier.
            self._trouble(error)
        self._changed()
