"""What a store keeps no longer: plans of a sweep, a bounded step each.

Called by the relay that sweeps (`relay.retention`) and by `gatepost … prune`.
"""

import math
from collections.abc import Sequence

import msgspec

from gatepost.spool import clock
from gatepost.storage.places import StorePlace
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import Store

_DAY_S = 86400.0


def without_doubt(place: StorePlace) -> StorePlace:
    """Return a place without its limit of age while the clock is not believed. What is too much goes all the same."""
    return place if not place.days or clock.is_believed() else msgspec.structs.replace(place, days=0)


def plan_sweep(store: Store, place: StorePlace, now: float, limit: int) -> Sequence[tuple[str, int]]:
    """Return (id, bytes) of up to `limit` items to be deleted now: those past their time, else the oldest of what is
    too much. Nothing that is being released. OSError.
    """
    if place.days:
        past = store.oldest(place.kind.value, now - place.days * _DAY_S, limit)
        if past:
            return past
    if not place.bytes:
        return ()
    excess = store.totals(ItemFilter(stores=(place.kind.value,)), now).bytes - place.bytes
    if excess <= 0:
        return ()
    chosen = []
    for item_id, size in store.oldest(place.kind.value, math.inf, limit):
        if excess <= 0:
            break
        chosen.append((item_id, size))
        excess -= size
    return chosen
