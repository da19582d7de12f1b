"""Conclusions: what the outcome of an attempt means for its message, written as records, reports and what still waits.

Used by `relay.delivery`, which says who answered what; `relay.settlement` brings it to disk in one commit.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

import msgspec

from gatepost.model.ids import format_queue_id
from gatepost.model.record import Deferred, Delivered, Generated, Record
from gatepost.model.reply import Reply
from gatepost.notices.outcome import ReportKind, parse_outcome
from gatepost.relay.age import is_outlived
from gatepost.relay.destinations import Destinations
from gatepost.relay.jobs import NO_SERVER, Job, Server, describe_server
from gatepost.relay.reports import Reports, outcomes_of
from gatepost.relay.retry import (
    Aftermath,
    Attempt,
    RetryRules,
    describe,
    expiry_reply,
    keep_failed,
    plan_aftermath,
)
from gatepost.relay.settlement import Settlement
from gatepost.relay.shares import Shares
from gatepost.relay.tasks import Tasks
from gatepost.relay.work import Work
from gatepost.spool import clock
from gatepost.spool.interface import NewMessage, SpoolError, Stored


class Conclusions:
    """Drawer of conclusions for one spool."""

    def __init__(
        self,
        *,
        settlement: Settlement,
        destinations: Destinations,
        reports: Reports,
        shares: Shares,
        tasks: Tasks,
        report: Callable[[str, str], None],
    ) -> None:
        """`report(level, text)` logs."""
        self._settlement = settlement
        self._destinations = destinations
        self._reports = reports
        self._shares = shares
        self._tasks = tasks
        self._report = report

    def configure(self, rules: RetryRules) -> None:
        """Take (new) rules into use."""
        self._rules = rules

    def answered(self, job: Job, replies: Sequence[Reply], server: Server) -> None:
        """A peer, or we for it, answered for every recipient of the job."""
        for domain in {pending.domain for pending in job.pendings}:
            self._destinations.answered(domain)
        for pending, answer in zip(job.pendings, replies, strict=True):
            (self._shares.succeeded if answer.positive or answer.permanent else self._shares.failed)(pending.domain)
        self.conclude(job, replies, server)

    def conclude(self, job: Job, replies: Sequence[Reply], server: Server = NO_SERVER) -> None:
        """Draw the consequences of a reply, a peer's or our own, for every recipient of the job."""
        work = job.work
        stored = work.stored
        now = clock.now()
        recipients = stored.envelope.recipients
        attempts = [
            Attempt(pending, recipients[pending.recipient], answer)
            for pending, answer in zip(job.pendings, replies, strict=True)
        ]
        too_old = is_outlived(stored, self._rules.lifetime_s)
        after = plan_aftermath(attempts, now, self._rules, random.random(), too_old=too_old)  # noqa: S311 - no secret
        failed = self._reports.wanted(ReportKind.FAILED, stored, after.failed)
        relayed = self._reports.wanted(ReportKind.RELAYED, stored, after.sent, peer_reports=server.reports)
        if failed or relayed:
            self._tasks.spawn(self._note_with_reports(job, after, failed, relayed, server, now))
        else:
            self._note(job, after, server, now)

    def unreached(self, label: str, jobs: Sequence[Job], cause: Reply) -> None:
        """No session could be had for these jobs: their destinations rest, the messages wait. When there never will
        be one the messages fail.
        """
        if cause.permanent:
            for job in jobs:
                self.conclude(job, [cause] * len(job.pendings))
            return
        now = clock.now()
        reason = describe(cause)
        domains = {pending.domain for job in jobs for pending in job.pendings}
        for domain in domains:
            self._destinations.rest(domain, reason, now)
            self._shares.failed(domain)
        self._report("W", f"{label} not reached, {len(domains)} destination(s) rest: {cause.text}")
        for job in jobs:
            work = job.work
            if is_outlived(work.stored, self._rules.lifetime_s):
                self.conclude(job, [expiry_reply(reason)] * len(job.pendings), describe_server("", label))
                continue
            if not work.durable:
                recipients = work.stored.envelope.recipients
                outcome = self._settlement.outcome(work)
                for pending in job.pendings:
                    due = self._destinations.retry_at(pending.domain)
                    address = recipients[pending.recipient].address
                    outcome.records.append(Deferred(work.stored.id, now, address, label, reason, due))
            self._settlement.job_done(work)

    def _note(
        self,
        job: Job,
        after: Aftermath,
        server: Server,
        now: float,
        reports: Sequence[tuple[NewMessage, Generated]] = (),
    ) -> None:
        """Add what an attempt left to the message's outcome, all in one step: it must be settled together."""
        work = job.work
        stored = work.stored
        outcome = self._settlement.outcome(work)
        took_s = round(asyncio.get_running_loop().time() - job.began, 3) if job.began else 0.0
        _record(outcome.records, work, after.sent, server, now, took_s, sent=True)
        _record(outcome.records, work, after.failed, server, now, took_s, sent=False)
        for attempt, pending in zip(after.deferred, after.pending, strict=True):
            outcome.records.append(
                Deferred(
                    stored.id,
                    now,
                    attempt.recipient.address,
                    server.text,
                    pending.reply,
                    pending.due,
                    server.ip,
                    server.host,
                    server.tls,
                    took_s,
                )
            )
        for report, record in reports:
            outcome.generated.append(report)
            outcome.records.append(record)
        work.change(job.pendings, after.pending)
        self._settlement.job_done(work)

    async def _note_with_reports(
        self,
        job: Job,
        after: Aftermath,
        failed: Sequence[Attempt],
        relayed: Sequence[Attempt],
        server: Server,
        now: float,
    ) -> None:
        reports = []
        for kind, attempts in ((ReportKind.FAILED, failed), (ReportKind.RELAYED, relayed)):
            if not attempts:
                continue
            try:
                reports.append(await self._reports.make(kind, job.work, outcomes_of(attempts, server.host, now), now))
            except (SpoolError, OSError) as error:
                self._report("E", f"{format_queue_id(job.work.stored.id)}: {kind.value} report not made: {error}")
                if kind is ReportKind.FAILED:
                    # Without its report the failure must not become final. What was relayed stays so without one.
                    after = keep_failed(after, attempts, now, self._rules)
        self._note(job, after, server, now, reports)

    async def tell_of_delay(self, work: Work, stored: Stored) -> NewMessage | None:
        """Tell the sender that a message waits, durably and once; None when nobody wants to know. `work` is in work.
        SpoolError, OSError: not now.
        """
        now = clock.now()
        recipients = stored.envelope.recipients
        outcomes = [
            parse_outcome(recipients[p.recipient], p.reply or self._destinations.reason(p.domain))
            for p in stored.pending
            if self._reports.wants(ReportKind.DELAYED, stored, recipients[p.recipient])
        ]
        if not outcomes:
            return None
        until = stored.received_at + self._rules.lifetime_s
        report, record = await self._reports.make(ReportKind.DELAYED, work, outcomes, now, until)
        await self._settlement.store(work, msgspec.structs.replace(stored, told=True), [record], [report])
        return report


def _record(
    records: list[Record],
    work: Work,
    attempts: Sequence[Attempt],
    server: Server,
    now: float,
    took_s: float,
    *,
    sent: bool,
) -> None:
    stored = work.stored
    more = False
    for attempt in attempts:
        records.append(
            Delivered(
                stored.id,
                now,
                attempt.recipient.address,
                server.text,
                stored.content.size,
                sent,
                describe(attempt.reply),
                now - stored.received_at,
                server.ip,
                server.host,
                server.tls,
                took_s,
                more,
            )
        )
        more = True
