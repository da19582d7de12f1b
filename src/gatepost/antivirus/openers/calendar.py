"""Calendars and contacts (iCalendar, vCard): files attached to them in their own text.

Called by `unpack`. Content lines of both are the same (RFC 5545 §3.1, RFC 6350 §3.2; vCard 2.1 folds base64 without a
mark): a name, parameters, a value. Values in base64 and `data:` addresses become members. Nothing is raised but
`OverBudget`.
"""

import re
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import detect_kind
from gatepost.antivirus.openers.disguises import UNTOLD, decode_base64
from gatepost.antivirus.openers.html import open_addresses
from gatepost.antivirus.openers.taking import take
from gatepost.antivirus.opening import Member, Opening

_FOLD = re.compile(rb"\r?\n[ \t]")
_VALUE = re.compile(
    rb"^(?P<head>[A-Za-z0-9.-]{1,60}(?:;[^:;\r\n\"]{0,200}+(?:\"[^\"\r\n]{0,200}\")?+){0,20});?(?:ENCODING=)?(?:BASE64|B)(?P<more>;[^:\r\n]{0,400})?:"
    rb"(?P<text>[A-Za-z0-9+/=\s]{16,}?)(?=\r?\n(?:\r?\n|[A-Za-z0-9.-]{1,60}[;:])|\Z)",
    re.IGNORECASE | re.MULTILINE,
)
_NAME = re.compile(rb"FILENAME=(?:\"([^\"\r\n]{1,255})\"|([^;:\r\n\"]{1,255}))", re.IGNORECASE)
OBJECTS_LIMIT: Final = 1_000
"""Values of one file that become members: an address book has a picture for each person, and pictures are none."""


def open_calendar(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield what values in base64 and `data:` addresses decode to; pictures are left out. OverBudget."""
    text = _FOLD.sub(b"", data)
    shown = 0
    for found in _VALUE.finditer(text):
        content = decode_base64(found["text"])
        if detect_kind(content) in UNTOLD:
            continue
        shown += 1
        if shown > OBJECTS_LIMIT:
            yield Member("", trouble=f"more than {OBJECTS_LIMIT} files in one calendar or address book")
            return
        label = _NAME.search(found["head"] + (found["more"] or b""))
        called = (label[1] or label[2]).decode("utf-8", "replace") if label is not None else f"attachment {shown}"
        yield take(opening, called, content)
    if b"data:" in text.lower():
        yield from open_addresses(text, name or "calendar", opening)
