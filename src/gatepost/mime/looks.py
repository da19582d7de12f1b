"""What bytes look like, whatever their header says. Called by `structure` to offer second readings; linear."""

import re
from collections.abc import Sequence

from gatepost.mime.decode import before_blank_end, join_even_lines
from gatepost.mime.part import Encoding

_TWO_BASE64_LINES = re.compile(rb"\s*+(?:[A-Za-z0-9+/]{4,}+={0,2}+[ \t]*+\r?+(?:\n|\Z)){2}")
_LONG_BASE64_LINE = re.compile(rb"\s*+[A-Za-z0-9+/]{40,}+={0,2}+[ \t]*+\r?+(?:\n|\Z)")
_FIELD = re.compile(
    rb"(?:received|from|to|subject|date|message-id|mime-version|content-[a-z-]+|return-path):", re.IGNORECASE
)
_PAD_IN_GROUP = re.compile(rb"[A-Za-z0-9+/]{2}=[A-Za-z0-9+/]")
_ODD_ESCAPE = re.compile(rb"=(?![0-9A-F]{2}|[ \t]*+\r?(?:\n|\Z))")
_UNEVEN_LINE = re.compile(rb"^(?:[A-Za-z0-9+/=]{4})*+(?![\s]|\Z)", re.MULTILINE)


def looks_base64(content: bytes, start: int, end: int, defects: Sequence[str]) -> bool:
    """Whether text that declares no encoding is base64 all the same: one long line of it at the beginning, or, under a
    header that has defects, two lines of any length.
    """
    pattern = _TWO_BASE64_LINES if defects else _LONG_BASE64_LINE
    return pattern.match(content, start, end) is not None


def looks_like_header(content: bytes, start: int, end: int) -> bool:
    """Whether the bytes start with a field that messages start with."""
    return _FIELD.match(content, start, end) is not None


def doubtful_base64(content: bytes, start: int, end: int) -> tuple[Encoding, ...]:
    """Return the other ways to decode a base64 body: line by line when its lines do not hold whole groups of four,
    piece by piece, and as if there were none, when padding stands elsewhere than at the end, each group of four by
    itself when padding stands inside one, with the digits of URLs when there are such.
    """
    others: tuple[Encoding, ...] = ()
    if not _has_even_lines(content, start, end) and _UNEVEN_LINE.search(content, start, end):
        others = (Encoding.BASE64_LINES,)
    pad = content.find(b"=", start, end)
    if pad >= 0 and content[pad:end].strip(b"=\r\n \t"):
        others += (Encoding.BASE64_PIECES, Encoding.BASE64_THROUGH)
        if _PAD_IN_GROUP.search(content, start, end):
            others += (Encoding.BASE64_GROUPS,)
    if content.find(b"-", start, end) >= 0 or content.find(b"_", start, end) >= 0:
        others += (Encoding.BASE64_URL,)
    return others


def _has_even_lines(content: bytes, start: int, end: int) -> bool:
    """Whether all lines but the last have the length of the first, a multiple of four: the form all encoders give. A
    large attachment costs microseconds.
    """
    line_end = content.find(b"\n", start, end)
    if line_end < 0 or (line_end - start - (content[line_end - 1] == 13)) % 4:
        return False
    text = join_even_lines(content, start, before_blank_end(content, start, end))
    return text is not None and text.find(b"\n") < 0


def has_odd_escapes(content: bytes, start: int, end: int) -> bool:
    """Whether quoted-printable text has escapes other than two upper-case digits (RFC 2045 §6.7 rule 1)."""
    return _ODD_ESCAPE.search(content, start, end) is not None
