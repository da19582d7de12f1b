"""From `[[shadow]]` tables to groups as they would be. Called by `config.assemble`, once the groups are resolved.

What a shadow changes is decided from what was looked at anyway, so that it has no effect: settings that would need more
(a check that its group does not make, objects that its group does not have scanned) are refused here.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from gatepost.config.collect import Collected
from gatepost.config.grouping import NAME_FILTERS, SPAM_ACTIONS, TYPE_FILTERS
from gatepost.config.parameter import Field, Kind
from gatepost.config.problem import Origin, Severity
from gatepost.config.schema import FIELDS, find_field
from gatepost.config.shadow import NAME, SHADOWS_LIMIT
from gatepost.config.spam_actions import find_contradiction

Values = dict[str, object]

LOOKS: Final = frozenset(
    field.name for field in FIELDS["policy"] if field.name in {"check", "check_spam"} or field.name.startswith("use_")
) - {"use_lists"}
"""Switches of what is looked at: a shadow may switch them off only. Lists need no look."""
_FILTERS: Final = (("filters_names", NAME_FILTERS), ("filters_types", TYPE_FILTERS))


def resolve_shadows(collected: Collected, groups: Sequence[Values]) -> list[Values]:
    """Return the shadows with the groups as they would be; what is wrong goes to `collected`."""
    shadows: list[Values] = []
    names: set[str] = set()
    items = collected.items_of("shadow")
    if len(items) > SHADOWS_LIMIT:
        _refuse(collected, items[SHADOWS_LIMIT], "", f"{len(items)} shadows: {SHADOWS_LIMIT} may stand here")
    for item in items[:SHADOWS_LIMIT]:
        given = {name: each.value for name, each in collected.tables.get(("shadow", item), {}).items()}
        name = str(given.get("name", ""))
        if not NAME.match(name) or name in names:
            what = f"{name[:60]!r} is given twice" if name in names else f"{name[:60]!r}: a-z, 0-9, _ and -, at most 32"
            _refuse(collected, item, "name", what)
        names.add(name)
        changes = _read_settings(collected, item, _texts(given.get("settings")))
        wanted = _texts(given.get("groups"))
        known = {str(group["name"]) for group in groups}
        for unknown in (each for each in wanted if each not in known):
            _refuse(collected, item, "groups", f"there is no group {unknown[:60]!r}")
        chosen = [group for group in groups if not wanted or group["name"] in wanted]
        shadows.append(
            {
                "name": name,
                "groups": wanted,
                "settings": _texts(given.get("settings")),
                "until": given.get("until", ""),
                "ends": _end_of(collected, item, str(given.get("until", ""))),
                "resolved": [_apply(collected, item, group, changes) for group in chosen],
                "changes": [(field.name, text) for field, text, _ in changes],
            }
        )
    return shadows


def _texts(value: object) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def _read_settings(collected: Collected, item: int, settings: Sequence[str]) -> list[tuple[Field, str, object]]:
    """Return (parameter, text, value) of what a shadow changes."""
    changes: list[tuple[Field, str, object]] = []
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        field = find_field("policy", name)
        if field is None or not equals:
            _refuse(collected, item, "settings", f"{setting[:80]!r} is not `parameter = value` of a group")
        elif field.parameter.kind is Kind.PATH:
            _refuse(collected, item, "settings", f"{field.name}: files have no part in what is decided")
        elif field.name in {each.name for each, _, _ in changes}:
            _refuse(collected, item, "settings", f"{field.name} is given twice")
        else:
            value = collected.read(field, text, _origin(collected, item))
            if field.name in SPAM_ACTIONS and isinstance(value, tuple) and (wrong := find_contradiction(value)):
                _refuse(collected, item, "settings", f"{field.name}: {wrong}")
            if value is not None:
                changes.append((field, text, value))
    return changes


def _apply(collected: Collected, item: int, group: Values, changes: Sequence[tuple[Field, str, object]]) -> Values:
    """Return a group as it would be."""
    new = {field.name: value for field, _, value in changes}
    name = group["name"]
    for switch in LOOKS & new.keys():
        if new[switch] and not group[switch]:
            what = f"{switch}: group {name} does not look at that, so a shadow cannot tell; it may be switched off only"
            _refuse(collected, item, "settings", what)
    active: dict[str, bool] = {}
    for flag, parameters in _FILTERS:
        touched = [each for each in parameters if each in new and new[each] != group[each]]
        if touched and group[flag]:
            what = (
                f"{touched[0]}: group {name} filters already, and what it filters is not scanned; a shadow cannot tell"
            )
            _refuse(collected, item, "settings", what)
        active[flag] = bool(group[flag]) or any(new.get(each) for each in parameters)
    return group | new | active


def _end_of(collected: Collected, item: int, day: str) -> float:
    if not day:
        return 0.0
    try:
        last = dt.date.fromisoformat(day)
        return dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), dt.UTC).timestamp()
    except (ValueError, OverflowError):
        _refuse(collected, item, "until", f"{day[:40]!r} is no day like 2026-12-31")
        return 0.0


def _origin(collected: Collected, item: int) -> Origin:
    return collected.origin_of("shadow", item, "settings")


def _refuse(collected: Collected, item: int, name: str, what: str) -> None:
    collected.note(Severity.ERROR, "shadow", name, what, item=item)
