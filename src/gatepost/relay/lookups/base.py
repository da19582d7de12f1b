"""What a network check is, what it is told of a message, and where it writes what it finds.

A `Lookup` is made for a configuration. For each message that needs it `relay.lookups.checks` calls `begin` before a
filter looks at the content, and `finish` of the `Query` it gave when the filter has answered. All checks of a message
share one deadline. What cannot be told in time is a trouble: told in the log, never a sign.
"""

import operator
from collections.abc import Awaitable, Sequence
from typing import Protocol

import msgspec

from gatepost.model.authn import AuthnResults
from gatepost.model.envelope import Envelope
from gatepost.model.spam import COSTS_TOLD, Method, NetworkFacts, Sign, SpamFacts

SIGNS_LIMIT = 100
"""Signs of one message: nobody reads more."""
TROUBLES_LIMIT = 20
TROUBLES_TOLD = 3
"""Troubles in the log line of one message: when the name servers are down every message has a dozen."""
EVIDENCE_LIMIT = 300
"""Characters of one evidence, or trouble."""


class EnvelopeFacts(msgspec.Struct, frozen=True):
    """What is known of an inbound message before its content is looked at."""

    queue_id: str
    envelope: Envelope
    """Its client is the first hop that is not ours: what checks look at."""
    methods: frozenset[Method]
    """Methods that a group of the message uses: what no group uses is not asked."""


class NetworkNotes:
    """What the network checks found so far of one message."""

    def __init__(self) -> None:
        self.signs: list[Sign] = []
        self.dnsbl_sum = 0
        self.dnsbl: list[str] = []
        self.authn = AuthnResults()
        self.uds = ""
        self.troubles: list[str] = []
        self.costs: list[tuple[str, float]] = []
        self.listed: dict[str, bool] = {}
        self.in_dns: bool | None = None

    def sign(self, method: Method, name: str, evidence: str, weight: float, detail: str = "") -> None:
        """Add a sign; `weight` in log-odds."""
        if len(self.signs) < SIGNS_LIMIT:
            self.signs.append(Sign(method, name, evidence[:EVIDENCE_LIMIT], weight, detail))

    def trouble(self, what: str) -> None:
        """Add what could not be told, and why."""
        if len(self.troubles) < TROUBLES_LIMIT and what not in self.troubles:
            self.troubles.append(what[:EVIDENCE_LIMIT])

    def cost(self, name: str, elapsed_ms: float) -> None:
        """Add how long a check was waited for."""
        self.costs.append((name, elapsed_ms))

    def facts(self, elapsed_ms: float) -> NetworkFacts:
        """Return what was found. `elapsed_ms`: how long the message waited for it."""
        return NetworkFacts(
            tuple(self.signs),
            self.dnsbl_sum,
            tuple(self.dnsbl),
            self.authn,
            self.uds,
            elapsed_ms,
            tuple(self.troubles),
            tuple(sorted(self.costs, key=operator.itemgetter(1), reverse=True)[:COSTS_TOLD]),
            tuple(self.listed.items()),
            self.in_dns,
        )


def describe_troubles(troubles: Sequence[str]) -> str:
    """Return the first few in one line, and how many more there are."""
    told = "; ".join(troubles[:TROUBLES_TOLD])
    more = len(troubles) - TROUBLES_TOLD
    return f"{told}; and {more} more" if more > 0 else told


class Query(Protocol):
    """One check of one message under way."""

    def finish(self, spam: SpamFacts, notes: NetworkNotes, deadline: float) -> Awaitable[None] | None:
        """Add what there is to add to `notes`; None when that is done at once, else it is awaited.

        `spam`: what the content checks found; empty when the filter could not look. `deadline`: a time of the event
        loop, when everything has to be in `notes`, troubles included: shortly after it the rest is cancelled. What it
        raises is a fault of ours and noted as trouble.
        """

    def cancel(self) -> None:
        """Nobody will ask for the result: end what is under way."""


class Lookup(Protocol):
    """A network check."""

    name: str
    """In words of the log."""
    methods: frozenset[Method]
    """Whose signs it makes: it is asked when a group uses any of them; empty: whatever groups use."""

    def begin(self, facts: EnvelopeFacts) -> Query | None:
        """Start what the envelope alone asks for; None: there is nothing to ask for this message."""

    def status(self) -> dict[str, object]:
        """Return what `gatepost status` shows of it, as JSON values: counters as int."""
