"""Intake: what every session of one relay shares: identifiers, spool, settings, limits, and where accepted mail goes.

Made once by `relay.process`, configured again at every reload; `relay.listener`, `relay.reception` and `relay.dialogue`
call it.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from gatepost.config.schema import Config, Listener
from gatepost.control.faults import describe_fault
from gatepost.model.address import domain_of
from gatepost.model.envelope import Envelope, Recipient
from gatepost.model.ids import QueueIds, received_ms
from gatepost.model.record import Generated, Received, Refused
from gatepost.model.reply import Reply
from gatepost.relay.access import Access, Services
from gatepost.relay.admission import SessionTable
from gatepost.relay.direction import trusted_networks
from gatepost.relay.disposal import Disposition
from gatepost.relay.endpoint import Endpoint, build_endpoint
from gatepost.relay.incoming import Incoming, mend
from gatepost.relay.quotas import customer_of
from gatepost.relay.shedding import Strain, plan_address_limit, shedding_start
from gatepost.relay.tls import HANDSHAKE_S, build_server_context
from gatepost.relay.wheel import TICK_S, Wheel
from gatepost.relay.work import Work, content_chunks
from gatepost.smtp import replies
from gatepost.spool.interface import NewMessage, Pending, Spool, SpoolError, State, Stored

if TYPE_CHECKING:
    from gatepost.relay.reception import Reception

SLOWEST_S: Final = 5.0
"""Pause before the answer to MAIL when the working queue is all but full: the fifth part of what a busy client waits
for anything, and a tenfold brake on one that sends mail after mail."""
BCC: Final = "bcc"
"""Kind of a blind copy: neither inspected nor reported about."""

_LIMITS = {
    "total": ("sessions", replies.TOO_MANY_SESSIONS),
    "address": ("sessions-per-ip", replies.TOO_MANY_FROM_YOU),
}

Judge = Callable[[Stored, bytes | None, str | None, float], Awaitable[Disposition | None]]
"""Inspect a message that is not accepted yet: (message, content or the path of its file, seconds for it)."""


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
        send: Callable[[Work], None],
        judge: Judge,
        backlog: Callable[[], tuple[int, int]],
        oldest: Callable[[], int],
        report: Callable[[str, str], None],
        trouble: Callable[[BaseException], None],
    ) -> None:
        """`submit` takes mail to be inspected, `send` mail to be delivered; `backlog` tells (messages, bytes) of the
        working queue, `oldest` the id of its oldest message, 0 when it is empty; `report(level, text)` logs; `trouble`
        is told of failures of the spool.
        """
        self.loop = loop
        self.spool = spool
        self.trouble = trouble
        self._ids = ids
        self._table = table
        self._services = services
        self._clock_ms = clock_ms
        self._submit = submit
        self._send = send
        self._judge = judge
        self._backlog = backlog
        self._oldest = oldest
        self._report = report
        self.sessions: set[Reception] = set()
        self._fronted: set[Reception] = set()
        """Connections whose PROXY header has not come."""
        self.wheel: Wheel[Reception] = Wheel()
        """When which session is to be looked at."""
        self.arriving: list[Incoming] = []
        """Messages whose content is on its way in, and some that have come since the last look."""
        self.strain = Strain()
        self._shed = 0
        self.connections = 0
        """Sessions since the start."""
        self.most_sessions = 0
        """Most sessions at once since the start."""
        self.errors = 0
        """Connections that broke."""

    def configure(self, config: Config, queue_path: str) -> None:
        """Take a (new) configuration into use: sessions that begin from now on follow it.

        TlsSetupError when its certificate cannot be used: then nothing has changed.
        """
        context = build_server_context(config)
        self._endpoints = {(each.host, each.port): build_endpoint(config, each, context) for each in config.listeners}
        limits, relay = config.limits, config.relay
        self.access = Access(config, queue_path, self._services)
        self._trusted = trusted_networks(config)
        self.hostname = config.network.hostname
        self.prepend_received = config.options.prepend_received
        self.drop_malformed = config.options.drop_mailformed_mail
        self._bcc = config.network.incoming_bcc
        self._total_limit = limits.incoming_sessions
        self._address_limit = limits.maximal_incoming_sessions_per_ip
        self._shed_at = limits.shed_load_at
        self._shed_from = shedding_start(limits.incoming_sessions, limits.shed_load_at)
        self._per_message = 1 / relay.queue_limit_messages if relay.queue_limit_messages else 0.0
        self._per_byte = 1 / relay.queue_limit_bytes if relay.queue_limit_bytes else 0.0
        self._per_second = 1 / relay.queue_limit_age if relay.queue_limit_age else 0.0
        self._slow_at = relay.queue_slow_at / 100 if relay.queue_slow_at else 1.0
        times = config.timeouts
        self.shortest_s = min(
            times.receiving_command_timeout,
            times.receiving_data_initiation_timeout,
            times.receiving_data_termination_timeout,
            times.read_timeout,
            HANDSHAKE_S,
        )
        """No wait ends sooner than this after its beginning: so often a session is looked at, at most."""
        self.read_s = times.read_timeout
        self.hears_peers = bool(config.network.front_relays or config.access.xclient_networks)
        """Some peers may tell about their clients."""

    def endpoint(self, listener: Listener) -> Endpoint | None:
        """Return what a listener means now; None when it is in the configuration no more."""
        return self._endpoints.get((listener.host, listener.port))

    # --- sessions

    def place_of(self, ip: str) -> str:
        """Return what sessions of an address are counted under: the address, of strangers' IPv6 ones the /64, in which
        they may choose any. In our own /64 each has a place of its own.
        """
        return ip if ":" not in ip or self._trusted.contains(ip) else customer_of(ip)

    def admit(self, session: "Reception", ip: str, place: str) -> tuple[str, Reply] | None:
        """Count a new session (F-SMTP-09) at `place`; (cause, refusal) when it would break a limit."""
        refusal = self._enter(ip, place)
        if refusal is None:
            self.sessions.add(session)
            self.connections += 1
            self.most_sessions = max(self.most_sessions, len(self.sessions))
        return refusal

    def await_proxy(self, session: "Reception") -> bool:
        """Take a connection whose PROXY header has not come; False when too many wait for theirs already."""
        if len(self._fronted) >= self._total_limit:
            return False
        self._fronted.add(session)
        return True

    def proxy_read(self, session: "Reception") -> None:
        """Take note that its PROXY header has come."""
        self._fronted.discard(session)

    def readmit(self, before: str, ip: str, place: str) -> tuple[str, Reply] | None:
        """Count a session for another client than that at the place `before` (XCLIENT); (cause, refusal) when that
        breaks a limit.
        """
        self._table.leave(before, incoming=True)
        refusal = self._enter(ip, place)
        if refusal is not None:
            self._table.enter(before, incoming=True, total_limit=1 << 30, address_limit=1 << 30)
        return refusal

    def _enter(self, ip: str, place: str) -> tuple[str, Reply] | None:
        limit = self._address_limit
        if self._table.totals()[0] >= self._shed_from or self.strain.any:
            limit = self._shed_limit()
            if limit < self._address_limit and self._trusted.contains(ip):
                limit = self._address_limit  # our own servers and users: the limits as configured, nothing less
        what = self._table.enter(place, incoming=True, total_limit=self._total_limit, address_limit=limit)
        if not what:
            return None
        if what == "address" and limit < self._address_limit:
            self._shed += 1
        return _LIMITS[what]

    def _shed_limit(self) -> int:
        return plan_address_limit(
            self._table.totals()[0],
            total_limit=self._total_limit,
            address_limit=self._address_limit,
            shed_at_percent=self._shed_at,
            strained=self.strain.any,
        )

    @property
    def shedding(self) -> dict[str, Any]:
        """What is refused or slowed for load at the moment and why, for the status; empty when nothing is."""
        limit = self._shed_limit()
        pressure = self.pressure()
        told: dict[str, Any] = {}
        if limit < self._address_limit:
            told["sessions_per_address"] = limit
            told["refused_since_start"] = self._shed
        if self.strain.slow:
            told["event_loop_late_ms"] = round(self.strain.lag_s * 1000)
        if self.strain.short:
            told["arriving_bytes"] = self.strain.memory
        if pressure >= self._slow_at:
            told["working_queue_percent"] = round(pressure * 100)
            told["reception"] = "paused" if pressure >= 1.0 else "slowed"
        if not self.access.has_space():
            told["reception"] = "paused"
            told["free_space"] = "below minimal_queue_free_space_size"
        return told

    def closed(self, session: "Reception", place: str, *, failed: bool) -> None:
        """Forget a session, which is counted at `place`."""
        self._fronted.discard(session)
        self.wheel.drop(session)
        if session in self.sessions:
            self.sessions.discard(session)
            self._table.leave(place, incoming=True)
            if failed:
                self.errors += 1

    async def watch(self) -> None:
        """Time out sessions and measure the strain, for as long as the relay lives."""
        loop = self.loop
        while True:
            expected = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            now = loop.time()
            for session in self.wheel.turn(now):
                session.check(now)
            was = self.strain.any
            self.strain.measure(now - expected, self._look_at_arriving())
            if self.strain.any is not was:
                self._report("W", self._describe_strain())

    def _look_at_arriving(self) -> int:
        """Return the bytes of arriving content in memory; forget what has come."""
        in_memory = 0
        self.arriving = [each for each in self.arriving if each.staged is not None]
        for each in self.arriving:
            if each.staged is not None and not each.staged.ref.in_file:
                in_memory += each.staged.size
        return in_memory

    def _describe_strain(self) -> str:
        strain = self.strain
        if not strain.any:
            return "load shedding is over"
        return (
            f"load shedding: the busiest clients get no new sessions (event loop {strain.lag_s:.1f} s late, "
            f"{strain.memory // 1024} KiB of arriving mail in memory)"
        )

    # --- the working queue

    def pressure(self) -> float:
        """Return how full the working queue is, by the nearest of its limits: 1.0 at the limit."""
        messages, size = self._backlog()
        pressure = max(messages * self._per_message, size * self._per_byte)
        if self._per_second and (oldest := self._oldest()):
            age_s = (self._clock_ms() - received_ms(oldest)) / 1000
            pressure = max(pressure, age_s * self._per_second)
        return pressure

    def pause_for(self, pressure: float) -> float:
        """Return the pause before MAIL is answered: it grows from `queue_slow_at` to the limit, where 452 comes."""
        if not self._slow_at <= pressure < 1.0:
            return 0.0
        return SLOWEST_S * (pressure - self._slow_at) / (1.0 - self._slow_at)

    # --- messages

    def begin(self, incoming: Incoming) -> None:
        """Give a message its queue id and a place for its content. SpoolError or OSError when there is none."""
        message_id = self._ids.next(self._clock_ms())
        incoming.begin(message_id, self.spool.stage(message_id, in_file=self.strain.short))
        self.arriving.append(incoming)

    async def mend(self, incoming: Incoming, *, headless: bool, lines: bool) -> bool:
        """Mend a message whose content has come; False when the disk refuses."""
        before = incoming.take()
        try:
            self.begin(incoming)
            after = incoming.take()
        except (SpoolError, OSError):
            before.discard()
            return False
        ref = before.ref
        content, path = (None, self.spool.content_file(ref)) if ref.in_file else (before.read(), None)
        pieces = content_chunks(content, path, ref.size, b"", ())
        mending = self.loop.run_in_executor(None, lambda: mend(pieces, after, headless=headless, lines=lines))
        try:
            await asyncio.shield(mending)
        except asyncio.CancelledError:
            mending.add_done_callback(lambda _: before.discard())
            mending.add_done_callback(lambda _: after.discard())
            raise
        except OSError:
            after.discard()
            return False
        finally:
            if mending.done():
                before.discard()
        incoming.staged = after
        return True

    def judge(self, new: NewMessage, deadline_s: float) -> Awaitable[Disposition | None]:
        """Have a message inspected that is not accepted yet; None: not in time."""
        content, path = self._content_of(new)
        return self._judge(new.stored, content, path, deadline_s)

    def turn_away(self, disposition: Disposition) -> "asyncio.Future[None] | None":
        """Record the verdict on a message that is not ours to deliver, and let its notifications go; return what is
        done when these are durable, all or none of them. None: there are none.
        """
        self.spool.enter(disposition.records)
        if not disposition.generated:
            return None
        first, *others = notices = tuple(disposition.generated)
        commit = asyncio.ensure_future(self.spool.accept(first, (), (), others))
        commit.add_done_callback(functools.partial(self._notices_accepted, notices))
        return commit

    def _notices_accepted(self, notices: "Sequence[NewMessage]", done: "asyncio.Future[None]") -> None:
        if done.cancelled() or (error := done.exception()) is not None:
            for notice in notices:
                notice.content.discard()
            if not done.cancelled() and error is not None:
                self.trouble(error)
        else:
            for notice in notices:
                self._send(Work(notice.stored, None, durable=True))

    def complete(self, new: NewMessage, disposition: Disposition | None) -> Disposition | None:
        """Return what becomes of an accepted message, blind copy included; None: it is to be inspected, no more."""
        if not self._bcc:
            return disposition
        stored = new.stored
        blind = self._blind_copy(stored)
        record = Generated(blind.id, stored.received_at, BCC, stored.id, self._bcc[0], stored.content.size)
        if disposition is None:
            return Disposition([stored, blind], [record])
        records = [*disposition.records, record]
        return Disposition([*disposition.copies, blind], records, generated=disposition.generated)

    def accept(self, new: NewMessage, record: Received, disposition: Disposition | None) -> "asyncio.Future[None]":
        """Make a message durable, and what `complete` gave for it, in one commit; then 250 may follow."""
        if disposition is None:
            return asyncio.ensure_future(self.spool.accept(new, (record,)))
        records = (record, *disposition.records)
        return asyncio.ensure_future(self.spool.accept(new, records, disposition.copies, disposition.generated))

    def take_on(self, new: NewMessage, disposition: Disposition | None) -> None:
        """Hand an accepted message on: to inspection what is to be inspected, the rest to delivery."""
        content, path = self._content_of(new)
        if disposition is None:
            self._submit(Work(new.stored, content, path, plain=new.plain))
            return
        for copy in disposition.copies:
            if copy.state is State.WAITING:
                self._submit(Work(copy, content, path, plain=new.plain))
            else:
                self._send(Work(copy, content, path, durable=True, plain=new.plain))
        for notice in disposition.generated:
            self._send(Work(notice.stored, None, durable=True))

    def _content_of(self, new: NewMessage) -> tuple[bytes | None, str | None]:
        ref = new.stored.content
        return (None, self.spool.content_file(ref)) if ref.in_file else (new.content.read(), None)

    def _blind_copy(self, stored: Stored) -> Stored:
        """Return what the addresses of network.incoming_bcc get (F-SMTP-16): the message as it came, not inspected.

        Its sender is the null sender: nobody is to learn of the copy by its bounce.
        """
        recipients = tuple(Recipient(address) for address in self._bcc)
        envelope = stored.envelope
        return Stored(
            self._ids.next(self._clock_ms()),
            stored.id,
            State.READY,
            stored.received_at,
            Envelope("", recipients, envelope.client, envelope.body, smtputf8=envelope.smtputf8),
            stored.content,
            stored.prefix,
            pending=tuple(
                Pending(index, domain_of(address), stored.received_at) for index, address in enumerate(self._bcc)
            ),
            kind=BCC,
        )

    # --- the record

    def refused(self, record: Refused) -> None:
        """Record a refusal; may be a second late on disk."""
        self.spool.enter((record,))

    def fault(self, error: BaseException) -> None:
        """Report a fault of ours that one client has met: it was told to come again."""
        self._report("E", f"a decision failed: {describe_fault(error)}")
