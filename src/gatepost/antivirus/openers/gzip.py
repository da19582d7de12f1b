"""gzip files (RFC 1952): all streams of one, as the one file they make."""

import zlib
from collections.abc import Iterator

from gatepost.antivirus.budget import Content, Damaged, inflate_into
from gatepost.antivirus.opening import Member, Opening

_NAME = 0x08
_EXTRA = 0x04
_NAME_LIMIT = 255


def open_gzip(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the one member (RFC 1952 §2.2)."""
    budget = opening.budget
    inner = _stored_name(data) or name.removesuffix(".gz").removesuffix(".GZ")
    content = Content(budget, len(data))
    rest = memoryview(data)
    trouble = ""
    while not trouble and (len(rest) == len(data) or bytes(rest[:2]) == b"\x1f\x8b"):
        budget.take_member()
        try:
            consumed, ended = inflate_into(content, rest, zlib.MAX_WBITS | 16)
        except Damaged as error:
            if len(rest) == len(data):
                yield Member(inner, trouble=str(error))
                return
            ended, consumed = False, len(rest)
        if not ended:
            trouble = "gzip data is damaged or cut off"
        rest = rest[consumed:]
    yield Member(inner, content.take(), trouble=trouble)


def _stored_name(data: bytes) -> str:
    """Return the file name in a gzip header without path, "" when it has none."""
    if len(data) < 12 or not data[3] & _NAME:
        return ""
    start = 10
    if data[3] & _EXTRA:
        start += 2 + int.from_bytes(data[10:12], "little")
    end = data.find(b"\0", start, start + _NAME_LIMIT)
    return data[start:end].decode("latin-1").rpartition("/")[2] if end > 0 else ""
