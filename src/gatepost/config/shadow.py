"""Shadows: settings of groups that are tried on live mail without effect, `[[shadow]]`.

Struct fields are the parameters (see `gatepost.config.parameter`); `config.shadow_groups` resolves them.
"""

import re
from typing import Annotated, Final

import msgspec

from gatepost.config.grouping import Group
from gatepost.config.parameter import OWN, Item, Required, listing, text

SHADOWS_LIMIT: Final = 16
"""Shadows in one configuration: each costs every mail of its groups one more judgement."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of groups that are tried on live mail, without effect: what would they have changed?"""

    name: Annotated[
        str, text("", "name in records and counters: a-z, 0-9, _, -", required=Required.ALWAYS, generations=OWN)
    ] = ""
    groups: Annotated[
        tuple[str, ...],
        listing("", Item.TEXT, "names of the groups it is for; none = all, the policy included", generations=OWN),
    ] = ()
    settings: Annotated[
        tuple[str, ...],
        listing(
            "",
            Item.TEXT,
            "what it changes: `parameter = value` of a group, lists with commas",
            required=Required.ALWAYS,
            generations=OWN,
        ),
    ] = ()
    until: Annotated[str, text("", "last day, as 2026-12-31; empty = as long as it stands here", generations=OWN)] = ""
    ends: float = 0.0
    """Unix time of the end of that day, 0 = none."""
    resolved: tuple[Group, ...] = ()
    """The groups as they would be."""
    changes: tuple[tuple[str, str], ...] = ()
    """(parameter, value as it was written)."""
