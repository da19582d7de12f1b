"""ActiveMime: the compound file with the macros of a document saved as web page or XML, deflated behind a header.

Called by `unpack`. The header's length is stated in it, and not to be trusted: the deflated data is looked for.
"""

import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Damaged, inflate
from gatepost.antivirus.opening import Member, Opening

_USUAL: Final = 0x32
_SEARCH: Final = 1024
"""Where the data can begin."""


def open_active_mime(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the compound file. OverBudget."""
    stated = int.from_bytes(data[0x1E:0x20], "little") + 46
    places = dict.fromkeys((stated, _USUAL, *(place for place in range(_SEARCH) if data[place : place + 1] == b"\x78")))
    for place in places:
        if data[place : place + 1] != b"\x78":
            continue
        opening.budget.take_member()
        try:
            content, _, ended = inflate(memoryview(data)[place:], zlib.MAX_WBITS, opening.budget)
        except Damaged:
            continue
        if content:
            yield Member("editdata", content, trouble="" if ended else "the packed macros are damaged or cut off")
            return
    yield Member("", trouble="packed macros that cannot be read")
