"""Pages saved as mail (MHT, RFC 2557) that begin further on: behind a header of PDF or of a picture. Pure, linear.

Office looks for their header wherever it stands, so that another file's mark in front of a document with macros hides
it from whoever goes by the first bytes. Called by `kinds` and by the opener of mail.
"""

import re
from typing import Final

SEARCHED: Final = 8 * 1024 * 1024
"""Bytes of the beginning that are looked through."""
HEADERS_LOOKED_AT: Final = 100
HEADER_LIMIT: Final = 4096
"""Bytes in which the header shows what it is, and in which its other fields may stand in front."""
_VERSION: Final = b"mime-version"
_TYPE = re.compile(rb"^content-type[ \t]*+:", re.MULTILINE)
_FIELD = re.compile(rb"[!-9;-~]{1,100}+[ \t]*+:|[ \t]")


def find_page_archive(data: bytes) -> int:
    """Return where the header of a page saved as mail begins in other data, -1 when there is none."""
    low = data[:SEARCHED].lower()
    position = low.find(_VERSION)
    for _ in range(HEADERS_LOOKED_AT):
        if position < 0:
            break
        if low[max(0, position - 1) : position] in {b"", b"\n"}:
            start = _begin(low, position)
            if _TYPE.search(low[start : position + HEADER_LIMIT]):
                return start
        position = low.find(_VERSION, position + 1)
    return -1


def _begin(low: bytes, position: int) -> int:
    """Return where the fields begin among which one stands."""
    for line in reversed(low[max(0, position - HEADER_LIMIT) : position].split(b"\n")[:-1]):
        if not _FIELD.match(line):
            break
        position -= len(line) + 1
    return position
