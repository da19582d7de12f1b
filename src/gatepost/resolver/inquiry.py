"""Getting an answer out of the network: by name servers that recurse for us, or by walking from the root ourselves.

Used by `resolver` for what its cache does not hold. Each `inquire` ends within its time and never raises for what
servers do: what nobody answered is FAILED, with the reason.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

import dns.name
import msgspec

from gatepost.resolver.answers import Kind, Outcome
from gatepost.resolver.message import (
    CHAIN_LIMIT,
    Query,
    Reading,
    ResponseReader,
    build_query,
    read_message,
    rejects_edns,
)
from gatepost.resolver.recursion import Ask, Walk, ZoneCuts
from gatepost.resolver.servers import NameServer
from gatepost.resolver.transport import Entropy, Line, Trouble

ROUNDS: Final = (1.0, 2.0, 4.0)
"""Each server is asked so many times, and waited for so long in proportion."""
FIRST_WAIT_LIMIT_S: Final = 2.0
"""Longest wait of the first round: a server that needs longer is rather dead than slow."""
STRIKES: Final = 3
"""Silences in a row after which a server is asked last."""
REST_S: Final = 10.0
"""How long it is asked last; then one question finds out."""
SILENCE_S: Final = 5.0
"""No server has answered for so long, and each was silent `STRIKES` times: none may be there. Or only domains were
asked for whose own servers are dead, which a server that recurses for us is silent about, too ..."""
PROBE_NAME: Final = "gatepost-probe.invalid"
"""... so this is asked for, of a domain that is nobody's (RFC 6761 §6.4). Without an answer none is there ..."""
BRIEF_S: Final = 0.5
"""... and a question waits for one of them for so long, lest all mail wait for what does not come. On the way from the
root it is the servers of the root that are asked in peace."""
STEP_WAIT_S: Final = 2.0
"""Wait for one server on the way from the root."""


class Silence(msgspec.Struct, frozen=True):
    """No name server answers."""

    since: float
    """Unix time of the first question without an answer."""
    servers: tuple[str, ...]
    """Each with why there was no answer."""


class Inquiry(Protocol):
    """A way to get answers."""

    @property
    def silence(self) -> Silence | None:
        """None as long as somebody answers, or nobody was asked."""

    async def probe(self, timeout_s: float) -> None:
        """Find out whether servers that say nothing are there: `silence` begins, or ends, with it."""

    async def inquire(self, name: dns.name.Name, kind: Kind, timeout_s: float, *, dnssec: bool) -> Reading:
        """Return the answer to one question."""

    def close(self) -> None:
        """Give up what is under way, and the sockets."""


def plan_attempts(servers: list[int], total_s: float) -> list[tuple[int, float]]:
    """Return which server to ask and how long to wait for it, in order; all waits together fit into `total_s`."""
    first_s = min(FIRST_WAIT_LIMIT_S, total_s / (sum(ROUNDS) * len(servers)))
    return [(server, first_s * factor) for factor in ROUNDS for server in servers]


class _Doubt:
    """Whether any server is there: what has been heard since the last answer."""

    def __init__(self) -> None:
        self.silence: Silence | None = None
        self._from = 0.0
        """In the event loop's time; 0: the last question was answered ..."""
        self._since = 0.0
        """... and in Unix time."""

    def hear(self) -> None:
        """Somebody answered."""
        self._from, self.silence = 0.0, None

    def miss(self, now: float) -> None:
        """Somebody did not, at this time of the event loop."""
        if not self._from:
            self._from, self._since = now, time.time()

    def lasts(self) -> bool:
        """Tell whether nobody has answered for long."""
        return bool(self._from) and asyncio.get_running_loop().time() - self._from >= SILENCE_S

    def settle(self, servers: tuple[str, ...]) -> None:
        """Nobody is there; each of `servers` with why there was no answer."""
        self.silence = Silence(self._since, servers)


