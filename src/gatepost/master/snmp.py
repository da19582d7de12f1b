"""SNMP: the sub-agent of the gateway at a master agent such as snmpd, by AgentX (rows F-SNMP-01 to 06).

Made by `master.process`. It only connects, to the socket the configuration names, and only shows: what it says are the
answers of calls of the desk. A master agent that is away is asked for again; notifications wait for it meanwhile.
"""

import asyncio
import contextlib
import datetime as dt
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from gatepost.config.schema import Config
from gatepost.control.desk import Desk
from gatepost.control.processes import read_processes
from gatepost.control.rights import RIGHTS_OF, Caller, Role
from gatepost.control.snmp_traps import GROUP_OF, Happened, Trap, TrapPlan, View
from gatepost.control.snmp_tree import LATEST_LIMIT, NOTICE, Facts, Infection, UpdateState, build_tree, text
from gatepost.control.socket import ControlError, Request
from gatepost.control.statistics import build_statistics
from gatepost.feeds.update_state import read_run
from gatepost.master.bases import Databases
from gatepost.wire.agentx import (
    AgentSession,
    AgentxError,
    Asked,
    Binding,
    Closed,
    Confirmed,
    Kind,
    Oid,
    Syntax,
    Tree,
    Value,
)

LOOK_S: Final = 2.0
"""Between two looks at what has happened."""
FRESH_S: Final = 1.0
"""A walk asks for each variable singly: all of them are of one moment, for so long."""
PENDING_LIMIT: Final = 100
"""Notifications kept while the master agent is away: the newest."""
GOODBYE_S: Final = 1.0
READ_SIZE: Final = 64 * 1024
_DESCRIPTION: Final = "mail security gateway"
_CALLER: Final = Caller("snmp", RIGHTS_OF[Role.READ_ONLY], via="snmp")


