"""Bounds of what a filter may show of a message: `check_preview`. Used by `filter.dialogue`, whose promise it shares.

The numbers are those of `filter.preview`, written down again: the side that checks must not load what reads mail.
"""

from gatepost.filter.hostile import HostileAnswer
from gatepost.model.preview import Preview

FIELDS_LIMIT = 200
PARTS_LIMIT = 300
LINKS_LIMIT = 4_000
"""Of twenty pages in one message."""
WORD_LIMIT = 200
VALUE_LIMIT = 2_000
HTML_LIMIT = 12 * 1024 * 1024
"""Characters: what HTML grows to when all of it has to be escaped, and the pictures."""
TEXT_LIMIT = 256 * 1024


def check_preview(preview: Preview) -> None:
    """Raise HostileAnswer unless every text and number is within its bounds."""
    if len(preview.fields) > FIELDS_LIMIT or len(preview.parts) > PARTS_LIMIT or len(preview.links) > LINKS_LIMIT:
        raise HostileAnswer("more is shown of a message than is ever shown")
    if any(len(name) > WORD_LIMIT or len(value) > VALUE_LIMIT for name, value in preview.fields):
        raise HostileAnswer("header field over its limits")
    for part in preview.parts:
        if max(len(part.name), len(part.content_type), len(part.found)) > WORD_LIMIT or part.size < 0:
            raise HostileAnswer("part over its limits")
    if any(len(link) > VALUE_LIMIT for link in preview.links) or preview.remote < 0:
        raise HostileAnswer("links over their limits")
    if len(preview.html) > HTML_LIMIT or max(len(preview.text), len(preview.source)) > TEXT_LIMIT:
        raise HostileAnswer("text of a preview over its limit")
    if len(preview.trouble) > VALUE_LIMIT:
        raise HostileAnswer("trouble of a preview over its limit")
