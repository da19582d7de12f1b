"""The section of profiles and rules: `[profiles]`, whether a rule set is in force and where it is kept.

Struct fields are the parameters (see `gatepost.config.parameter`); the set itself is read by `config.profiles_files`.
"""

from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, Guard, flag
from gatepost.config.parameter import path as path_parameter


class Profiles(msgspec.Struct, frozen=True, kw_only=True):
    """Profiles and rules: an ordered rule set that acts on mail after its group's verdict."""

    enabled: Annotated[bool, flag("", "have the rule set act on mail", generations=OWN)] = False
    path: Annotated[
        str,
        path_parameter(
            "",
            "directory of the rule set; while it does not exist the shipped set is in force",
            derived="{state}/rules",
            guard=Guard.STATE,
            generations=OWN,
        ),
    ] = ""
