"""The operator's view of the queue of one relay: what waits, where, why, and what has been tried.

Called by `relay.questions` for the control socket. Every answer is bounded in messages looked at and in bytes, and the
work is done in steps of milliseconds between the commits of the spool's thread, however long the queue is.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gatepost.model.ids import format_queue_id
from gatepost.relay.pipeline import Pipeline
from gatepost.relay.queue_filter import Choice
from gatepost.relay.queue_pages import Page, merge_pages
from gatepost.relay.queue_scope import narrow_entry
from gatepost.relay.work import edited_size
from gatepost.spool.interface import Corrupt, Destination, Pending, State, Stored

SEARCH_ROWS = 1000
"""Messages looked at in one step of the spool's thread: about 5 ms, so that no commit waits longer for it ..."""
ROWS_PER_ANSWER = 20_000
"""... and in one answer: a fraction of a second."""
BLOCK = 50
"""Messages read whole at once."""
ANSWER_BYTES = 64 * 1024
"""Rows of one answer, encoded: half of what a channel message takes."""
LISTED_RECIPIENTS = 20
"""Recipients shown of each message in a list ..."""
SHOWN_RECIPIENTS = 25
"""... and when one is shown: with the longest of addresses and replies that fits a channel message."""
DESTINATIONS_PAGE = 2000
TOP_DESTINATIONS = 50
"""Destinations and reasons of a summary: those with most mail."""
ANSWERS_LOOKED_AT = 10
"""Messages of each of these that are looked at for an answer of a peer."""


async def search(pipelines: Sequence[Pipeline], choice: Choice, after: int, limit: int) -> Page:
    """Return ids of chosen messages behind `after`, at most `limit`."""
    return merge_pages([await _search_one(pipeline, choice, after, limit) for pipeline in pipelines], limit)


async def list_rows(pipelines: Sequence[Pipeline], choice: Choice, after: int, limit: int) -> Page:
    """Return rows of chosen messages behind `after`, at most `limit`, and no more than fit an answer."""
    room = ANSWER_BYTES // len(pipelines)
    return merge_pages([await _list_one(pipeline, choice, after, limit, room) for pipeline in pipelines], limit)


async def _list_one(pipeline: Pipeline, choice: Choice, after: int, limit: int, room: int) -> Page:
    found = await _search_one(pipeline, choice, after, limit)
    rows: list[dict[str, Any]] = []
    for start in range(0, len(found.items), BLOCK):
        for row in await _rows(pipeline, found.items[start : start + BLOCK], choice.scope):
            room -= len(msgspec.json.encode(row))
            if room < 0 and rows:
                # What was found behind is found again by the next step.
                return Page(rows, int(rows[-1]["id"]), found.seen, ended=False)
            rows.append(row)
    return Page(rows, found.upto, found.seen, found.ended)


async def _search_one(pipeline: Pipeline, choice: Choice, after: int, limit: int) -> Page:
    ids: list[int] = []
    seen = 0
    ended = choice.nothing
    while not ended and len(ids) < limit and seen < ROWS_PER_ANSWER:
        rows = min(SEARCH_ROWS, ROWS_PER_ANSWER - seen)
        if choice.plain and not (choice.needs_state or choice.needs_message):
            rows = min(rows, limit - len(ids))
        found = await pipeline.spool.search(after, rows, choice.place, None if choice.plain else choice.wants)
        ids += await _second_step(pipeline, choice, found.ids)
        after, ended = found.upto, found.ended
        seen += found.seen
    page = Page(ids, after, seen, ended=ended)
    return page if len(ids) <= limit else Page(ids[:limit], ids[limit - 1], seen, ended=False)


