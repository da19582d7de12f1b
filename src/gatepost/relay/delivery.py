"""Delivery: routes messages, hands them to connections, and says what their outcomes mean.

Fresh mail comes from `relay.disposal` with its content in memory; everything else from `relay.schedule` when it is due.
Back-off of an unreachable destination is state of the destination: its messages are not rewritten; only an attempt
that reached a peer, or the first deferral, writes a message.

Promises: an outcome is durable before the message leaves work; a final failure and its report are one commit; at most
`WORK_LIMIT` messages and `MEMORY_LIMIT` bytes are in hand, the rest waits in the spool.
"""

import asyncio
import re
from collections.abc import Callable, Sequence

from gatepost.config.schema import Config
from gatepost.model.address import domain_of
from gatepost.model.ids import format_queue_id
from gatepost.model.record import Deferred, Delivered, Generated, Record
from gatepost.model.reply import Reply
from gatepost.notices.outcome import ReportKind
from gatepost.relay.admission import SessionTable
from gatepost.relay.destinations import Destinations
from gatepost.relay.hops import HopConnections, HopLimits, Job
from gatepost.relay.reports import Reports
from gatepost.relay.retry import (
    Aftermath,
    Attempt,
    describe,
    expired,
    expiry_reply,
    keep_failed,
    plan_aftermath,
    retry_rules,
)
from gatepost.relay.routing import NextHop, RoutingTable, Unroutable
from gatepost.relay.settlement import Settlement
from gatepost.relay.suspects import Suspects
from gatepost.relay.tasks import Tasks
from gatepost.relay.work import READ_PAUSE_S, Work, read_content
from gatepost.smtp.client import ClientSettings
from gatepost.spool import clock
from gatepost.spool.interface import NewMessage, Pending, Spool, SpoolError, Stored

WORK_LIMIT = 1000
"""Messages in delivery at once; beyond it fresh mail is parked in the spool."""
MEMORY_LIMIT = 32 * 1024 * 1024
"""Bytes of content held for delivery."""
READ_BACK_LIMIT = 500
"""Messages in delivery beyond which none are read back: the other half of the limit is for fresh mail."""
RECIPIENTS_PER_JOB = 100
"""Recipients in one transaction: what every peer must take (RFC 5321 §4.5.3.1.8)."""
DESTINATION_LIMIT = 400
"""Messages in delivery for one destination: one that is slow must leave room for the rest, fresh or read back."""
_STOP_POLL_S = 0.02


