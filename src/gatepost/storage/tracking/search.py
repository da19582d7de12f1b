"""Searches in the tracking store: newest first, in pages, with a bound on the work of each.

Reads the files beside the recorder, on any thread. What singles mails out is found by
the index; what no index helps with (a part of a value, times alone) by looking at one mail after the other.
"""

import contextlib
import heapq
import math
import struct
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final

import msgspec

from gatepost.model.ids import received_ms
from gatepost.storage.tracking.fields import TERM_LIMIT, Field
from gatepost.storage.tracking.layout import day_at, day_of, first_id
from gatepost.storage.tracking.postings import places_of, unpack_places
from gatepost.storage.tracking.query import Clause, Mode, Query
from gatepost.storage.tracking.readers import Readers
from gatepost.storage.tracking.summary import DECODER, Summary

SCAN_LIMIT: Final = 100_000
"""Mails one page of a search looks at without the help of an index: some 150 ms."""
LOOK_LIMIT: Final = 20_000
"""Candidates of the index one page of a search reads: some 150 ms, when conditions nearly exclude each other."""
TERMS_LIMIT: Final = 200_000
"""Terms of the index one page of a search reads, over all segments: some 250 ms."""
_LOOK_TERMS: Final = 5
"""What to look for a term costs, in terms that are read one after the other."""
_LAST_ID: Final = (1 << 63) - 1


class Page(msgspec.Struct):
    """Mails found, newest first."""

    mails: list[Summary]
    before: int = 0
    """Go on with ids below this; 0: there are no more."""
    back_until: float = 0.0
    """Moment back to which it was looked, when there may be more."""


class _Budget:
    """How much more one page may cost."""

    def __init__(self) -> None:
        self.scan = SCAN_LIMIT
        self.look = LOOK_LIMIT
        self.terms = TERMS_LIMIT


