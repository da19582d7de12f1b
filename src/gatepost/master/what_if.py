"""What shadows have found so far: the call `shadow.list`. Registered at the desk by the master.

Each with what it changes, how often it was asked, how often it would have decided otherwise, and the changes of the
configuration that would make it real. Which mails those were tracking tells (finding `shadow:NAME`).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gatepost.config.grouping import Group
from gatepost.config.schema import Config
from gatepost.config.shadow import Shadow
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right

Status = Callable[[], Awaitable[dict[str, Any]]]


def register(desk: Desk, config: Callable[[], Config], status: Status) -> None:
    """Register the call. `status` gives the gateway's, for the counters."""

    async def show(_: Arguments, __: Caller) -> Any:
        counters = (await status())["counters"]
        return [describe_shadow(shadow, config().groups, counters) for shadow in config().shadows]

    desk.add("shadow.list", Right.CONFIGURATION, show)


def describe_shadow(shadow: Shadow, groups: Sequence[Group], counters: dict[str, int]) -> dict[str, Any]:
    """Return what is shown of a shadow."""
    chosen = [group.name for group in shadow.resolved]
    return {
        "name": shadow.name,
        "groups": chosen,
        "settings": [{"name": name, "value": value} for name, value in shadow.changes],
        "until": shadow.until,
        "ends": shadow.ends,
        "checked": counters.get(f"shadow_{shadow.name}_checked", 0),
        "changed": counters.get(f"shadow_{shadow.name}_changed", 0),
        "finding": f"shadow:{shadow.name}",
        "edits": _edits(shadow, groups),
    }


def _edits(shadow: Shadow, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the changes that would make it real, as `configuration.check` and `configuration.draft` take them."""
    places = {group.name: index for index, group in enumerate(groups[:-1])}
    edits: list[dict[str, Any]] = []
    for group in shadow.resolved:
        for name, _ in shadow.changes:
            value = getattr(group, name)
            place: dict[str, Any] = {"section": "policy"}
            if group.name in places:
                place = {"section": "group", "item": places[group.name]}
            edits.append({**place, "name": name, "verb": "set", "value": value, "group": group.name})
    return edits
