"""Lists of places in a segment, as they lie in the index, and as sets that can be joined. Pure.

A segment numbers its mails from 0; a set of them is an integer whose bit n stands for mail n.
"""

import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import Final

SEGMENT_MAILS: Final = 8192
"""Mails of one segment. Larger ones make searches for what is rare faster (one look for each segment), and need more
memory when they are made: 8,192 mails with some 130,000 terms take 15 MB for a moment.
"""
_SWAP: Final = sys.byteorder == "big"
_BITMAP: Final = 1
_LIST: Final = 0


def pack_places(places: Sequence[int], size: int) -> bytes:
    """Return ascending places of a segment of `size` mails as bytes: a list, or a bitmap where that is shorter."""
    if is_list(len(places), size):
        numbers = array("H", places)
        if _SWAP:
            numbers.byteswap()
        return bytes((_LIST,)) + numbers.tobytes()
    return pack_set(join_places(places), size)


def is_list(count: int, size: int) -> bool:
    """Tell whether so many places of a segment of `size` mails are shorter as a list."""
    return 16 * count <= size or count < 2


def join_places(places: Sequence[int]) -> int:
    """Return a set of ascending places, of which there is one at least."""
    bits = bytearray((places[-1] >> 3) + 1)
    for place in places:
        bits[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(bits, "little")


def pack_set(places: int, size: int) -> bytes:
    """Return a set as a bitmap."""
    return bytes((_BITMAP,)) + places.to_bytes((size + 7) // 8, "little")


def unpack_places(packed: bytes) -> int:
    """Return the set."""
    if packed[0] == _BITMAP:
        return int.from_bytes(packed[1:], "little")
    numbers = array("H")
    numbers.frombytes(packed[1:])
    if _SWAP:
        numbers.byteswap()
    if len(numbers) == 1:
        return 1 << numbers[0]
    return join_places(numbers) if numbers else 0


def places_of(places: int) -> Iterator[int]:
    """Yield the places of a set, the last first."""
    while places:
        last = places.bit_length() - 1
        yield last
        places ^= 1 << last
