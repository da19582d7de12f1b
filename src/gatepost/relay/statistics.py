"""Statistics of one relay: what its spools have counted, those of former relays included, and what is so now.

Used by `relay.questions`; `relay.process` says which shards of former relays have been emptied.
"""

from collections.abc import Callable, Iterable, Sequence

from gatepost.control.counters import Counters, Tally, join_counters
from gatepost.filter.pool import FilterPool
from gatepost.relay.intake import Intake
from gatepost.relay.lookups.service import NetworkService
from gatepost.relay.pipeline import Pipeline
from gatepost.resolver.resolver import Resolver

Counts = dict[str, int]


class Statistics:
    """The counts of one relay."""

    def __init__(
        self,
        own: Counters,
        *,
        pipelines: Callable[[], Sequence[Pipeline]],
        intake: Intake,
        pool: FilterPool,
        resolver: Resolver,
        network: NetworkService,
    ) -> None:
        """`own`: of the relay's own spool, which also keep what the process counts by itself. `pipelines`: at work."""
        self._own = own
        self._pipelines = pipelines
        self._intake = intake
        self._pool = pool
        own.fold = Tally(own, lambda: resolver.counters, network.counters, self._sessions).fold
        self._former: dict[int, tuple[Counts, Counts]] = {}
        """By shard of a former relay that is empty and let go: all it has counted, and in this run."""

    def keep(self, shard: int, counters: Counters) -> None:
        """Keep what was counted in a shard that is let go."""
        self._former[shard] = dict(counters.values), counters.since_start()

    def forget(self, shards: Iterable[int]) -> None:
        """Drop these: somebody else answers for them."""
        for shard in shards:
            self._former.pop(shard, None)

    def counters(self) -> tuple[Counts, Counts]:
        """Return what has been counted, ever and in this run."""
        self._own.fold()
        at_work = [pipeline.counters for pipeline in self._pipelines()]
        ever = join_counters([*(each.values for each in at_work), *(each for each, _ in self._former.values())])
        run = join_counters([*(each.since_start() for each in at_work), *(each for _, each in self._former.values())])
        return ever, run

    def gauges(self) -> Counts:
        """Return what is so now, and what was most since the relay started, by the documented names."""
        slots = [pipeline.delivery.slots for pipeline in self._pipelines()]
        filters = self._pool.stats()
        return {
            "mta_incoming_connections_current": len(self._intake.sessions),
            "mta_incoming_connections_maximum": self._intake.most_sessions,
            "mta_outgoing_connections_current": sum(each.open for each in slots),
            "mta_outgoing_connections_maximum": sum(each.most_open for each in slots),
            "antiviral_checking_sessions_current": filters.busy,
            "antiviral_checking_sessions_maximum": filters.most_busy,
        }

    def _sessions(self) -> Counts:
        return {
            "mta_incoming_connections_total": self._intake.connections,
            "mta_incoming_connection_errors": self._intake.errors,
        }
