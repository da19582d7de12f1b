"""XML that stands by itself: Office documents saved as one XML file, pages and pictures written in it.

Called by `unpack`. Embedded files are decoded, fields and formulas that start programs are shown, scripts go the way of
web pages. Files that define entities of their own are not read further by Office and said so.
"""

import re
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.long_base64 import SHORTEST
from gatepost.antivirus.openers.disguises import decode_base64
from gatepost.antivirus.openers.fields import OFFICE_FIELD
from gatepost.antivirus.openers.html import open_page
from gatepost.antivirus.openers.ooxml import read_open_document
from gatepost.antivirus.openers.taking import take, take_text
from gatepost.antivirus.openers.texts import open_blobs_outside
from gatepost.antivirus.openers.xmltext import attributes, find_fields, to_utf8, unescape
from gatepost.antivirus.opening import Member, Opening

_BINARY = re.compile(
    rb"<(?:[\w.-]{1,40}:)?(?:binData|binaryData|docOleData|docSuppData)\b(?P<inside>[^<>]{0,4096})>(?P<text>[A-Za-z0-9+/=\s]{16,})"
)
_DDE_FORMULA = re.compile(rb"Formula\s*=\s*(?:\"(=[^\"|]*\|[^\"]*)\"|'(=[^'|]*\|[^']*)')")
HEAD: Final = 8192
"""Name spaces of the root element are declared there."""
OBJECTS_LIMIT: Final = 1000


def open_xml(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield embedded files, fields and scripts. OverBudget."""
    text = to_utf8(data)
    fields = find_fields(text)
    if b"Formula" in text:
        fields += [unescape(found[1] or found[2]) for found in _DDE_FORMULA.finditer(text)]
    if fields:
        yield take_text(opening, f"{name} fields", "\n".join(fields), OFFICE_FIELD)
    if b"opendocument" in text[:HEAD]:
        yield from read_open_document(name, text, opening)
    binary = False
    if b"Data" in text:
        for count, found in enumerate(_BINARY.finditer(text), 1):
            if count > OBJECTS_LIMIT:
                yield Member("", trouble=f"more than {OBJECTS_LIMIT} objects in one XML file")
                break
            binary = True
            label = attributes(found["inside"]).get("name", "") or f"object-{count}"
            yield take(opening, label, decode_base64(found["text"]))
    if not binary:
        yield from open_blobs_outside(text, name or "file", opening, SHORTEST)
    yield from open_page(text, name, opening)