class Delivery:
    """The delivery stage of one relay. Implements `relay.hops.Despatcher`."""

    def __init__(
        self,
        *,
        spool: Spool,
        table: SessionTable,
        reports: Reports,
        suspects: Suspects,
        report: Callable[[str, str], None],
        trouble: Callable[[BaseException], None],
    ) -> None:
        """`report(level, text)` logs; `trouble` is told of failures of the spool and of faults of ours."""
        self._spool = spool
        self._table = table
        self._reports = reports
        self._suspects = suspects
        self._report = report
        self._work: dict[int, Work] = {}
        self._bytes = 0
        self._by_domain: dict[str, int] = {}
        self.claimed: set[int] = set()
        """Messages an operator is acting on: nobody takes them up meanwhile."""
        self._hops: dict[NextHop, HopConnections] = {}
        self._tasks = Tasks(trouble)
        self.wake = asyncio.Event()
        """Set when something may have become due."""
        self.destinations = Destinations(spool, trouble=trouble, changed=self.wake.set)
        self._settlement = Settlement(
            spool, settled=self._leave, reported=self._submit_reports, report=report, trouble=trouble
        )
        self.running = True
        """False: sending is switched off, mail gathers in the spool."""

    def configure(self, config: Config) -> None:
        """Take a (new) configuration into use for attempts that begin from now on."""
        times, limits = config.timeouts, config.limits
        self._routing = RoutingTable(config)
        self._rules = retry_rules(config)
        self.destinations.configure(self._rules)
        client = ClientSettings(
            hostname=config.network.hostname,
            initial_s=times.sending_initial_timeout,
            hello_s=times.sending_hello_timeout,
            mail_s=times.sending_mail_timeout,
            rcpt_s=times.sending_rcpt_timeout,
            data_initiation_s=times.sending_data_initiation_timeout,
            data_termination_s=times.sending_data_termination_timeout,
            quit_s=times.sending_quit_timeout,
        )
        self._limits = HopLimits(
            limits.outgoing_sessions, limits.maximal_outgoing_sessions_per_host, client, times.write_timeout
        )
        for hop in self._hops.values():
            hop.limits = self._limits
        self.wake.set()

    # --- work coming in

    def in_work(self) -> int:
        """Return how many messages are in work."""
        return len(self._work)

    def room(self) -> int:
        """Return how many messages may be read back from the spool now."""
        return max(0, READ_BACK_LIMIT - len(self._work)) if self._bytes <= MEMORY_LIMIT else 0

    def room_for(self, domain: str) -> int:
        """Return how many more messages one destination may have in work."""
        return DESTINATION_LIMIT - self._by_domain.get(domain, 0)

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
        if not self.running or len(self._work) > WORK_LIMIT or self._bytes > MEMORY_LIMIT:
            self._park(work)
            return
        by_hop: dict[NextHop, list[Pending]] = {}
        later = 0
        recipients = work.stored.envelope.recipients
        route = work.stored.route
        for pending in work.stored.pending:
            domain = pending.domain
            if pending.due > now or self.destinations.retry_at(domain) > now or self.room_for(domain) < 0:
                later += 1
                continue
            hop = (
                self._routing.override(route) if route else self._routing.resolve(recipients[pending.recipient].address)
            )
            if isinstance(hop, Unroutable):
                later += 1
                self.destinations.rest(domain, hop.reason, now)
            else:
                by_hop.setdefault(hop, []).append(pending)
        jobs = [
            Job(work, hop, pendings[at : at + RECIPIENTS_PER_JOB])
            for hop, pendings in by_hop.items()
            for at in range(0, len(pendings), RECIPIENTS_PER_JOB)
        ]
        if not jobs:
            self._park(work)
        elif work.durable or (len(jobs) == 1 and not later):
            self._begin(work, jobs)
        else:
            # More than one attempt will be needed: the disposition is durable before the first byte goes out.
            self._tasks.spawn(self._store_then_begin(work, jobs))

    def _enter(self, work: Work) -> None:
        self._work[work.stored.id] = work
        work.domains = frozenset([pending.domain for pending in work.stored.pending])
        for domain in work.domains:
            self._by_domain[domain] = self._by_domain.get(domain, 0) + 1
        if work.content is not None:
            self._bytes += len(work.content)

    def _leave(self, work: Work) -> None:
        if self._work.pop(work.stored.id, None) is None:
            return
        for domain in work.domains:
            left = self._by_domain.pop(domain) - 1
            if left:
                self._by_domain[domain] = left
        if work.content is not None:
            self._bytes -= len(work.content)
        if work.suspect:
            self._suspects.done(work.stored.id, remains=bool(work.stored.pending))
        if work.stored.pending:
            self.wake.set()

    def _begin(self, work: Work, jobs: Sequence[Job]) -> None:
        work.jobs = len(jobs)
        for job in jobs:
            hop = self._hops.get(job.hop)
            if hop is None:
                hop = self._hops[job.hop] = HopConnections(job.hop, self._limits, self._table, self, self._tasks)
            hop.add(job)

    async def _store_then_begin(self, work: Work, jobs: Sequence[Job]) -> None:
        records, work.records = work.records, []
        await self._settlement.store(work, work.stored, records)
        work.durable = True
        self._begin(work, jobs)

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

    async def load(self, work: Work) -> bool:
        """See that the content is at hand."""
        try:
            if work.stored.content.in_file:
                work.path = self._spool.content_file(work.stored.content)
            else:
                content = await read_content(self._spool, work.stored.content)
                # Another job may have brought it meanwhile, or the message may have left work.
                if work.content is None and self._work.get(work.stored.id) is work:
                    work.content = content
                    self._bytes += len(content)
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

    def finished(self, job: Job, replies: Sequence[Reply], server: str, *, peer_reports: bool) -> None:
        """A peer answered for every recipient of the job."""
        for domain in {p.domain for p in job.pendings}:
            self.destinations.answered(domain)
        label = f"{server} {job.hop.label}" if server not in {"", job.hop.host} else job.hop.label
        self._conclude(job, replies, label, _mta_name(job.hop), peer_reports=peer_reports)

    def _conclude(
        self, job: Job, replies: Sequence[Reply], label: str, mta: str, *, peer_reports: bool = False
    ) -> None:
        """Draw the consequences of a reply, a peer's or our own, for every recipient of the job.

        `label` names the peer in records, `mta` in reports ("" = none was tried).
        """
        work = job.work
        stored = work.stored
        now = clock.now()
        recipients = stored.envelope.recipients
        attempts = [
            Attempt(pending, recipients[pending.recipient], answer)
            for pending, answer in zip(job.pendings, replies, strict=True)
        ]
        after = plan_aftermath(attempts, stored.received_at, now, self._rules)
        failed = self._reports.wanted(ReportKind.FAILED, stored, after.failed)
        relayed = self._reports.wanted(ReportKind.RELAYED, stored, after.sent, peer_reports=peer_reports)
        if failed or relayed:
            self._tasks.spawn(self._note_with_reports(job, after, failed, relayed, label, mta, now))
        else:
            self._note(job, after, label, now)

    def _note(
        self,
        job: Job,
        after: Aftermath,
        label: str,
        now: float,
        reports: Sequence[tuple[NewMessage, Generated]] = (),
    ) -> None:
        """Add what an attempt left to the message's outcome, all in one step: it must be settled together."""
        work = job.work
        stored = work.stored
        outcome = self._settlement.outcome(work)
        self._record(outcome.records, work, after.sent, label, now, sent=True)
        self._record(outcome.records, work, after.failed, label, now, sent=False)
        for attempt, pending in zip(after.deferred, after.pending, strict=True):
            outcome.records.append(
                Deferred(stored.id, now, attempt.recipient.address, label, pending.reply, pending.due)
            )
        for report, record in reports:
            outcome.generated.append(report)
            outcome.records.append(record)
        work.change(job.pendings, after.pending)
        self._settlement.job_done(work)

    def unreached(self, hop: NextHop, jobs: Sequence[Job], cause: Reply) -> None:
        """No session with the next hop could be had: its destinations rest, the messages wait."""
        now = clock.now()
        reason = describe(cause)
        domains = {pending.domain for job in jobs for pending in job.pendings}
        for domain in domains:
            self.destinations.rest(domain, reason, now)
        self._report("W", f"{hop.label} not reached, {len(domains)} destination(s) rest: {cause.text}")
        for job in jobs:
            work = job.work
            if expired(work.stored.received_at, now, self._rules):
                self._conclude(job, [expiry_reply(reason)] * len(job.pendings), hop.label, _mta_name(hop))
                continue
            if not work.durable:
                recipients = work.stored.envelope.recipients
                outcome = self._settlement.outcome(work)
                for pending in job.pendings:
                    due = self.destinations.retry_at(pending.domain)
                    address = recipients[pending.recipient].address
                    outcome.records.append(Deferred(work.stored.id, now, address, hop.label, reason, due))
            self._settlement.job_done(work)

    def _record(
        self,
        records: list[Record],
        work: Work,
        attempts: Sequence[Attempt],
        server: str,
        now: float,
        *,
        sent: bool,
    ) -> None:
        stored = work.stored
        for attempt in attempts:
            records.append(  # noqa: PERF401 - one recipient is the rule
                Delivered(
                    stored.id,
                    now,
                    attempt.recipient.address,
                    server,
                    stored.content.size,
                    sent,
                    describe(attempt.reply),
                    now - stored.received_at,
                )
            )

    async def _note_with_reports(
        self,
        job: Job,
        after: Aftermath,
        failed: Sequence[Attempt],
        relayed: Sequence[Attempt],
        label: str,
        mta: str,
        now: float,
    ) -> None:
        reports = []
        for kind, attempts in ((ReportKind.FAILED, failed), (ReportKind.RELAYED, relayed)):
            if not attempts:
                continue
            try:
                reports.append(await self._reports.make(kind, job.work, attempts, mta, now))
            except (SpoolError, OSError) as error:
                self._report("E", f"{format_queue_id(job.work.stored.id)}: {kind.value} report not made: {error}")
                if kind is ReportKind.FAILED:
                    # Without its report the failure must not become final. What was relayed stays so without one.
                    after = keep_failed(after, attempts, now, self._rules)
        self._note(job, after, label, now, reports)

    def _submit_reports(self, generated: Sequence[NewMessage]) -> None:
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
        hop = (
            self._routing.override(entry.route)
            if entry.route
            else self._routing.resolve(entry.envelope.recipients[pending.recipient].address)
        )
        return hop.reason if isinstance(hop, Unroutable) else hop.label

    def forget_unused_hops(self) -> None:
        """Drop the state of next hops that have neither work nor connections."""
        for hop in [hop for hop, connections in self._hops.items() if connections.unused]:
            del self._hops[hop]

    def give_up(self, entry: Stored, *, suspect: bool = False, answer: Reply | None = None) -> None:
        """End a message: a final failure for all its pending recipients, with this answer or, by default, because it
        has waited too long.
        """
        work = Work(entry, None, durable=True, suspect=suspect)
        self._enter(work)
        work.jobs = 1
        domain = domain_of(entry.envelope.recipients[entry.pending[0].recipient].address)
        reasons = [p.reply for p in entry.pending if p.reply]
        why = reasons[0] if reasons else self.destinations.reason(domain)
        job = Job(work, NextHop(domain), entry.pending)
        self._conclude(job, [answer or expiry_reply(why)] * len(entry.pending), "none", "")

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


def _mta_name(hop: NextHop) -> str:
    """Return a next hop as reports name it (RFC 3464 §2.3.5): its name, or its address in brackets."""
    return f"[{hop.host}]" if _ADDRESS.fullmatch(hop.host) else hop.host


_ADDRESS = re.compile(r"[0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
