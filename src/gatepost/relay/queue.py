"""The operator's view of the queue: what waits and why, and what may be done about one message.

Called by `relay.process` for the control socket. A message in work is left alone: its stage decides what becomes of it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gatepost.model.ids import format_queue_id
from gatepost.model.record import Removed
from gatepost.relay.pipeline import Pipeline
from gatepost.spool import clock
from gatepost.spool.interface import Corrupt, Destination, Pending, State

LISTING_LIMIT = 16
"""Messages in one answer ..."""
LISTED_RECIPIENTS = 20
"""... and recipients shown of each: with the longest of addresses that fits a channel message."""


async def list_queue(pipelines: Sequence[Pipeline], arguments: Mapping[str, str | int]) -> list[dict[str, Any]]:
    """Return a page of the queue: messages with an id above `after`, at most `limit`."""
    after = int(arguments.get("after", 0))
    limit = min(max(int(arguments.get("limit", 100)), 0), LISTING_LIMIT)
    rows: list[dict[str, Any]] = []
    for pipeline in pipelines:
        resting = {d.domain: d for d in await pipeline.spool.destinations(math.inf) if d.retry_at}
        for entry in await pipeline.spool.listing(after, limit):
            if isinstance(entry, Corrupt):
                rows.append(
                    {
                        "id": entry.id,
                        "queue_id": format_queue_id(entry.id),
                        "state": "corrupt",
                        "reason": entry.what,
                    }
                )
                continue
            recipients = entry.envelope.recipients
            waiting = entry.pending
            rests = [resting[p.domain] for p in waiting if p.domain in resting]
            shown = recipients if entry.state is State.WAITING else [recipients[p.recipient] for p in waiting]
            rows.append(
                {
                    "id": entry.id,
                    "queue_id": format_queue_id(entry.id),
                    "state": _state_name(entry.id, entry.state, pipeline),
                    "size": entry.content.size,
                    "received_at": entry.received_at,
                    "client": entry.envelope.client.ip,
                    "sender": entry.envelope.sender,
                    "recipients": [r.address for r in shown[:LISTED_RECIPIENTS]],
                    "recipient_count": len(shown),
                    "next_attempt": min((_next_attempt(p, resting) for p in waiting), default=None),
                    "reason": entry.reason or next((r.reason for r in rests), "") or _last_reply(waiting),
                }
            )
    rows.sort(key=lambda row: row["id"])
    return rows[:limit]


async def act_on(pipelines: Sequence[Pipeline], what: str, message_id: int) -> str:
    """Release a held message, or remove one that nobody has in work.

    Return `done`, `in work`, `not held` or `unknown`.
    """
    for pipeline in pipelines:
        entry = await pipeline.spool.fetch(message_id)
        if entry is None:
            continue
        if pipeline.delivery.is_in_work(message_id) or pipeline.inspection.has(message_id):
            return "in work"
        now = clock.now()
        if what == "remove":
            await pipeline.spool.remove(message_id, (Removed(message_id, now, "removed by an operator"),))
        elif isinstance(entry, Corrupt) or entry.state is not State.HELD:
            return "not held"
        else:
            await pipeline.spool.release(message_id, now, ())
            pipeline.inspection.look_again()
            pipeline.delivery.wake.set()
        return "done"
    return "unknown"


def _next_attempt(pending: Pending, resting: Mapping[str, Destination]) -> float:
    """Return when a recipient is tried next: its own time, or the end of its destination's rest when that is later."""
    rest = resting.get(pending.domain)
    return pending.due if rest is None else max(pending.due, rest.retry_at)


def _last_reply(waiting: Sequence[Pending]) -> str:
    return next((p.reply for p in waiting if p.reply), "")


def _state_name(message_id: int, state: State, pipeline: Pipeline) -> str:
    """Return the documented state (specification management.md §5.4)."""
    if state is State.HELD:
        return "HLD"
    if state is State.WAITING and not pipeline.delivery.is_in_work(message_id):
        return "CHK" if pipeline.inspection.has(message_id) else "WFC"
    return "SND" if pipeline.delivery.is_in_work(message_id) else "QUE"
