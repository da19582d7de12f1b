"""Connections for one plan of hosts: opened on demand within the limits, re-used, closed when idle.

Called by `relay.delivery`; reports outcomes back to it. Knows nothing of queues, retries or reports. How many sessions
it may have grows with success and shrinks with trouble, and `relay.slots` sees to it that others get theirs.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from gatepost.model.envelope import Body
from gatepost.model.reply import Reply, reply
from gatepost.relay.connection import ClientConnection, NoSession, Obstacle
from gatepost.relay.dialling import Dialler
from gatepost.relay.jobs import Despatcher, HopLimits, Job, Server, describe_server
from gatepost.relay.mailhosts import HostPlan
from gatepost.relay.slots import SessionSlots
from gatepost.relay.tasks import Tasks
from gatepost.relay.work import content_chunks, edited_size, needs_utf8_header
from gatepost.smtp.client import Closed, LocalCause, Outcome, RecipientOutcome, Transaction

IDLE_S: Final = 5.0
"""How long an unused connection is kept: long enough for the next mail of a burst ..."""
IDLE_LOOK_S: Final = 0.5
"""... and how often it is asked meanwhile whether another relay has no session left."""
TRANSACTIONS_LIMIT: Final = 1000
"""Transactions on one connection before it is renewed, so that load spreads and peers may restart."""
FIRST_WINDOW: Final = 5
"""Sessions to begin with: a host that is slow or small must not meet all that are allowed at once."""
_FULL_RETRY_S = 0.1
"""Pause before asking again for a session when other relays hold all that are allowed, for each one in line ..."""
_LONGEST_RETRY = 20
"""... up to this many."""
_PEER_FULL_S = 5.0
"""A peer that refused one more session while it serves others of ours is not asked for more for so long."""


class HopConnections:
    """The connections of this relay for one plan. Implements `relay.connection.Owner` and `relay.slots.Waiter`."""

    def __init__(
        self,
        plan: HostPlan,
        limits: HopLimits,
        dialler: Dialler,
        slots: SessionSlots,
        despatcher: Despatcher,
        tasks: Tasks,
    ) -> None:
        self.plan = plan
        self._limits = limits
        self._generation = 0
        """Of the settings: sessions made under former ones end with their transaction."""
        self._dialler = dialler
        self._slots = slots
        self._despatcher = despatcher
        self._queue: deque[Job] = deque()
        self._idle: list[tuple[ClientConnection, asyncio.TimerHandle]] = []
        self._busy: dict[ClientConnection, Job] = {}
        self._open: set[ClientConnection] = set()
        self._servers: dict[ClientConnection, Server] = {}
        self._dials: set[asyncio.Task[None]] = set()
        self._probing = False
        self._hosts = sum(map(len, plan.tiers))
        self._window = float(FIRST_WINDOW)
        self._again: asyncio.TimerHandle | None = None
        self._full_until = 0.0
        self._tasks = tasks

    @property
    def unused(self) -> bool:
        """No job and no connection: it may be forgotten."""
        return not (self._queue or self._open or self._dials)

    @property
    def window(self) -> int:
        """Sessions it may have by its own success."""
        return int(self._window)

    def add(self, job: Job) -> None:
        """Deliver a job as soon as a connection is free; one put ahead by an operator (due 0) before all others."""
        if job.pendings[0].due:
            self._queue.append(job)
        else:
            self._queue.appendleft(job)
        self._despatch()

    def renew(self, limits: HopLimits) -> None:
        """Use these settings, and certificates as they are now, for sessions from now on."""
        self._limits = limits
        self._generation += 1
        self.give_up_idle()

    def withdraw(self) -> list[Job]:
        """Return and forget the jobs that no connection has taken yet."""
        jobs = list(self._queue)
        self._queue.clear()
        return jobs

    def close(self) -> None:
        """Close idle connections; busy ones end with their transaction."""
        self.give_up_idle()
        self._slots.leave(self)

    def abort(self) -> None:
        """Drop everything at once (end of the process)."""
        self._slots.leave(self)
        for dial in self._dials:
            dial.cancel()
        for connection in list(self._open):
            self._forget(connection)
            connection.abort()

    # --- reports of connections

    def finished(self, connection: ClientConnection, outcome: Outcome) -> None:
        """A transaction ended."""
        job = self._busy.pop(connection)
        self._window = min(self._window + 1, self._slots.per_host * self._hosts)
        current = connection.generation == self._generation
        if outcome.reusable and current and connection.transactions < TRANSACTIONS_LIMIT:
            self._next(connection)
        else:
            connection.quit()
        if _left_meanwhile(connection, outcome) and not job.fresh_retry:
            job.fresh_retry = True
            self._queue.appendleft(job)
        else:
            self._hand_back(job, outcome.recipients, "", connection, outcome.cause)
        self._despatch()

    def lost(self, connection: ClientConnection, event: Closed) -> None:
        """The connection is gone."""
        self._forget(connection)
        for entry in self._idle:
            if entry[0] is connection:
                entry[1].cancel()
                self._idle.remove(entry)
                break
        job = self._busy.pop(connection, None)
        if job is not None:
            if connection.transactions > 1 and not event.data_ended and not job.fresh_retry:
                # The peer closed a kept connection as it may; nothing was handed over yet.
                job.fresh_retry = True
                self._queue.appendleft(job)
            else:
                self._shrink()
                self._hand_back(job, event.recipients, event.reason, connection, None)
        self._servers.pop(connection, None)
        self._despatch()

    # --- what `relay.slots` asks

    def try_again(self) -> None:
        """There may be a free session now."""
        asyncio.get_running_loop().call_soon(self._take_chance)

    def give_up_idle(self) -> None:
        """Close idle connections: others wait for their slots."""
        idle, self._idle = self._idle, []
        for connection, timer in idle:
            timer.cancel()
            connection.quit()

    # --- inside

    def _despatch(self) -> None:
        while self._queue and self._idle:
            connection, timer = self._idle.pop()
            timer.cancel()
            self._start(connection, self._queue.popleft())
        while len(self._queue) > len(self._dials):
            held = len(self._open) + len(self._dials)
            if held >= self._window and held:
                return
            pause = self._full_until - asyncio.get_running_loop().time()
            if self._open and pause > 0:
                self._look_again(pause)
                return
            if not self._slots.allows(held):
                return  # the sessions it has look for more when they are done with what they do
            if not (held or self._probing) and self._queue[0].probe:
                if not self._slots.take_probe(self):
                    return
                self._probing = True
            self._slots.use(self)
            self._dials.add(self._tasks.spawn(self._dial()))

    def _take_chance(self) -> None:
        self._despatch()
        self._slots.pass_on()

    def _look_again(self, pause_s: float) -> None:
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(pause_s, self._look)

    def _look(self) -> None:
        self._again = None
        self._despatch()

    async def _dial(self) -> None:
        generation = self._generation
        try:
            settings = self._limits.lmtp if self.plan.lmtp else self._limits.client
            result = await self._dialler.dial(self.plan, settings, self)
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._dials.discard(task)
            if self._probing and not self._dials:
                self._probing = False
                self._slots.give_back_probe()
        if isinstance(result, NoSession):
            self._failed(result)
        elif result.gone:  # closed by the peer as soon as it was open
            self._slots.give_back(result.label)
            self._failed(NoSession(Obstacle.REFUSED, reply(451, "4.4.2", f"{result.label}: connection lost")))
        else:
            result.generation = generation
            self._open.add(result)
            self._next(result)
        if self.unused:
            self._slots.leave(self)

    def _failed(self, result: NoSession) -> None:
        """A session could not be had. While others are open or on their way, the jobs wait for those."""
        if result.obstacle is Obstacle.FULL:
            if self._queue and not (self._open or self._dials):
                self._slots.wait(self)
                self._look_again(_FULL_RETRY_S * min(self._slots.waiting, _LONGEST_RETRY))
            return
        self._shrink()
        if self._open or self._dials:
            self._full_until = asyncio.get_running_loop().time() + _PEER_FULL_S
            return
        jobs = self.withdraw()
        if jobs:
            self._despatcher.unreached(self.plan.label, jobs, result.reply)

    def _shrink(self) -> None:
        self._window = max(1.0, self._window / 2)

    def _next(self, connection: ClientConnection) -> None:
        held = len(self._open)
        if self._slots.is_wanted(held, connection.transactions):
            connection.quit()
            if self._queue and held == 1:
                self._slots.wait(self)
        elif self._queue:
            self._start(connection, self._queue.popleft())
        elif self._slots.someone_waits():
            connection.quit()
        else:
            self._keep(connection, IDLE_S)

    def _keep(self, connection: ClientConnection, rest_s: float) -> None:
        pause = min(rest_s, IDLE_LOOK_S)
        timer = asyncio.get_running_loop().call_later(pause, self._idled, connection, rest_s - pause)
        self._idle.append((connection, timer))

    def _idled(self, connection: ClientConnection, rest_s: float) -> None:
        self._idle = [entry for entry in self._idle if entry[0] is not connection]
        if rest_s <= 0 or self._slots.is_full(connection.label):
            connection.quit()
        else:
            self._keep(connection, rest_s)

    def _start(self, connection: ClientConnection, job: Job) -> None:
        self._busy[connection] = job
        work = job.work
        if not self._despatcher.is_at_hand(work):
            self._tasks.spawn(self._load_and_start(connection, job))
            return
        self._begin(connection, job)

    async def _load_and_start(self, connection: ClientConnection, job: Job) -> None:
        loaded = await self._despatcher.load(job.work)
        if self._busy.get(connection) is not job:
            return  # lost meanwhile, and the job handed back
        if loaded:
            self._begin(connection, job)
            return
        del self._busy[connection]
        self._next(connection)

    def _begin(self, connection: ClientConnection, job: Job) -> None:
        work = job.work
        stored, prefix = work.stored, self._despatcher.prefix(job)
        form = work.seven_bit if job.seven_bit else None
        if form is not None:
            chunks = content_chunks(form.content, None, len(form.content), prefix, form.splices)
            size = edited_size(len(form.content), form.splices)
        else:
            chunks = content_chunks(work.content, work.path, stored.content.size, prefix, stored.splices)
            size = edited_size(stored.content.size, stored.splices)
        job.began = asyncio.get_running_loop().time()
        connection.start(_transaction(job, len(prefix) + size), chunks)

    def _hand_back(
        self,
        job: Job,
        outcomes: Sequence[RecipientOutcome],
        reason: str,
        connection: ClientConnection,
        cause: LocalCause | None,
    ) -> None:
        if len(outcomes) != len(job.pendings):
            lost = reply(451, "4.4.2", reason)
            outcomes = [RecipientOutcome(i, lost) for i in range(len(job.pendings))]
        surplus = [p for p, result in zip(job.pendings, outcomes, strict=True) if result.again]
        if surplus and len(surplus) < len(job.pendings):
            # The peer takes fewer recipients at once than we offered (RFC 5321 §4.5.3.1.10): the rest goes on.
            job.work.jobs += 1
            rest = Job(job.work, job.plan, surplus)
            rest.seven_bit = job.seven_bit
            self._queue.append(rest)
            job.pendings = tuple(p for p, result in zip(job.pendings, outcomes, strict=True) if not result.again)
            outcomes = [result for result in outcomes if not result.again]
        replies: list[Reply] = [result.reply for result in outcomes]
        server = self._servers.get(connection)
        if server is None:
            server = self._servers[connection] = describe_server(
                connection.server, connection.label, connection.tls, reports=connection.supports_dsn
            )
        self._despatcher.finished(job, replies, server, cause)

    def _forget(self, connection: ClientConnection) -> None:
        if connection in self._open:
            self._open.discard(connection)
            self._slots.give_back(connection.label)
            if not (self._open or self._dials or self._queue):
                self._slots.leave(self)


def _transaction(job: Job, size: int) -> Transaction:
    envelope = job.work.stored.envelope
    return Transaction(
        sender=envelope.sender,
        recipients=tuple([envelope.recipients[p.recipient] for p in job.pendings]),
        size=size,
        body=Body.SEVEN_BIT if job.seven_bit else envelope.body,
        ret=envelope.ret,
        envid=envelope.envid,
        smtputf8=envelope.smtputf8,
        header_utf8=envelope.smtputf8 and needs_utf8_header(job.work),
        plain=job.work.plain and not job.work.stored.splices and not job.seven_bit,
    )


def _left_meanwhile(connection: ClientConnection, outcome: Outcome) -> bool:
    """Tell whether the peer's farewell to a kept connection (421, RFC 5321 §3.8) crossed our next transaction."""
    return (
        connection.transactions > 1
        and not outcome.reusable
        and all(result.reply.code == 421 for result in outcome.recipients)
    )
