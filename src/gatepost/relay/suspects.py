"""Suspects: mail that was unsettled when a relay stopped uncleanly. One of them may have been the reason.

Called by `relay.inspection` and `relay.delivery` before they take such a message up. A strike is written durably
first; at `STRIKE_LIMIT` the message is held. One that leaves work with the relay alive is pardoned: it waits on for
reasons of its own (its destination, the filters). From its second time on a message is taken up alone: to reach the
limit it must have been in work with others once and alone twice, and so only the one that kills its relay does, however
much other mail was in work with it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence

from gatepost.model.ids import format_queue_id
from gatepost.model.record import Held
from gatepost.spool import clock
from gatepost.spool.interface import Spool, SpoolError, Stored

STRIKE_LIMIT = 3
"""Unclean stops with the message in work after which it is held."""

ALONE_S = 2.0
"""How long a suspect is watched alone. What kills its relay does so at once; a slow peer must not hold up the rest."""

Start = Callable[[Stored], None]


class Suspects:
    """The suspects of one relay's life."""

    def __init__(self, spool: Spool, up_to: int, report: Callable[[str, str], None]) -> None:
        """`up_to`: highest id given out before the unclean stop; 0 after a clean one. `report(level, text)` logs."""
        self._spool = spool
        self._up_to = up_to
        self._report = report
        self._in_work: set[int] = set()
        self._cleared: set[int] = set()
        self._pardons: set[asyncio.Task[None]] = set()
        self._queued: dict[int, tuple[Stored, Start]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def is_suspect(self, message_id: int) -> bool:
        """Tell whether the message existed at the unclean stop and has not left work alive since."""
        return message_id <= self._up_to and message_id not in self._cleared

    def knows(self, message_id: int) -> bool:
        """Tell whether the message waits here to be taken up alone, or is in work as a suspect."""
        return message_id in self._queued or message_id in self._in_work

    def done(self, message_id: int, *, remains: bool) -> None:
        """The message left work alive; `remains`: it still waits in the spool."""
        if message_id not in self._in_work:
            return
        self._in_work.discard(message_id)
        self._changed.set()
        if remains:
            self._cleared.add(message_id)
            task = asyncio.create_task(self._pardon(message_id))
            self._pardons.add(task)
            task.add_done_callback(self._pardons.discard)

    async def take(self, entries: Iterable[Stored], start: Start) -> None:
        """Start what may be started now, hold what has had its chances, take the rest up one by one."""
        now: list[Stored] = []
        spent: list[Stored] = []
        for entry in entries:
            if entry.strikes >= STRIKE_LIMIT:
                spent.append(entry)
            elif entry.strikes:
                self._queued[entry.id] = (entry, start)
            else:
                now.append(entry)
        await self._start(now, start)
        for entry in spent:
            await self.hold(entry.id, f"in work at {entry.strikes} unclean stops of its relay")
        if self._queued and self._task is None:
            self._task = asyncio.create_task(self._one_by_one())

    async def hold(self, message_id: int, reason: str) -> None:
        """Put a message aside for an operator, and say so."""
        self._report("E", f"{format_queue_id(message_id)} is held: {reason}")
        try:
            await self._spool.hold(message_id, reason, (Held(message_id, clock.now(), reason),))
        finally:
            self.done(message_id, remains=False)

    async def _pardon(self, message_id: int) -> None:
        try:
            await self._spool.pardon([message_id])
        except SpoolError as error:
            # It keeps a strike it does not deserve: two more would have to follow before that matters.
            self._report("W", f"cannot clear {format_queue_id(message_id)}: {error}")

    async def _start(self, entries: Sequence[Stored], start: Start) -> None:
        if not entries:
            return
        ids = [entry.id for entry in entries]
        # Known before the first wait: from here on no operator acts on what was read of them.
        self._in_work.update(ids)
        try:
            await self._spool.strike(ids)
        except SpoolError:
            self._in_work.difference_update(ids)
            self._changed.set()
            raise
        for entry in entries:
            start(entry)

    async def _wait_alone(self) -> None:
        """Wait until no suspect is in work, or those that are have outlived their watch."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ALONE_S):
                while self._in_work:
                    self._changed.clear()
                    await self._changed.wait()

    async def _one_by_one(self) -> None:
        try:
            while self._queued:
                await self._wait_alone()
                # The least suspected first: who has been alone at a stop before waits for the others.
                message_id = min(self._queued, key=lambda known: (self._queued[known][0].strikes, known))
                entry, start = self._queued[message_id]
                try:
                    await self._start([entry], start)
                except SpoolError as error:
                    self._report("E", f"cannot count the next chance of {format_queue_id(message_id)}: {error}")
                    await asyncio.sleep(1.0)
                    continue
                del self._queued[message_id]
        finally:
            self._task = None
