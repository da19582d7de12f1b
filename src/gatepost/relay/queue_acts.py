"""What an operator may do about queued messages. A message in work is left alone: its stage decides what becomes of it.

Called by `relay.questions`. Promises: an act is durable when its outcome is reported, each leaves a record, and nobody
takes a message up while it is acted on or goes by what was read of it before.
"""

import asyncio
from collections.abc import Awaitable, Sequence

import msgspec

from gatepost.model.address import domain_of
from gatepost.model.record import Held, Operated, Removed
from gatepost.model.reply import reply
from gatepost.relay.pipeline import Pipeline
from gatepost.relay.received import trace_of
from gatepost.relay.verbs import Verb, check_text
from gatepost.relay.work import Work
from gatepost.spool import clock
from gatepost.spool.interface import Corrupt, SpoolError, State, Stored, UnknownMessage

BLOCK = 50
"""Messages acted on in one commit: few enough that no other commit waits long for it."""
GONE_S = 10.0
"""How long a bounce waits for its report to be durable; it ends by itself."""
_GONE_POLL_S = 0.01

IN_WORK = "in work, try again"
AHEAD = 0.0
"""Moment that puts mail ahead of all other of its destination (F-QUE-04)."""


_FOR_DELIVERY = frozenset((Verb.RETRY, Verb.SEND_FIRST))
"""Acts that also end the rest of the destinations concerned."""


class Acts(msgspec.Struct, frozen=True):
    """What came of an act on some messages; ids that this relay does not have are in neither."""

    done: list[int]
    refused: dict[int, str]
    """Id → why not, a sentence without capital and full stop."""


async def act_on(pipelines: Sequence[Pipeline], verb: Verb, message_ids: Sequence[int], text: str) -> Acts:
    """Do something about those of these messages that this relay has. ValueError for a text that makes no sense.

    `text`: the reason of a hold or bounce, the next hop of a reroute ("" = by the routing table again).
    """
    check_text(verb, text)
    acts = Acts([], {})
    for pipeline in pipelines:
        for start in range(0, len(message_ids), BLOCK):
            await _act_on_block(pipeline, verb, message_ids[start : start + BLOCK], text, acts)
    return acts


async def _act_on_block(pipeline: Pipeline, verb: Verb, ids: Sequence[int], text: str, acts: Acts) -> None:
    claimed = pipeline.delivery.claimed
    taken = [each for each in ids if each in claimed]
    mine = [each for each in ids if each not in claimed]
    # Claimed before it is read: from here on nobody takes up what may be changed.
    claimed.update(mine)
    entries: list[Stored | Corrupt] = []
    try:
        found = await asyncio.gather(*(pipeline.spool.fetch(each) for each in mine))
        entries = [entry for entry in found if entry is not None]
        done: dict[int, Awaitable[None]] = {}
        for entry in entries:
            begun = _begin(pipeline, verb, entry, text)
            if isinstance(begun, str):
                acts.refused[entry.id] = begun
            else:
                done[entry.id] = begun
        if done and verb in _FOR_DELIVERY:
            _wake_up(pipeline, [entry for entry in entries if entry.id in done])
        for message_id, outcome in zip(done, await asyncio.gather(*done.values(), return_exceptions=True), strict=True):
            if outcome is None:
                acts.done.append(message_id)
            elif isinstance(outcome, SpoolError):
                if not isinstance(outcome, UnknownMessage):
                    acts.refused[message_id] = f"the spool refuses: {outcome}"
            else:
                raise outcome
    finally:
        claimed.difference_update(mine)
        if entries:
            # What was skipped while it was claimed is looked at again.
            pipeline.inspection.look_again(min(entry.id for entry in entries) - 1)
            pipeline.delivery.wake.set()
    # Somebody else acts on these: a relay that does not have them says nothing.
    for each in taken:
        if await pipeline.spool.fetch(each) is not None:
            acts.refused[each] = IN_WORK


