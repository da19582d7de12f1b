"""Greylisting: a stranger never seen with a sender and a recipient is asked to come again (451 at RCPT).

Called by `relay.access` as the last word on a recipient that would be taken. A mail server comes again, most software
that only sends spam does not. What is remembered is a triplet of client network, sender and recipient. Servers that
send from a pool of addresses come again from another one: so it is remembered, too, under the domain of the client's
confirmed name, and under the sender's domain when SPF says that the client may send for it. A network from which enough
mail has come again is known good, and is not asked any more.

Never asked: our own clients and users, clients of relays of ours in front that have not told who they are, the null
sender (bounces and call-outs, whose delay would delay our own mail elsewhere), `postmaster`, and what the configuration
names. When the memory cannot be used, mail is taken. While the clock is not believed nothing is forgotten for its age.
"""

import asyncio
import hashlib
import ipaddress
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from gatepost.authn.psl import registrable_domain
from gatepost.authn.spf import SpfQuery
from gatepost.config.greylisting import Greylisting as Settings
from gatepost.config.masks import MaskSet, NetworkSet
from gatepost.config.schema import Config
from gatepost.model.address import domain_of
from gatepost.relay.greylist_store import GreylistStore, Standing, Terms
from gatepost.relay.lookups.authentication import check_sender
from gatepost.relay.lookups.reverse_dns import looks_dynamic
from gatepost.relay.lookups.zones import Names as ListNames
from gatepost.relay.visit import Visit
from gatepost.resolver.answers import Answer
from gatepost.spool import clock

FILE: Final = "greylist.db"
"""Name of the file below `relay.state_path`."""
NAME_WAIT_S: Final = 3.0
"""How long a client's name, and SPF, may take: then it is judged without."""
REMEMBERED_LIMIT: Final = 20_000
"""Networks and triplets of which this process itself knows that they may pass ..."""
REMEMBERED_S: Final = 600.0
"""... and for how long it does not look into the file again."""
PARALLEL_LIMIT: Final = 2_000
"""Questions under way; beyond it mail is taken: a memory that is too slow must not stop the mail."""

Authorised = Callable[[str, str, str], Awaitable[bool]]
"""Tell whether SPF lets an address (with this HELO name) send for a sender: (ip, helo, sender)."""


class Names(ListNames, Protocol):
    """What is asked of the resolver."""

    async def confirmed_name(self, ip: str, *, deadline_s: float | None = None) -> Answer[str]:
        """Ask for the name of an address that has this address."""