async def _second_step(pipeline: Pipeline, choice: Choice, ids: Sequence[int]) -> Sequence[int]:
    if not (choice.needs_state or choice.needs_message):
        return ids
    chosen: list[int] = []
    for start in range(0, len(ids), BLOCK):
        block = ids[start : start + BLOCK]
        for found in await _fetch(pipeline, block):
            if isinstance(found, Corrupt) or not choice.wants_state(state_name(found, pipeline)):
                continue
            entry = narrow_entry(found, choice.scope)
            if entry is None:
                continue
            if choice.needs_message:
                reason = _reason(entry, pipeline, await _destinations(pipeline, [entry]))
                hops = (pipeline.delivery.next_hop_of(entry, pending) for pending in entry.pending)
                if not choice.wants_message(entry, hops, reason):
                    continue
            chosen.append(entry.id)
    return chosen


async def _fetch(pipeline: Pipeline, ids: Iterable[int]) -> list[Stored | Corrupt]:
    found = await asyncio.gather(*(pipeline.spool.fetch(each) for each in ids))
    return [entry for entry in found if entry is not None]


async def _destinations(pipeline: Pipeline, entries: Iterable[Stored | Corrupt]) -> dict[str, Destination]:
    names = {p.domain for entry in entries if isinstance(entry, Stored) for p in entry.pending}
    return {d.domain: d for d in await pipeline.spool.destinations_named(sorted(names))} if names else {}


async def _rows(pipeline: Pipeline, ids: Sequence[int], scope: Collection[str]) -> list[dict[str, Any]]:
    seen = [_narrow(entry, scope) for entry in await _fetch(pipeline, ids)]
    entries = [entry for entry in seen if entry is not None]
    known = await _destinations(pipeline, entries)
    return [_row(entry, pipeline, known) for entry in entries]


def _narrow(entry: Stored | Corrupt, scope: Collection[str]) -> Stored | Corrupt | None:
    """Return what somebody sees who sees only some domains. What cannot be read is nobody's in particular."""
    if isinstance(entry, Corrupt):
        return None if scope else entry
    return narrow_entry(entry, scope)


def _row(entry: Stored | Corrupt, pipeline: Pipeline, known: Mapping[str, Destination]) -> dict[str, Any]:
    """Return what a list shows of one message."""
    if isinstance(entry, Corrupt):
        return {"id": entry.id, "queue_id": format_queue_id(entry.id), "state": "corrupt", "reason": entry.what}
    recipients = _waiting_recipients(entry)
    return {
        "id": entry.id,
        "queue_id": format_queue_id(entry.id),
        "state": state_name(entry, pipeline),
        "size": entry.content.size,
        "received_at": entry.received_at,
        "client": entry.envelope.client.ip,
        "sender": entry.envelope.sender,
        "recipients": recipients[:LISTED_RECIPIENTS],
        "recipient_count": len(recipients),
        "next_attempt": _next_attempt(entry, pipeline, known),
        "attempts": max((pending.attempts for pending in entry.pending), default=0),
        "reason": _reason(entry, pipeline, known),
    }


async def show(pipeline: Pipeline, message_id: int, scope: Collection[str] = ()) -> dict[str, Any] | None:
    """Return everything that is known of one message, None when this shard does not have it, or has nothing of it for
    those who see only the domains `scope`.
    """
    found = await pipeline.spool.fetch(message_id)
    entry = _narrow(found, scope) if found is not None else None
    if entry is None:
        return None
    known = await _destinations(pipeline, [entry])
    row = _row(entry, pipeline, known)
    if isinstance(entry, Corrupt):
        return row
    envelope = entry.envelope
    return row | {
        "shard": pipeline.spool.directory,
        "copy_of": format_queue_id(entry.source) if entry.source != entry.id else "",
        "kind": entry.kind or "received",
        "group": entry.group,
        "edits": len(entry.splices),
        "size_to_send": len(entry.prefix) + edited_size(entry.content.size, entry.splices),
        "content_in_file": entry.content.in_file,
        "route": entry.route,
        "strikes": entry.strikes,
        "held_reason": entry.reason,
        "direction": envelope.direction.value,
        "body": envelope.body.value,
        "ret": envelope.ret.value if envelope.ret else "",
        "envid": envelope.envid,
        "client_facts": msgspec.to_builtins(msgspec.structs.asdict(envelope.client)),
        "recipients": [],
        "settled_recipients": len(envelope.recipients) - len(_waiting_recipients(entry)),
        "waiting": [_waiting(entry, pending, known, pipeline) for pending in _pendings(entry)[:SHOWN_RECIPIENTS]],
    }


