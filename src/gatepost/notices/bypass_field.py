"""The field that marks mail which nobody has looked at, because the emergency bypass was on. Pure.

Called by `relay.editing`. It stands in front of whatever a message brings under that name: who reads from the top
reads ours first, and one that a sender has written only speaks against his mail.
"""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

import gatepost
from gatepost.notices.facts import PRODUCT

NAME: Final = "X-Not-Scanned"


def build_bypass_field(now: float) -> bytes:
    """Return the field with its CRLF; `now` in Unix time."""
    date = format_datetime(datetime.fromtimestamp(now, UTC))
    return f"{NAME}: {PRODUCT} {gatepost.__version__}; emergency bypass; {date}\r\n".encode("ascii")