class Forwarding:
    """Inquiry of configured name servers, which recurse for us."""

    def __init__(self, servers: tuple[NameServer, ...], entropy: Entropy) -> None:
        self._lines = [Line(server, entropy) for server in servers]
        self._strikes = [0] * len(servers)
        self._rests_until = [0.0] * len(servers)
        self._reasons = [""] * len(servers)
        self._doubt = _Doubt()
        self._turn = 0
        self._reader = ResponseReader()

    @property
    def silence(self) -> Silence | None:
        """None as long as a server answers, or none was asked."""
        return self._doubt.silence

    async def probe(self, timeout_s: float) -> None:
        """Ask every server in peace, as if there were no silence: one that answers slowly ends it, too."""
        if not self._doubtful():
            return
        await self._ask(dns.name.from_text(PROBE_NAME), Kind.A, timeout_s, dnssec=False, brief=False)
        if self._doubtful():
            labels = (line.server.label for line in self._lines)
            self._doubt.settle(tuple(f"{label}: {why}" for label, why in zip(labels, self._reasons, strict=True)))

    def _doubtful(self) -> bool:
        """Tell whether all have been silent often, and for long."""
        return min(self._strikes) >= STRIKES and self._doubt.lasts()

    async def inquire(self, name: dns.name.Name, kind: Kind, timeout_s: float, *, dnssec: bool) -> Reading:
        """Return the answer; an alias whose target the server left out is asked for."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        reading = await self._ask(name, kind, timeout_s, dnssec=dnssec)
        for _ in range(CHAIN_LIMIT):
            if reading.alias is None:
                return reading
            further = await self._ask(reading.alias, kind, end - loop.time(), dnssec=dnssec)
            lives = [life for life in (reading.ttl_s, further.ttl_s) if life is not None]
            reading = msgspec.structs.replace(
                further,
                ttl_s=min(lives, default=None),
                authentic=further.authentic and reading.authentic,
                aliased=True,
            )
        return Reading(Outcome.FAILED, reason="too many aliases")

    def close(self) -> None:
        """Close all sockets."""
        for line in self._lines:
            line.close()

    async def _ask(
        self, name: dns.name.Name, kind: Kind, timeout_s: float, *, dnssec: bool, brief: bool = True
    ) -> Reading:
        """Ask one server after the other. One that answers with an error is not asked again. While none answers at
        all, ask one only and wait briefly, if this may be `brief`.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        order = sorted(range(len(self._lines)), key=lambda n: self._rests_until[n] > now)
        end = now + timeout_s
        done: set[int] = set()
        query = build_query(name, kind, dnssec=dnssec)
        reading = Reading(Outcome.FAILED, reason="no time left to ask")
        attempts = plan_attempts(order, timeout_s)
        if brief and self.silence is not None:
            self._turn = (self._turn + 1) % len(order)
            attempts = [(self._turn, BRIEF_S)]
        for number, wait_s in attempts:
            left_s = end - loop.time()
            if left_s <= 0 or len(done) == len(order):
                break
            if number in done:
                continue
            reply = await _converse(self._lines[number], query, min(wait_s, left_s))
            label = self._lines[number].server.label
            if isinstance(reply, Trouble):
                reading = Reading(Outcome.FAILED, reason=f"name server {label}: {reply.value}")
                self._strike(number, loop.time(), reply)
                continue
            self._strikes[number], self._rests_until[number] = 0, 0.0
            self._doubt.hear()
            done.add(number)
            read = self._reader.read(reply, query, name, kind)
            if read is not None and read.outcome is not Outcome.FAILED:
                return read
            reason = "unreadable or oversized answer" if read is None else read.reason
            reading = Reading(Outcome.FAILED, reason=f"name server {label}: {reason}")
        return reading

    def _strike(self, number: int, now: float, trouble: Trouble) -> None:
        self._doubt.miss(now)
        self._reasons[number] = trouble.value
        self._strikes[number] += 1
        if self._strikes[number] >= STRIKES:
            self._rests_until[number] = now + REST_S


class Recursion:
    """Inquiry of the servers of the zones themselves, from the root down."""

    def __init__(
        self,
        root_addresses: tuple[str, ...],
        entropy: Entropy,
        clock: Callable[[], float],
        *,
        steps_limit: int,
        port: int,
    ) -> None:
        self._cuts = ZoneCuts(root_addresses)
        self._doubt = _Doubt()
        self._entropy = entropy
        self._clock = clock
        self._steps_limit = steps_limit
        self._port = port

    @property
    def silence(self) -> Silence | None:
        """None as long as any server answers, or none was asked."""
        return self._doubt.silence

    async def inquire(self, name: dns.name.Name, kind: Kind, timeout_s: float, *, dnssec: bool) -> Reading:  # noqa: ARG002 - no way to validate here
        """Return the answer. Signatures are not checked on this way: nothing is authentic, whether asked or not."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        walk = Walk(name, kind, self._cuts, self._steps_limit, self._clock())
        while isinstance(step := walk.next_step(), Ask):
            left_s = end - loop.time()
            if left_s <= 0:
                return Reading(Outcome.FAILED, reason="no answer in time on the way from the root")
            brief = self.silence is not None
            reply = await self._exchange(
                step.ip,
                build_query(step.name, step.kind, recursion=False),
                min(BRIEF_S if brief else STEP_WAIT_S, left_s),
            )
            if brief and isinstance(reply, Trouble):
                return Reading(Outcome.FAILED, reason=f"name server {step.ip}: {reply.value}")
            walk.take(None if isinstance(reply, Trouble) else read_message(reply, referrals=True))
        return step

    async def probe(self, timeout_s: float) -> None:
        """Ask all servers of the root at once, when nobody answers: which server of a zone fails says little of the
        others, but no way begins without the root.
        """
        if not self._doubt.lasts():
            return
        query = build_query(dns.name.from_text(PROBE_NAME), Kind.A, recursion=False)
        wait_s = min(STEP_WAIT_S, timeout_s)
        roots = self._cuts.root.addresses
        replies = await asyncio.gather(*(self._exchange(ip, query, wait_s) for ip in roots))
        if self._doubt.lasts():
            reasons = Counter(reply.value for reply in replies if isinstance(reply, Trouble))
            self._doubt.settle(
                tuple(f"{count} of {len(roots)} root servers' addresses: {why}" for why, count in reasons.items())
            )

    async def _exchange(self, ip: str, query: Query, wait_s: float) -> bytes | Trouble:
        line = Line(NameServer(ip, self._port), self._entropy)
        try:
            reply = await _converse(line, query, wait_s)
        finally:
            line.close()
        if isinstance(reply, Trouble):
            self._doubt.miss(asyncio.get_running_loop().time())
        else:
            self._doubt.hear()
        return reply

    def close(self) -> None:
        """Nothing is kept open between questions."""


async def _converse(line: Line, query: Query, wait_s: float) -> bytes | Trouble:
    """Ask one server one question; once more without EDNS when it seems not to know that."""
    reply = await line.exchange(query, wait_s)
    if isinstance(reply, bytes) and rejects_edns(reply):
        reply = await line.exchange(query.plain(), wait_s)
    return reply
