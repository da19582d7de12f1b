"""Pages saved as mail (MHT, RFC 2557) that begin further on: behind a header of PDF or of a picture. Pure, linear.

Office looks for their header wherever it stands, so that another file's mark in front of a document with macros hides
it from whoever goes by the first bytes. Called by `kinds` and by the opener of mail.
"""

import re
from collections.abc import Iterator
from typing import Final

SEARCHED: Final = 8 * 1024 * 1024
"""Bytes of the beginning that are looked through."""
HEADER_LIMIT: Final = 4096
"""Bytes behind its version in which the header shows what it is."""
_VERSION: Final = b"\nmime-version"
_TYPE = re.compile(rb"^content-type[ \t]*+:", re.MULTILINE)
_FIELD = re.compile(rb"[!-9;-~]{1,100}+[ \t]*+:|[ \t]")


def find_page_archive(data: bytes) -> int:
    """Return where the header of a page saved as mail begins in other data, -1 when there is none."""
    low = data[:SEARCHED].lower()
    start = before = content_type = -1
    for position in _find_versions(low):
        start = _begin(low, position, before, start)
        before = position
        if content_type < start:
            found = _TYPE.search(low, start)
            if found is None:
                return -1
            content_type = found.start()
        if content_type < before + HEADER_LIMIT:
            return start
    return -1


def _find_versions(low: bytes) -> Iterator[int]:
    """Yield where lines begin with it."""
    if low.startswith(_VERSION[1:]):
        yield 0
    position = low.find(_VERSION)
    while position >= 0:
        yield position + 1
        position = low.find(_VERSION, position + 1)


def _begin(low: bytes, position: int, before: int, start: int) -> int:
    """Return where the fields begin among which one stands; those of the one `before` it begin at `start`.

    No line is looked at twice, however many headers somebody has put in front of the real one.
    """
    while position > 0:
        if position == before:
            return start
        line = low.rfind(b"\n", 0, position - 1) + 1
        if not _FIELD.match(low, line, position):
            break
        position = line
    return position
