"""Files in the envelopes of Apple's systems: AppleSingle, AppleDouble (RFC 1740) and MacBinary.

Called by `unpack`. Mail programs there write the file inside to disk as the attachment. Data fork and resource fork
are members. Nothing is raised but `OverBudget`.
"""

from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.mac_binary import HEADER, read_lengths
from gatepost.antivirus.openers.taking import take
from gatepost.antivirus.opening import Member, Opening

APPLE_MARKS: Final = (b"\0\x05\x16\0\0", b"\0\x05\x16\x07\0")
_HEADER: Final = 26
_ENTRY: Final = 12
ENTRIES: Final = 64
"""Entries of one file; sixteen kinds are defined."""
_DATA, _RESOURCES, _NAME = 1, 2, 3


def open_apple(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the forks of the file. OverBudget."""
    if data.startswith(APPLE_MARKS):
        yield from _open_single(data, name, opening)
        return
    length, resources = read_lengths(data)
    called = data[2 : 2 + data[1]].decode("mac-roman")
    yield take(opening, called, data[HEADER : HEADER + length])
    if resources:
        start = HEADER + length + -length % HEADER
        yield take(opening, f"{called} resources", data[start : start + resources])


def _open_single(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    count = int.from_bytes(data[24:26], "big")
    entries = [data[at : at + _ENTRY] for at in range(_HEADER, _HEADER + _ENTRY * min(count, ENTRIES), _ENTRY)]
    places = [(_number(entry, 0), _number(entry, 4), _number(entry, 8)) for entry in entries if len(entry) == _ENTRY]
    called = next(
        (data[start : start + size].decode("utf-8", "replace") for kind, start, size in places if kind == _NAME), name
    )
    for kind, start, size in places:
        if kind in (_DATA, _RESOURCES) and size:
            trouble = "" if start + size <= len(data) else "an AppleSingle file that is cut off"
            label = called if kind == _DATA else f"{called} resources"
            yield take(opening, label, data[start : start + size], trouble=trouble)
    if count > ENTRIES or len(places) < min(count, ENTRIES):
        yield Member("", trouble="an AppleSingle file with a damaged table of entries")


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
