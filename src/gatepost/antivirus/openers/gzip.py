"""gzip files (RFC 1952): all streams of one, as the one file they make."""

import zlib
from collections.abc import Iterator

from gatepost.antivirus.budget import Damaged, inflate
from gatepost.antivirus.opening import Member, Opening

_NAME = 0x08
_EXTRA = 0x04
_NAME_LIMIT = 255


def open_gzip(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the one member (RFC 1952 §2.2)."""
    budget = opening.budget
    inner = _stored_name(data) or name.removesuffix(".gz").removesuffix(".GZ")
    rest = memoryview(data)
    pieces: list[bytes] = []
    ended = True
    while rest and (not pieces or bytes(rest[:2]) == b"\x1f\x8b"):
        budget.take_member()
        try:
            piece, consumed, ended = inflate(rest, zlib.MAX_WBITS | 16, budget)
        except Damaged as error:
            if not pieces:
                yield Member(inner, trouble=str(error))
                return
            ended = False
            break
        pieces.append(piece)
        if not ended:
            break
        rest = rest[consumed:]
    content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    yield Member(inner, content, trouble="" if ended else "gzip data is damaged or cut off")


def _stored_name(data: bytes) -> str:
    """Return the file name in a gzip header without path, "" when it has none."""
    if len(data) < 12 or not data[3] & _NAME:
        return ""
    start = 10
    if data[3] & _EXTRA:
        start += 2 + int.from_bytes(data[10:12], "little")
    end = data.find(b"\0", start, start + _NAME_LIMIT)
    return data[start:end].decode("latin-1").rpartition("/")[2] if end > 0 else ""
