"""Actions on the mail of a spam status: which may stand together. Pure. Asked by `config.consistency`."""

from collections.abc import Sequence
from typing import Final

PASS: Final = "pass"
MARK: Final = "mark"
KEYWORDS: Final = "keywords"
BLOCK: Final = "block"
REJECT: Final = "reject"
DELETE: Final = "delete"
QUARANTINE: Final = "quarantine"
COPY: Final = "copyto:"
REDIRECT: Final = "redirect:"
"""Followed by an address."""

PLAIN: Final = (PASS, MARK, KEYWORDS, BLOCK, REJECT, DELETE, QUARANTINE)
WITH_ADDRESS: Final = (COPY, REDIRECT)

_ENDS: Final = (BLOCK, REJECT, DELETE, REDIRECT)
"""What becomes of the message itself: one of them, or it is delivered."""
_UNDELIVERED: Final = (BLOCK, REJECT, DELETE)


def find_contradiction(actions: Sequence[str]) -> str:
    """Return in words why these cannot all be done, "" when they can."""
    words = {next((word for word in WITH_ADDRESS if action.startswith(word)), action) for action in actions}
    ends = [word for word in _ENDS if word in words]
    if len(ends) > 1:
        return f"{' and '.join(end.rstrip(':') for end in ends)} exclude each other"
    if PASS in words and ends:
        return f"pass and {ends[0].rstrip(':')} exclude each other"
    if PASS in words and (MARK in words or KEYWORDS in words):
        return "pass delivers the message as it is, mark and keywords change it"
    if ends and ends[0] in _UNDELIVERED and (MARK in words or KEYWORDS in words) and COPY not in words:
        return f"{ends[0]} delivers nothing that could be marked"
    if REJECT in words and COPY in words:
        return "what is rejected is not ours to copy: to keep it, add quarantine, or use block"
    if DELETE in words and (QUARANTINE in words or COPY in words):
        return "delete leaves nothing: to keep the message and tell nobody, use block"
    return ""
