"""Writing message content by BDAT (RFC 3030 §2): its length stands in front, so nothing in it can end it.

Used by `client.ClientSession` only. What leaves is counted here, piece by piece: no figure of anybody else's can make
the peer read content as commands. Unless the content is binary, line ends become CRLF as in `stuffing`, because the
peer may pass it on by DATA.
"""

from typing import Final

from gatepost.smtp.lines import CRLF, has_bare_line_ends, normalise_line_ends

CHUNK_SIZE: Final = 256 * 1024
"""Bytes collected for one BDAT: a piece as the relay reads it from disk; 400 replies for a message of 100 MB."""


class ChunkWriter:
    """State of one content."""

    __slots__ = ("_binary", "_line_start", "_pieces", "_size")

    def __init__(self, *, binary: bool) -> None:
        self._binary = binary
        self._pieces: list[bytes] = []
        self._size = 0
        self._line_start = True

    def add(self, data: bytes) -> tuple[bytes, ...]:
        """Take content; return a whole BDAT command with its octets once enough is collected, else nothing."""
        self._pieces.append(data)
        self._size += len(data)
        return self._cut(last=False) if self._size >= CHUNK_SIZE else ()

    def finish(self) -> tuple[bytes, ...]:
        """Return the last BDAT command with the octets that are left; a missing CRLF at the end is supplied."""
        return self._cut(last=True)

    def _cut(self, *, last: bool) -> tuple[bytes, ...]:
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        kept = b""
        if not self._binary:
            if not last and data.endswith(b"\r"):
                data, kept = data[:-1], b"\r"  # an LF may follow
            if has_bare_line_ends(data):
                data = normalise_line_ends(data)
            if data:
                self._line_start = data.endswith(CRLF)
            if last and not self._line_start:
                data += CRLF
        self._pieces = [kept] if kept else []
        self._size = len(kept)
        return (b"BDAT %d LAST\r\n" % len(data) if last else b"BDAT %d\r\n" % len(data), data)
