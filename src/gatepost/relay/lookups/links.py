"""Links against DNS lists (F-AS-10, SURBL): registrable domains and addresses of a message's links."""

from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from typing import Any, Final

from gatepost.config.dns_lists import NAMES_ONLY, ListService, parse_link_service
from gatepost.config.masks import MaskSet
from gatepost.config.schema import Config
from gatepost.model.spam import Link, Method, SpamFacts
from gatepost.relay.lookups.base import EnvelopeFacts, NetworkNotes, Query
from gatepost.relay.lookups.hops import is_public
from gatepost.relay.lookups.zones import NAME_TEST_POINT, Asked, Counts, Hit, Zones
from gatepost.resolver.names import build_list_name, parse_address

ASKED_LIMIT: Final = 20
"""Domains and addresses asked about for one message."""
LISTED_WEIGHT: Final = 3.5
"""Log-odds of one that a list with rating 100 has."""
WEIGHT_LIMIT: Final = 7.0
"""Of all links of a message together."""
NAME_LIMIT: Final = 200
"""Characters of a domain that is asked about: more leaves no room for the list's name (RFC 1035 §2.3.4)."""

_WELL_KNOWN_TEXT: Final = """
adobe.com amazon.com amazonaws.com apple.com bing.com cloudflare.com cloudfront.net debian.org doubleclick.net ebay.com
facebook.com fbcdn.net github.com gmail.com google.com google-analytics.com googleapis.com googletagmanager.com
googleusercontent.com gstatic.com hotmail.com icloud.com instagram.com linkedin.com live.com mail.ru microsoft.com
microsoftonline.com mozilla.org msn.com office.com office365.com outlook.com paypal.com python.org reddit.com schema.org
sourceforge.net twitter.com vk.com w3.org whatsapp.com wikipedia.org windows.net x.com yahoo.com yandex.ru youtube.com
zoom.us
"""
WELL_KNOWN: Final = frozenset(_WELL_KNOWN_TEXT.split())
"""Registrable domains that so much mail names that no honest list has them."""


class LinksLookup:
    """The lists of links of one configuration."""

    name = "SURBL"
    methods = frozenset((Method.SURBL,))

    def __init__(self, config: Config, zones: Zones) -> None:
        self._services = tuple(map(parse_link_service, config.antispam.surbl_zones))
        self.zones = frozenset(each.zone for each in self._services)
        own = tuple(config.network.protected_domains)
        self._skipped = MaskSet((*own, *(f"*.{each}" for each in own), *config.antispam.surbl_skip))
        self._asker = zones
        self._counts = Counts()

    def begin(self, facts: EnvelopeFacts) -> Query | None:  # noqa: ARG002 - all depends on the content
        """Wait for the content."""
        return self

    def finish(self, spam: SpamFacts, notes: NetworkNotes, deadline: float) -> Awaitable[None] | None:
        """Ask about the links."""
        things = choose_things(spam.links, self._skipped) if spam.links else ()
        if not things:
            return None
        hits = self._asker.collect(_questions(self._services, things), self._counts, notes, deadline)
        if isinstance(hits, list):
            _note_hits(hits, notes)
            return None
        return _finish_later(hits, notes)

    def cancel(self) -> None:
        """Questions under way end by themselves, and others may want their answers."""

    def status(self) -> dict[str, object]:
        """Return the counters."""
        return self._counts.show()


def choose_things(links: Iterable[Link], skipped: MaskSet) -> tuple[str, ...]:
    """Return the domains and addresses to ask about, each once; of too many the first and the last, for what matters
    may stand behind any number of harmless ones.
    """
    things: dict[str, None] = {}
    for link in links:
        thing = link.domain or (link.host if is_public(link.host.strip("[]")) else "")
        if thing and len(thing) <= NAME_LIMIT and thing not in WELL_KNOWN and not skipped.matches(thing):
            things[thing] = None
    found = tuple(things)
    if len(found) <= ASKED_LIMIT:
        return found
    half = ASKED_LIMIT // 2
    return (*found[:half], *found[-half:])


def _questions(services: Sequence[ListService], things: Sequence[str]) -> list[Asked]:
    questions = []
    for thing in things:
        address = parse_address(thing)
        name = thing + "." if address is None else build_list_name(address, "")
        questions += [
            Asked(each, name + each.zone, thing, f"{NAME_TEST_POINT}.{each.zone}")
            for each in services
            if address is None or each.option != NAMES_ONLY
        ]
    return questions


async def _finish_later(hits: Coroutine[Any, Any, list[Hit]], notes: NetworkNotes) -> None:
    _note_hits(await hits, notes)


def _note_hits(hits: Sequence[Hit], notes: NetworkNotes) -> None:
    """One sign for each domain, by the list of the highest rating that has it."""
    best: dict[str, Hit] = {}
    for hit in hits:
        known = best.get(hit.asked.about)
        if known is None or hit.asked.service.rating > known.asked.service.rating:
            best[hit.asked.about] = hit
    left = WEIGHT_LIMIT
    for thing, hit in best.items():
        weight = min(left, LISTED_WEIGHT * hit.asked.service.rating / 100)
        left -= weight
        told = (
            f"a link leads to {thing}, which is on the DNS list {hit.asked.service.zone} ({', '.join(hit.answers[:3])})"
        )
        notes.sign(Method.SURBL, "link-listed", told, weight)
