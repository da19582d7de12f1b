"""The scan-information field (row F-AV-22): what it says, and how fields of that name from elsewhere are renamed. Pure.

Called by `relay.editing` for groups with AddXHeaders. Only a field of ours may look like ours, so whatever a message
brings under that name goes on under another; its bytes stay as they were otherwise.
"""

import re
import time
from typing import Final

import msgspec

import gatepost
from gatepost.model.finding import SEVERITY
from gatepost.model.verdict import Splice, Verdict
from gatepost.notices.facts import PRODUCT

NAME: Final = "X-Anti-Virus"
RENAMING: Final = b"X-Foreign-"
"""Put in front of the name of a field that is not ours."""
NOT_CHECKED: Final = "not_checked"

_LOWER_NAME: Final = NAME.lower().encode()
_FOREIGN = re.compile(rb"^" + NAME.encode() + rb"[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Bases(msgspec.Struct, frozen=True):
    """The databases in use, as texts name them."""

    issued: str = ""
    """Day of the newest, as 2026-01-31; "" when there are none."""
    records: int = 0
    """Records of all of them."""


NO_BASES: Final = Bases()


def build_scan_field(bases: Bases, verdict: Verdict, now: float) -> bytes:
    """Return the field with its CRLF. Behind the status a comment names encryption that kept something from being
    scanned.
    """
    status = next((each.value for each in SEVERITY if each in verdict.statuses), NOT_CHECKED)
    if verdict.encrypted:
        status += f" (encrypted: {', '.join(verdict.encrypted)})"
    issued = bases.issued.replace("-", "") or "00000000"
    day = time.strftime("%Y%m%d", time.localtime(now))
    product = f"{PRODUCT} {gatepost.__version__}"
    return f"{NAME}: {product}, bases: {issued} #{bases.records}, check: {day} {status}\r\n".encode("ascii")


def has_foreign_field(content: bytes) -> bool:
    """Tell whether the header of a message has a field of that name."""
    end = header_end(content)
    return _LOWER_NAME in content[:end].lower() and _FOREIGN.search(content, 0, end) is not None


def rename_foreign_fields(content: bytes) -> list[Splice]:
    """Return what renames every field of that name in the header of a message."""
    end = header_end(content)
    if _LOWER_NAME not in content[:end].lower():
        return []
    return [Splice(found.start(), found.start(), RENAMING) for found in _FOREIGN.finditer(content, 0, end)]


def header_end(content: bytes) -> int:
    """Return where the header ends: at its first empty line, whatever the line ends."""
    if content.startswith((b"\r\n", b"\n")):
        return 0
    end = content.find(b"\n\r\n")
    bare = content.find(b"\n\n", 0, end if end >= 0 else len(content))
    return (bare if bare >= 0 else end if end >= 0 else len(content) - 1) + 1
