"""What all openers of documents do with what they find: count it, bound it, name it.

Called by the openers of documents and mail. `take` is the only place where they make a member with data, so nothing
leaves them that the message's budget has not paid for.
"""

import re
from typing import Final

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.opening import Member, Opening

NAME_LIMIT: Final = 255
TEXT_LIMIT: Final = 1024 * 1024
"""Characters of one text made of what a document does (fields, actions): what is beyond is no longer looked at."""
_UNWANTED = re.compile(r"[\x00-\x1f\x7f]")


def take(opening: Opening, name: str, data: bytes, content_type: str = "", trouble: str = "") -> Member:
    """Return a member, paid for. OverBudget."""
    pay(opening.budget, len(data))
    return Member(clean_name(name), data, trouble=trouble, content_type=content_type)


def take_text(opening: Opening, name: str, text: str, content_type: str) -> Member:
    """Return a text as a member: what a document would do, in words that rules can look at. Its name is none of a file,
    so that no filter by name takes it for one. OverBudget.
    """
    trouble = f"more than {TEXT_LIMIT} characters of it" if len(text) > TEXT_LIMIT else ""
    return take(opening, name, text[:TEXT_LIMIT].encode("utf-8", "replace"), content_type, trouble)


def pay(budget: Budget, size: int) -> None:
    """Count one member of so many bytes that exist already. OverBudget."""
    budget.take_member()
    if size > budget.allowance(size):
        raise budget.refuse(size)
    budget.take_bytes(size)


def clean_name(name: str) -> str:
    """Return a file name without path and without control characters, cut to what is shown of it."""
    return _UNWANTED.sub("?", name.replace("\\", "/").rstrip("/").rpartition("/")[2])[-NAME_LIMIT:]
