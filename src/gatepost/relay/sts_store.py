"""MTA-STS policies of domains: fetched when mail goes there, kept for as long as they say (RFC 8461 §3.3, §5).

Used by `relay.planning`. A policy that cannot be fetched counts as absent unless one that is still valid is known;
nothing is fetched more often than every few minutes. Policies in use are fetched anew every day, beside the mail, so
that they do not end while somebody keeps us from their server; they outlive the relay in a file (`relay.sts_file`).
"""

import asyncio
import contextlib
import http.client
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gatepost.relay.mta_sts import POLICY_LIMIT, Mode, StsPolicy, parse_policy, parse_record
from gatepost.relay.outgoing_tls import OutgoingTls
from gatepost.relay.sts_file import PREFIX, Kept, read_files, write_file
from gatepost.resolver.answers import Kind
from gatepost.resolver.resolver import Resolver
from gatepost.spool import clock

HTTPS_PORT: Final = 443
FETCH_LIMIT_S: Final = 60.0
"""Longest time for one policy, the wait for its turn included (RFC 8461 §3.3): mail of its domain waits for it."""
RETRY_S: Final = 300.0
"""Pause after a policy that could not be fetched (RFC 8461 §3.3)."""
REFRESH_S: Final = 86_400.0
"""Age at which a policy in use is fetched anew (RFC 8461 §10.2), or half of its life when that is less."""
SAVE_S: Final = 5.0
"""How far the file may be behind: many new policies are written together."""
DOMAINS_LIMIT: Final = 10_000
"""Domains remembered, some MB; beyond it the one asked for longest ago is forgotten."""
FETCHES_AT_ONCE: Final = 16
"""Threads that fetch: servers that keep some of them busy to the end must not keep the others' domains waiting."""
ADDRESSES_LIMIT: Final = 4
"""Addresses tried of one server."""
_CONNECT_LIMIT_S: Final = 15.0
_LAST_WRITE_S = 5.0
_PIECE = 8192


class Known:
    """What is known of one domain."""

    __slots__ = ("fetched", "policy", "policy_id", "retry_at")

    def __init__(self) -> None:
        self.policy: StsPolicy | None = None
        self.policy_id = ""
        self.fetched = 0.0
        self.retry_at = 0.0

    def valid_policy(self, now: float) -> StsPolicy | None:
        """Return the policy while it lives."""
        return self.policy if self.policy is not None and now < self.fetched + self.policy.max_age_s else None

    def is_stale(self, now: float) -> bool:
        """Tell whether it is time to fetch the policy anew."""
        return self.policy is not None and now >= self.fetched + min(REFRESH_S, self.policy.max_age_s / 2)


class StsStore:
    """The policies of one relay. `monotonic` counts seconds."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        number: int,
        report: Callable[[str, str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`number` names the relay's file; `report(level, text)` logs."""
        self._resolver = resolver
        self._number = number
        self._report = report
        self._clock = monotonic
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._path: Path | None = None
        self._saving: asyncio.Task[None] | None = None
        self._changed = self._failed = False
        self._closing = asyncio.Event()

    def configure(self, tls: OutgoingTls, state: Path) -> None:
        """Trust these authorities from now on. `state`: the state directory, whose files are read the first time."""
        self._tls = tls
        if self._path is None:
            self._load(state)
        self._path = state / f"{PREFIX}{self._number}.json"

    async def find(self, domain: str) -> StsPolicy | None:
        """Return the policy in force for a domain, None when there is none."""
        answer = await self._resolver.ask(f"_mta-sts.{domain}", Kind.TXT)
        policy_id = parse_record(answer.values) if answer.found else ""
        now = self._clock()
        # Looked up after the wait: two mails that ask at once must share what is learnt, or one goes without a policy.
        known = self._known.get(domain)
        if known is None:
            if not policy_id:
                return None
            known = self._known[domain] = Known()
            if len(self._known) > DOMAINS_LIMIT:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(domain, last=True)
        policy = known.valid_policy(now)
        if policy_id and now >= known.retry_at:
            if policy is None or policy_id != known.policy_id:
                await asyncio.shield(self._fetch_once(domain, known, policy_id))
                policy = known.valid_policy(self._clock())
            elif known.is_stale(now):
                self._fetch_once(domain, known, policy_id)
        return policy if policy is not None and policy.mode is not Mode.NONE else None

    async def close(self) -> None:
        """Write what is new, unless the disk hangs."""
        self._closing.set()
        if self._saving is not None:
            await asyncio.wait((self._saving,), timeout=_LAST_WRITE_S)

    def _fetch_once(self, domain: str, known: Known, policy_id: str) -> asyncio.Task[None]:
        """Fetch a policy, or return the fetch that is under way."""
        task = self._fetching.get(domain)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(domain, known, policy_id))
            self._fetching[domain] = task
            task.add_done_callback(lambda _: self._fetching.pop(domain, None))
        return task

    async def _fetch(self, domain: str, known: Known, policy_id: str) -> None:
        host = f"mta-sts.{domain}"
        result: StsPolicy | str = "no answer in time"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FETCH_LIMIT_S):
                answer = await self._resolver.addresses(host)
                if not answer.found:
                    result = answer.reason or "no address"
                else:
                    async with self._turns:
                        result = await fetch_policy(host, answer.values, self._tls)
        now = self._clock()
        if isinstance(result, str):
            known.retry_at = now + RETRY_S
            self._report("W", f"MTA-STS policy of {domain} not fetched: {result}")
            return
        known.policy, known.policy_id, known.fetched = result, policy_id, now
        known.retry_at = 0.0
        self._changed = True
        if self._saving is None:
            self._saving = asyncio.get_running_loop().create_task(self._save_soon())

    def _load(self, state: Path) -> None:
        now = clock.now()
        kept = read_files(state, now, self._report)
        for domain in sorted(kept, key=lambda domain: kept[domain].fetched)[-DOMAINS_LIMIT:]:
            known = self._known[domain] = Known()
            known.policy, known.policy_id = kept[domain].policy, kept[domain].id
            known.fetched = self._clock() - max(0.0, now - kept[domain].fetched)

    async def _save_soon(self) -> None:
        while self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), SAVE_S)
            self._changed = False
            await self._save()
        self._saving = None

    async def _save(self) -> None:
        """Write what lives; a disk that takes nothing is told once, and tried again with the next policy."""
        now, offset = self._clock(), clock.now() - self._clock()
        kept = {
            domain: Kept(known.policy_id, policy, known.fetched + offset)
            for domain, known in self._known.items()
            if (policy := known.valid_policy(now)) is not None
        }
        assert self._path is not None
        try:
            await asyncio.to_thread(write_file, self._path, kept.items())
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._report("E", f"MTA-STS policies cannot be written to {self._path}: {error}")
            self._failed = True


