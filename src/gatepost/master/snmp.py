"""SNMP: the sub-agent of the gateway at a master agent such as snmpd, by AgentX (rows F-SNMP-01 to 06).

Made by `master.process`. It only connects, to the socket the configuration names, and only shows: what it says are the
answers of calls of the desk. A master agent that is away is asked for again; notifications wait for it meanwhile.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gatepost.config.schema import Config
from gatepost.control.desk import Desk
from gatepost.control.snmp_traps import GROUP_OF, Happened, Trap, TrapPlan
from gatepost.control.snmp_tree import NOTICE, text
from gatepost.master.bases import Databases
from gatepost.master.snmp_facts import SnmpFacts, wanted_threshold
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
    Value,
)

LOOK_S: Final = 2.0
"""Between two looks at what has happened."""
PENDING_LIMIT: Final = 100
"""Notifications kept while the master agent is away: the newest."""
GOODBYE_S: Final = 1.0
READ_SIZE: Final = 64 * 1024
_DESCRIPTION: Final = "mail security gateway"


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
        self._config = config
        self._say = say
        self._facts = SnmpFacts(desk, bases, update_directory)
        self._plan = TrapPlan()
        self._pending: deque[Happened] = deque(maxlen=PENDING_LIMIT)
        self._session: AgentSession | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._registered = False
        self._told_away = False

    async def run(self) -> None:
        """Serve for ever; says goodbye when it is cancelled."""
        while True:
            config = self._config()
            if self._wanted(config):
                await self._serve(config)
                await asyncio.sleep(
                    min(config.agentx.ping_interval, LOOK_S) if self._changed(config) else config.agentx.ping_interval
                )
            else:
                await asyncio.sleep(LOOK_S)

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
                session.answer(event, await self._facts.tree(_base(config), self._config()))
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
        last = pinged = time.monotonic()
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
            elif not session.unanswered and now - pinged >= agentx.ping_interval:
                pinged = now
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

    # --- notifications

    async def look_on(self) -> None:
        """Look for what is to be notified, for ever."""
        while True:
            config = self._config()
            if self._wanted(config):
                self._pending += self._plan.look(await self._facts.view(config), wanted_threshold(config))
                if self._registered:
                    self._send_pending(config)
            await asyncio.sleep(LOOK_S)

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
