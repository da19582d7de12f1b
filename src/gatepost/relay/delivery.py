"""Delivery: plans where messages go, hands them to connections, and passes on what became of them.

Fresh mail comes from `relay.disposal` with its content in memory; everything else from `relay.schedule` when it is due.
Back-off of an unreachable destination is state of the destination: its messages are not rewritten; only an attempt
that reached a peer, or the first deferral, writes a message.

Promises: an outcome is durable before the message leaves work; a final failure and its report are one commit; what is
in hand is bounded in number and bytes, for every destination too (`relay.shares`), the rest waits in the spool.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from gatepost.config.schema import Config
from gatepost.filter.pool import FilterPool
from gatepost.model.ids import format_queue_id
from gatepost.model.reply import Reply, reply
from gatepost.relay.admission import SessionTable
from gatepost.relay.conclusion import Conclusions
from gatepost.relay.destinations import Destinations
from gatepost.relay.dialling import Dialler
from gatepost.relay.hops import HopConnections
from gatepost.relay.jobs import HopLimits, Job, Server
from gatepost.relay.mailhosts import HostPlan
from gatepost.relay.outgoing_tls import OutgoingTls
from gatepost.relay.own_mark import OwnMark, digest_of
from gatepost.relay.planning import Planner
from gatepost.relay.reencoding import Unavailable, make_seven_bit
from gatepost.relay.reports import RELEASES, Reports
from gatepost.relay.retry import expiry_reply, retry_rules
from gatepost.relay.routing import NextHop, RoutingTable, Unroutable, Way, parse_way
from gatepost.relay.settlement import Settlement
from gatepost.relay.shares import Shares
from gatepost.relay.slots import Count, SessionSlots
from gatepost.relay.sts_store import StsStore
from gatepost.relay.suspects import Suspects
from gatepost.relay.tasks import Tasks
from gatepost.relay.work import READ_PAUSE_S, Work, content_chunks, read_content
from gatepost.resolver.resolver import Resolver
from gatepost.smtp.client import ClientSettings, LocalCause
from gatepost.spool import clock
from gatepost.spool.interface import NewMessage, Pending, Spool, SpoolError, State, Stored

RECIPIENTS_PER_JOB = 100
"""Recipients in one transaction: what every peer must take (RFC 5321 §4.5.3.1.8)."""
_STOP_POLL_S = 0.02
_LAST_WRITES_S = 1.0
"""How long a stop waits for the disk to take what is known of mail that could not be finished."""
_SEVEN_BIT_WOULD_DO = frozenset({LocalCause.EIGHT_BIT, LocalCause.BINARY})

_Planned = dict[HostPlan, list[Pending]]
_Hopeless = list[tuple[str, Reply, list[Pending]]]
"""Recipient domain, why there is no plan, and whom it concerns."""


class Delivery:
    """The delivery stage of one relay. Implements `relay.jobs.Despatcher`."""

    def __init__(
        self,
        *,
        spool: Spool,
        shard: int,
        table: SessionTable,
        resolver: Resolver,
        pool: FilterPool,
        reports: Reports,
        own: OwnMark,
        suspects: Suspects,
        report: Callable[[str, str], None],
        trouble: Callable[[BaseException], None],
        count: Count,
    ) -> None:
        """`report(level, text)` logs; `trouble` is told of failures of the spool and of faults of ours; `count` counts
        a statistic.
        """
        self._spool = spool
        self._pool = pool
        self._reports = reports
        self._own = own
        self._suspects = suspects
        self._report = report
        self._work: dict[int, Work] = {}
        self._shares = Shares()
        self.claimed: set[int] = set()
        """Messages an operator is acting on: nobody takes them up meanwhile."""
        self._hops: dict[HostPlan, HopConnections] = {}
        self._tasks = Tasks(trouble)
        self._checking = asyncio.Lock()
        """Large content is read one at a time: of so much memory there is enough for one."""
        self.slots = SessionSlots(table)
        self._dialler = Dialler(resolver=resolver, slots=self.slots, tasks=self._tasks, count=count)
        self._sts = StsStore(resolver, number=shard, report=report)
        self._planner = Planner(resolver=resolver, sts=self._sts, count=count)
        self.wake = asyncio.Event()
        """Set when something may have become due."""
        self.destinations = Destinations(
            spool,
            trouble=trouble,
            changed=self.wake.set,
            woken=self._dialler.forget_unreachable,
            ours=lambda: resolver.silence is not None,
        )
        self._settlement = Settlement(
            spool, settled=self._leave, reported=self.submit_own, report=report, trouble=trouble
        )
        self._conclusions = Conclusions(
            settlement=self._settlement,
            destinations=self.destinations,
            reports=reports,
            shares=self._shares,
            tasks=self._tasks,
            report=report,
        )
        self.running = True
        """False: sending is switched off, mail gathers in the spool."""

    def configure(self, config: Config, tls: OutgoingTls) -> None:
        """Take a (new) configuration into use for attempts that begin from now on."""
        times, limits = config.timeouts, config.limits
        self._reencode = config.options.reencode_eight_bit
        self._filter_deadline_s = config.filter.filter_deadline
        self._routing = RoutingTable(config)
        rules = retry_rules(config)
        self.destinations.configure(rules)
        self._conclusions.configure(rules)
        self._planner.configure(config, tls)
        self._dialler.configure(config, tls)
        self.slots.configure(limits.outgoing_sessions, limits.maximal_outgoing_sessions_per_host)
        client = ClientSettings(
            hostname=config.network.hostname,
            initial_s=times.sending_initial_timeout,
            hello_s=times.sending_hello_timeout,
            mail_s=times.sending_mail_timeout,
            rcpt_s=times.sending_rcpt_timeout,
            data_initiation_s=times.sending_data_initiation_timeout,
            data_termination_s=times.sending_data_termination_timeout,
            quit_s=times.sending_quit_timeout,
            write_s=times.write_timeout,
            chunking=True,
        )
        self._limits = HopLimits(client, msgspec.structs.replace(client, lmtp=True))
        for hop in self._hops.values():
            hop.renew(self._limits)
        self.wake.set()

    # --- work coming in

    def in_work(self) -> int:
        """Return how many messages are in work."""
        return len(self._work)

    def room(self) -> int:
        """Return how many messages may be read back from the spool now."""
        return self._shares.room_to_read_back()

    def room_for(self, domain: str) -> int:
        """Return how many more messages one destination may have in work."""
        return self._shares.room_for(domain)

    def in_hand(self, domain: str) -> int:
        """Return how many messages for one destination are in work."""
        return self._shares.in_hand(domain)

    def ids_in_work(self) -> frozenset[int]:
        """Return the ids of all messages in work."""
        return frozenset(self._work)

    def is_in_work(self, message_id: int) -> bool:
        """Tell whether this message is in work, or kept from it for the moment."""
        return message_id in self._work or message_id in self.claimed

    def has(self, message_id: int) -> bool:
        """Tell whether this message is in work."""
        return message_id in self._work

    def submit(self, work: Work) -> None:
        """Deliver a message whose `stored.pending` says to whom."""
        self._enter(work)
        now = clock.now()
        if not self.running or self._shares.full:
            self._park(work)
            return
        by_way: dict[tuple[Way, str], list[Pending]] = {}
        later = 0
        for pending in work.stored.pending:
            domain = pending.domain
            if pending.due > now or self.destinations.retry_at(domain) > now or self._shares.room_for(domain) < 0:
                later += 1
                continue
            way = self._way_of(work.stored, pending)
            if isinstance(way, Unroutable):
                later += 1
                self.destinations.rest(domain, way.reason, now)
            else:
                by_way.setdefault((way, domain), []).append(pending)
        planned: _Planned = {}
        unknown: list[tuple[Way, str, list[Pending]]] = []
        for (way, domain), pendings in by_way.items():
            plan = self._planner.plan_named(way, domain)
            if plan is None:
                unknown.append((way, domain, pendings))
            else:
                planned.setdefault(plan, []).extend(pendings)
        if unknown:
            self._tasks.spawn(self._plan_then_begin(work, planned, unknown, later))
        else:
            self._begin_planned(work, planned, [], later)

    def _way_of(self, stored: Stored, pending: Pending) -> Way | Unroutable:
        if stored.route:
            return parse_way(stored.route)
        return self._routing.resolve(stored.envelope.recipients[pending.recipient].address)

    async def _plan_then_begin(
        self, work: Work, planned: _Planned, unknown: Sequence[tuple[Way, str, list[Pending]]], later: int
    ) -> None:
        """Ask DNS where the rest goes, then begin."""
        found = await asyncio.gather(*(self._planner.plan(way, domain) for way, domain, _ in unknown))
        if not self.running:
            self._park(work)
            return
        hopeless: _Hopeless = []
        for (_, domain, pendings), plan in zip(unknown, found, strict=True):
            if isinstance(plan, Reply):
                hopeless.append((domain, plan, pendings))
            else:
                planned.setdefault(plan, []).extend(pendings)
        self._begin_planned(work, planned, hopeless, later)

    def _begin_planned(self, work: Work, planned: _Planned, hopeless: _Hopeless, later: int) -> None:
        jobs = [
            Job(work, plan, pendings[at : at + RECIPIENTS_PER_JOB], probe=self._failed_before(pendings[0]))
            for plan, pendings in planned.items()
            for at in range(0, len(pendings), RECIPIENTS_PER_JOB)
        ]
        attempts = len(jobs) + len(hopeless)
        if not attempts:
            self._park(work)
        elif work.durable or (attempts == 1 and not later):
            self._begin(work, jobs, hopeless)
        else:
            # More than one attempt will be needed: the disposition is durable before the first byte goes out.
            self._tasks.spawn(self._store_then_begin(work, jobs, hopeless))

    def _failed_before(self, pending: Pending) -> bool:
        return bool(self.destinations.reason(pending.domain))

    def _enter(self, work: Work) -> None:
        self._work[work.stored.id] = work
        work.domains = frozenset([pending.domain for pending in work.stored.pending])
        self._shares.enter(work.domains, len(work.content) if work.content is not None else 0)

    def _leave(self, work: Work) -> None:
        if self._work.pop(work.stored.id, None) is None:
            return
        self._shares.leave(work.domains, len(work.content) if work.content is not None else 0)
        if work.suspect:
            self._suspects.done(work.stored.id, remains=bool(work.stored.pending))
        if work.stored.pending:
            self.wake.set()

    def _begin(self, work: Work, jobs: Sequence[Job], hopeless: _Hopeless) -> None:
        work.jobs = len(jobs) + len(hopeless)
        for job in jobs:
            self._add(job)
        for domain, cause, pendings in hopeless:
            self._conclusions.unreached(domain, [Job(work, None, pendings)], cause)

    def _add(self, job: Job) -> None:
        assert job.plan is not None
        hop = self._hops.get(job.plan)
        if hop is None:
            hop = HopConnections(job.plan, self._limits, self._dialler, self.slots, self, self._tasks)
            self._hops[job.plan] = hop
        hop.add(job)

    async def _store_then_begin(self, work: Work, jobs: Sequence[Job], hopeless: _Hopeless) -> None:
        records, work.records = work.records, []
        await self._settlement.store(work, work.stored, records)
        work.durable = True
        self._begin(work, jobs, hopeless)

    def _park(self, work: Work) -> None:
        """Leave a message in the spool for later."""
        if work.durable and not work.records:
            self._leave(work)
            return
        self._tasks.spawn(self._park_durably(work))

    async def _park_durably(self, work: Work) -> None:
        await self._settlement.store(work, work.stored, work.records)
        self._leave(work)

    # --- outcomes (called by HopConnections)

    def is_at_hand(self, work: Work) -> bool:
        """Tell whether the content is there, and for what is released the digest that its mark holds."""
        return (work.content is not None or work.path is not None) and (bool(work.digest) or not self._is_marked(work))

    def prefix(self, job: Job) -> bytes:
        """Return what is sent in front of the content: what is released is marked for those it goes to."""
        stored = job.work.stored
        if not job.work.digest:
            return stored.prefix
        addresses = [stored.envelope.recipients[pending.recipient].address for pending in job.pendings]
        return self._own.build_released(job.work.digest, addresses, clock.now()) + stored.prefix

    def _is_marked(self, work: Work) -> bool:
        return work.stored.kind in RELEASES and self._own.active

    async def load(self, work: Work) -> bool:
        """See that the content is at hand, and the digest of what is marked."""
        if work.content is None and work.path is None and not await self._load(work):
            return False
        if self._is_marked(work):
            try:
                work.digest = await asyncio.to_thread(_digest_of, work)
            except OSError as error:
                await self._set_aside(work, f"content cannot be read: {error}")
                return False
        return True

    async def _load(self, work: Work) -> bool:
        try:
            if work.stored.content.in_file:
                async with self._checking:
                    await read_content(self._spool, work.stored.content)  # damaged content is held, not sent
                work.path = self._spool.content_file(work.stored.content)
            else:
                content = await read_content(self._spool, work.stored.content)
                # Another job may have brought it meanwhile, or the message may have left work.
                if work.content is None and self._work.get(work.stored.id) is work:
                    work.content = content
                    self._shares.grow(work.domains, len(content))
        except SpoolError as error:
            await self._set_aside(work, f"content cannot be read: {error}")
            return False
        return True

    async def _set_aside(self, work: Work, reason: str) -> None:
        try:
            await self._suspects.hold(work.stored.id, reason)
        except SpoolError as error:
            self._report("E", f"{format_queue_id(work.stored.id)}: not held, trying again: {error}")
            await asyncio.sleep(READ_PAUSE_S)
        self._leave(work)

    def finished(self, job: Job, replies: Sequence[Reply], server: Server, cause: LocalCause | None) -> None:
        """A peer answered for every recipient of the job; `cause`: we did, because the peer cannot take it."""
        if cause in _SEVEN_BIT_WOULD_DO and self._reencode and not job.seven_bit:
            self._tasks.spawn(self._send_seven_bit(job, replies, server))
            return
        self._conclusions.answered(job, replies, server)

    async def _send_seven_bit(self, job: Job, replies: Sequence[Reply], server: Server) -> None:
        """Send a job to a server that takes 7 bits only, or let it fail as it would have without."""
        work = job.work
        if work.seven_bit is None:
            try:
                form = await make_seven_bit(work, self._spool, self._pool, self._filter_deadline_s)
            except Unavailable as error:
                wait = reply(451, "4.3.0", f"the content cannot be re-encoded now: {error}")
                self.unreached(server.label, [job], wait)
                return
            if isinstance(form, str):
                self._report("I", f"{format_queue_id(work.stored.id)}: not re-encoded for {server.label}: {form}")
                self._conclusions.answered(job, replies, server)
                return
            work.seven_bit = form
        job.seven_bit = True
        if self.running:
            self._add(job)
        else:
            self._settlement.job_done(work)

    def unreached(self, label: str, jobs: Sequence[Job], cause: Reply) -> None:
        """No session could be had."""
        self._conclusions.unreached(label, jobs, cause)

    def submit_own(self, generated: Sequence[NewMessage]) -> None:
        """Take mail that we wrote ourselves, and that is durable: reports, notifications."""
        for new in generated:
            self.submit(Work(new.stored, None, durable=True))

    # --- steering

    def switch(self, *, on: bool) -> None:
        """Start or stop sending; transactions under way end by themselves."""
        self.running = on
        if not on:
            for hop in self._hops.values():
                for job in hop.withdraw():
                    self._settlement.job_done(job.work)
        self.wake.set()

    async def pause(self, domains: frozenset[str]) -> None:
        """Let exactly these destinations wait for an operator; what waits for a connection goes back. SpoolError."""
        await self.destinations.pause(domains)
        for hop in self._hops.values():
            for job in hop.withdraw():
                if all(pending.domain in domains for pending in job.pendings):
                    self._settlement.job_done(job.work)
                else:
                    hop.add(job)

    def next_hop_of(self, entry: Stored, pending: Pending) -> str:
        """Return where a recipient's mail goes by the present routes, or why it cannot go, for an operator."""
        way = self._way_of(entry, pending)
        if isinstance(way, Unroutable):
            return way.reason
        return ", ".join(t.label if isinstance(t, NextHop) else f"MX of {t.domain}" for t in way.targets)

    def forget_unused(self) -> None:
        """Drop the state of hosts that have neither work nor connections, and what is past its life."""
        for plan in [plan for plan, hop in self._hops.items() if hop.unused]:
            del self._hops[plan]
        self._dialler.purge()
        self._shares.forget_unused()

    def give_up(self, entry: Stored, *, suspect: bool = False, answer: Reply | None = None) -> None:
        """End a message: a final failure for all its pending recipients, with this answer or, by default, because it
        has waited too long.
        """
        work = Work(entry, None, durable=True, suspect=suspect)
        self._enter(work)
        work.jobs = 1
        reasons = [p.reply for p in entry.pending if p.reply]
        why = reasons[0] if reasons else self.destinations.reason(entry.pending[0].domain)
        job = Job(work, None, entry.pending)
        self._conclusions.conclude(job, [answer or expiry_reply(why)] * len(entry.pending))

    async def tell_of_delay(self, entry: Stored) -> bool:
        """Tell the sender of a message that it still waits. False: not now, for it is in work or the disk refuses."""
        if self.is_in_work(entry.id):
            return False
        work = Work(entry, None, durable=True)
        self._enter(work)
        report = None
        try:
            # What was read before it was in work may have changed since.
            stored = await self._spool.fetch(entry.id)
            if isinstance(stored, Stored) and stored.state is State.READY and not stored.told:
                work.stored = stored
                report = await self._conclusions.tell_of_delay(work, stored)
        except (SpoolError, OSError) as error:
            self._report("E", f"{format_queue_id(entry.id)}: delay report not made: {error}")
            return False
        finally:
            self._leave(work)
        if report is not None:
            self.submit_own([report])
        return True

    # --- the end

    async def stop(self, grace_s: float) -> None:
        """Let transactions under way end, for at most `grace_s`; then drop what is left. Nothing is lost: what was
        not settled is in the spool. Mail that waited for a connection is put there with its disposition.
        """
        self.running = False
        for hop in self._hops.values():
            for job in hop.withdraw():
                self._settlement.job_done(job.work)
            hop.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while self._work and loop.time() < end:  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(_STOP_POLL_S)
        for hop in self._hops.values():
            hop.abort()
        await self._settlement.flush(_LAST_WRITES_S)
        await self._sts.close()


def _digest_of(work: Work) -> str:
    """Return the digest of what is sent. OSError."""
    stored = work.stored
    return digest_of(content_chunks(work.content, work.path, stored.content.size, stored.prefix, stored.splices))