class SnmpAgent:
    """The sub-agent, or nothing while the configuration wants none."""

    def __init__(
        self,
        desk: Desk,
        *,
        config: Callable[[], Config],
        bases: Callable[[], Databases],
        update_directory: Path,
        say: Callable[[str, str], None],
    ) -> None:
        """`config` and `bases` are those in force now."""
        self._desk = desk
        self._config = config
        self._bases = bases
        self._update_directory = update_directory
        self._say = say
        self._plan = TrapPlan()
        self._pending: deque[Happened] = deque(maxlen=PENDING_LIMIT)
        self._bases_seen: Databases | None = None
        self._config_seen: Config | None = None
        self._loaded_at = time.time()
        self._changes = [0, 0]
        self._tree = Tree({})
        self._tree_at = float("-inf")
        self._session: AgentSession | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._registered = False
        self._told_away = False

    async def run(self) -> None:
        """Serve for ever; says goodbye when it is cancelled."""
        looking = asyncio.create_task(self._look_on())
        try:
            while True:
                config = self._config()
                if self._wanted(config):
                    await self._serve(config)
                    await asyncio.sleep(
                        min(config.agentx.ping_interval, LOOK_S)
                        if self._changed(config)
                        else config.agentx.ping_interval
                    )
                else:
                    await asyncio.sleep(LOOK_S)
        finally:
            looking.cancel()

    @staticmethod
    def _wanted(config: Config) -> bool:
        return bool(config.snmp.snmp_services or config.snmp.snmp_traps)

    def _changed(self, served: Config) -> bool:
        config = self._config()
        return (config.snmp, config.agentx) != (served.snmp, served.agentx)

    # --- the session

    async def _serve(self, config: Config) -> None:
        """Connect and serve until the master agent is gone, or the configuration is another."""
        agentx = config.agentx
        try:
            async with asyncio.timeout(agentx.timeout):
                reader, writer = await _connect(agentx.socket)
        except (OSError, TimeoutError, ValueError) as error:
            self._tell_away(f"{agentx.socket}: {error or 'no answer'}")
            return
        session = AgentSession(_DESCRIPTION, int(agentx.timeout))
        self._session, self._writer = session, writer
        pinging = asyncio.create_task(self._ping(session, writer, config))
        try:
            self._flush()
            while data := await reader.read(READ_SIZE):
                for event in session.feed(data):
                    await self._take(event, session, config)
                self._flush()
            self._tell_away("the master agent has closed the session")
        except (OSError, AgentxError) as error:
            self._tell_away(str(error) or type(error).__name__)
        except asyncio.CancelledError:
            await self._say_goodbye(session, writer, config)
            raise
        finally:
            self._session = self._writer = None
            self._registered = False
            pinging.cancel()
            writer.close()

    async def _take(self, event: Asked | Confirmed | Closed, session: AgentSession, config: Config) -> None:
        match event:
            case Asked():
                session.answer(event, await self._current_tree(config))
            case Confirmed(kind=Kind.OPEN, fault=0):
                session.register(_base(config))
            case Confirmed(kind=Kind.REGISTER, fault=0):
                self._registered = True
                self._told_away = False
                self._say("I", f"snmp: registered at {config.agentx.socket}")
                self._send_pending(config)
            case Confirmed(kind=kind, fault=fault) if fault and kind in (Kind.OPEN, Kind.REGISTER):
                raise AgentxError(f"the master agent refuses {kind.name.lower()}: error {fault}")
            case Closed(reason=reason):
                raise AgentxError(f"the master agent ends the session: reason {reason}")

    async def _ping(self, session: AgentSession, writer: asyncio.StreamWriter, config: Config) -> None:
        """Close a session whose master agent does not answer, or that the configuration wants no longer."""
        agentx = config.agentx
        last = time.monotonic()
        silent_s = 0.0
        while True:
            await asyncio.sleep(min(LOOK_S, agentx.ping_interval))
            now = time.monotonic()
            silent_s = silent_s + now - last if session.unanswered else 0.0
            last = now
            if silent_s > agentx.timeout * max(1, agentx.retries):
                self._tell_away(f"no answer for {silent_s:.0f} s")
                writer.transport.abort()
            elif self._changed(config):
                session.close()
                self._flush()
                writer.close()
            elif not session.unanswered:
                session.ping()
                self._flush()

    def _flush(self) -> None:
        if self._session is not None and self._writer is not None and (data := self._session.take_output()):
            self._writer.write(data)

    def _tell_away(self, why: str) -> None:
        """Log once that nobody can ask; it is tried again and again."""
        if not self._told_away:
            self._told_away = True
            self._say("W", f"snmp: {why}; trying again")

    async def _say_goodbye(self, session: AgentSession, writer: asyncio.StreamWriter, config: Config) -> None:
        if self._registered:
            self._pending.append(Happened(Trap.PRODUCT_STOP))
            self._send_pending(config)
        session.close()
        self._flush()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await writer.drain()

    # --- what is shown

    async def _current_tree(self, config: Config) -> Tree:
        now = time.monotonic()
        if now - self._tree_at > FRESH_S:
            services = config.snmp.snmp_services
            self._tree = build_tree(_base(config), await self._facts(config), services) if services else Tree({})
            self._tree_at = time.monotonic()
        return self._tree

    async def _facts(self, config: Config) -> Facts:
        status = await self._ask("status") or _NO_STATUS
        now = time.time()
        pids = [each["pid"] for each in (*status["relays"], status["filter_template"]) if each.get("pid")]
        processes = await asyncio.to_thread(lambda: tuple(read_processes(status["pid"], pids)))
        infections: Sequence[Infection] = ()
        if "statistics" in config.snmp.snmp_services and config.tracking.enabled:
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
            started_at=float(status["started_at"]),
            cpu=(sum(each.user_s for each in processes), sum(each.system_s for each in processes)),
            infections=infections,
            update=self._update_state(),
        )

    def _update_state(self) -> UpdateState:
        sets = self._bases().antivirus
        released = max((each.facts.issued for each in sets), default="")
        run = read_run(self._update_directory)
        return UpdateState(
            checked=run.checked,
            result=run.result,
            loaded=self._loaded_at,
            records=sum(each.facts.records for each in sets),
            released=released,
        )

    async def _ask(self, call: str, **arguments: Any) -> Any:
        """Return the answer of a call, None when there is none."""
        with contextlib.suppress(ControlError):
            return await self._desk.handle(Request(call, arguments), _CALLER)
        return None

    # --- notifications

    async def _look_on(self) -> None:
        while True:
            config = self._config()
            if self._wanted(config):
                try:
                    self._pending += self._plan.look(await self._view(config), config.snmp.alert_threshold)
                    if self._registered:
                        self._send_pending(config)
                except Exception as error:  # noqa: BLE001 - who watches must go on, whatever one look meets
                    self._say("E", f"snmp: {error!r}")
            await asyncio.sleep(LOOK_S)

    async def _view(self, config: Config) -> View:
        status = await self._ask("status") or _NO_STATUS
        problems = await self._ask("problems") or {"problems": []}
        bases = self._bases()
        for place, (seen, current) in enumerate(((self._config_seen, config), (self._bases_seen, bases))):
            self._changes[place] += seen is not current
        if bases is not self._bases_seen:
            self._loaded_at = time.time()
        self._config_seen, self._bases_seen = config, bases
        statistics = build_statistics(status, time.time())
        state = self._update_state()
        age = (dt.datetime.now(dt.UTC).date() - dt.date.fromisoformat(state.released)).days if state.released else None
        return View(
            now=time.time(),
            config=self._changes[0],
            bases=self._changes[1],
            scanned=int(statistics["antiviral_checked_messages_total"]),
            infected=int(statistics.get("antiviral_checked_messages_infected", 0)),
            errors=[(each["key"], each["text"]) for each in problems["problems"] if each["state"] == "error"],
            update_checked=state.checked,
            update_result=state.result,
            released=state.released,
            age_days=age,
        )

    def _send_pending(self, config: Config) -> None:
        session = self._session
        if session is None:
            return
        base = _base(config)
        while self._pending:
            happened = self._pending.popleft()
            if GROUP_OF[happened.trap] in config.snmp.snmp_traps:
                session.notify((*base, 0, happened.trap), _bindings(base, happened))
        self._flush()


