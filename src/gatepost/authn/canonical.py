"""Canonical forms of header fields and bodies (RFC 6376 §3.4): what is hashed. Called by `signed`.

Pure and linear. Line ends are CRLF in every form: content with bare LF is read as if it had been sent properly.
"""

import re
from collections.abc import Iterator

CHUNK = 1024 * 1024
"""Bytes of a body in hand at a time; a longer line is taken whole."""

_CRLF = b"\r\n"
_FOLD = re.compile(rb"\r?\n")
_WSP = re.compile(rb"[ \t]+")
_LONE_LF = re.compile(rb"(?<!\r)\n")
_LONG_RUN = re.compile(rb" {64,}")
_OTHER_WHITE = re.compile(rb"[\x0b\x0c]|\r(?!\n)")


def simple_field(raw: bytes) -> bytes:
    """Return a whole header field as it is, without its last line end (RFC 6376 §3.4.1)."""
    return _with_crlf(raw).removesuffix(_CRLF)


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """Return a header field without its last line end (RFC 6376 §3.4.2). `name` in lower case."""
    if _OTHER_WHITE.search(value) is None:
        return name + b":" + b" ".join(value.split())
    return name + b":" + _WSP.sub(b" ", _FOLD.sub(b"", value)).strip(b" ")


def body_pieces(content: bytes, start: int, *, relaxed: bool) -> Iterator[bytes]:
    """Yield the canonical form of the body that begins at `start` (RFC 6376 §3.4.3, §3.4.4)."""
    empty = True
    pending = 0
    end = len(content)
    piece = b""
    while start < end:
        stop = end
        if end - start > CHUNK:
            stop = content.find(b"\n", start + CHUNK) + 1 or end
        piece = _with_crlf(content[start:stop])
        start = stop
        if relaxed:
            piece = _relax(piece)
        kept = _without_empty_lines(piece)
        if kept:
            if pending:
                yield _CRLF * pending
            yield piece[:kept]
            empty, pending = False, 0
        pending += (len(piece) - kept) // 2
    if not empty or not relaxed:
        yield _CRLF


def _with_crlf(raw: bytes) -> bytes:
    return raw if raw.count(b"\n") == raw.count(_CRLF) else _LONE_LF.sub(_CRLF, raw)


def _relax(piece: bytes) -> bytes:
    """Reduce white space; searches for two bytes run at the speed of memory, a pattern for single ones does not."""
    if b"\t" in piece:
        piece = piece.replace(b"\t", b" ")
    if b"  " in piece:
        if b" " * 64 in piece:
            piece = _LONG_RUN.sub(b" ", piece)
        while b"  " in piece:
            piece = piece.replace(b"  ", b" ")
    if b" \r\n" in piece:
        piece = piece.replace(b" \r\n", _CRLF)
    return piece.removesuffix(b" ")


def _without_empty_lines(piece: bytes) -> int:
    """Return where the line ends at the end of a piece begin."""
    text = len(piece.rstrip(_CRLF))
    tail = piece[text:]
    if not tail.endswith(b"\n"):
        return len(piece)
    # Every LF has its CR here: what is no CRLF in the tail is a CR with another behind it.
    lone = tail.rfind(b"\r\r")
    return text + lone + 1
