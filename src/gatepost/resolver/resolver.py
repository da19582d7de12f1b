"""The resolver of a process: one cache and one way into the network for all who ask.

Used by access checks, routing and delivery. Promises: an answer that is kept is returned at once, without a turn of the
event loop; equal questions under way are asked once; a bounded number is under way, the others wait in order; nothing
raises for what a name or a server is like; every question ends, FAILED at worst.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, overload

import dns.name
import msgspec

from gatepost.config.schema import Config
from gatepost.config.timing import Resolve
from gatepost.resolver.answers import Answer, Families, Kind, MailHosts, Mx, Outcome, Tlsa
from gatepost.resolver.cache import ANY_KIND, Cache, Shelf
from gatepost.resolver.combine import build_implicit_host, combine_addresses, read_listing, read_mail_hosts
from gatepost.resolver.inquiry import Forwarding, Inquiry, Recursion, Silence
from gatepost.resolver.message import Reading
from gatepost.resolver.names import (
    BadNameError,
    build_list_name,
    build_reverse_name,
    fold_name,
    parse_address,
    parse_name,
)
from gatepost.resolver.recursion import load_root_hints
from gatepost.resolver.servers import DNS_PORT, HOSTS_FILE, SYSTEM_FILE, NameServer, choose_servers, read_hosts
from gatepost.resolver.transport import Entropy

QUESTIONS_AT_ONCE = 256
"""Questions in the network at a time: a burst of mail must not become a flood at the name server."""
QUESTIONS_WAITING_LIMIT = 10_000
"""Questions that wait for their turn; beyond it they fail at once, temporarily."""
FAILURE_LIFE_S = 5.0
"""How long a failure is kept: spares the servers the same question from a burst of mail (RFC 2308 §7 allows 5 min)."""
TEND_S = 5.0
"""Between two looks for what is past its life, and for servers that were silent."""
NAMES_LIMIT = 10
"""Reverse names looked at for confirmation (RFC 8601 §3, RFC 7208 §5.5)."""

QUERIES = "mta_dns_queries_total"
THROUGH_CACHE = "mta_dns_queries_through_cache"
QUERIES_FAILED = "mta_dns_queries_failed"

_FAILED = Outcome.FAILED
_TELLS_OF_ALL_KINDS = frozenset({Kind.A, Kind.MX, Kind.PTR, Kind.TXT})
"""Kinds whose "no such name" is believed of every kind. Not AAAA and TLSA: some servers know no other word."""
_LOCAL = ("127.0.0.1", "::1")
"""Addresses of `localhost`, which never goes to a server (RFC 6761 §6.3)."""

_Key = tuple[str, Kind, bool]
_Begun = Answer[Any] | asyncio.Task[Answer[Any]]


class Resolver:
    """Asks and remembers. One for each event loop; `clock` counts the seconds of the cache."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
        root_hints: tuple[str, ...] | None = None,
        recursion_port: int = DNS_PORT,
        system_file: Path = SYSTEM_FILE,
        hosts_file: Path = HOSTS_FILE,
    ) -> None:
        self.counters: dict[str, int] = {QUERIES: 0, THROUGH_CACHE: 0, QUERIES_FAILED: 0}
        self._clock = clock
        self._root_hints = root_hints
        self._recursion_port = recursion_port
        self._system_file = system_file
        self._hosts_file = hosts_file
        self._cache = Cache()
        self._entropy = Entropy()
        self._under_way: dict[_Key, asyncio.Task[Answer[Any]]] = {}
        self._turns = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        self._inquiry: Inquiry = Forwarding((), self._entropy)
        self._inquiry_settings: object = None
        self.servers: tuple[NameServer, ...] = ()
        """Asked in this order; none when the resolver walks from the root itself."""
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Go by `config.resolve` from now on. The cache stays; questions under way end as they began."""
        self._hosts = read_hosts(self._hosts_file)
        resolve = config.resolve
        self._timeout_s = resolve.io_network_timeout
        self._unresolved_ttl_s = resolve.unresolved_ttl
        self._mx_threshold_s = resolve.mx_cache_threshold
        self._kinds = Families(resolve.prefer).kinds
        self._periods = {
            Shelf.ADDRESSES: resolve.ip_cache_refresh_period,
            Shelf.MAIL_HOSTS: resolve.mx_cache_refresh_period,
            Shelf.UNRESOLVED: resolve.unresolved_cache_refresh_period,
        }
        walks = resolve.internal_recursion_enabled
        self.servers = () if walks else choose_servers(resolve.name_servers, self._system_file)
        settings = (walks, resolve.internal_recursions_limit, self.servers)
        if settings != self._inquiry_settings:
            self._inquiry_settings = settings
            self._replace_inquiry(self._build_inquiry(resolve))

    def _build_inquiry(self, resolve: Resolve) -> Inquiry:
        if not resolve.internal_recursion_enabled:
            return Forwarding(self.servers, self._entropy)
        hints = load_root_hints() if self._root_hints is None else self._root_hints
        limit = resolve.internal_recursions_limit
        return Recursion(hints, self._entropy, self._clock, steps_limit=limit, port=self._recursion_port)

    def _replace_inquiry(self, inquiry: Inquiry) -> None:
        """Close the former one when the last of its questions has ended."""
        former, self._inquiry = self._inquiry, inquiry
        tasks = list(self._under_way.values())
        if tasks:
            asyncio.gather(*tasks, return_exceptions=True).add_done_callback(lambda _: former.close())
        else:
            former.close()

    def cached(self, name: str, kind: Kind, *, dnssec: bool = False) -> Answer[Any] | None:
        """Return the answer that needs no packet, None when `ask` would send one."""
        found = self._cache.find(fold_name(name), kind, self._clock(), dnssec=dnssec)
        if found is not None:
            self._count(found)
        return found

    def prefetch(self, name: str, kind: Kind) -> bool:
        """Send a question that will be asked soon, unless its answer is kept or it is under way: `ask` then joins it.
        Tell whether it was sent; only then it counts.
        """
        folded = fold_name(name)
        if (folded, kind, False) in self._under_way or self._cache.find(folded, kind, self._clock()) is not None:
            return False
        self._begin(name, kind)
        return True

    @overload
    async def ask(
        self, name: str, kind: Literal[Kind.MX], *, deadline_s: float | None = None, dnssec: bool = False
    ) -> Answer[Mx]: ...
    @overload
    async def ask(
        self, name: str, kind: Literal[Kind.TXT], *, deadline_s: float | None = None, dnssec: bool = False
    ) -> Answer[bytes]: ...
    @overload
    async def ask(
        self, name: str, kind: Literal[Kind.TLSA], *, deadline_s: float | None = None, dnssec: bool = False
    ) -> Answer[Tlsa]: ...
    @overload
    async def ask(
        self, name: str, kind: Kind, *, deadline_s: float | None = None, dnssec: bool = False
    ) -> Answer[Any]: ...
    async def ask(self, name: str, kind: Kind, *, deadline_s: float | None = None, dnssec: bool = False) -> Answer[Any]:
        """Return the answer to one question, aliases followed.

        `deadline_s`: seconds from now after which it is FAILED for this caller (the question goes on and is kept);
        None: `resolve.io_network_timeout`. `dnssec`: signatures are asked for, `authentic` is the last word.
        """
        begun = self._begin(name, kind, dnssec=dnssec)
        return begun if isinstance(begun, Answer) else (await self._wait([begun], deadline_s))[0]

    async def addresses(
        self, host: str, *, families: Families | None = None, deadline_s: float | None = None, dnssec: bool = False
    ) -> Answer[str]:
        """Return the addresses of a host, best first; an address is its own. `authentic`: of one family at least."""
        literal = parse_address(host)
        if literal is not None:
            return Answer(Outcome.FOUND, (str(literal),), through_cache=True)
        kinds = self._kinds if families is None else families.kinds
        known = _LOCAL if fold_name(host) == "localhost" else self._hosts.get(fold_name(host))
        if known is not None:
            # A host of the system's own file is never asked for, as everywhere on the machine.
            fitting = tuple(ip for kind in kinds for ip in known if (":" in ip) is (kind is Kind.AAAA))
            return Answer(Outcome.FOUND if fitting else Outcome.NO_DATA, fitting, through_cache=True)
        begun = [self._begin(host, kind, dnssec=dnssec) for kind in kinds]
        return combine_addresses(await self._wait(begun, deadline_s))

    async def mail_hosts(self, domain: str, *, deadline_s: float | None = None, dnssec: bool = False) -> MailHosts:
        """Return where mail for a domain (or address literal) goes. The hosts' addresses are not asked for."""
        if domain.startswith("["):
            literal = parse_address(domain)
            if literal is None:
                return MailHosts(Outcome.NO_NAME, reason="no address in the brackets")
            return MailHosts(Outcome.FOUND, (Mx(0, str(literal)),), implicit=True, through_cache=True)
        begun = self._begin(domain, Kind.MX, dnssec=dnssec)
        answer = begun if isinstance(begun, Answer) else (await self._wait([begun], deadline_s))[0]
        hosts = read_mail_hosts(answer)
        if hosts is not None:
            return hosts
        addresses = await self.addresses(domain, deadline_s=deadline_s, dnssec=dnssec)
        return build_implicit_host(fold_name(domain), answer, addresses)

    async def name_of(self, ip: str, *, deadline_s: float | None = None) -> Answer[str]:
        """Return the names an address claims to have (PTR); whether they are its own says `confirmed_name`."""
        address = parse_address(ip)
        if address is None:
            return Answer(Outcome.NO_NAME, reason="not an address")
        return await self.ask(build_reverse_name(address), Kind.PTR, deadline_s=deadline_s)

    async def confirmed_name(self, ip: str, *, deadline_s: float | None = None) -> Answer[str]:
        """Return those names of an address that have this address (RFC 8601 §3 `iprev`).

        NO_DATA: it has names but none leads back; FAILED when that could not be found out. `deadline_s` counts for
        each of the two steps.
        """
        names = await self.name_of(ip, deadline_s=deadline_s)
        address = parse_address(ip)
        if names.outcome is not Outcome.FOUND or address is None:
            return names
        mapped = getattr(address, "ipv4_mapped", None)
        wanted = str(mapped or address)
        kind = Kind.AAAA if ":" in wanted else Kind.A
        hosts = names.values[:NAMES_LIMIT]
        answers = await self._wait([self._begin(host, kind) for host in hosts], deadline_s)
        through_cache = names.through_cache and all(answer.through_cache for answer in answers)
        confirmed = tuple(host for host, answer in zip(hosts, answers, strict=True) if wanted in answer.values)
        if confirmed:
            return Answer(Outcome.FOUND, confirmed, through_cache=through_cache)
        failed = next((answer for answer in answers if answer.outcome is Outcome.FAILED), None)
        if failed is not None:
            return msgspec.structs.replace(failed, through_cache=through_cache)
        return Answer(Outcome.NO_DATA, reason="no name leads back to the address", through_cache=through_cache)

    async def listed(self, ip: str, zone: str, *, deadline_s: float | None = None) -> Answer[str]:
        """Return what a DNS list says of an address (RFC 5782): its 127.0.0.0/8 codes, or not FOUND."""
        address = parse_address(ip)
        if address is None or not fold_name(zone):
            return Answer(Outcome.NO_NAME, reason="no address, or no list")
        return read_listing(await self.ask(build_list_name(address, zone), Kind.A, deadline_s=deadline_s))

    def purge(self, now: float) -> int:
        """Free what is past its life, on the configured periods (else cheap); return how many entries went."""
        return self._cache.purge(now, self._periods)

    @property
    def silence(self) -> Silence | None:
        """Since when no name server answers, and why each does not; None while one does, or none was asked."""
        return self._inquiry.silence

    async def look_for_silence(self) -> None:
        """Find out whether name servers that have said nothing are there."""
        await self._inquiry.probe(self._timeout_s)

    async def tend(self) -> None:
        """Free memory and look for silence, for ever: without it none begins, and a server that needs longer than a
        brief wait ends none.
        """
        while True:
            await asyncio.sleep(TEND_S)
            await self.look_for_silence()
            self.purge(self._clock())

    def clear(self) -> None:
        """Forget all answers, at an operator's wish."""
        self._cache.clear()

    async def close(self) -> None:
        """End what is under way (who waits for it is cancelled) and close the sockets."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._inquiry.close()

    def _begin(self, name: str, kind: Kind, *, dnssec: bool = False) -> _Begun:
        """Return the answer that needs no packet, or the question under way."""
        folded = fold_name(name)
        found = self._cache.find(folded, kind, self._clock(), dnssec=dnssec)
        if found is not None:
            self._count(found)
            return found
        self.counters[QUERIES] += 1
        key = (folded, kind, dnssec)
        task = self._under_way.get(key)
        if task is not None:
            return task
        if len(self._under_way) >= QUESTIONS_AT_ONCE + QUESTIONS_WAITING_LIMIT:
            return self._failed("too many questions are waiting")
        try:
            parsed = parse_name(folded)
        except BadNameError as error:
            return Answer(Outcome.NO_NAME, reason=str(error))
        task = asyncio.get_running_loop().create_task(self._inquire(key, parsed))
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return task

    async def _inquire(self, key: _Key, parsed: dns.name.Name) -> Answer[Any]:
        """Ask the network when it is this question's turn, and keep the answer."""
        name, kind, dnssec = key
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout_s
        inquiry = self._inquiry
        if self._turns.locked():
            try:
                async with asyncio.timeout_at(end):
                    await self._turns.acquire()
            except TimeoutError:
                return Answer(Outcome.FAILED, reason="too many questions under way")
        else:
            await self._turns.acquire()
        try:
            reading = await inquiry.inquire(parsed, kind, end - loop.time(), dnssec=dnssec)
        finally:
            self._turns.release()
        answer = Answer(reading.outcome, reading.values, reading.authentic, reading.reason)
        life_s = self._life_of(reading, kind)
        if life_s > 0:
            all_kinds = reading.outcome is Outcome.NO_NAME and not reading.aliased and kind in _TELLS_OF_ALL_KINDS
            self._cache.keep(name, ANY_KIND if all_kinds else kind, answer, self._clock() + life_s, dnssec=dnssec)
        return answer

    def _life_of(self, reading: Reading, kind: Kind) -> float:
        """Return for how many seconds an answer is kept (specification, resolver caches)."""
        if reading.outcome is Outcome.FAILED:
            return FAILURE_LIFE_S
        if reading.outcome is not Outcome.FOUND:
            return self._unresolved_ttl_s if reading.ttl_s is None else min(self._unresolved_ttl_s, reading.ttl_s)
        life_s = reading.ttl_s or 0
        return 0 if kind is Kind.MX and life_s <= self._mx_threshold_s else life_s

    async def _wait(self, begun: list[_Begun], deadline_s: float | None) -> list[Answer[Any]]:
        """Wait for questions under way, others may wait for them as well; one deadline is for all of them."""
        tasks = [task for task in begun if not isinstance(task, Answer)]
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_s)
        return [question if isinstance(question, Answer) else self._take(question, deadline_s) for question in begun]

    def _take(self, task: asyncio.Task[Answer[Any]], deadline_s: float | None) -> Answer[Any]:
        if not task.done():
            return self._failed(f"no answer within {deadline_s:g} s")
        answer = task.result()
        if answer.outcome is _FAILED:
            self.counters[QUERIES_FAILED] += 1
        return answer

    def _failed(self, reason: str) -> Answer[Any]:
        self.counters[QUERIES_FAILED] += 1
        return Answer(Outcome.FAILED, reason=reason)

    def _count(self, found: Answer[Any]) -> None:
        self.counters[QUERIES] += 1
        self.counters[THROUGH_CACHE] += 1
        if found.outcome is _FAILED:
            self.counters[QUERIES_FAILED] += 1
