"""Retention: stored messages past their time, and the oldest of what is too much, are deleted, a bit at a time.

One relay does it for all: number 0. Called by `relay.process`. Bounded steps, with pauses, on a thread: neither mail
nor others that use a store wait for it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from gatepost.config.schema import Config
from gatepost.spool import clock
from gatepost.storage.places import StorePlace, store_places
from gatepost.storage.retention import plan_sweep, without_doubt
from gatepost.storage.store import Store

LOOK_S: Final = 60.0
"""Pause between two looks at the stores."""
STEP: Final = 50
"""Items deleted in one step: some 50 ms on a slow disk."""
PAUSE_S: Final = 0.05
"""Between two steps: at most half of a disk's time, and a thousand items a second."""


class Retention:
    """The sweep of all stores of a configuration."""

    def __init__(self, config: Callable[[], Config], report: Callable[[str, str], None]) -> None:
        """`config` is the one in force now; `report(level, text)` logs."""
        self._config = config
        self._report = report

    async def run(self) -> None:
        """Sweep again and again, until cancelled."""
        while True:
            for place in store_places(self._config()):
                if place.days or place.bytes:
                    await self.sweep(place)
            await asyncio.sleep(LOOK_S)

    async def sweep(self, place: StorePlace) -> None:
        """Delete what a store is not to keep."""
        store = Store(place.directory)
        number = size = 0
        try:
            while step := await asyncio.to_thread(_step, store, place):
                number += len(step)
                size += sum(step)
                await asyncio.sleep(PAUSE_S)
        except OSError as error:
            self._report("E", f"{place.kind.value} {place.directory}: nothing is ended there now: {error}")
        finally:
            await asyncio.to_thread(store.close)
        if number:
            told = f"{number} message(s), {size} bytes past their time or beyond the limit are deleted"
            self._report("I", f"{place.kind.value} {place.directory}: {told}")


def _step(store: Store, place: StorePlace) -> list[int]:
    """Do a bounded part of the work; return the sizes of what is gone."""
    if not store.layout.exists:
        return []
    planned = plan_sweep(store, without_doubt(place), clock.now(), STEP)
    refused = store.delete([item_id for item_id, _ in planned])
    return [size for item_id, size in planned if item_id not in refused]
