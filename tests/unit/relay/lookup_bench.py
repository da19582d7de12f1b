"""What tests of network checks share: a resolver that answers from a table, and a service of one configuration."""

import asyncio
import time
from collections import Counter
from typing import Any

from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.model.spam import Link, Method, NetworkFacts, SpamFacts
from gatepost.relay.lookups.checks import NetworkChecks
from gatepost.relay.lookups.dnsbl import DnsblLookup
from gatepost.relay.lookups.links import LinksLookup
from gatepost.relay.lookups.reverse_dns import ReverseDnsLookup
from gatepost.relay.lookups.zones import Zones
from gatepost.resolver.answers import Answer, Kind, Outcome

STRANGER = "198.51.100.7"
SERVFAIL = Answer(Outcome.FAILED, reason="SERVFAIL")
NOTHING = Answer(Outcome.NO_NAME, reason="no such name")
EVERYTHING = "*"
"""Name in a `TableNames` whose answer holds for every name that has none."""


def found(*values: str) -> Answer[Any]:
    return Answer(Outcome.FOUND, values)


class TableNames:
    """Answers from a table and NO_NAME for the rest; names in `hangs` get no answer until the caller's deadline."""

    def __init__(self, **_: object) -> None:
        self.table: dict[str, Answer[Any]] = {}
        self.hangs: set[str] = set()
        self.kept: dict[tuple[str, Kind], Answer[Any]] = {}
        self.asked: Counter[str] = Counter()
        """Questions that would have been packets."""
        self.ahead: list[str] = []

    def list(self, reversed_ip: str, zone: str, *codes: str) -> None:
        self.table[f"{reversed_ip}.{zone}"] = found(*(codes or ("127.0.0.2",)))

    def cached(self, name: str, kind: Kind) -> Answer[Any] | None:
        return self.kept.get((name, kind))

    def prefetch(self, name: str, kind: Kind) -> bool:
        if (name, kind) in self.kept:
            return False
        self.ahead.append(name)
        self.asked[name] += 1
        if not self._hangs(name):
            self._answer(name, kind)
        return True

    def _hangs(self, name: str) -> bool:
        return any(name == each or name.endswith("." + each) for each in self.hangs)

    async def ask(self, name: str, kind: Kind, *, deadline_s: float | None = None) -> Answer[Any]:
        known = self.kept.get((name, kind))
        if known is not None:
            return known
        self.asked[name] += 1
        if self._hangs(name):
            assert deadline_s is not None
            await asyncio.sleep(deadline_s)
            return Answer(Outcome.FAILED, reason="no answer in time")
        await asyncio.sleep(0)
        return self._answer(name, kind)

    def _answer(self, name: str, kind: Kind) -> Answer[Any]:
        answer = self.table.get(name, self.table.get(EVERYTHING, NOTHING))
        if answer.outcome is not Outcome.FAILED:
            self.kept[name, kind] = answer
        return answer

    async def confirmed_name(self, ip: str, *, deadline_s: float | None = None) -> Answer[str]:
        reverse = ".".join(reversed(ip.split("."))) + ".in-addr.arpa"
        names = await self.ask(reverse, Kind.PTR, deadline_s=deadline_s)
        if names.outcome is not Outcome.FOUND:
            return names
        host = await self.ask(names.values[0], Kind.A, deadline_s=deadline_s)
        if host.outcome is Outcome.FAILED:
            return host
        return names if ip in host.values else Answer(Outcome.NO_DATA)


BASE = '[network]\nhostname = "gw.example.org"\nprotected_domains = ["example.org"]\nfront_relays = ["192.0.2.1"]\n'


def config_of(text: str) -> Config:
    loaded = load_text(
        BASE + "[access]\nrelay_rule = ['allow from 203.0.113.0/24 to *']\n[antispam]\n" + text, "x.toml"
    )
    assert loaded.config is not None, loaded.problems
    return loaded.config


class Bench:
    """The checks of one configuration; `ask` looks at a message."""

    def __init__(self, text: str = "", *, budget_s: float = 60.0) -> None:
        self.names = TableNames()
        self.told: list[str] = []
        self.moved = 0.0
        config = config_of(text)
        self.zones = Zones(self.names, self._clock, self._tell)
        dnsbl, links = DnsblLookup(config, self.zones), LinksLookup(config, self.zones)
        lookups = [ReverseDnsLookup(self.names, self._clock), dnsbl, links]
        self.checks = NetworkChecks(lookups, budget_s, self.zones, self._clock, self._tell)

    def _clock(self) -> float:
        return time.monotonic() + self.moved

    def _tell(self, level: str, text: str) -> None:
        self.told.append(f"{level} {text}")

    async def asking(self, spam: SpamFacts | None = None, **envelope: Any) -> NetworkFacts:
        ip = envelope.pop("ip", STRANGER)
        methods = envelope.pop("methods", frozenset((Method.DNSBL, Method.SURBL)))
        client = Client(ip, name=envelope.pop("name", ""))
        whole = Envelope("s@example.net", (Recipient("r@example.org"),), client, **envelope)
        ongoing = self.checks.begin("Q", whole, methods)
        if ongoing is None:
            return NetworkFacts()
        await asyncio.sleep(0)
        facts = await ongoing.finish(SpamFacts() if spam is None else spam)
        ongoing.cancel()
        return facts

    async def beginning(self) -> None:
        """Take a message up, and let go of it."""
        envelope = Envelope("s@example.net", (Recipient("r@example.org"),), Client(STRANGER))
        ongoing = self.checks.begin("Q", envelope, frozenset((Method.DNSBL, Method.SURBL)))
        assert ongoing is not None
        ongoing.cancel()

    def ask(self, spam: SpamFacts | None = None, **envelope: Any) -> NetworkFacts:
        return asyncio.run(self.asking(spam, **envelope))


def with_hops(*hops: str) -> SpamFacts:
    return SpamFacts(hops=hops)


def with_links(*hosts: str) -> SpamFacts:
    """Links to registrable domains, or to addresses."""
    return SpamFacts(links=tuple(Link(host, "" if host[-1].isdigit() or ":" in host else host) for host in hosts))


OUTBOUND = Direction.OUTBOUND
INTERNAL = Direction.INTERNAL
