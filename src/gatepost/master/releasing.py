"""Releases out of stores: which relay is asked to carry one out.

Called by `master.calls`. Any relay can begin a release; one that was begun before belongs to the shard that began it,
so the relay that works that shard has to go on. Relays say themselves whose it is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gatepost.control.socket import ControlError
from gatepost.master.relays import Relays

ITEMS_LIMIT: Final = 20
"""Items of one call: a release takes a commit of the spool and two of the store, and an answer must come in time."""


async def release_items(
    relays: Relays, arguments: Mapping[str, Any], say: Callable[[str, str], None]
) -> dict[str, Any]:
    """Release the items named by `items`; return what came of each (`relay.releasing.ItemOutcome`). ControlError."""
    items: Sequence[str] = [str(item) for item in arguments["items"]]
    if len(items) > ITEMS_LIMIT:
        raise ControlError(f"more than {ITEMS_LIMIT} messages at once")
    order = {name: arguments[name] for name in ("directory", "who", "recipients", "checked", "again")}
    outcomes: dict[str, Any] = {}
    troubles: list[str] = []
    for relay in relays.all:
        left = [item for item in items if item not in outcomes]
        if not left:
            break
        try:
            answer: dict[str, Any] = await relays.ask(relay, "release", items=left, **order)
        except ControlError as error:
            troubles.append(str(error))
            continue
        outcomes |= {item: outcome for item, outcome in answer.items() if "elsewhere" not in outcome}
    if troubles and not outcomes:
        raise ControlError(troubles[0])
    for item in items:
        if item not in outcomes:
            told = f": {troubles[0]}" if troubles else ""
            why = f"its release was begun by a relay that cannot be asked now, try again{told}"
            outcomes[item] = {"refused": why}
    done = sum(1 for outcome in outcomes.values() if "queue_id" in outcome and not outcome.get("before"))
    if done:
        say("I", f"operator {order['who']}: {done} message(s) released out of {order['directory']}")
    return outcomes
