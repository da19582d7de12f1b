"""How the bytes of an input arrive: whole, in some pieces or in single bytes, as one byte of the input says."""

from collections.abc import Iterator
from typing import Final

WHOLE: Final = 64
"""Seeds below this one cut nothing."""
EQUAL: Final = 248
"""Seeds from this one on cut into pieces of one to eight bytes: dear, so they are few."""
LONG: Final = 1500
"""Bytes of a stream that is not cut so small, whatever the seed."""


def cut(stream: bytes, seed: int) -> Iterator[bytes]:
    """Yield the pieces of `stream`: for most seeds three or four of random sizes."""
    if not stream:
        return
    length = len(stream)
    if seed < WHOLE:
        yield stream
        return
    if seed >= EQUAL and length <= LONG:
        size = seed - EQUAL + 1
        for start in range(0, length, size):
            yield stream[start : start + size]
        return
    largest = length // 2 + 2
    position = 0
    while position < length:
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        end = position + 1 + (seed >> 12) % largest
        yield stream[position:end]
        position = end
