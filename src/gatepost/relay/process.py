"""The relay process: `python -m gatepost.relay.process --channel FD`, started and watched by the master.

Owns one spool shard, accepts on the listeners the master has bound, inspects through filters, delivers. Ends at once
when the master is gone, and when its spool can no longer be trusted: the disk decides what happens next.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from gatepost.config.schema import Config
from gatepost.control.channel import (
    Answer,
    Ask,
    BasesInForce,
    Channel,
    Failed,
    Message,
    Pauses,
    Setup,
    Stop,
    Switch,
    Up,
)
from gatepost.control.faults import describe_fault, log_unhandled
from gatepost.control.log import Log, LogSettings
from gatepost.filter.pool import FilterPool
from gatepost.filter.questions import Services as FilterServices
from gatepost.filter.settings import FilterSettings
from gatepost.model.ids import QueueIds
from gatepost.notices.scan_field import NO_BASES
from gatepost.relay.access import Services
from gatepost.relay.admission import SessionTable
from gatepost.relay.announcing import Announcer
from gatepost.relay.clean_cache import CleanCache
from gatepost.relay.engine_connections import EngineConnections
from gatepost.relay.entrances import Entrances
from gatepost.relay.filters import filter_settings
from gatepost.relay.intake import Intake
from gatepost.relay.lookups.service import NetworkService
from gatepost.relay.pipeline import Pipeline, clock_ms
from gatepost.relay.preview import KeptMail
from gatepost.relay.questions import Questions
from gatepost.relay.rates import RateTable
from gatepost.relay.releasing import Releases
from gatepost.relay.retention import Retention
from gatepost.relay.statistics import Statistics
from gatepost.relay.switching import without_spam_checks
from gatepost.relay.tasks import Tasks
from gatepost.resolver.resolver import Resolver
from gatepost.spool import clock
from gatepost.spool.interface import SpoolError
from gatepost.spool.shard import ShardBusy, list_shards, shard_directory
from gatepost.spool.writer import SqliteSpool

EXIT_BROKEN = 30
"""Exit status when the spool cannot be trusted (critical system error of the documented codes)."""
REASON_LIMIT = 2000
"""Characters of the reason why it cannot start."""
SESSION_GRACE_S = 5.0
"""Time open sessions get to reach a command boundary at a clean stop."""
DELIVERY_GRACE_S = 5.0
"""Time transactions under way get to end."""
SHARD_WAIT_S = 15.0
"""How long a shard's former owner may take to let go."""
ADOPTION_LOOK_S = 1.0
"""Pause between two looks at the shards of former relays: listing a directory costs next to nothing."""
GC_THRESHOLD = 20_000
"""Container objects between two looks of the collector: a relay makes hundreds a mail, and next to no cycles."""


NOT_OF_PIPELINES = frozenset({"recv", "spam"})
"""Modules that are switched elsewhere: listeners, and the configuration."""


