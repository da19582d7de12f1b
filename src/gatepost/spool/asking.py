"""Questions to a spool: each is answered on its thread, between two commits, by `spool.reading`.

The half of `writer.SqliteSpool` that changes nothing; what each question means is said by `spool.interface`.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from gatepost.spool.handover import Query
from gatepost.spool.interface import Corrupt, Destination, Found, State, Stored, Wanted


class Asking:
    """What a spool can be asked."""

    def _ask(self, query: Query) -> asyncio.Future[Any]:
        raise NotImplementedError

    def destinations(
        self, now: float, limit: int = 1000, latest: float = math.inf
    ) -> asyncio.Future[list[Destination]]:
        """Return destinations that have something due."""
        return self._ask(lambda reader: reader.destinations(now, limit, latest))

    def next_due(self) -> asyncio.Future[float | None]:
        """Return the earliest moment at which something is due."""
        return self._ask(lambda reader: reader.next_due())

    def due(
        self, domain: str, now: float, limit: int, skip: frozenset[int] = frozenset(), latest: float = math.inf
    ) -> asyncio.Future[list[Stored | Corrupt]]:
        """Return READY messages with something due at `domain`."""
        return self._ask(lambda reader: reader.due(domain, now, limit, skip, latest))

    def waiting(self, after_id: int, limit: int) -> asyncio.Future[list[Stored | Corrupt]]:
        """Return WAITING messages in id order."""
        return self._ask(lambda reader: reader.waiting(after_id, limit))

    def listing(self, after_id: int, limit: int, state: State | None = None) -> asyncio.Future[list[Stored | Corrupt]]:
        """Return messages of any or one state in id order."""
        return self._ask(lambda reader: reader.listing(after_id, limit, state))

    def search(
        self, after_id: int, rows: int, state: State | None = None, wanted: Wanted | None = None
    ) -> asyncio.Future[Found]:
        """Look at some messages in id order."""
        return self._ask(lambda reader: reader.search(after_id, rows, state, wanted))

    def destination_page(self, after: str, limit: int) -> asyncio.Future[list[Destination]]:
        """Return destinations in order of their names."""
        return self._ask(lambda reader: reader.destination_page(after, limit))

    def destinations_named(self, domains: Sequence[str]) -> asyncio.Future[list[Destination]]:
        """Return those of these destinations that are known."""
        return self._ask(lambda reader: reader.destinations_named(domains))

    def paused(self) -> asyncio.Future[list[str]]:
        """Return the destinations an operator lets wait."""
        return self._ask(lambda reader: reader.paused())

    def oldest_waiting(self) -> asyncio.Future[int | None]:
        """Return the lowest id of all WAITING messages."""
        return self._ask(lambda reader: reader.oldest_waiting())

    def fetch(self, message_id: int) -> asyncio.Future[Stored | Corrupt | None]:
        """Return one message, or None."""
        return self._ask(lambda reader: reader.fetch(message_id))

    def released(self, release: str) -> asyncio.Future[int | None]:
        """Return the message a release became."""
        return self._ask(lambda reader: reader.released(release))
