"""Dialling: from a plan of hosts to one open session, with the best host that will have us.

Called by `relay.hops` for every new connection. Hosts in order of preference, all addresses of each (RFC 5321 §5.1),
encryption as the plan demands; hosts that could not be reached a moment ago are passed over. The next address of a
host is tried when the one before is slow to answer (RFC 8305 §5): a family of addresses that is dead costs seconds at
some hosts, and is known then (`relay.families`).
"""

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from gatepost.config.schema import Config
from gatepost.config.transport import TlsLevel
from gatepost.model.reply import reply
from gatepost.relay.connection import ClientConnection, NoSession, Obstacle, Owner
from gatepost.relay.families import Families
from gatepost.relay.mailhosts import HostPlan, MailHost, in_order, loop_reply
from gatepost.relay.outgoing_tls import IN_CLEAR, OutgoingTls, Proof, TlsPlan
from gatepost.relay.own_addresses import OwnAddresses
from gatepost.relay.racing import race
from gatepost.relay.routing import NextHop
from gatepost.relay.slots import Count, SessionSlots
from gatepost.relay.tasks import Tasks
from gatepost.relay.tls_policy import TlsDemand, is_dane
from gatepost.relay.tlsa import usable
from gatepost.resolver.answers import Kind, Outcome
from gatepost.resolver.resolver import Resolver
from gatepost.resolver.unreachable import UnreachableHosts
from gatepost.smtp.client import ClientSettings, TlsUse
from gatepost.spool import clock

CONNECT_LIMIT_S: Final = 30.0
"""Longest wait for a connection to come about: a host that drops packets must not hold jobs for minutes."""
ADDRESSES_LIMIT: Final = 6
"""Addresses tried of one host."""
HEAD_START_S: Final = 2.0
"""Time an address has before the next one of its host is tried as well: the longest of RFC 8305 §5, for a second
connection is a burden on a server that is merely slow, and mail can wait longer than a page."""
ALIASES_LIMIT: Final = 8
"""Aliases followed from the name of a mail host: as many as the resolver follows to its addresses."""
CACHE_LIFE_SHARE: Final = 0.9
"""Longest a host counts as unreachable, as a share of the shortest back-off: no retry may come too early for it."""

CONNECTIONS: Final = "mta_outgoing_connections_total"
ERRORS: Final = "mta_outgoing_connection_errors"
FAILED: Final = "mta_outgoing_connections_failed_total"
THROUGH_CACHE: Final = "mta_outgoing_connections_failed_through_cache"


