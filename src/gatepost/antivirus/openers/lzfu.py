"""Compressed RTF of Outlook ([MS-OXRTFCP]), as it stands in TNEF files and Outlook messages.

Called by `tnef` and `msg`. Checksums are not looked at: readers differ in whether they do.
"""

import struct
from typing import Final

from gatepost.antivirus.budget import Budget, Damaged

_HEADER = struct.Struct("<4L")
_COMPRESSED: Final = 0x75465A4C
_UNCOMPRESSED: Final = 0x414C454D
_WINDOW: Final = 4096
_START: Final = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript "
    b"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n"
    b"\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
"""What the dictionary holds at the beginning ([MS-OXRTFCP] 2.1.2.1)."""


def decompress_rtf(raw: bytes, budget: Budget) -> bytes:
    """Return the RTF text, as far as the data goes. Damaged: it is no such data; OverBudget."""
    if len(raw) < _HEADER.size:
        raise Damaged("compressed RTF is cut off")
    _, size, form, _ = _HEADER.unpack_from(raw)
    if form == _UNCOMPRESSED:
        return raw[_HEADER.size : _HEADER.size + size]
    if form != _COMPRESSED:
        raise Damaged("compressed RTF of no known form")
    allowed = budget.allowance(len(raw))
    out = bytearray(_START)
    position, end = _HEADER.size, len(raw)
    limit = len(_START) + allowed
    while position < end:
        control = raw[position]
        position += 1
        for _ in range(8):
            if position >= end:
                break
            if not control & 1:
                out.append(raw[position])
                position += 1
            elif not _copy(out, raw[position : position + 2]):
                return bytes(out[len(_START) :])
            else:
                position += 2
            control >>= 1
        if len(out) > limit:
            raise budget.refuse(len(raw))
    return bytes(out[len(_START) :])


def _copy(out: bytearray, token: bytes) -> bool:
    """Append what a reference into the window points to; False for the one that ends the text."""
    if len(token) < 2:
        return False
    number = token[0] << 8 | token[1]
    offset, length = number >> 4, (number & 0xF) + 2
    written = len(out) % _WINDOW
    back = (written - offset) % _WINDOW
    if back == 0:
        return False
    start = len(out) - back
    for place in range(start, start + length):
        out.append(out[place] if place >= 0 else 0x20)
    return True