class _Spent(Exception):  # noqa: N818 - no error: the page ends here
    """The budget is spent; carries the id it came to."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at


def search(readers: Readers, query: Query, limit: int, before: int = 0) -> Page:
    """Return up to `limit` mails with ids below `before` (0: from the newest on). apsw.Error."""
    limit = max(1, limit)
    before = before or _LAST_ID
    if query.id:
        return _find_one(readers, query)
    last_day = day_of(before)
    if not math.isinf(query.until):
        before = min(before, first_id(query.until))
        last_day = min(last_day, day_at(query.until))
    lowest = first_id(query.since)
    page = Page([])
    budget = _Budget()
    try:
        for day in readers.days():
            if day > last_day or day < day_at(query.since):
                continue
            with readers.reading(day) as connection:
                if connection is not None:
                    # Closed before the connection is given back: it must not hold on to what it read.
                    with contextlib.closing(_look(connection, query, before, lowest, budget)) as found:
                        _fill(page, found, limit)
    except _Spent as spent:
        page.before = spent.at
        page.back_until = received_ms(spent.at) / 1000
    return page


def _fill(page: Page, found: Iterator[Summary], limit: int) -> None:
    """Add what is found; _Spent when the page is full."""
    for summary in found:
        page.mails.append(summary)
        if len(page.mails) >= limit:
            raise _Spent(summary.id)


def find_mail(readers: Readers, message_id: int) -> Summary | None:
    """Return a mail by its own id or that of a copy of it; None when there is nothing of it. apsw.Error."""
    with readers.reading(day_of(message_id)) as connection:
        if connection is None:
            return None
        row = connection.execute("SELECT summary FROM mail WHERE id=?", (message_id,)).fetchone()
        if row is not None:
            found: Summary = DECODER.decode(row[0])
            return found
        row = connection.execute("SELECT mail FROM copy WHERE id=?", (message_id,)).fetchone()
    return find_mail(readers, int(row[0])) if row is not None and row[0] != message_id else None


def read_life(readers: Readers, mail: int) -> list[bytes]:
    """Return the records of a mail and its copies, batches of `model.record.ENCODER` in no certain order."""
    with readers.reading(day_of(mail)) as connection:
        if connection is None:
            return []
        rows = connection.execute("SELECT records FROM life WHERE id=? ORDER BY source, number", (mail,)).fetchall()
    return [row[0] for row in rows]


def _find_one(readers: Readers, query: Query) -> Page:
    found = find_mail(readers, query.id)
    return Page([found] if found is not None and query.matches(found) else [])


def _look(connection: Any, query: Query, before: int, lowest: int, budget: _Budget) -> Generator[Summary, None, None]:
    """Yield the mails of one day, newest first. _Spent."""
    clauses: list[Clause | _DomainClause] = [*query.indexed]
    if query.domains:
        clauses.append(_DomainClause(query.domains))
    if clauses:
        return _by_index(connection, query, clauses, before, lowest, budget)
    return _by_scan(connection, query, before, lowest, budget)


def _by_scan(
    connection: Any, query: Query, before: int, lowest: int, budget: _Budget
) -> Generator[Summary, None, None]:
    needles = _needles(query)
    rows = connection.execute(
        "SELECT id, summary FROM mail WHERE id < ? AND id >= ? ORDER BY id DESC", (before, lowest)
    )
    for message_id, raw in rows:
        budget.scan -= 1
        if budget.scan < 0:
            raise _Spent(message_id + 1)
        if needles and not _may_hold(raw, needles):
            continue
        summary = DECODER.decode(raw)
        if query.matches(summary):
            yield summary


class _DomainClause:
    """From or to one of some domains."""

    def __init__(self, domains: Sequence[str]) -> None:
        self.domains = domains

    def find(self, index: "_Index") -> int:
        places = 0
        for domain in self.domains:
            for field in (Field.SENDER_DOMAIN, Field.RECIPIENT_DOMAIN):
                places |= index.exact(field.value + domain[:TERM_LIMIT])
        return places


class _Index:
    """The terms of one segment."""

    def __init__(self, connection: Any, segment: int, budget: _Budget) -> None:
        self._execute = connection.execute
        self._segment = segment
        self._budget = budget

    def exact(self, term: str) -> int:
        """Return the places of a term."""
        self._budget.terms -= _LOOK_TERMS
        row = self._execute("SELECT places FROM posting WHERE segment=? AND term=?", (self._segment, term)).fetchone()
        return unpack_places(row[0]) if row is not None else 0

    def range(self, prefix: str) -> int:
        """Return the places of all terms that begin so."""
        self._budget.terms -= _LOOK_TERMS
        places = 0
        bounds = (self._segment, prefix, prefix + "\U0010ffff")
        rows = self._execute("SELECT places FROM posting WHERE segment=? AND term>=? AND term<?", bounds)
        for row in rows:
            self._budget.terms -= 1
            places |= unpack_places(row[0])
        return places

    def ids(self) -> bytes:
        """Return the ids of its mails, eight bytes each, by their places."""
        row: tuple[bytes] = self._execute("SELECT ids FROM segment WHERE number=?", (self._segment,)).fetchone()
        return row[0]


def _find_places(index: _Index, clause: "Clause | _DomainClause") -> int:
    if isinstance(clause, _DomainClause):
        return clause.find(index)
    find = index.exact if clause.mode is Mode.EXACT else index.range
    places = 0
    for field in clause.fields:
        # A value cut for the index is found by what was kept of it.
        places |= find(field.value + clause.value[:TERM_LIMIT])
    if clause.phrase:  # the mails whose subjects have all words of it, too
        *whole, last = (Field.SUBJECT.value + word[:TERM_LIMIT] for word in clause.phrase)
        subjects = find(last)
        for term in whole:
            subjects &= index.exact(term)
        places |= subjects
    return places


def _by_index(
    connection: Any,
    query: Query,
    clauses: "Sequence[Clause | _DomainClause]",
    before: int,
    lowest: int,
    budget: _Budget,
) -> Generator[Summary, None, None]:
    segments = connection.execute(
        "SELECT number, high FROM segment WHERE low < ? AND high >= ? ORDER BY high", (before, lowest)
    ).fetchall()
    # Candidates, newest on top: an id comes up when no segment that is left can hold a later one.
    waiting = [-message_id for message_id in _fresh(connection, query, before, lowest)]
    heapq.heapify(waiting)
    last = 0
    while waiting or segments:
        if segments and (not waiting or -waiting[0] <= segments[-1][1]):
            number, high = segments[-1]
            if budget.terms <= 0 and high + 1 < before:  # else the next page would begin where this one did
                raise _Spent(high + 1)
            segments.pop()
            for message_id in _candidates(_Index(connection, number, budget), clauses):
                if lowest <= message_id < before:
                    heapq.heappush(waiting, -message_id)
            continue
        message_id = -heapq.heappop(waiting)
        if message_id == last:
            continue
        last = message_id
        row = connection.execute("SELECT summary FROM mail WHERE id=?", (message_id,)).fetchone()
        budget.look -= 1
        if row is not None:
            summary = DECODER.decode(row[0])
            if query.matches(summary):
                yield summary
        if budget.look <= 0:
            raise _Spent(message_id)


def _fresh(connection: Any, query: Query, before: int, lowest: int) -> list[int]:
    """Return the mails that are wanted among those that are not in the index yet (CROSS: look these up, not all)."""
    needles = _needles(query)
    rows = connection.execute(
        "SELECT id, summary FROM fresh CROSS JOIN mail USING(id) WHERE id < ? AND id >= ?", (before, lowest)
    )
    return [message_id for message_id, raw in rows if _may_hold(raw, needles) and query.matches(DECODER.decode(raw))]


def _needles(query: Query) -> list[bytes]:
    """Return what stands in the summary of every mail that is wanted, as it is but for its case."""
    return [
        clause.value.encode()
        for clause in query.clauses
        if clause.value.isascii() and clause.value != "<>" and Field.SOURCE not in clause.fields
    ]


def _may_hold(raw: bytes, needles: Sequence[bytes]) -> bool:
    """Tell whether a summary may be wanted, before it is decoded: a tenth of the work."""
    lower = raw.lower()
    return all(needle in lower for needle in needles)


def _candidates(index: _Index, clauses: "Sequence[Clause | _DomainClause]") -> Sequence[int]:
    """Return the ids of a segment's mails that may be wanted."""
    places = -1
    for clause in clauses:
        places &= _find_places(index, clause)
        if not places:
            return ()
    ids = index.ids()
    return [struct.unpack_from("=q", ids, 8 * place)[0] for place in places_of(places)]
