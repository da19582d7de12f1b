"""OneNote sections ([MS-ONESTORE]): the files embedded in them.

Called by `unpack`. Files are found by the mark in front of each (FileDataStoreObject, 2.6.13), not through the tree of
nodes: a tree that lies hides nothing.
"""

from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.openers.taking import take
from gatepost.antivirus.opening import Member, Opening

ONENOTE_FILE: Final = "application/x-onenote-file"
_MARK: Final = bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac")
_HEAD: Final = 36
"""Mark, eight bytes of length, twelve unused ones."""


def open_onenote(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield every embedded file. OverBudget."""
    position = data.find(_MARK)
    number = 0
    while position >= 0:
        number += 1
        length = int.from_bytes(data[position + 16 : position + 24], "little")
        start = position + _HEAD
        content = data[start : start + length]
        trouble = "" if len(content) == length else "the embedded file is cut off"
        yield take(opening, f"embedded-{number}", content, ONENOTE_FILE, trouble)
        position = data.find(_MARK, position + 16)