class Relay:
    """Everything of one relay process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._channel = Channel(sock, self._on_message, self._on_orphaned)
        self._stopped: asyncio.Future[None] = loop.create_future()
        self._pipeline: Pipeline | None = None
        self._adopted: dict[int, Pipeline] = {}
        self._tasks = Tasks(self._fault)
        self._whole: Config
        """As the master gave it ..."""
        self._config: Config
        """... and as it is in force: anti-spam may be switched off."""
        self._log: Log
        self._switched_off: set[str] = set()
        self._paused: frozenset[str] = frozenset()
        self._bases = NO_BASES
        self._drained: set[int] = set()
        """Shards of former relays with nothing left in them."""
        self._up = asyncio.Event()
        self._stopping = False
        self._setting_up = asyncio.Lock()
        """Configurations are taken one after the other: a reload may come while the first is still being set up."""

    async def run(self) -> int:
        """Work until stopped; return the exit status."""
        await self._stopped
        return 0

    # --- the master's messages

    def _on_message(self, message: Message, descriptors: Sequence[int]) -> None:
        match message:
            case Setup():
                self._tasks.spawn(self._set_up(message, list(descriptors)))
            case Switch():
                self._switch(message.module, on=message.on)
            case BasesInForce():
                self._bases = message.bases
                for pipeline in self._pipelines():
                    pipeline.use_bases(message.bases)
            case Pauses():
                self._paused = frozenset(message.domains)
                self._tasks.spawn(self._pause())
            case Ask():
                self._tasks.spawn(self._answer(message))
            case Stop():
                self._tasks.spawn(self._stop())

    def _switch(self, module: str, *, on: bool) -> None:
        (self._switched_off.discard if on else self._switched_off.add)(module)
        if module == "spam":
            self._tasks.spawn(self._switch_spam())
        elif module != "recv":
            for pipeline in self._pipelines():
                pipeline.switch(module, on=on)
        elif not on and self._up.is_set():
            self._tasks.spawn(self._entrances.stop(SESSION_GRACE_S))

    async def _switch_spam(self) -> None:
        """Work on with or without anti-spam, as the switch says: a change of the groups' settings like any other."""
        async with self._setting_up:  # behind a start or a reload under way
            config = self._switched(self._whole)
            for pipeline in self._pipelines():
                pipeline.configure(config, self._bases)
            self._config = config
            self._network.configure(config)
            self._intake.configure(config, config.path.queue_path)

    def _switched(self, config: Config) -> Config:
        return without_spam_checks(config) if "spam" in self._switched_off else config

    async def _pause(self) -> None:
        """Let the destinations that wait for an operator wait, and no others."""
        for pipeline in self._pipelines():
            try:
                await pipeline.delivery.pause(self._paused)
            except SpoolError as error:
                # In memory it holds from now on; on disk the next change or start makes it good.
                self._log.say("E", f"paused destinations are not stored: {error}")

    def _on_orphaned(self) -> None:
        # The spool decides after a kill at any line; waiting would only keep the shard from a new relay.
        os._exit(0)

    def _broken(self, why: str) -> None:
        self._log.say("F", f"relay restarts from disk: {why}")
        os._exit(EXIT_BROKEN)

    def _say_of_engines(self, level: str, text: str) -> None:
        self._log.say(level, f"relay {self._index}: {text}")

    def _on_engine_back(self) -> None:
        for pipeline in self._pipelines():
            pipeline.inspection.look_again()

    def _fault(self, error: BaseException) -> None:
        self._broken(f"internal error: {describe_fault(error)}")

    async def _set_up(self, setup: Setup, descriptors: list[int]) -> None:
        try:
            async with self._setting_up:
                if setup.first:
                    await self._begin(setup, descriptors)
                else:
                    await self._reload(setup, descriptors)
        except Exception as error:  # noqa: BLE001 - whatever it is, the master must hear of it and try again
            if setup.first:
                self._channel.send(Failed(f"{type(error).__name__}: {error}"[:REASON_LIMIT]))
                os._exit(EXIT_BROKEN)
            self._log.say("E", f"relay {setup.index}: new configuration not taken, the old one stays in force: {error}")

    async def _begin(self, setup: Setup, descriptors: list[int]) -> None:
        self._switched_off.update(setup.off)
        self._whole = _read_snapshot(setup.config)
        config = self._switched(self._whole)
        self._config = config
        self._bases = setup.bases
        self._index = setup.index
        self._recorder_socket = setup.recorder_socket
        self._run = setup.run
        self._log = Log(LogSettings.of(config), required=False)  # mail goes on without a log
        log_unhandled(self._loop, self._log.say, f"relay {setup.index}")
        if test_clock := clock.follow_test_clock(os.environ):
            self._log.say("W", f"relay {setup.index} runs on a test clock, not on real time: {test_clock}")
        clock.follow_record(config.relay.state_path)
        spool = await self._open_shard(setup.index)
        self._ids = QueueIds(config.relay.node, setup.index, spool.last_id)
        alone = config.relay.relays == 1
        self._table = SessionTable(descriptors[0], setup.index, alone=alone)
        self._rates = RateTable(descriptors[0], alone=alone)
        await self._start_services(setup, config)
        self._pipeline = self._make_pipeline(spool)
        self._pipeline.configure(config, self._bases)
        self._intake = Intake(
            loop=self._loop,
            spool=spool,
            ids=self._ids,
            table=self._table,
            services=Services(
                self._resolver, self._rates, report=lambda text: self._log.say("E", f"relay {self._index}: {text}")
            ),
            clock_ms=clock_ms,
            submit=self._pipeline.inspection.submit,
            send=self._pipeline.delivery.submit,
            judge=self._pipeline.inspection.judge,
            backlog=self._pipeline.inspection.waiting,
            oldest=self._pipeline.inspection.oldest,
            report=self._log.say,
            trouble=self._pipeline.trouble,
        )
        self._intake.configure(config, config.path.queue_path)
        self._paused = frozenset(setup.paused)
        for module in self._switched_off - NOT_OF_PIPELINES:
            self._pipeline.switch(module, on=False)
        await self._pipeline.start()
        await self._pause()
        kept = KeptMail(pipelines=self._pipelines, pool=self._pool, network=self._network, config=lambda: self._config)
        self._entrances = Entrances(
            intake=self._intake,
            pipeline=self._pipeline,
            ids=self._ids,
            kept=kept,
            teach=self._channel.send,
            report=self._log.say,
        )
        await self._open_entrances(setup, descriptors[1:])
        self._answer_questions(kept, self._pipeline)
        self._tasks.spawn(self._intake.watch())
        self._tasks.spawn(self._clean.run())
        self._tasks.spawn(self._network.run())
        self._tasks.spawn(self._adopt())
        self._tasks.spawn(self._releases.recover())
        if self._index == 0:
            self._tasks.spawn(Retention(lambda: self._config, self._log.say).run())
        self._tasks.spawn(self._resolver.tend())
        self._up.set()
        self._channel.send(Up())

    async def _start_services(self, setup: Setup, config: Config) -> None:
        """Start what the stages ask: name servers, network checks, engines elsewhere, filters."""
        self._resolver = Resolver(config)
        self._network = NetworkService(self._resolver, self._loop.time, self._log.say, setup.index, self._channel.send)
        self._network.configure(config)
        self._engines = EngineConnections(self._loop, self._say_of_engines, setup.command_socket, self._on_engine_back)
        self._engines.configure(config.engines, config.relay.relays)
        self._clean = CleanCache(setup.index, self._log.say)
        await self._clean.configure(config)
        self._pool = FilterPool(
            _pool_settings(self._whole),
            Path(setup.filter_socket),
            self._loop,
            FilterServices(self._clean, self._engines),
        )
        self._pool.start()

    def _answer_questions(self, kept: KeptMail, own: Pipeline) -> None:
        """Make what answers the master on behalf of operators."""
        self._releases = Releases(
            index=self._index,
            config=lambda: self._config,
            pipelines=self._pipelines,
            ids=self._ids,
            report=self._log.say,
        )
        self._statistics = Statistics(
            own.counters,
            pipelines=self._pipelines,
            intake=self._intake,
            pool=self._pool,
            resolver=self._resolver,
            network=self._network,
        )
        self._questions = Questions(
            pipelines=self._pipelines,
            releases=self._releases,
            kept=kept,
            doors=self._entrances.status,
            intake=self._intake,
            pool=self._pool,
            statistics=self._statistics,
            network=self._network,
            engines=self._engines,
            adopted=lambda: sorted(self._adopted),
            announcer=Announcer(self._pipelines, self._ids, lambda: self._config),
        )

    async def _reload(self, setup: Setup, descriptors: list[int]) -> None:
        os.close(descriptors[0])  # the table we have
        try:
            whole = _read_snapshot(setup.config)
            config = self._switched(whole)
            for pipeline in self._pipelines():
                pipeline.configure(config, self._bases)
        except BaseException:
            for descriptor in descriptors[1:]:
                os.close(descriptor)
            raise
        self._whole, self._config = whole, config
        self._resolver.configure(config)
        self._network.configure(config)
        self._engines.configure(config.engines, config.relay.relays)
        await self._clean.configure(config)
        relays = config.relay.relays
        back = {number for number in self._drained if number < relays or number % relays != self._index % relays}
        self._drained -= back
        self._statistics.forget(back)
        self._pool.configure(_pool_settings(self._whole))
        self._intake.configure(config, config.path.queue_path)
        if config.relay.relays > 1:
            # For good: a relay that is dismissed still counts its last sessions.
            self._table.share()
            self._rates.alone = False
        await self._open_entrances(setup, descriptors[1:])
        self._log.open(LogSettings.of(config))

    async def _open_entrances(self, setup: Setup, descriptors: Sequence[int]) -> None:
        if "recv" in self._switched_off:  # switched off while we took the configuration
            for descriptor in descriptors:
                os.close(descriptor)
            return
        await self._entrances.open(self._config, setup, descriptors)

    async def _open_shard(self, index: int) -> SqliteSpool:
        directory = shard_directory(self._config.path.queue_path, index)
        end = self._loop.time() + SHARD_WAIT_S
        while True:
            try:
                return SqliteSpool.open(directory, self._loop, threshold=self._config.relay.memory_threshold)
            except ShardBusy:
                if self._loop.time() >= end:
                    raise
                await asyncio.sleep(0.05)

    def _make_pipeline(self, spool: SqliteSpool) -> Pipeline:
        return Pipeline(
            spool,
            ids=self._ids,
            pool=self._pool,
            table=self._table,
            resolver=self._resolver,
            network=self._network,
            log=self._log,
            recorder_socket=self._recorder_socket,
            run=self._run,
            broken=self._broken,
        )

    # --- shards of relays that no longer exist

    async def _adopt(self) -> None:
        """Drain shards beyond the configured number of relays, each relay its share of them."""
        while not self._stopping:
            try:
                async with self._setting_up:
                    if not self._stopping:
                        await self._look_for_shards()
            except (SpoolError, OSError) as error:
                self._log.say("E", f"relay {self._index}: a former relay's shard is not adopted this time: {error}")
            await asyncio.sleep(ADOPTION_LOOK_S)

    async def _look_for_shards(self) -> None:
        relays = self._config.relay.relays
        for number in list_shards(self._config.path.queue_path):
            mine = number >= relays and number % relays == self._index % relays
            if mine and number not in self._adopted and number not in self._drained and number != self._index:
                await self._adopt_shard(number)
        for number, pipeline in list(self._adopted.items()):
            if number < relays:  # its own relay is back, and waits for it
                del self._adopted[number]
                await pipeline.stop(DELIVERY_GRACE_S)
            elif await pipeline.empty():
                del self._adopted[number]
                self._drained.add(number)
                await pipeline.stop(0)
                self._statistics.keep(number, pipeline.counters)

    async def _adopt_shard(self, number: int) -> None:
        directory = shard_directory(self._config.path.queue_path, number)
        with contextlib.suppress(ShardBusy):
            threshold = self._config.relay.memory_threshold
            # On a thread: the recovery of a log, or the copying of what is left of a flood, may take a second.
            spool = await asyncio.to_thread(SqliteSpool.open, directory, self._loop, threshold=threshold)
            counts = await spool.counts()
            if any(counts[state] for state in ("waiting", "ready", "held")):
                self._log.say("I", f"relay {self._index} adopts shard {number}: {counts}")
            # One without mail, too: it may have records that no view has got, and counters.
            pipeline = self._make_pipeline(spool)
            pipeline.configure(self._config, self._bases)
            for module in self._switched_off - NOT_OF_PIPELINES:
                pipeline.switch(module, on=False)
            self._adopted[number] = pipeline
            try:
                await pipeline.start()
                await self._pause()
            except SpoolError:
                del self._adopted[number]
                await spool.close()
                raise

    def _pipelines(self) -> list[Pipeline]:
        own = [self._pipeline] if self._pipeline is not None else []
        return [*own, *self._adopted.values()]

    # --- questions

    async def _answer(self, ask: Ask) -> None:
        if ask.what == "alive":
            self._channel.send(Answer(ask.number, msgspec.Raw(b"true")))
            return
        if ask.what == "status" and not self._up.is_set():
            self._channel.send(Answer(ask.number, msgspec.Raw(b"null"), "the relay is starting"))
            return
        await self._up.wait()
        if ask.what == "settled":
            async with self._setting_up:  # behind every configuration that was sent before the question
                self._channel.send(Answer(ask.number, msgspec.Raw(b"null")))
            return
        if ask.what == "filters":
            await self._pool.meet(ask.arguments["generation"])
            self._channel.send(Answer(ask.number, msgspec.Raw(b"null")))
            return
        self._channel.send(await self._questions.answer(ask))

    # --- the end

    async def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        if self._pipeline is None:
            os._exit(0)
        async with self._setting_up:
            await self._entrances.stop(SESSION_GRACE_S)
            for pipeline in self._pipelines():
                await pipeline.stop(DELIVERY_GRACE_S)
            await self._pool.close()
            await self._clean.close()
            await self._network.close()
            self._engines.close()
        self._channel.close()
        self._stopped.set_result(None)


def _pool_settings(config: Config) -> FilterSettings:
    """Return the settings of one relay's pool: its share of the filters."""
    return filter_settings(config, max(1, config.filter.server_max_filters // config.relay.relays))


def _read_snapshot(path: str) -> Config:
    return msgspec.msgpack.decode(Path(path).read_bytes(), type=Config)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a relay."""
    parser = argparse.ArgumentParser(prog="gatepost.relay.process", description="A relay process; run by the master.")
    parser.add_argument("--channel", type=int, required=True, help="inherited descriptor of the channel to the master")
    descriptor: int = parser.parse_args(arguments).channel
    # Terminal signals go to the whole group; the master tells relays what to do.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)

    async def work() -> int:
        return await Relay(asyncio.get_running_loop(), socket.socket(fileno=descriptor)).run()

    sys.exit(uvloop.run(work()))


if __name__ == "__main__":
    main()
