"""The order of an emergency bypass: what the master keeps in one file of the state directory and sends to the relays.

Used by `master.emergency`, which gives orders, and `relay.bypass`, which carries them out.
"""

from pathlib import Path
from typing import Final

import msgspec

from gatepost.model.envelope import Direction

BYPASS_FILE: Final = "bypass.json"
MINUTES_LIMIT: Final = 240
"""Longest bypass: whoever needs more says so again, and why."""
REASON_LIMIT: Final = 200
"""Characters of a reason."""


class Order(msgspec.Struct, frozen=True):
    """A bypass that somebody has ordered."""

    since: float
    """Unix time."""
    until: float
    """Unix time at which it ends, whatever the running time says ..."""
    left_s: float
    """... and running time that is left, whatever the wall clock says."""
    reason: str
    by: str
    groups: tuple[str, ...] = ()
    """Names; () = all."""
    directions: tuple[Direction, ...] = ()
    """() = all."""

    def describe(self) -> str:
        """Return who has ordered it and why, in one line."""
        return f"emergency bypass by {self.by}: {self.reason}"


def read_order(state_path: str) -> Order | None:
    """Return the order that is kept, None when there is none, or none that can be read: then mail is scanned."""
    try:
        return msgspec.json.decode((Path(state_path) / BYPASS_FILE).read_bytes(), type=Order)
    except (OSError, msgspec.MsgspecError):
        return None