_NO_STATUS: Final[dict[str, Any]] = {
    "started_at": 0, "since_start": {}, "counters": {}, "modules": {}, "latency": {}, "relays": [],
    "filter_template": {}, "pid": 0,
}  # fmt: skip
"""While relays are starting."""


def _bindings(base: Oid, happened: Happened) -> list[Binding]:
    """Return the objects a notification carries (docs/manual/snmp.md)."""
    place = (*base, *NOTICE)
    match happened.trap:
        case Trap.PRODUCT_ERROR:
            return [((*place, 4, 0), text(happened.text))]
        case Trap.OUTBREAK_ALERT:
            return [((*place, 1, 0), Value(Syntax.GAUGE, happened.percent))]
        case Trap.UPDATE_STATUS:
            new = Value(Syntax.INTEGER, 1 if happened.new else 2)
            return [
                ((*place, 2, 0), text(happened.released)),
                ((*place, 3, 0), new),
                ((*place, 4, 0), text(happened.text)),
            ]
        case Trap.OBSOLETE_BASES:
            return [((*place, 2, 0), text(happened.released))]
    return []


def _base(config: Config) -> Oid:
    return tuple(int(part) for part in config.agentx.base_oid.split("."))


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a local socket's path, or `host:port` (RFC 2741 §8). ValueError: it is neither."""
    if address.startswith("/"):
        return await asyncio.open_unix_connection(address)
    host, _, port = address.removeprefix("tcp:").rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))
