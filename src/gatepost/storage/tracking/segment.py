"""A segment of the index, made of the summaries of its mails: the places of each term, and the commonest values. Pure.

Called by `day`. Done once for each mail and for all of its terms, so each step is of the kind that costs least: most
terms are one mail's, and those that many mails have come in sets that many mails have alike.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from operator import itemgetter
from typing import Final

import msgspec

from gatepost.storage.tracking import summary as summaries
from gatepost.storage.tracking.fields import Field, own_terms, shared_terms
from gatepost.storage.tracking.postings import is_list, join_places, pack_places, pack_set

TOPS_KEPT: Final = 200
"""Values of a field whose counts are kept for each segment."""
TOP_FIELDS: Final = (
    Field.SENDER,
    Field.SENDER_DOMAIN,
    Field.RECIPIENT,
    Field.RECIPIENT_DOMAIN,
    Field.CLIENT,
    Field.THREAT,
)

_TOPS: Final = msgspec.msgpack.Encoder()


class Segment:
    """The terms of some mails, which are numbered as they come."""

    def __init__(self, raw_summaries: Iterable[bytes]) -> None:
        self._own: defaultdict[str, list[int]] = defaultdict(list)
        """Places by term, ascending."""
        shared: defaultdict[frozenset[str], list[int]] = defaultdict(list)
        self._size = 0
        own = self._own
        for place, raw_summary in enumerate(raw_summaries):
            summary = summaries.DECODER.decode(raw_summary)
            for term in own_terms(summary):
                own[term].append(place)
            for terms in shared_terms(summary):
                shared[terms].append(place)
            self._size += 1
        self._shared: defaultdict[str, list[list[int]]] = defaultdict(list)
        """Terms that come in sets, none of which is a mail's own: the places of each set with it. A mail is in one."""
        for terms, places in shared.items():
            for term in terms:
                self._shared[term].append(places)

    def postings(self) -> list[tuple[str, bytes]]:
        """Return the terms in their order, and the places of each as they lie in the index."""
        size = self._size
        single = [pack_places((place,), size) for place in range(size)]
        packed = {
            term: single[places[0]] if len(places) == 1 else pack_places(places, size)
            for term, places in self._own.items()
        }
        sets: dict[int, int] = {}
        for term, lists in self._shared.items():
            if is_list(sum(map(len, lists)), size):
                packed[term] = pack_places(sorted(chain.from_iterable(lists)), size)
                continue
            joined = 0
            for places in lists:
                found = sets.get(id(places))
                if found is None:
                    found = sets[id(places)] = join_places(places)
                joined |= found
            packed[term] = pack_set(joined, size)
        return sorted(packed.items())

    def tops(self) -> bytes:
        """Return the commonest values of the fields that reports count: {field: {value: mails}}."""
        several: dict[str, list[tuple[str, int]]] = {field.value: [] for field in TOP_FIELDS}
        once: dict[str, list[tuple[str, int]]] = {field.value: [] for field in TOP_FIELDS}
        for term, places in self._own.items():
            letter = term[0]
            if letter not in several:
                continue
            if len(places) > 1:
                several[letter].append((term[1:], len(places)))
            elif len(once[letter]) < TOPS_KEPT:
                once[letter].append((term[1:], 1))
        for term, lists in self._shared.items():
            if term[0] in several:
                several[term[0]].append((term[1:], sum(map(len, lists))))
        return _TOPS.encode(
            {
                letter: dict((sorted(found, key=itemgetter(1), reverse=True) + once[letter])[:TOPS_KEPT])
                for letter, found in several.items()
            }
        )