def _pendings(entry: Stored) -> Sequence[Pending]:
    """Return the recipients that wait; before the inspection all of them do, for nothing in particular."""
    if entry.pending:
        return entry.pending
    return [Pending(index, "", 0.0) for index in range(len(entry.envelope.recipients))]


def _waiting(entry: Stored, pending: Pending, known: Mapping[str, Destination], pipeline: Pipeline) -> dict[str, Any]:
    recipient = entry.envelope.recipients[pending.recipient]
    destination = known.get(pending.domain)
    inspected = bool(entry.pending)
    return {
        "address": recipient.address,
        "notify": [each.value for each in recipient.notify],
        "orcpt": recipient.orcpt,
        "queue": pending.domain,
        "attempts": pending.attempts,
        "last_reply": pending.reply,
        "next_attempt": _attempt_at(pending, known) if inspected and _is_tried(entry, pipeline) else None,
        "next_hop": pipeline.delivery.next_hop_of(entry, pending) if inspected else "",
        "paused": destination is not None and destination.paused,
        "destination_rests_until": destination.retry_at if destination is not None else 0.0,
        "destination_failures": destination.failures if destination is not None else 0,
        "destination_reason": destination.reason if destination is not None else "",
    }


def state_name(entry: Stored, pipeline: Pipeline) -> str:
    """Return the documented state (specification management.md §5.4)."""
    if entry.state is State.HELD:
        return "HLD"
    if pipeline.delivery.has(entry.id):
        return "SND"
    if entry.state is State.READY:
        return "QUE"
    return "CHK" if pipeline.inspection.has(entry.id) else "WFC"


def _waiting_recipients(entry: Stored) -> list[str]:
    everyone = entry.envelope.recipients
    if not entry.pending:
        return [recipient.address for recipient in everyone]
    return [everyone[pending.recipient].address for pending in entry.pending]


def _attempt_at(pending: Pending, known: Mapping[str, Destination]) -> float | None:
    """Return when a recipient is tried next: its own time, or the end of its destination's rest when that is later."""
    destination = known.get(pending.domain)
    if destination is None:
        return pending.due
    return None if destination.paused else max(pending.due, destination.retry_at)


def _is_tried(entry: Stored, pipeline: Pipeline) -> bool:
    """Whether a message is on its way out, and nobody has switched delivery off."""
    return entry.state is State.READY and not pipeline.switched_off(entry.state)


def _next_attempt(entry: Stored, pipeline: Pipeline, known: Mapping[str, Destination]) -> float | None:
    if not _is_tried(entry, pipeline):
        return None
    moments = [_attempt_at(pending, known) for pending in entry.pending]
    return min((moment for moment in moments if moment is not None), default=None)


def _reason(entry: Stored, pipeline: Pipeline, known: Mapping[str, Destination]) -> str:
    """Return why a message waits, "" when it merely has not been tried."""
    if entry.reason:
        return entry.reason
    if switched_off := pipeline.switched_off(entry.state):
        return switched_off
    if entry.state is State.WAITING:
        return pipeline.inspection.reason(entry.id)
    destinations = [known[p.domain] for p in entry.pending if p.domain in known]
    if any(destination.paused for destination in destinations):
        return "destination paused by an operator"
    resting = next((d.reason for d in destinations if d.retry_at and d.reason), "")
    return resting or next((pending.reply for pending in entry.pending if pending.reply), "")


