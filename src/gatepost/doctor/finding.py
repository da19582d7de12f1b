"""What a check of the gateway's health says: one finding each, in three states.

Made by the modules beside this one; shown by `gatepost doctor`, watched and mailed by `master.problems`.
"""

import enum
from collections.abc import Iterable

import msgspec


class State(enum.StrEnum):
    """How something is."""

    OK = "ok"
    WARNING = "warning"
    """Mail goes on; look at it in the next days."""
    ERROR = "error"
    """Mail waits, is refused or unchecked, or soon will be."""


SEVERITY = {State.OK: 0, State.WARNING: 1, State.ERROR: 2}
"""Also the exit status of `gatepost doctor`."""


class Finding(msgspec.Struct, frozen=True):
    """One of them."""

    key: str
    """What it is about, the same in every run: `disk:/var/spool`."""
    area: str
    state: State
    text: str
    """What was found; strangers' text in it is not cleaned."""
    mend: str = ""
    """What to do about it; "" when nothing need be done."""


def worst(findings: Iterable[Finding]) -> State:
    """Return the worst state among findings."""
    return max((finding.state for finding in findings), key=SEVERITY.__getitem__, default=State.OK)