async def fetch_policy(host: str, addresses: Sequence[str], tls: OutgoingTls) -> StsPolicy | str:
    """Fetch from `https://HOST/.well-known/mta-sts.txt` and return the policy, or why there is none.

    In a thread of its own: those of the event loop read and sync content, and a stop of the relay waits for them.
    """
    request = _Request(host, addresses[:ADDRESSES_LIMIT], tls)
    loop = asyncio.get_running_loop()
    done: asyncio.Future[StsPolicy | str] = loop.create_future()

    def answer(result: StsPolicy | str) -> None:
        if not done.done():
            done.set_result(result)

    def work() -> None:
        result = request.run()
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(answer, result)

    threading.Thread(target=work, name=f"fetch {host}", daemon=True).start()
    try:
        return await done
    finally:
        request.cancel()


class _Request(http.client.HTTPConnection):
    """One fetch, in a thread: no redirects, no proxy, bounded in time and size.

    The library's own class for HTTPS reads the system's authorities as it is made: in the event loop, for nothing.
    """

    default_port = HTTPS_PORT

    def __init__(self, host: str, addresses: Sequence[str], tls: OutgoingTls) -> None:
        super().__init__(host, HTTPS_PORT, timeout=FETCH_LIMIT_S)
        self._addresses = tuple(addresses)
        self._tls = tls
        self._lock = threading.Lock()
        self._cancelled = False

    def connect(self) -> None:
        """Connect to one of the addresses that our own resolver has found."""
        error: OSError = OSError("no address")
        for address in self._addresses:
            if self._cancelled:
                break
            try:
                sock = socket.create_connection((address, HTTPS_PORT), _CONNECT_LIMIT_S)
            except OSError as failed:
                error = failed
                continue
            self.sock = sock
            self.sock = self._tls.make_authorities().wrap_socket(sock, server_hostname=self.host)
            with self._lock:
                if self._cancelled:
                    raise OSError("given up")
            return
        raise error

    def run(self) -> StsPolicy | str:
        """Fetch, and read the text."""
        try:
            self.request("GET", "/.well-known/mta-sts.txt", headers={"Accept": "text/plain"})
            response = self.getresponse()
            if response.status != http.HTTPStatus.OK:
                return f"HTTP status {response.status}"
            if response.headers.get_content_type() != "text/plain":
                return "it is not text/plain"
            text = b""
            while len(text) <= POLICY_LIMIT and (piece := response.read1(_PIECE)):
                text += piece
        except (OSError, http.client.HTTPException, ValueError) as error:
            return str(error) or type(error).__name__
        finally:
            self.close()
        return parse_policy(text)

    def cancel(self) -> None:
        """End it from outside, however slowly the server speaks."""
        with self._lock:
            self._cancelled = True
            if self.sock is not None:
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)