async def summarise(pipelines: Sequence[Pipeline]) -> dict[str, Any]:
    """Return counts by state, and the destinations and reasons with most mail. Cost: the number of destinations."""
    states: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    held: Counter[str] = Counter()
    destinations: Counter[str] = Counter()
    by_turn: Counter[str] = Counter()
    """Messages whose destination takes sessions: each is due, or waits by itself."""
    facts: dict[str, Destination] = {}
    for pipeline in pipelines:
        counts = await pipeline.spool.counts()
        checking = min(pipeline.inspection.backlog()[0], counts["waiting"])
        states.update(WFC=counts["waiting"] - checking, CHK=checking, HLD=counts["held"])
        sending = min(pipeline.delivery.in_work(), counts["ready"])
        states.update(QUE=counts["ready"] - sending, SND=sending)
        states.update(bytes=counts["bytes"])
        if counts["waiting"] and (switched_off := pipeline.switched_off(State.WAITING)):
            reasons[switched_off] += counts["waiting"]
        sending_off = pipeline.switched_off(State.READY)
        async for destination in _all_destinations(pipeline):
            destinations[destination.domain] += destination.waiting
            known = facts.get(destination.domain)
            if known is None or destination.retry_at > known.retry_at or destination.paused:
                facts[destination.domain] = destination
            if destination.waiting and (reason := sending_off or _destination_reason(destination)):
                reasons[reason] += destination.waiting
            else:
                by_turn[destination.domain] += destination.waiting
        reasons.update(pipeline.inspection.reasons())
        held.update(await _held_reasons(pipeline))
    answers = await _last_answers(pipelines, [domain for domain, _ in by_turn.most_common(TOP_DESTINATIONS)])
    for domain, count in by_turn.items():
        if count:
            answer = f"; last answer: {answers[domain]}" if domain in answers else ""
            reasons[f"due, or waits for its next attempt{answer}"] += count
    top = [(domain, count) for domain, count in destinations.most_common(TOP_DESTINATIONS) if count]
    paused = [domain for domain, fact in facts.items() if fact.paused and not destinations[domain]]
    return {
        "bytes": states.pop("bytes"),
        "states": dict(states),
        "destinations": [_destination_row(facts[domain], count, answers.get(domain, "")) for domain, count in top]
        + [_destination_row(facts[domain], 0, "") for domain in sorted(paused)[:TOP_DESTINATIONS]],
        "destination_count": len([count for count in destinations.values() if count]),
        "reasons": dict(reasons.most_common(TOP_DESTINATIONS)),
        "held": dict(held.most_common(TOP_DESTINATIONS)),
    }


async def _all_destinations(pipeline: Pipeline) -> Any:
    after = ""
    while page := await pipeline.spool.destination_page(after, DESTINATIONS_PAGE):
        for destination in page:
            yield destination
        after = page[-1].domain


async def _last_answers(pipelines: Sequence[Pipeline], domains: Iterable[str]) -> dict[str, str]:
    """Return what the peers of some domains answered last to one of the messages tried next, of those that did."""
    answers: dict[str, str] = {}
    for domain in domains:
        for pipeline in pipelines:
            for entry in await pipeline.spool.due(domain, math.inf, ANSWERS_LOOKED_AT):
                pending = () if isinstance(entry, Corrupt) else entry.pending
                replies = [each.reply for each in pending if each.domain == domain and each.reply]
                if replies:
                    answers[domain] = replies[0]
    return answers


async def _held_reasons(pipeline: Pipeline) -> Counter[str]:
    """Count the reasons of held mail, of as many messages as one answer looks at."""
    reasons: Counter[str] = Counter()
    after, seen, ended = 0, 0, False

    def note(brief: Any) -> bool:
        reasons[brief.reason] += 1
        return False

    while not ended and seen < ROWS_PER_ANSWER:
        found = await pipeline.spool.search(after, SEARCH_ROWS, State.HELD, note)
        after, ended = found.upto, found.ended
        seen += found.seen
    return reasons


def _destination_reason(destination: Destination) -> str:
    """Return why all of its mail waits, "" when it does not."""
    if destination.paused:
        return "destination paused by an operator"
    return destination.reason if destination.retry_at else ""


def _destination_row(destination: Destination, waiting: int, answer: str) -> dict[str, Any]:
    return {
        "domain": destination.domain,
        "waiting": waiting,
        "paused": destination.paused,
        "rests_until": destination.retry_at,
        "failures": destination.failures,
        "reason": destination.reason or answer,
    }
