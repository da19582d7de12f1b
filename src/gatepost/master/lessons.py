"""Calls on what anti-spam has learned: how much, the latest lessons, and taking back what somebody taught.

Registered with the calls on kept mail (`master.kept_content`). The learner's other calls (`learning`) name files or
forget everything: they are made at the command line only.
"""

import time
from typing import Any, Final

from gatepost.control.desk import Arguments, Desk, Refused
from gatepost.control.rights import Caller, Right
from gatepost.master.learning import Learning

RECENT_LIMIT: Final = 200
HOURS_LIMIT: Final = 24.0 * 3660


def register_lessons(desk: Desk, learning: Learning) -> None:
    """Register the calls at the desk."""

    async def ask(arguments: Arguments, caller: Caller) -> Any:
        if caller.via != "cli":
            raise Refused("files are named, and everything is forgotten, at the command line only")
        return await learning.ask(arguments)

    async def status(_: Arguments, __: Caller) -> Any:
        """Return how much was learned, and by whom."""
        return await learning.ask({"call": "status"})

    async def recent(arguments: Arguments, _: Caller) -> Any:
        """Return the latest lessons (`limit`), the newest first."""
        limit = min(max(int(arguments.get("limit", 50)), 1), RECENT_LIMIT)
        return await learning.ask({"call": "recent", "limit": limit})

    async def undo(arguments: Arguments, _: Caller) -> Any:
        """Take back what `who` taught in the last `hours`; return how many lessons that were."""
        hours = min(max(float(arguments["hours"]), 0.0), HOURS_LIMIT)
        return await learning.ask({"call": "undo", "who": str(arguments["who"]), "since": time.time() - hours * 3600})

    desk.add("learning", Right.LEARN, ask, audited=True)
    desk.add("learning.status", Right.LEARN, status)
    desk.add("learning.recent", Right.LEARN, recent)
    desk.add("learning.undo", Right.LEARN, undo, audited=True)
