"""What SNMP knows of the gateway: the variables it shows, and how things are for its notifications.

Used by `master.snmp`. It asks for what the configuration selects and no more, for relays have mail to attend to: their
counts are asked for when somebody walks the statistics, and for the outbreak alert where that is wanted.
"""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from gatepost.config.schema import Config
from gatepost.control.desk import Desk
from gatepost.control.processes import read_processes
from gatepost.control.rights import RIGHTS_OF, Caller, Role
from gatepost.control.snmp_traps import GROUP_OF, Trap, View
from gatepost.control.snmp_tree import LATEST_LIMIT, Facts, Infection, UpdateState, build_tree
from gatepost.control.socket import ControlError, Request
from gatepost.control.statistics import build_statistics
from gatepost.feeds.update_state import read_run
from gatepost.master.bases import Databases
from gatepost.wire.agentx import Oid, Tree

FRESH_S: Final = 2.0
"""A walk asks for each variable singly: all of them are of one moment, for so long."""
COUNT_S: Final = 10.0
"""Between two looks at the counts, for the outbreak alert: an alert about the last hour may come so late."""
_CALLER: Final = Caller("snmp", RIGHTS_OF[Role.READ_ONLY], via="snmp")
_NO_STATUS: Final[dict[str, Any]] = {
    "started_at": 0, "since_start": {}, "counters": {}, "modules": {}, "latency": {}, "relays": [],
    "filter_template": {}, "pid": 0,
}  # fmt: skip
"""While relays are starting."""


class SnmpFacts:
    """Asks the desk, and remembers the answers for a moment."""

    def __init__(
        self,
        desk: Desk,
        bases: Callable[[], Databases],
        update_directory: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`bases` are those in force now."""
        self._desk = desk
        self._bases = bases
        self._update_directory = update_directory
        self._clock = clock
        self._bases_seen: Databases | None = None
        self._config_seen: Config | None = None
        self._changes = [0, 0]
        self._loaded_at = time.time()
        self._tree = Tree({})
        self._tree_of: Config | None = None
        self._tree_at = float("-inf")
        self._started_at = 0.0
        self._counts = (0, 0)
        self._counts_at = float("-inf")

    async def tree(self, base: Oid, config: Config) -> Tree:
        """Return the variables of the selected groups."""
        services = config.snmp.snmp_services
        if self._tree_of is not config or self._clock() - self._tree_at > FRESH_S:
            self._tree = build_tree(base, await self._facts(config), services) if services else Tree({})
            self._tree_of, self._tree_at = config, self._clock()
        return self._tree

    async def _facts(self, config: Config) -> Facts:
        wanted, now = config.snmp.snmp_services, time.time()
        status, infections = _NO_STATUS, []
        if "statistics" in wanted or ("admin" in wanted and not self._started_at):
            status = await self._ask("status") or _NO_STATUS
            self._started_at = float(status["started_at"])
        if "statistics" in wanted and config.tracking.enabled:
            found = await self._ask("tracking.search", status="infected", limit=LATEST_LIMIT) or {"mails": []}
            infections = [
                Infection(mail["at"], ", ".join(mail.get("threats") or ()), mail.get("ip") or "")
                for mail in found["mails"]
            ]
        return Facts(
            config=config,
            statistics=build_statistics(status, now),
            latency=status["latency"],
            now=now,
            started_at=self._started_at,
            cpu=await asyncio.to_thread(_cpu, status) if status["pid"] else (0.0, 0.0),
            infections=infections,
            update=self._update_state(),
        )

    async def view(self, config: Config) -> View:
        """Return how things are."""
        bases = self._bases()
        for place, (seen, current) in enumerate(((self._config_seen, config), (self._bases_seen, bases))):
            self._changes[place] += seen is not current
        if bases is not self._bases_seen:
            self._loaded_at = time.time()
        self._config_seen, self._bases_seen = config, bases
        problems = await self._ask("problems") or {"problems": []}
        scanned, infected = await self._scanned(config)
        state = self._update_state()
        age = (dt.datetime.now(dt.UTC).date() - dt.date.fromisoformat(state.released)).days if state.released else None
        return View(
            now=time.time(),
            config=self._changes[0],
            bases=self._changes[1],
            scanned=scanned,
            infected=infected,
            errors=[(each["key"], each["text"]) for each in problems["problems"] if each["state"] == "error"],
            update_checked=state.checked,
            update_result=state.result,
            released=state.released,
            age_days=age,
        )

    async def _scanned(self, config: Config) -> tuple[int, int]:
        """Return how many messages were scanned since the start, and how many of them infected; relays are asked now
        and then, where the alert is wanted at all.
        """
        if wanted_threshold(config) and self._clock() - self._counts_at > COUNT_S:
            status = await self._ask("status")
            if status is not None:
                told = build_statistics(status, time.time())
                names = ("antiviral_checked_messages_total", "antiviral_checked_messages_infected")
                self._counts = int(told.get(names[0], 0)), int(told.get(names[1], 0))
            self._counts_at = self._clock()
        return self._counts

    def _update_state(self) -> UpdateState:
        sets = self._bases().antivirus
        run = read_run(self._update_directory)
        return UpdateState(
            checked=run.checked,
            result=run.result,
            loaded=self._loaded_at,
            records=sum(each.facts.records for each in sets),
            released=max((each.facts.issued for each in sets), default=""),
        )

    async def _ask(self, call: str, **arguments: Any) -> Any:
        """Return the answer of a call, None when there is none."""
        with contextlib.suppress(ControlError):
            return await self._desk.handle(Request(call, arguments), _CALLER)
        return None


def wanted_threshold(config: Config) -> int:
    """Return the percent of infected messages from which an outbreak is alerted, 0 where nobody is told."""
    told = GROUP_OF[Trap.OUTBREAK_ALERT] in config.snmp.snmp_traps
    return config.snmp.alert_threshold if told else 0


def _cpu(status: dict[str, Any]) -> tuple[float, float]:
    """Return the seconds of all processes: (user, system)."""
    pids: Sequence[int] = [each["pid"] for each in (*status["relays"], status["filter_template"]) if each.get("pid")]
    processes = tuple(read_processes(status["pid"], pids))
    return sum(each.user_s for each in processes), sum(each.system_s for each in processes)
