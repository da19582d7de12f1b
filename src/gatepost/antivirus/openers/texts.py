"""Files that stand in base64 in texts: in scripts and pages, and in texts that carry them for others (JSON, LDIF, YAML,
PEM, notes).

Called by `unpack`, `html` and `xml`. What decodes to a file of a known kind is a member; keys, digests and pictures are
none. Nothing is raised but `OverBudget`.
"""

import html
import re
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import detect_kind
from gatepost.antivirus.long_base64 import find_long_base64, plain_text
from gatepost.antivirus.openers.disguises import UNTOLD, decode_base64, is_telling
from gatepost.antivirus.openers.scripts import BLOBS_LIMIT, find_blobs, find_pieces, is_text
from gatepost.antivirus.openers.taking import take
from gatepost.antivirus.openers.xmltext import to_utf8
from gatepost.antivirus.opening import Member, Opening

_REFERENCES = re.compile(rb"(?:&#[xX]?[0-9a-fA-F]{1,6};){64,}+")
"""A text that is written in character references throughout."""
_TAIL = re.compile(rb"\n(?=\x1f\x8b\x08|BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|\x7fELF)")
"""What scripts that unpack themselves have behind their last line."""
IN_PAGES: Final = 400
LONG: Final = 300
"""Bytes of a file that may be of any known kind: shorter ones are told by marks that are no chance."""
OBJECTS_LIMIT: Final = 500
"""Files in the text of one object that become members."""


def open_script(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the files and texts that a script carries. Keys, digests and pictures in it are none. OverBudget."""
    stem = name or "script"
    tail = _TAIL.search(data)
    if tail is not None:
        yield take(opening, f"{stem} tail", data[tail.end() :])
    text = to_utf8(data)
    if b"\0" in text[:64]:  # 16-bit units without a mark
        text = text.replace(b"\0", b"")
    shown = 0
    for content in find_blobs(text, opening.budget):
        if detect_kind(content) is None and not is_text(content):
            continue
        shown += 1
        if shown > BLOBS_LIMIT:
            yield Member("", trouble=f"more than {BLOBS_LIMIT} files in one script")
            return
        yield take(opening, f"{stem} blob {shown}", content)
    yield from _open_long(text, stem, opening)


def open_text(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the files in base64 in a text that is a file. OverBudget."""
    return _open_long(plain_text(data), name or "text", opening)


def open_blobs_outside(text: bytes, stem: str, opening: Opening, shortest: int = IN_PAGES) -> Iterator[Member]:
    """Yield what long base64 in a page outside of its scripts decodes to, when it is a file of a known kind.
    `shortest`: characters of what is looked at; scripts have theirs looked at by themselves.
    """
    contents = (each for each in _decode_outside(text, shortest) if len(each) >= LONG or is_telling(each))
    return _take_files((each for each in contents if detect_kind(each) is not None), stem, opening)


def _open_long(text: bytes, stem: str, opening: Opening) -> Iterator[Member]:
    contents = (decode_base64(found[0]) for found in find_long_base64(text))
    return _take_files((each for each in contents if is_telling(each)), stem, opening)


def _take_files(contents: Iterator[bytes], stem: str, opening: Opening) -> Iterator[Member]:
    shown = 0
    for content in contents:
        if detect_kind(content) in UNTOLD:
            continue
        shown += 1
        if shown > OBJECTS_LIMIT:
            yield Member("", trouble=f"more than {OBJECTS_LIMIT} files in the text of one object")
            return
        yield take(opening, f"{stem} hidden {shown}", content)


def _decode_outside(text: bytes, shortest: int) -> Iterator[bytes]:
    """Yield what base64 in a page is decoded to, where it is long or in pieces; in its character references, too."""
    referring = b""
    if b"&#" in text:
        referring = b"".join(b'"%b"' % _resolve(found[0]) for found in _REFERENCES.finditer(text))
    for each in (text, referring):
        for found in find_long_base64(each):
            known = each[max(0, found.start() - 7) : found.start()].lower() == b"base64,"
            if not known and len(found[0]) >= shortest:
                yield decode_base64(found[0])
        yield from find_pieces(each)


def _resolve(references: bytes) -> bytes:
    return html.unescape(references.decode("ascii")).encode("utf-8", "replace")