def _begin(pipeline: Pipeline, verb: Verb, entry: Stored | Corrupt, text: str) -> str | Awaitable[None]:
    """Begin an act. Returns why not, or what is done when the act is durable.

    Nothing is awaited between the look at what is in work and the change that goes to the spool.
    """
    if pipeline.in_work(entry.id):
        return IN_WORK
    now = clock.now()
    if verb is Verb.REMOVE:
        pipeline.inspection.forget(entry.id)
        return pipeline.spool.remove(entry.id, (Removed(entry.id, now, "removed by an operator"),))
    if isinstance(entry, Corrupt):
        return f"it cannot be read: {entry.what}"
    refusal = _refusal(pipeline, verb, entry)
    if refusal:
        return refusal
    pipeline.inspection.forget(entry.id)
    note = (Operated(entry.id, now, verb.value, text),)
    spool = pipeline.spool
    match verb:
        case Verb.HOLD:
            reason = text or "held by an operator"
            return spool.hold(entry.id, reason, (Held(entry.id, now, reason),))
        case Verb.RELEASE:
            return spool.release(entry.id, now, note)
        case Verb.RETRY:
            return spool.advance((entry.id,), now, note)
        case Verb.BOUNCE:
            return _bounce(pipeline, entry, text)
        case Verb.REROUTE:
            return spool.settle(entry.id, _rerouted(entry, text, now), note)
        case Verb.RESCAN:
            if not entry.pending:
                return spool.release(entry.id, now, note)
            return spool.settle(entry.id, _uninspected(entry), note)
        case Verb.SCAN_FIRST:
            pipeline.inspection.take_first(entry)
            return _note(pipeline, note)
        case Verb.SEND_FIRST:
            return _send_first(pipeline, entry, note)


def _refusal(pipeline: Pipeline, verb: Verb, entry: Stored) -> str:
    """Return why an act does not suit a message, "" when it does. Pure but for the look at what is paused."""
    state = entry.state
    match verb:
        case Verb.HOLD if state is State.HELD:
            return "it is held already"
        case Verb.RELEASE if state is not State.HELD:
            return "it is not held"
        case Verb.RETRY | Verb.SEND_FIRST if state is State.HELD:
            return "it is held: release it first"
        case Verb.RETRY | Verb.SEND_FIRST if state is State.WAITING:
            return "it awaits inspection, not delivery"
        case Verb.SEND_FIRST if all(pipeline.delivery.destinations.is_paused(p.domain) for p in entry.pending):
            return "its destination is paused: resume it first"
        case Verb.SCAN_FIRST if state is not State.WAITING:
            return "it does not await inspection"
        case Verb.BOUNCE | Verb.REROUTE if not entry.pending:
            # Unchecked content must not go back to a sender who may be forged, and routes are taken after inspection.
            return "it has not been inspected"
        case Verb.RESCAN if state is State.WAITING:
            return "it awaits inspection already"
        case Verb.RESCAN if entry.kind:
            return "it is a report of the gateway's own, or was released without checks: it is not inspected"
    return ""


def _wake_up(pipeline: Pipeline, entries: Sequence[Stored | Corrupt]) -> None:
    """End the rest of the destinations these messages wait for."""
    for domain in {p.domain for entry in entries if isinstance(entry, Stored) for p in entry.pending}:
        pipeline.delivery.destinations.wake_up(domain)


async def _note(pipeline: Pipeline, records: Sequence[Operated]) -> None:
    pipeline.spool.enter(records)


async def _send_first(pipeline: Pipeline, entry: Stored, note: Sequence[Operated]) -> None:
    await pipeline.spool.advance((entry.id,), AHEAD, note)
    if pipeline.delivery.running:
        pending = tuple(msgspec.structs.replace(each, due=AHEAD) for each in entry.pending)
        pipeline.delivery.submit(Work(msgspec.structs.replace(entry, pending=pending), None, durable=True))


async def _bounce(pipeline: Pipeline, entry: Stored, text: str) -> None:
    delivery = pipeline.delivery
    why = text or "given up by the administrator"
    delivery.give_up(entry, answer=reply(554, "5.0.0", why))
    end = asyncio.get_running_loop().time() + GONE_S
    while delivery.has(entry.id) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - an operator waits
        await asyncio.sleep(_GONE_POLL_S)
    if await pipeline.spool.fetch(entry.id) is not None:
        raise SpoolError("its report cannot be made now, the log says why")


def _rerouted(entry: Stored, route: str, now: float) -> Stored:
    """Return a message with a next hop of its own, due now. It waits in a queue of that name: the rest of its former
    destination does not concern it, nor its troubles that destination.
    """
    recipients = entry.envelope.recipients
    pending = tuple(
        msgspec.structs.replace(each, domain=route.lower() or domain_of(recipients[each.recipient].address), due=now)
        for each in entry.pending
    )
    return msgspec.structs.replace(entry, route=route, pending=pending)


def _uninspected(entry: Stored) -> Stored:
    """Return a message as it was before its inspection, for those recipients only that still wait. A next hop of its
    own is forgotten: routes are taken after inspection.
    """
    recipients = tuple(entry.envelope.recipients[pending.recipient] for pending in entry.pending)
    return msgspec.structs.replace(
        entry,
        state=State.WAITING,
        envelope=msgspec.structs.replace(entry.envelope, recipients=recipients),
        prefix=trace_of(entry.prefix),
        group="",
        route="",
        splices=(),
        pending=(),
        strikes=0,
        reason="",
    )
