"""Connections to one next hop: opened on demand up to the limits, re-used, closed when idle.

Called by `relay.delivery`; reports outcomes back to it. Knows nothing of queues, retries or reports.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from gatepost.model.reply import Reply, reply
from gatepost.relay.admission import SessionTable
from gatepost.relay.connection import ClientConnection
from gatepost.relay.routing import NextHop
from gatepost.relay.tasks import Tasks
from gatepost.relay.work import Work, content_chunks, edited_size
from gatepost.smtp.client import ClientSettings, Closed, Outcome, RecipientOutcome, Transaction
from gatepost.spool.interface import Pending

CONNECT_LIMIT_S = 30.0
"""Longest wait for a connection to come about: a host that drops packets must not hold jobs for minutes."""
IDLE_S = 5.0
"""How long an unused connection is kept: long enough for the next mail of a burst."""
TRANSACTIONS_LIMIT = 1000
"""Transactions on one connection before it is renewed, so that load spreads and peers may restart."""
_FULL_RETRY_S = 0.1
"""Pause before asking again for a session when other relays hold all that are allowed."""
_PEER_FULL_S = 5.0
"""A peer that refused one more session while it serves others of ours is not asked for more for so long."""


class Job:
    """Some recipients of one message for one next hop."""

    __slots__ = ("fresh_retry", "hop", "pendings", "work")

    def __init__(self, work: Work, hop: NextHop, pendings: Sequence[Pending]) -> None:
        self.work = work
        self.hop = hop
        self.pendings = tuple(pendings)
        self.fresh_retry = False
        """It was tried on a kept connection that the peer had closed meanwhile, and gets a fresh one."""


class Despatcher(Protocol):
    """Who gives jobs and takes their outcomes (`relay.delivery`)."""

    def finished(self, job: Job, replies: Sequence[Reply], server: str, *, peer_reports: bool) -> None:
        """A peer answered for every recipient of the job, in order of `job.pendings`."""

    def unreached(self, hop: NextHop, jobs: Sequence[Job], cause: Reply) -> None:
        """No session with the next hop could be had."""

    async def load(self, work: Work) -> bool:
        """See that the content is at hand; False: it cannot be read and the message was dealt with."""


class HopLimits(msgspec.Struct, frozen=True):
    """Session limits and settings in force."""

    sessions_total: int
    sessions_per_host: int
    client: ClientSettings
    write_timeout_s: float


class HopConnections:
    """The connections of this relay to one next hop."""

    def __init__(
        self, hop: NextHop, limits: HopLimits, table: SessionTable, despatcher: Despatcher, tasks: Tasks
    ) -> None:
        self.hop = hop
        self.limits = limits
        self._table = table
        self._despatcher = despatcher
        self._queue: deque[Job] = deque()
        self._idle: list[tuple[ClientConnection, asyncio.TimerHandle]] = []
        self._busy: dict[ClientConnection, Job] = {}
        self._open: set[ClientConnection] = set()
        self._connecting = 0
        self._again: asyncio.TimerHandle | None = None
        self._full_until = 0.0
        self._tasks = tasks

    @property
    def unused(self) -> bool:
        """No job and no connection: it may be forgotten."""
        return not (self._queue or self._open)

    def add(self, job: Job) -> None:
        """Deliver a job as soon as a connection is free; one put ahead by an operator (due 0) before all others."""
        if job.pendings[0].due:
            self._queue.append(job)
        else:
            self._queue.appendleft(job)
        self._despatch()

    def withdraw(self) -> list[Job]:
        """Return and forget the jobs that no connection has taken yet."""
        jobs = list(self._queue)
        self._queue.clear()
        return jobs

    def close(self) -> None:
        """Close idle connections; busy ones end with their transaction."""
        idle, self._idle = self._idle, []
        for connection, timer in idle:
            timer.cancel()
            connection.quit()

    def abort(self) -> None:
        """Drop everything at once (end of the process)."""
        for connection in list(self._open):
            self._forget(connection)
            connection.abort()

    # --- reports of connections

    def ready(self, connection: ClientConnection) -> None:
        """Greeting and EHLO went well."""
        self._connecting -= 1
        self._next(connection)

    def finished(self, connection: ClientConnection, outcome: Outcome) -> None:
        """A transaction ended."""
        job = self._busy.pop(connection)
        if outcome.reusable and connection.transactions < TRANSACTIONS_LIMIT:
            self._next(connection)
        else:
            connection.quit()
        if _left_meanwhile(connection, outcome) and not job.fresh_retry:
            job.fresh_retry = True
            self._queue.appendleft(job)
        else:
            self._hand_back(job, outcome.recipients, "", connection)
        self._despatch()

    def lost(self, connection: ClientConnection, event: Closed) -> None:
        """The connection is gone."""
        self._forget(connection)
        for entry in self._idle:
            if entry[0] is connection:
                entry[1].cancel()
                self._idle.remove(entry)
                break
        if not connection.greeted:
            self._connecting -= 1
            self._failed(reply(451, "4.4.2", f"{self.hop.label}: {event.reason}"))
        job = self._busy.pop(connection, None)
        if job is not None:
            if connection.transactions > 1 and not event.data_ended and not job.fresh_retry:
                # The peer closed a kept connection as it may; nothing was handed over yet.
                job.fresh_retry = True
                self._queue.appendleft(job)
            else:
                self._hand_back(job, event.recipients, event.reason, connection)
        self._despatch()

    # --- inside

    def _despatch(self) -> None:
        while self._queue and self._idle:
            connection, timer = self._idle.pop()
            timer.cancel()
            self._start(connection, self._queue.popleft())
        while len(self._queue) > self._connecting:
            if len(self._open) >= self.limits.sessions_per_host:
                return
            pause = self._full_until - asyncio.get_running_loop().time()
            if self._open and pause > 0:
                self._look_again(pause)
                return
            refused = self._table.enter(
                self.hop.label,
                incoming=False,
                total_limit=self.limits.sessions_total,
                address_limit=self.limits.sessions_per_host,
            )
            if refused:
                if not self._open:
                    self._look_again(_FULL_RETRY_S)
                return
            connection = ClientConnection(self.limits.client, self.limits.write_timeout_s, self)
            self._open.add(connection)
            self._connecting += 1
            self._tasks.spawn(self._connect(connection))

    def _look_again(self, pause_s: float) -> None:
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(pause_s, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        self._despatch()

    async def _connect(self, connection: ClientConnection) -> None:
        try:
            async with asyncio.timeout(min(self.limits.client.initial_s, CONNECT_LIMIT_S)):
                await asyncio.get_running_loop().create_connection(lambda: connection, self.hop.host, self.hop.port)
        except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a host that cannot be a name in DNS
            connection.abort()
            self._connecting -= 1
            self._forget(connection)
            self._failed(reply(451, "4.4.1", f"connect to {self.hop.label}: {_describe(error)}"))

    def _failed(self, cause: Reply) -> None:
        """A session could not be had. While others are open or on their way, the jobs wait for those."""
        if self._open:
            self._full_until = asyncio.get_running_loop().time() + _PEER_FULL_S
            return
        jobs = self.withdraw()
        if jobs:
            self._despatcher.unreached(self.hop, jobs, cause)

    def _next(self, connection: ClientConnection) -> None:
        if self._queue:
            self._start(connection, self._queue.popleft())
            return
        timer = asyncio.get_running_loop().call_later(IDLE_S, self._idled, connection)
        self._idle.append((connection, timer))

    def _idled(self, connection: ClientConnection) -> None:
        self._idle = [entry for entry in self._idle if entry[0] is not connection]
        connection.quit()

    def _start(self, connection: ClientConnection, job: Job) -> None:
        self._busy[connection] = job
        work = job.work
        if work.content is None and work.path is None:
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
        stored = job.work.stored
        envelope = stored.envelope
        transaction = Transaction(
            sender=envelope.sender,
            recipients=tuple(envelope.recipients[p.recipient] for p in job.pendings),
            size=len(stored.prefix) + edited_size(stored.content.size, stored.splices),
            body=envelope.body,
            ret=envelope.ret,
            envid=envelope.envid,
        )
        work = job.work
        chunks = content_chunks(work.content, work.path, stored.content.size, stored.prefix, stored.splices)
        connection.start(transaction, chunks)

    def _hand_back(
        self, job: Job, outcomes: Sequence[RecipientOutcome], reason: str, connection: ClientConnection
    ) -> None:
        if len(outcomes) != len(job.pendings):
            lost = reply(451, "4.4.2", reason)
            outcomes = [RecipientOutcome(i, lost) for i in range(len(job.pendings))]
        surplus = [p for p, result in zip(job.pendings, outcomes, strict=True) if result.again]
        if surplus and len(surplus) < len(job.pendings):
            # The peer takes fewer recipients at once than we offered (RFC 5321 §4.5.3.1.10): the rest goes on.
            job.work.jobs += 1
            self._queue.append(Job(job.work, job.hop, surplus))
            job.pendings = tuple(p for p, result in zip(job.pendings, outcomes, strict=True) if not result.again)
            outcomes = [result for result in outcomes if not result.again]
        replies = [result.reply for result in outcomes]
        self._despatcher.finished(job, replies, connection.server, peer_reports=connection.supports_dsn)

    def _forget(self, connection: ClientConnection) -> None:
        if connection in self._open:
            self._open.discard(connection)
            self._table.leave(self.hop.label, incoming=False)


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "connection timed out"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _left_meanwhile(connection: ClientConnection, outcome: Outcome) -> bool:
    """Tell whether the peer's farewell to a kept connection (421, RFC 5321 §3.8) crossed our next transaction."""
    return (
        connection.transactions > 1
        and not outcome.reusable
        and all(result.reply.code == 421 for result in outcome.recipients)
    )
