"""Carriage returns alone, which some readers take for line ends and others do not: what a message is to the former.

Called by the anti-virus stage and its opener of mail files. Pure, linear.
"""

import re

from gatepost.mime.part import Defect, Message

_ALONE = re.compile(rb"\r(?!\n)")


def end_lines(content: bytes) -> bytes:
    """Return content with a line feed in the place of each carriage return that stands alone: nothing moves."""
    return _ALONE.sub(b"\n", content)


def read_returns(message: Message) -> bytes | None:
    """Return a message as readers have it that end lines at a carriage return alone; None where that changes nothing
    about its structure: none stands in its header, and its parts are found without.
    """
    content, root = message.content, message.root
    if content.count(b"\r", root.start, root.body) != content.count(b"\r\n", root.start, root.body):
        return end_lines(content)
    hidden = Defect.BOUNDARY_WRONG in root.defects or Defect.BOUNDARY_MISSING in root.defects
    return end_lines(content) if hidden and _ALONE.search(content, root.body) is not None else None
