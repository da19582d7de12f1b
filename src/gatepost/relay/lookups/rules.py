"""What rules ask of the DNS: whether services of their lists have the client, whether it has a name (row F-ASP-04).

Only services that an active profile names are asked. Who has not answered in time is not in the facts, so that no rule
acts on it; nothing here is a sign of spam. Addresses that nobody outside can say anything of are not asked about.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from gatepost.config.dns_lists import parse_step_list
from gatepost.model.profile import RuleSet
from gatepost.model.spam import Method, SpamFacts
from gatepost.policy.profile_table import RuleTable
from gatepost.relay.lookups.base import EnvelopeFacts, NetworkNotes, Query
from gatepost.relay.lookups.dnsbl import build_questions
from gatepost.relay.lookups.hops import is_public
from gatepost.relay.lookups.zones import Asked, Counts, Zones
from gatepost.resolver.answers import Answer, Kind, Outcome
from gatepost.resolver.names import build_reverse_name, parse_address

_KIND_PTR: Final = Kind.PTR


class Names(Protocol):
    """What is asked of the resolver."""

    def prefetch(self, name: str, kind: Kind) -> bool:
        """Send a question that will be asked soon; tell whether that was needed."""

    async def ask(self, name: str, kind: Kind, *, deadline_s: float | None = None) -> Answer[Any]:
        """Ask for records."""


class RuleLookup:
    """Asks what the rules of one configuration want to know."""

    name = "rules"
    methods: frozenset[Method] = frozenset()

    def __init__(self, rules: RuleSet, asker: Zones, names: Names, clock: Callable[[], float]) -> None:
        """`clock`: the event loop's time, in which deadlines are given."""
        table = RuleTable(rules)
        self._services = tuple(map(parse_step_list, table.zones))
        self.zones = frozenset(each.zone for each in self._services)
        self.asks_name = table.asks_name
        self.asker = asker
        self.names = names
        self.clock = clock
        self.counts = Counts()

    @property
    def asks(self) -> bool:
        """There is anything to ask."""
        return bool(self._services) or self.asks_name

    def begin(self, facts: EnvelopeFacts) -> Query | None:
        """Send the questions about the client."""
        client = facts.envelope.client
        address = parse_address(client.ip)
        if address is None or not is_public(client.ip):
            return None
        questions = build_questions(self._services, (client.ip,), ())
        self.asker.begin(questions, self.counts)
        name = ""
        if self.asks_name and not client.name:
            name = build_reverse_name(address)
            self.counts.sent += self.names.prefetch(name, _KIND_PTR)
        return _RuleQuery(self, questions, name)

    def status(self) -> dict[str, object]:
        """Return the counters."""
        return self.counts.show()


class _RuleQuery:
    """One message."""

    __slots__ = ("_lookup", "_name", "_questions")

    def __init__(self, lookup: RuleLookup, questions: Sequence[Asked], name: str) -> None:
        """`name`: to ask the client's name under, "" when the session knows it or no rule asks."""
        self._lookup = lookup
        self._questions = questions
        self._name = name

    def finish(self, spam: SpamFacts, notes: NetworkNotes, deadline: float) -> Awaitable[None] | None:  # noqa: ARG002 - nothing here depends on the content
        """Take the answers."""
        return self._collect(notes, deadline)

    async def _collect(self, notes: NetworkNotes, deadline: float) -> None:
        lookup = self._lookup
        for asked in self._questions:
            own = NetworkNotes()
            hits = lookup.asker.collect((asked,), lookup.counts, own, deadline)
            if not isinstance(hits, list):
                hits = await hits
            zone = asked.service.zone
            for trouble in own.troubles:
                notes.trouble(trouble)
            if hits:
                notes.listed[zone] = True
            elif not own.troubles and zone not in lookup.asker.off():
                notes.listed[zone] = False
        if not lookup.asks_name:
            return
        if not self._name:
            notes.in_dns = True
            return
        lookup.counts.asked += 1
        answer = await lookup.names.ask(self._name, _KIND_PTR, deadline_s=max(0.0, deadline - lookup.clock()))
        if answer.outcome is Outcome.FAILED:
            lookup.counts.failed += 1
            notes.trouble(f"name of the client: {answer.reason}")
        else:
            notes.in_dns = answer.outcome is Outcome.FOUND

    def cancel(self) -> None:
        """Questions under way end by themselves, and others may want their answers."""