class Dialler:
    """Opens the sessions of one relay."""

    def __init__(self, *, resolver: Resolver, slots: SessionSlots, tasks: Tasks, count: Count) -> None:
        self._resolver = resolver
        self._slots = slots
        self._tasks = tasks
        self._count = count
        self._unreachable = UnreachableHosts(0.0, 0.0)
        self._slow = UnreachableHosts(0.0, 0.0)
        """Addresses that lost to another one of their host: tried last for a while, but tried."""
        self._families = Families()
        self._last = 0.0
        self._shuffle = random.SystemRandom().shuffle

    def configure(self, config: Config, tls: OutgoingTls) -> None:
        """Take a (new) configuration into use."""
        self._tls = tls
        life_s = min(config.resolve.unreachable_ttl, config.timeouts.minimal_backoff_time * CACHE_LIFE_SHARE)
        for notes in (self._unreachable, self._slow):
            notes.configure(life_s, config.resolve.unreachable_cache_refresh_period)
        self._own = OwnAddresses(config)

    def forget_unreachable(self) -> None:
        """Try every host again, at an operator's wish."""
        self._unreachable.clear()
        self._slow.clear()
        self._families.clear()

    def purge(self) -> None:
        """Forget what is past its life."""
        now = self._now()
        self._unreachable.purge(now)
        self._slow.purge(now)

    def _now(self) -> float:
        """Return the queue's time: a destination that rests and a host that is let alone go by one clock. When it is
        set back, what was noted by it means nothing.
        """
        now = clock.now()
        if now < self._last:
            self.forget_unreachable()
        self._last = now
        return now

    async def dial(self, plan: HostPlan, settings: ClientSettings, owner: Owner) -> ClientConnection | NoSession:
        """Return an open session that counts for its host's slot, or why there is none."""
        full_tier: int | None = None
        failed: NoSession | None = None
        for tier, host in in_order(plan, self._shuffle):
            if full_tier is not None and tier > full_tier:
                break  # our own limits are no reason to bother hosts that only stand in
            label = host.hop.label
            if self._unreachable.is_unreachable(label, self._now()):
                self._count(FAILED)
                self._count(THROUGH_CACHE)
                failed = _unreached(f"{label} could not be reached a moment ago")
                continue
            refused = self._slots.take(label)
            if refused == "total":
                full_tier = -1
                break
            if refused:
                full_tier = tier
                continue
            result: ClientConnection | NoSession | None = None
            try:
                result = await self._dial_host(host, settings, owner)
            finally:
                if not isinstance(result, ClientConnection):
                    self._slots.give_back(label)
            if isinstance(result, ClientConnection):
                return result
            if result.obstacle is Obstacle.LOOP:
                failed = failed or result  # what is worse than ourselves is not tried
                break
            if result.obstacle is Obstacle.UNREACHED:
                self._unreachable.note(label, self._now())
            failed = result
        if full_tier is not None:
            return NoSession(Obstacle.FULL, reply(451, "4.3.2", "all sessions that are allowed are open"))
        return failed or _unreached("no host to try")

    async def _dial_host(self, host: MailHost, settings: ClientSettings, owner: Owner) -> ClientConnection | NoSession:
        name = host.hop.host
        answer = await self._resolver.addresses(host.hop.host, dnssec=is_dane(host.tls.level))
        if not answer.found:
            return NoSession(Obstacle.REFUSED, reply(451, "4.4.3", f"{name} has no address: {answer.reason}"))
        if host.by_mx and any(self._own.holds(ip, host.hop.port) for ip in answer.values):
            return NoSession(Obstacle.LOOP, loop_reply(name))
        tls = await self._plan_tls(host, authentic=answer.authentic)
        if isinstance(tls, NoSession):
            return tls
        failed: NoSession | None = None
        left = self._quick_first(answer.values, host.hop.port)[:ADDRESSES_LIMIT]
        while left:
            ip, result, left = await self._dial_addresses(host, left, tls, settings, owner)
            if isinstance(result, NoSession) and result.obstacle is Obstacle.TLS and tls.clear_will_do:
                _, result, _ = await self._dial_addresses(host, [ip], IN_CLEAR, settings, owner)
            if isinstance(result, ClientConnection):
                return result
            if failed is None or failed.obstacle is Obstacle.UNREACHED:
                failed = result  # what a server said tells more than another that was silent
        return failed or _unreached(f"{name} has no address")

    def _quick_first(self, ips: Sequence[str], port: int) -> list[str]:
        now = self._now()
        families = self._families
        return sorted(
            ips, key=lambda ip: families.comes_last(ip, now) or self._slow.is_unreachable(NextHop(ip, port).label, now)
        )

    async def _plan_tls(self, host: MailHost, *, authentic: bool) -> TlsPlan | NoSession:
        """Return what a session with a host needs; TLSA records are asked for when its names are validated."""
        demand = host.tls
        name = host.hop.host
        level = demand.level
        if is_dane(level):
            found = await self._tlsa_plan(host, demand, authentic=authentic)
            if found is not None:
                return found
            if level is TlsLevel.DANE_ONLY:
                return NoSession(Obstacle.TLS, reply(451, "4.7.5", f"{name} has no TLSA records that can be used"))
            level = demand.otherwise
        if level is TlsLevel.NONE:
            return IN_CLEAR
        if level is TlsLevel.VERIFY:
            return self._tls.plan(demand, name, TlsUse.ENCRYPT, Proof.AUTHORITY)
        return self._tls.plan(demand, name, TlsUse.ENCRYPT if level is TlsLevel.ENCRYPT else TlsUse.MAY)

    async def _tlsa_plan(self, host: MailHost, demand: TlsDemand, *, authentic: bool) -> TlsPlan | NoSession | None:
        """Return what TLSA records ask for, None when there are none (RFC 7672 §2.2)."""
        if not (host.secure and authentic):
            return None
        name, port = host.hop.host, host.hop.port
        names = [name]
        while len(names) <= ALIASES_LIMIT:
            alias = await self._resolver.ask(names[0], Kind.CNAME, dnssec=True)
            if alias.outcome is Outcome.FAILED:
                return _tlsa_unknown(name, alias.reason)
            if not (alias.found and alias.authentic):
                break
            names.insert(0, alias.values[0])
        for name in dict.fromkeys((names[0], names[-1])):  # what an alias stands for comes first (RFC 7672 §2.2.2)
            answer = await self._resolver.ask(f"_{port}._tcp.{name}", Kind.TLSA, dnssec=True)
            if answer.outcome is Outcome.FAILED:
                return _tlsa_unknown(name, answer.reason)
            if answer.found and answer.authentic:
                break
        else:
            return None
        records = usable(answer.values)
        if not records:
            if demand.level is TlsLevel.DANE_ONLY or demand.otherwise is TlsLevel.VERIFY:
                return None  # records that nobody can use do not undo a policy of MTA-STS
            return self._tls.plan(demand, name, TlsUse.ENCRYPT)
        return self._tls.plan(demand, name, TlsUse.ENCRYPT, Proof.DANE, records)

    async def _dial_addresses(
        self, host: MailHost, ips: Sequence[str], tls: TlsPlan, settings: ClientSettings, owner: Owner
    ) -> tuple[str, ClientConnection | NoSession, list[str]]:
        """Connect to the first of some addresses of a host that answers, and open a session there.

        Return the address it is about, the session or why there is none, and the addresses that are left to try.
        """
        label, port = host.hop.label, host.hop.port
        if tls.use is not settings.tls:
            settings = msgspec.structs.replace(settings, tls=tls.use)

        async def connect(ip: str) -> ClientConnection:
            connection = ClientConnection(settings, owner, self._tasks, tls, label)
            self._count(CONNECTIONS)
            try:
                async with asyncio.timeout(min(settings.initial_s, CONNECT_LIMIT_S)):
                    await asyncio.get_running_loop().create_connection(lambda: connection, ip, port)
            except (OSError, asyncio.CancelledError):
                connection.abort()
                self._count(FAILED)
                raise
            return connection

        finish = await race([partial(connect, ip) for ip in ips], HEAD_START_S, ClientConnection.abort)
        for place in (*finish.failed, *finish.given_up):
            if finish.winner is None or place < finish.winner or place in finish.failed:
                self._note_slow(ips[place], port)
        if finish.winner is None or finish.result is None:
            last = len(ips) - 1
            at = label if host.hop.host == ips[last] else f"{label} [{ips[last]}]"
            return ips[last], _unreached(f"connect to {at}: {_describe(finish.failed[last])}"), []
        ip, connection = ips[finish.winner], finish.result
        self._slow.forget(NextHop(ip, port).label)
        overtaken = [ips[place] for place in finish.given_up if place < finish.winner]
        timed_out = [ips[place] for place, error in finish.failed.items() if isinstance(error, TimeoutError)]
        self._families.note(label, ip, overtaken + timed_out, self._now())
        untried = [other for place, other in enumerate(ips) if place > finish.winner and place not in finish.failed]
        left = untried + overtaken
        try:
            obstacle = await connection.opened
        except asyncio.CancelledError:
            connection.abort()
            raise
        if obstacle is None:
            return ip, connection, left
        if obstacle.obstacle is Obstacle.UNREACHED:
            self._note_slow(ip, port)
        self._count(FAILED if obstacle.obstacle is Obstacle.UNREACHED else ERRORS)
        return ip, obstacle, left

    def _note_slow(self, ip: str, port: int) -> None:
        self._slow.note(NextHop(ip, port).label, self._now())


def _tlsa_unknown(name: str, reason: str) -> NoSession:
    """Nobody knows whether there are TLSA records: an attacker could bring this about (RFC 7672 §2.1.2)."""
    return NoSession(Obstacle.TLS, reply(451, "4.7.5", f"TLSA records of {name}: {reason}"))


def _unreached(text: str) -> NoSession:
    return NoSession(Obstacle.UNREACHED, reply(451, "4.4.1", text))


def _describe(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "connection timed out"
    return error.strerror or str(error)
