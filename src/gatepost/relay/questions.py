"""Questions the master asks a relay on behalf of an operator: status, the queue, acts on it.

Called by `relay.process` with each `Ask`. An answer is JSON that fits one channel message.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from gatepost.control.bypass_order import Order
from gatepost.control.channel import MESSAGE_LIMIT, Answer, Ask
from gatepost.filter.pool import FilterPool
from gatepost.model.ids import received_ms
from gatepost.notices.problem_mail import ProblemMail
from gatepost.relay.announcing import Announcer
from gatepost.relay.engine_connections import EngineConnections
from gatepost.relay.export import export
from gatepost.relay.intake import Intake
from gatepost.relay.listings import read_listings
from gatepost.relay.lookups.service import NetworkService
from gatepost.relay.pipeline import Pipeline
from gatepost.relay.preview import KeptMail
from gatepost.relay.queue_acts import act_on
from gatepost.relay.queue_filter import Choice, QueueFilter
from gatepost.relay.queue_view import list_rows, search, show, summarise
from gatepost.relay.releasing import ReleaseOrder, Releases
from gatepost.relay.statistics import Statistics
from gatepost.relay.verbs import Verb
from gatepost.spool import clock
from gatepost.spool.interface import SpoolError

ANSWER_LIMIT = MESSAGE_LIMIT - 4096
"""Bytes of an answer: what the message around it leaves."""
IDS_LIMIT = 400
"""Messages named, or searched for, in one question."""
TROUBLED_DESTINATIONS = 20
"""Resting and paused destinations shown in the status."""
STATUS_DESTINATIONS = 2000
"""Destinations looked at for that: the status must stay cheap."""

Arguments = Mapping[str, Any]


class Questions:
    """Answers of one relay."""

    def __init__(
        self,
        *,
        pipelines: Callable[[], list[Pipeline]],
        releases: Releases,
        kept: KeptMail,
        intake: Intake,
        pool: FilterPool,
        statistics: Statistics,
        network: NetworkService,
        engines: EngineConnections,
        adopted: Callable[[], list[int]],
        announcer: Announcer,
        doors: Callable[[], list[dict[str, Any]]],
    ) -> None:
        """`pipelines` are those at work now, `adopted` the shards of former relays among them; `doors`
        returns what the status shows of the doors.
        """
        self._pipelines = pipelines
        self._releases = releases
        self._intake = intake
        self._pool = pool
        self._statistics = statistics
        self._network = network
        self._engines = engines
        self._adopted = adopted
        self._announcer = announcer
        self._doors = doors
        self._answers: dict[str, Callable[[Arguments], Awaitable[Any]]] = {
            "status": self._status,
            "queue": self._queue,
            "search": self._search,
            "show": self._show,
            "act": self._act,
            "summary": self._summary,
            "export": self._export,
            "announce": self._announce,
            "release": self._release,
            "lists": self._lists,
            "bypass": self._bypass,
            "preview": kept.preview,
            "lesson": kept.lesson,
            "uds": kept.tell_uds,
        }

    async def answer(self, ask: Ask) -> Answer:
        """Answer one question; what cannot be answered says why."""
        try:
            result = msgspec.json.encode(await self._answers[ask.what](ask.arguments))
        except (SpoolError, OSError, ValueError) as error:
            return Answer(ask.number, msgspec.Raw(b"null"), str(error) or type(error).__name__)
        if len(result) > ANSWER_LIMIT:
            return Answer(ask.number, msgspec.Raw(b"null"), "the answer is too long")
        return Answer(ask.number, msgspec.Raw(result))

    async def _queue(self, arguments: Arguments) -> Any:
        limit = min(max(int(arguments.get("limit", IDS_LIMIT)), 0), IDS_LIMIT)
        return await list_rows(self._pipelines(), _choice(arguments), int(arguments.get("after", 0)), limit)

    async def _search(self, arguments: Arguments) -> Any:
        limit = min(max(int(arguments.get("limit", IDS_LIMIT)), 0), IDS_LIMIT)
        return await search(self._pipelines(), _choice(arguments), int(arguments.get("after", 0)), limit)

    async def _show(self, arguments: Arguments) -> Any:
        for pipeline in self._pipelines():
            found = await show(pipeline, int(arguments["id"]), frozenset(arguments.get("scope", ())))
            if found is not None:
                return found
        return None

    async def _act(self, arguments: Arguments) -> Any:
        ids = msgspec.convert(arguments["ids"], list[int])
        if len(ids) > IDS_LIMIT:
            raise ValueError(f"more than {IDS_LIMIT} messages at once")
        return await act_on(self._pipelines(), Verb(arguments["verb"]), ids, str(arguments.get("text", "")))

    async def _release(self, arguments: Arguments) -> Any:
        return await self._releases.release(msgspec.convert(arguments, ReleaseOrder))

    async def _announce(self, arguments: Arguments) -> str:
        return await self._announcer.announce(msgspec.convert(arguments, ProblemMail))

    async def _lists(self, arguments: Arguments) -> str:
        """Take the entries of allow and block lists anew."""
        troubles: list[str] = []
        state_path = str(arguments["state_path"])
        listings = await asyncio.to_thread(read_listings, state_path, lambda _, text: troubles.append(text))
        if troubles:
            raise ValueError(troubles[0])
        for pipeline in self._pipelines():
            pipeline.use_listings(listings)
        return "taken"

    async def _bypass(self, arguments: Arguments) -> str:
        """Let mail pass unscanned as `order` says; None: no more."""
        order = msgspec.convert(arguments["order"], Order | None)
        for pipeline in self._pipelines():
            pipeline.use_bypass(order)
        return "taken"

    async def _summary(self, _: Arguments) -> Any:
        return await summarise(self._pipelines())

    async def _export(self, arguments: Arguments) -> str | None:
        for pipeline in self._pipelines():
            path = await export(
                pipeline.spool, int(arguments["id"]), str(arguments["directory"]), edited=bool(arguments["edited"])
            )
            if path is not None:
                return path
        return None

    async def _status(self, _: Arguments) -> dict[str, Any]:
        pipelines = self._pipelines()
        queue = {"waiting": 0, "ready": 0, "held": 0, "bytes": 0}
        troubled: list[dict[str, Any]] = []
        for pipeline in pipelines:
            for name, value in (await pipeline.spool.counts()).items():
                queue[name] += value
            troubled += await _troubled(pipeline)
        intake = self._intake
        counters, since_start = self._statistics.counters()
        return {
            "pid": os.getpid(),
            "queue": queue,
            "counters": counters,
            "since_start": since_start,
            "gauges": self._statistics.gauges(),
            "in_work": {
                "inspection": sum(p.inspection.backlog()[0] for p in pipelines),
                "delivery": sum(p.delivery.in_work() for p in pipelines),
            },
            "shedding": intake.shedding,
            "commits": _commits(pipelines),
            "troubled": _worst(troubled),
            "stores": {directory: why for p in pipelines for directory, why in p.saving.troubles().items()},
            "paused_messages": sum(row["waiting"] for row in troubled if row["paused"]),
            "filters": msgspec.to_builtins(self._pool.stats()),
            "engines": self._engines.states(),
            "network_checks": self._network.status(),
            "filter_pids": self._pool.pids(),
            "oldest_waiting": _oldest_waiting(pipelines),
            "filter_walls_missing": list(self._pool.missing_walls),
            "adopted_shards": self._adopted(),
            "doors": self._doors(),
        }


def _oldest_waiting(pipelines: Sequence[Pipeline]) -> float:
    """Return when the oldest message that waits for its inspection came, in Unix time; 0 when none waits."""
    ids = [oldest for pipeline in pipelines if (oldest := pipeline.inspection.oldest())]
    return received_ms(min(ids)) / 1000 if ids else 0.0


def _commits(pipelines: Sequence[Pipeline]) -> dict[str, float]:
    """Return how long commits take, in ms: of the slowest shard."""
    times = [pipeline.spool.commit_times for pipeline in pipelines]
    return {
        "count": sum(each.count for each in times),
        "p50_ms": round(1000 * max(each.quantile(0.5) for each in times), 3),
        "p99_ms": round(1000 * max(each.quantile(0.99) for each in times), 3),
        "longest_ms": round(1000 * max(each.longest_s for each in times), 3),
    }


async def _troubled(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return the paused destinations, and of the first in order of their names those with mail that rest."""
    paused = await pipeline.spool.destinations_named(await pipeline.spool.paused())
    first = await pipeline.spool.destination_page("", STATUS_DESTINATIONS)
    return [
        {
            "domain": each.domain,
            "waiting": each.waiting,
            "paused": each.paused,
            "rests_until": each.retry_at,
            "reason": each.reason,
        }
        for each in (*paused, *(one for one in first if one.retry_at and one.waiting and not one.paused))
    ]


def _worst(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (-row["waiting"], row["domain"]))[:TROUBLED_DESTINATIONS]


def _choice(arguments: Arguments) -> Choice:
    chosen = msgspec.convert(arguments.get("filter", {}), QueueFilter)
    chosen.check()
    return Choice(chosen, clock.now())
