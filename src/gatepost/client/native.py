"""A message as local programs keep it, with bare line feeds: its form for the judge, and edits made on the one kept.

Used by client programs that are handed files (`client.qmail`, `client.cgpro`). Pure. Promises: bytes that no edit
touches stay as they are, whatever line ends they have; memory does not grow with the message where it is a mapped file.
"""

import mmap
import re
from collections.abc import Iterator, Sequence
from typing import Final

from gatepost.model.verdict import Splice

PIECE_BYTES: Final = 256 * 1024
_BARE: Final = re.compile(rb"(?<!\r)\n")

Raw = bytes | mmap.mmap
"""A message in memory, or its file."""


def build_wire(raw: Raw, start: int = 0) -> Iterator[bytes]:
    """Yield the message, which begins at `start`, with CRLF line ends; a bare CR stays one."""
    after_cr = False
    for at in range(start, len(raw), PIECE_BYTES):
        piece = raw[at : at + PIECE_BYTES]
        if after_cr and piece[:1] == b"\n":  # its CR ended the piece before
            yield b"\n"
            piece = piece[1:]
        after_cr = piece[-1:] == b"\r" if piece else False
        yield _BARE.sub(b"\r\n", piece)


def edit_native(raw: Raw, prefix: bytes, splices: Sequence[Splice], start: int = 0) -> Iterator[bytes]:
    """Yield the message, which begins at `start`, with `prefix` in front and `splices` made.

    Splices count in its form for the judge, from its beginning.

    What is new gets the line ends of the message's first line. ValueError: the splices do not fit it.
    """
    first = raw.find(b"\n", start)
    crlf = first > start and raw[first - 1 : first] == b"\r"

    def own(data: bytes) -> bytes:
        return data if crlf else data.replace(b"\r\n", b"\n")

    places = _find_places(raw, start, [place for splice in splices for place in (splice.start, splice.end)])
    if prefix:
        yield own(prefix)
    at = start
    for number, splice in enumerate(splices):
        yield from _slices(raw, at, places[2 * number])
        if splice.data:
            yield own(splice.data)
        at = places[2 * number + 1]
    yield from _slices(raw, at, len(raw))


def _slices(raw: Raw, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, PIECE_BYTES):
        yield raw[at : min(at + PIECE_BYTES, end)]


def _find_places(raw: Raw, start: int, wanted: Sequence[int]) -> list[int]:
    """Return where places of the form for the judge, which must rise, lie in the message. ValueError."""
    places = []
    added = -start
    """CRs that the form for the judge has and the message has not, in front of `line`, less what is before it."""
    ends = _BARE.finditer(raw, start)
    line = next(ends, None)
    last = 0
    for place in wanted:
        if place < last:
            raise ValueError(f"a splice at {place} after {last}")
        last = place
        while line is not None and line.start() + added < place:
            added += 1
            line = next(ends, None)
        if place - added > len(raw):
            raise ValueError(f"a splice at {place} behind the end")
        places.append(place - added)
    return places
