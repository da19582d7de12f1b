"""Intake: what every session of one relay shares: identifiers, spool, settings, limits, and where accepted mail goes.

Made once per configuration by `relay.process`; `relay.listener` and `relay.reception` call it.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gatepost.config.schema import BareLineFeed, Config
from gatepost.model.ids import QueueIds
from gatepost.model.record import Received, Record, Refused
from gatepost.relay.access import Access, Services
from gatepost.relay.admission import SessionTable
from gatepost.relay.work import Work
from gatepost.smtp import replies
from gatepost.smtp.server import LineFeedPolicy, ServerSettings
from gatepost.spool import clock
from gatepost.spool.interface import NewMessage, Spool, Stored

if TYPE_CHECKING:
    from gatepost.relay.reception import Reception


SWEEP_S = 0.25
"""Pause between two looks at the sessions' clocks: timeouts are exact to this."""
_LIMITS = {
    "total": ("sessions", replies.TOO_MANY_SESSIONS),
    "address": ("sessions-per-ip", replies.TOO_MANY_FROM_YOU),
}


class Intake:
    """Shared state of reception."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        spool: Spool,
        ids: QueueIds,
        table: SessionTable,
        services: Services,
        clock_ms: Callable[[], int],
        submit: Callable[[Work], None],
        backlog: Callable[[], tuple[int, int]],
        trouble: Callable[[BaseException], None],
    ) -> None:
        """`submit` takes accepted mail; `backlog` tells (messages, bytes) of the working queue; `trouble` is told of
        failures of the spool.
        """
        self.loop = loop
        self.spool = spool
        self.trouble = trouble
        self._ids = ids
        self._table = table
        self._services = services
        self._clock_ms = clock_ms
        self._submit = submit
        self._backlog = backlog
        self.sessions: set[Reception] = set()
        self.connections = 0
        """Sessions since the start."""
        self.most_sessions = 0
        """Most sessions at once since the start."""
        self.errors = 0
        """Connections that broke."""
        self.shedding: dict[str, Any] = {}
        """What is refused for load at the moment and why, for the status; empty when nothing is."""

    def configure(self, config: Config, queue_path: str) -> None:
        """Take a (new) configuration into use: sessions that begin from now on follow it."""
        limits, times = config.limits, config.timeouts
        self.access = Access(config, queue_path, self._services)
        self.hostname = config.network.hostname
        self.prepend_received = config.options.prepend_received
        self._total_limit = limits.incoming_sessions
        self._address_limit = limits.maximal_incoming_sessions_per_ip
        self._queue_messages = config.relay.queue_limit_messages
        self._queue_bytes = config.relay.queue_limit_bytes
        self.read_s = times.read_timeout
        base = ServerSettings(
            hostname=config.network.hostname,
            size_limit=limits.maximal_incoming_message_size,
            session_bytes_limit=limits.maximal_incoming_session_size,
            messages_limit=limits.maximal_incoming_messages_per_session,
            recipients_limit=limits.maximal_incoming_rcpts_per_message,
            hops_limit=limits.maximal_incoming_hops,
            command_s=times.receiving_command_timeout,
            data_initiation_s=times.receiving_data_initiation_timeout,
            data_termination_s=times.receiving_data_termination_timeout,
            read_s=times.read_timeout,
        )
        self.settings = {
            choice: msgspec.structs.replace(base, bare_line_feed=LineFeedPolicy(choice.value))
            for choice in BareLineFeed
        }

    def admit(self, session: "Reception", ip: str) -> bytes | None:
        """Count a new session (F-SMTP-09); the refusal to send when it would break a limit."""
        limit = self._table.enter(ip, incoming=True, total_limit=self._total_limit, address_limit=self._address_limit)
        if not limit:
            self.sessions.add(session)
            self.connections += 1
            self.most_sessions = max(self.most_sessions, len(self.sessions))
            return None
        cause, answer = _LIMITS[limit]
        self.refused(Refused(clock.now(), ip, "connect", cause, answer.code))
        return replies.render(answer, enhanced=True)

    def closed(self, session: "Reception", ip: str, *, failed: bool) -> None:
        """Forget a session."""
        if session in self.sessions:
            self.sessions.discard(session)
            self._table.leave(ip, incoming=True)
            if failed:
                self.errors += 1

    async def watch(self) -> None:
        """Time out sessions, for as long as the relay lives."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self.loop.time()
            for session in list(self.sessions):
                session.check(now)

    def queue_full(self) -> bool:
        """Tell whether the working queue is beyond its set size (architecture §4)."""
        if not self._queue_messages and not self._queue_bytes:
            return False
        messages, size = self._backlog()
        return bool(
            (self._queue_messages and messages >= self._queue_messages)
            or (self._queue_bytes and size >= self._queue_bytes)
        )

    def next_id(self) -> int:
        """Return a fresh queue id."""
        return self._ids.next(self._clock_ms())

    def accept(self, new: NewMessage, record: Received) -> "asyncio.Future[None]":
        """Make a message durable; 250 may follow when the future is done."""
        records: tuple[Record, ...] = (record,)
        return asyncio.ensure_future(self.spool.accept(new, records))

    def take_on(self, stored: Stored, content: bytes | None) -> None:
        """Hand a durable message to inspection; `content` None: it lies in a file."""
        path = self.spool.content_file(stored.content) if content is None else None
        self._submit(Work(stored, content, path))

    def refused(self, record: Refused) -> None:
        """Record a refusal; may be a second late on disk."""
        self.spool.enter((record,))
