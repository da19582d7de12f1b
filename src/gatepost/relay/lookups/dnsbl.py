"""DNS lists of addresses: rated ones, all at once (F-AS-04), and three steps of falling reliability (F-AS-05).

Asked about the client and the hops before it (F-AS-06). The client's questions are on their way while a filter looks at
the content; its hops are known only then.
"""

from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, Final

from gatepost.config.dns_lists import CLIENT_ONLY, ListService, parse_list_service, parse_step_list
from gatepost.config.masks import NetworkSet
from gatepost.config.schema import Config
from gatepost.model.spam import Method, SpamFacts
from gatepost.relay.direction import trusted_networks
from gatepost.relay.lookups.base import EnvelopeFacts, NetworkNotes, Query
from gatepost.relay.lookups.hops import foreign_hops, is_public
from gatepost.relay.lookups.zones import ADDRESS_TEST_POINT, Asked, Counts, Hit, Zones
from gatepost.resolver.names import build_list_name, parse_address

WEIGHT_OF_RATING: Final = 1.6 / 60
"""Log-odds of one point of a rating: 60, the usual one, is a clear sign that decides nothing alone."""
STEPS: Final = (("premium", 5.5), ("reliable", 3.5), ("standard", 1.8))
"""The steps in their order, with the log-odds of a hit: at the default level the first alone makes spam, the second
probable spam, the third is a clear sign."""


class DnsblLookup:
    """The lists of one configuration."""

    name = "DNSBL"
    methods = frozenset((Method.DNSBL,))

    def __init__(self, config: Config, zones: Zones) -> None:
        antispam = config.antispam
        self._rated = tuple(map(parse_list_service, antispam.dnsbl.service))
        written = (antispam.dnsbl_premium, antispam.dnsbl_reliable, antispam.dnsbl_standard)
        self._steps = tuple(
            (name, weight, tuple(map(parse_step_list, lists)))
            for (name, weight), lists in zip(STEPS, written, strict=True)
            if lists
        )
        self.zones = frozenset(each.zone for each in (*self._rated, *(s for step in self._steps for s in step[2])))
        self._hops_limit = antispam.filter_received_headers_limit
        self._ours = trusted_networks(config)
        self._front = NetworkSet(config.network.front_relays)
        self._asker = zones
        self._counts = Counts()

    def begin(self, facts: EnvelopeFacts) -> Query | None:
        """Ask the rated lists and those of the first step about the client."""
        ip = facts.envelope.client.ip
        client = (ip,) if is_public(ip) else ()
        if client:
            first = self._steps[0][2] if self._steps else ()
            self._asker.begin(build_questions((*self._rated, *first), client, ()), self._counts)
        return _DnsblQuery(self, ip, client)

    def hops_of(self, spam: SpamFacts, client_ip: str) -> tuple[str, ...]:
        """Return the addresses of hops that are asked about."""
        return foreign_hops(spam.hops, client_ip, self._ours, self._front, self._hops_limit) if spam.hops else ()

    def ask_rated(
        self, client: Sequence[str], hops: Sequence[str], notes: NetworkNotes, deadline: float
    ) -> list[Hit] | Coroutine[Any, Any, list[Hit]]:
        """Ask all rated lists."""
        questions = build_questions(self._rated, client, hops)
        return self._asker.collect(questions, self._counts, notes, deadline)

    async def ask_steps(self, client: Sequence[str], hops: Sequence[str], notes: NetworkNotes, deadline: float) -> None:
        """Ask one step after the other until one has the client or a hop."""
        for name, weight, services in self._steps:
            questions = build_questions(services, client, hops)
            hits = self._asker.collect(questions, self._counts, notes, deadline)
            if not isinstance(hits, list):
                hits = await hits
            if hits:
                hit = hits[0]
                notes.dnsbl.append(hit.asked.service.zone)
                evidence = f"{_describe(hit, client)}, a list of the step {name}"
                notes.sign(Method.DNSBL, f"dnsbl-{name}", evidence, weight, f"RBL: '{name}' list")
                return

    @property
    def has_steps(self) -> bool:
        """There are lists without a rating."""
        return bool(self._steps)

    def status(self) -> dict[str, object]:
        """Return the counters."""
        return self._counts.show()


class _DnsblQuery:
    """One message."""

    __slots__ = ("_client", "_client_ip", "_lookup")

    def __init__(self, lookup: DnsblLookup, client_ip: str, client: Sequence[str]) -> None:
        self._lookup = lookup
        self._client_ip = client_ip
        self._client = client

    def finish(self, spam: SpamFacts, notes: NetworkNotes, deadline: float) -> Awaitable[None] | None:
        """Ask about the hops, too, and take the answers."""
        lookup, client = self._lookup, self._client
        hops = lookup.hops_of(spam, self._client_ip)
        if not client and not hops:
            return None
        hits = lookup.ask_rated(client, hops, notes, deadline)
        if isinstance(hits, list):
            _note_rated(hits, client, notes)
            return lookup.ask_steps(client, hops, notes, deadline) if lookup.has_steps else None
        return self._finish_later(hits, hops, notes, deadline)

    async def _finish_later(
        self, hits: Coroutine[Any, Any, list[Hit]], hops: Sequence[str], notes: NetworkNotes, deadline: float
    ) -> None:
        _note_rated(await hits, self._client, notes)
        await self._lookup.ask_steps(self._client, hops, notes, deadline)

    def cancel(self) -> None:
        """Questions under way end by themselves, and others may want their answers."""


def build_questions(services: Sequence[ListService], client: Sequence[str], hops: Sequence[str]) -> list[Asked]:
    """Return the questions to lists about a client (one address, or none) and hops."""
    reverse = []
    for ip in (*client, *hops):
        address = parse_address(ip)
        if address is not None:
            reverse.append((ip, build_list_name(address, "")))
    return [
        Asked(each, name + each.zone, ip, f"{ADDRESS_TEST_POINT}.{each.zone}")
        for each in services
        for ip, name in reverse
        if each.option != CLIENT_ONLY or ip in client
    ]


def _note_rated(hits: Sequence[Hit], client: Sequence[str], notes: NetworkNotes) -> None:
    """Each list counts once, however many of the addresses it has."""
    seen = set()
    for hit in hits:
        service = hit.asked.service
        if service in seen:
            continue
        seen.add(service)
        notes.dnsbl_sum += service.rating
        if service.zone not in notes.dnsbl:
            notes.dnsbl.append(service.zone)
        evidence = f"{_describe(hit, client)}, rating {service.rating}"
        notes.sign(Method.DNSBL, "dnsbl-listed", evidence, service.rating * WEIGHT_OF_RATING)


def _describe(hit: Hit, client: Sequence[str]) -> str:
    who = "the client" if hit.asked.about in client else "a relay that the message passed"
    return f"{who}, {hit.asked.about}, is on the DNS list {hit.asked.service.zone} ({', '.join(hit.answers[:3])})"
