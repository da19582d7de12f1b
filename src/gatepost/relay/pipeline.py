"""One spool and the stages that work it: inspection, disposal, delivery, and the views of its records.

`relay.process` runs one for the relay's own shard, and one more for each shard it adopts from a relay that no longer
exists, until that is empty.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from gatepost.config.schema import Config
from gatepost.control.bypass_order import Order, read_order
from gatepost.control.counters import Counters
from gatepost.control.faults import describe_fault
from gatepost.control.log import Log, LogView
from gatepost.filter.pool import FilterPool
from gatepost.model.ids import QueueIds
from gatepost.notices.scan_field import NO_BASES, Bases
from gatepost.notices.template import load_template, shipped_template
from gatepost.policy.group import GroupTable
from gatepost.policy.listings import Listings
from gatepost.policy.profile_table import RuleTable
from gatepost.policy.shadow import ShadowTable
from gatepost.relay.admission import SessionTable
from gatepost.relay.bypass import Bypass
from gatepost.relay.delivery import Delivery
from gatepost.relay.disposal import Disposal
from gatepost.relay.editing import Editing, Wording
from gatepost.relay.inspection import Inspection
from gatepost.relay.listings import read_listings
from gatepost.relay.lookups.service import NetworkService
from gatepost.relay.notifying import Notifying
from gatepost.relay.outgoing_tls import OutgoingTls
from gatepost.relay.own_mark import OwnMark
from gatepost.relay.recording import Recording
from gatepost.relay.reports import Reports
from gatepost.relay.retry import retry_rules
from gatepost.relay.saving import Saving
from gatepost.relay.schedule import Schedule
from gatepost.relay.suspects import Suspects
from gatepost.resolver.resolver import Resolver
from gatepost.spool import clock
from gatepost.spool.interface import SpoolBroken, SpoolError, State
from gatepost.spool.shard import shard_number
from gatepost.spool.writer import SqliteSpool

SAVE_COUNTERS_S = 5.0
_OFF = {
    "scan": "inspection is switched off; gatepost scan-on lets it go on",
    "virus": "anti-virus is switched off; gatepost avir-on lets it go on",
}


def clock_ms() -> int:
    """Return Unix time in milliseconds, for queue ids."""
    return int(clock.now() * 1000)


class Pipeline:
    """The stages around one spool."""

    def __init__(
        self,
        spool: SqliteSpool,
        *,
        ids: QueueIds,
        pool: FilterPool,
        table: SessionTable,
        resolver: Resolver,
        network: NetworkService,
        log: Log,
        recorder_socket: str,
        run: str,
        broken: Callable[[str], None],
    ) -> None:
        """`run` names the gateway's run. `broken` is called when the spool can no longer be trusted: the relay must
        restart from disk.
        """
        self.spool = spool
        self._broken = broken
        spool.on_broken = broken
        self._log = log
        shard = shard_number(spool.directory)
        self._recording = Recording(spool, shard, recorder_socket, log.say)
        self.counters = Counters(spool)
        self._run = run
        self._log_view = LogView(log, spool, shard)
        spool.consume(LogView.NAME, self._log_view.consume)
        spool.consume(Counters.NAME, self.counters.consume)
        self._suspects = suspects = Suspects(spool, spool.last_id if spool.unclean else 0, log.say)
        self.saving = Saving(log.say)
        self.own_mark = OwnMark(log.say)
        self._reports = Reports(spool, ids, self.saving, self.own_mark, clock_ms)
        self.delivery = Delivery(
            spool=spool,
            shard=shard,
            table=table,
            resolver=resolver,
            pool=pool,
            reports=self._reports,
            own=self.own_mark,
            suspects=suspects,
            report=log.say,
            trouble=self.trouble,
            count=self.counters.add,
        )
        self._editing = Editing()
        self._notifying = Notifying(spool, ids, self.saving, self.own_mark, clock_ms, self.delivery.submit_own, log.say)
        self._disposal = Disposal(
            spool=spool,
            ids=ids,
            delivery=self.delivery,
            saving=self.saving,
            editing=self._editing,
            notifying=self._notifying,
            reports=self._reports,
            clock_ms=clock_ms,
        )
        self.inspection = Inspection(
            spool=spool,
            pool=pool,
            network=network,
            disposal=self._disposal,
            suspects=suspects,
            report=log.say,
            trouble=self.trouble,
        )
        self._schedule = Schedule(spool, self.delivery, suspects, report=log.say, trouble=self.trouble)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped: set[str] = set()
        """Modules of the inspection that are switched off."""

    def configure(self, config: Config, bases: Bases = NO_BASES) -> None:
        """Take a (new) configuration into use, and what texts tell of the databases. TemplateError when a template is
        missing or faulty, ValueError when a certificate or a file of authorities cannot be used; then nothing has
        changed.
        """
        tls = OutgoingTls(config)
        rules = RuleTable(config.rule_set) if config.profiles.enabled else None
        if rules is not None and not rules.active:
            rules = None
        groups = GroupTable.from_config(
            config.groups,
            config.ave,
            config.filter.filter_deadline,
            config.network.protected_domains,
            config.antispam,
            rules.fields if rules is not None else None,
        )
        if rules is not None:
            rules.warm_up()
        shadows = ShadowTable.from_config(config.shadows, config.ave, config.filter.filter_deadline, config.antispam)
        template = Path(config.options.dsn_template) if config.options.dsn_template else None
        self._reports.configure(
            hostname=config.network.hostname,
            template=load_template(template) if template else shipped_template("dsn"),
            entire=config.options.dsn_entire_message,
            on_relaying=config.options.dsn_on_relaying,
        )
        self.own_mark.configure(config)
        self.saving.configure(config)
        wording = Wording.from_config(config, bases)
        self._editing.configure(wording)
        self._notifying.configure(config.notices, wording, groups.groups)
        self._disposal.shadows = shadows
        self._disposal.rules = rules
        self.inspection.configure(groups, config.timeouts.maximal_queue_lifetime)
        self.use_listings(read_listings(config.relay.state_path, self._log.say))
        if self.inspection.bypass is None:
            self.use_bypass(read_order(config.relay.state_path))
        self.delivery.configure(config, tls)
        self._schedule.configure(retry_rules(config))

    def use_listings(self, listings: Listings) -> None:
        """Have these entries of allow and block lists count, for mail that is not disposed of yet."""
        self._disposal.listings = listings

    def use_bypass(self, order: Order | None) -> None:
        """Have mail pass unscanned for as long as the order says; None: it is looked at."""
        bypass = Bypass(order, time.monotonic, clock.now) if order is not None else None
        self.inspection.bypass = bypass if bypass is not None and bypass.is_on() else None
        if self.inspection.bypass is not None:
            self.inspection.look_again()  # what rests because an engine is away need not wait any longer

    def use_bases(self, bases: Bases) -> None:
        """Have texts tell of these databases from now on."""
        wording = msgspec.structs.replace(self._editing.wording, bases=bases)
        self._editing.configure(wording)
        self._notifying.use_wording(wording)

    def version(self) -> str:
        """Return what changes with the databases, the same in all relays."""
        bases = self._editing.wording.bases
        return f"{bases.issued} {bases.records}"

    def switch(self, module: str, *, on: bool) -> None:
        """Switch a module on or off: `send`, `scan`, `virus`. Nothing passes unscanned: without either of the last two
        mail waits.
        """
        if module == "send":
            self.delivery.switch(on=on)
            return
        (self._stopped.discard if on else self._stopped.add)(module)
        self.inspection.switch(on=not self._stopped)

    def switched_off(self, state: State) -> str:
        """Return what an operator has switched off that mail of this state waits for, and the command that ends it; ""
        for nothing.
        """
        if state is State.READY and not self.delivery.running:
            return "delivery is switched off; gatepost send-on lets it go on"
        if state is State.WAITING and self._stopped:
            return " and ".join(_OFF[module] for module in sorted(self._stopped))
        return ""

    def in_work(self, message_id: int) -> bool:
        """Tell whether a stage has this message in hand, so that an operator must let it alone."""
        return self.delivery.has(message_id) or self.inspection.has(message_id) or self._suspects.knows(message_id)

    async def start(self) -> None:
        """Replay unconfirmed records to the views, then begin to work."""
        await self.spool.start()
        self._log_view.replayed()
        self.counters.begin_run(self._run)
        if self.spool.unclean:
            self._log.say("W", f"{self.spool.directory}: last stop was not clean, unsettled mail is taken up again")
        for stage in (
            self.inspection.run(),
            self._schedule.run(),
            self._notifying.run(),
            self._recording.run(),
            self._save_counters(),
        ):
            task = asyncio.create_task(stage)
            task.add_done_callback(self._stage_ended)
            self._tasks.append(task)

    async def stop(self, grace_s: float) -> None:
        """Let deliveries under way end for `grace_s`, then leave the spool cleanly."""
        self.saving.stop()
        await self.inspection.stop(grace_s)
        await self.delivery.stop(grace_s)
        await self._notifying.flush()
        await self.saving.close()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        self.counters.save()
        await self.spool.close()
        self._recording.close()

    async def empty(self) -> bool:
        """Tell whether nothing waits here any more, neither mail nor records of it."""
        counts = await self.spool.counts()
        waits = counts["waiting"] or counts["ready"] or counts["held"] or self.delivery.in_work()
        return not waits and self._recording.settled

    def trouble(self, error: BaseException) -> None:
        """Take note of a failure of the spool. Anything else is a fault of ours, and the relay starts again: whose
        mail is to blame for it comes out then (`relay.suspects`).
        """
        if isinstance(error, SpoolBroken):
            self._broken(str(error))
        elif isinstance(error, SpoolError):
            self._log.say("E", f"spool: {error}")
        else:
            self._broken(f"internal error: {describe_fault(error)}")

    async def _save_counters(self) -> None:
        while True:
            await asyncio.sleep(SAVE_COUNTERS_S)
            self.counters.save()

    def _stage_ended(self, task: "asyncio.Task[None]") -> None:
        """A stage never ends by itself: if it does, that is a fault of ours, and the relay starts again."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken(f"a stage failed: {describe_fault(error)}")