class Memory:
    """The file and its thread: one for each relay, whatever the configuration."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        """`report` is told when the file cannot be used, once until it can again."""
        self.path = path
        self._report = report
        self._store: GreylistStore | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="greylist")
        self._told = ""
        self._closed = False
        self.under_way = 0

    async def judge(self, keys: tuple[bytes, ...], client: bytes, now: float, terms: Terms) -> Standing | None:
        """Ask the file; None: it cannot be used now."""
        loop = asyncio.get_running_loop()
        self.under_way += 1
        try:
            return await loop.run_in_executor(self._thread, self._judge, keys, client, now, terms)
        except (OSError, RuntimeError, sqlite3.Error) as error:  # RuntimeError: closed by a new configuration
            self._tell(f"cannot be used, mail is taken without: {error}")
            return None
        finally:
            self.under_way -= 1

    def _judge(self, keys: tuple[bytes, ...], client: bytes, now: float, terms: Terms) -> Standing:
        if self._store is None:
            self._store = GreylistStore(self.path)
        if not clock.is_believed():
            terms = terms.without_ends()
        standing = self._store.judge(keys, client, now, terms)
        self._tell(f"began anew: {self._store.trouble}" if self._store.trouble else "")
        return standing

    def close(self) -> None:
        """Let go of the file when what is under way has ended."""
        if not self._closed:
            self._closed = True
            self._thread.submit(self._close)
            self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()

    def _tell(self, what: str) -> None:
        if what and what != self._told:
            self._report(f"memory of greylisting, {self.path}, {what}")
        self._told = what


class Greylisting:
    """Greylisting of one configuration."""

    def __init__(
        self,
        settings: Settings,
        names: Names,
        memory: Memory,
        clock: Callable[[], float],
        authorised: Authorised,
    ) -> None:
        """`clock` gives Unix time: what is remembered outlives processes."""
        self.memory = memory
        self._names = names
        self._clock = clock
        self._authorised = authorised
        self._terms = Terms(settings.delay, settings.retry_within, settings.lifetime, settings.known_good_after)
        self._prefixes = {4: settings.ipv4_prefix, 6: settings.ipv6_prefix}
        self._clients = NetworkSet(settings.skip_clients)
        self._senders = MaskSet(settings.skip_senders)
        self._recipients = MaskSet(settings.skip_recipients)
        self._known: OrderedDict[bytes, float] = OrderedDict()

    def judge(self, visit: Visit, recipient: str) -> Awaitable[float] | None:
        """Return, to be awaited, how many seconds the client has to wait before it may send this recipient a mail, 0
        for none; None: it need not wait, without any question.
        """
        if visit.ours or visit.hidden or visit.spared or not visit.sender:
            return None
        if recipient.lower().startswith("postmaster@") or self._clients.contains(visit.ip):
            return None
        if self._senders.matches(visit.sender) or self._recipients.matches(recipient):
            return None
        network = self._network_of(visit.ip)
        if not network or self.memory.under_way >= PARALLEL_LIMIT:
            return None
        now = self._clock()
        client = _key("client", network)
        triplet = _key("triplet", network, visit.sender.lower(), recipient.lower())
        if self._remembers(client, now) or self._remembers(triplet, now):
            return None
        return self._judge_later(visit, recipient, client, triplet)

    async def _judge_later(self, visit: Visit, recipient: str, client: bytes, triplet: bytes) -> float:
        ip, helo, sender = visit.ip, visit.helo, visit.sender
        pools = await self._pools_of(ip, visit.name, helo, sender)
        keys = (triplet, *(_key("pool", pool, sender.lower(), recipient.lower()) for pool in pools))
        now = self._clock()
        standing = await self.memory.judge(keys, client, now, self._terms)
        if standing is None:
            return 0.0
        if not standing.wait_s:
            self._remember(client if standing.known_good else triplet, now)
        return standing.wait_s

    async def _pools_of(self, ip: str, name: str, helo: str, sender: str) -> list[str]:
        """Return the names under which other addresses of the same sender are known."""

        async def of_name() -> str:
            found = name
            if not found:
                answer = await self._names.confirmed_name(ip, deadline_s=NAME_WAIT_S)
                found = answer.values[0] if answer.found else ""
            # Homes and phones of one provider are no pool: each is somebody else's.
            return "" if not found or looks_dynamic(ip, found) else registrable_domain(found)

        async def of_sender() -> str:
            return f"spf {domain_of(sender)}" if await self._authorised(ip, helo, sender) else ""

        try:
            async with asyncio.timeout(NAME_WAIT_S):
                found = await asyncio.gather(of_name(), of_sender(), return_exceptions=True)
        except TimeoutError:
            return []
        return [pool for pool in found if isinstance(pool, str) and pool]

    def _network_of(self, ip: str) -> str:
        try:
            address = ipaddress.ip_address(ip.partition("%")[0])
        except ValueError:
            return ""
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        address = mapped or address
        return str(ipaddress.ip_network((address, self._prefixes[address.version]), strict=False))

    def _remembers(self, key: bytes, now: float) -> bool:
        return 0 <= now - self._known.get(key, -REMEMBERED_S) < REMEMBERED_S

    def _remember(self, key: bytes, now: float) -> None:
        self._known.pop(key, None)
        self._known[key] = now
        if len(self._known) > REMEMBERED_LIMIT:
            self._known.popitem(last=False)


def build_greylisting(
    config: Config,
    names: Names,
    clock: Callable[[], float],
    report: Callable[[str], None],
    former: "Greylisting | None" = None,
) -> Greylisting | None:
    """Return what `[greylisting]` asks for, None when it is off. `former`: of the configuration before."""
    settings = config.greylisting
    path = Path(config.relay.state_path) / FILE
    if former is not None and not (settings.enabled and former.memory.path == path):
        former.memory.close()
    if not settings.enabled:
        return None
    question_s = config.antispam.filter_spf_data_timeout

    async def authorised(ip: str, helo: str, sender: str) -> bool:
        query = SpfQuery(ipaddress.ip_address(ip), sender, helo, config.network.hostname, clock())
        result = await check_sender(names, query, time.monotonic, time.monotonic() + NAME_WAIT_S, question_s)
        return result.result == "pass"

    if former is not None and former.memory.path == path:
        return Greylisting(settings, names, former.memory, clock, authorised)
    memory = Memory(path, report)
    return Greylisting(settings, names, memory, clock, authorised)


def _key(*parts: str) -> bytes:
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest()
