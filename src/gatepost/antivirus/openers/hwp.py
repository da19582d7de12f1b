"""Documents of Hancom's word processor (HWP 5): embedded files and scripts, which are packed in streams.

Called by `ole`: the file is a compound file, and its streams are members already; here they are unpacked. "HWP Document
File Formats 5.0", §3. Nothing is raised but `OverBudget`.
"""

import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Damaged, inflate
from gatepost.antivirus.openers.taking import clean_name
from gatepost.antivirus.opening import Member, Opening

HEADER: Final = "fileheader"
"""Name of the stream that tells such a document, in lower case."""
_MARK: Final = b"HWP Document File"
_PROPERTIES: Final = 36
_ENCRYPTED: Final = 0x02
_HOLDERS: Final = frozenset({"bindata", "scripts"})
_COMPOUND: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def is_hwp(header: bytes) -> bool:
    """Whether the stream `HEADER` is that of such a document."""
    return header.startswith(_MARK)


def is_locked(header: bytes) -> bool:
    """Whether a password keeps the document shut."""
    return bool(int.from_bytes(header[_PROPERTIES : _PROPERTIES + 4], "little") & _ENCRYPTED)


def open_packed_stream(path: tuple[str, ...], content: bytes, opening: Opening) -> Iterator[Member]:
    """Yield what a stream of files or scripts holds, if it is packed: each may be or not. OverBudget."""
    if len(path) < 2 or path[0].lower() not in _HOLDERS:
        return
    opening.budget.take_member()
    try:
        plain, _, ended = inflate(memoryview(content), -zlib.MAX_WBITS, opening.budget)
    except Damaged:
        return
    if plain[4:].startswith(_COMPOUND):  # its length stands in front
        plain = plain[4:]
    yield Member(clean_name(path[-1]), plain, trouble="" if ended else "an embedded file is damaged or cut off")
