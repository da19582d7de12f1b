"""Who judges: the one question all doors and clients of the filtering server ask.

Two answer it: `service.desk_judge` in a relay, with the filters and the policy of the gateway, and `client.remote`,
which passes it on to such a server over the internal protocol. Doors know no difference.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec

from gatepost.config.doors import Door
from gatepost.model.filtering import Request, Ruling


class Unjudged(Exception):  # noqa: N818 - a state, not a failure of the message
    """The message could not be judged now. The text says why; the asker does what its `on_error` says."""


class Judge(Protocol):
    """Judges messages of other mail systems."""

    async def judge(self, request: Request, content: bytes | Path, deadline_s: float) -> Ruling:
        """Return what is to be done with a message. `content`: its bytes with CRLF line ends, or the file with them,
        which may be removed after the return.

        Unjudged: not in time, no filter, the server away. A message that was not scanned is never DELIVER as clean.
        """


class Context(msgspec.Struct, frozen=True):
    """What a door is made with: `make(context) -> Serve` of `service.<kind>_door`."""

    door: Door
    judge: Judge
    hostname: str
    report: Callable[[str, str], None]
    """Writes to the log: level, text."""
    learn: Callable[[bytes, bool | None], Awaitable[str]] | None = None
    """Teach: (message, spam or not; None: forget it) -> "" or why not. None: this server does not learn."""
    delivered: Path | None = None
    """Directory of `service.proxy_memory`, shared by all who serve the door; None: among the temporary files."""
    version: Callable[[], str] | None = None
    """Says what answers depend on besides the message: it changes with databases and settings."""
