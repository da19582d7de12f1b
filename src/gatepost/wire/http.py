"""What the relatives of HTTP share, server side: a head of header fields, and a chunked body (RFC 9112 §5, §7.1).

Called by `wire.icap_server`; HTTP itself is h11's (`wire.rspamd`). Bytes in, values out. Promises: memory is bounded by
the limits below; a length the client states is never believed beyond them; fields that could be read in two ways
(folded, no name, blanks before the colon) are refused, not guessed.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

HEAD_LIMIT: Final = 64 * 1024
"""Octets of a head: browsers send a few thousand, with cookies some more."""
FIELDS_LIMIT: Final = 200
CHUNK_LINE_LIMIT: Final = 1024
"""Octets of the line before a chunk: its length, and extensions."""
TRAILER_LIMIT: Final = 8 * 1024

_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)\Z")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;([^\r\n]*))?\Z")


class HttpError(ValueError):
    """What came breaks the protocol; the connection is of no more use. The text says what, for the log."""


class Head(msgspec.Struct, frozen=True):
    """First line and fields."""

    line: str
    fields: Mapping[str, str]
    """By name in lower case; the values of a name that comes several times are joined by commas (RFC 9110 §5.3)."""

    def number(self, name: str, default: int = -1) -> int:
        """Return a field's value as a number of at most 12 digits, `default` when it is absent. HttpError."""
        text = self.fields.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            raise HttpError(f"{name} is not a number")
        return int(text)


def cut_head(pending: bytearray) -> bytes | None:
    """Take a whole head, without the empty line behind it, off what has come; None: more is needed. HttpError."""
    end = pending.find(b"\r\n\r\n", 0, HEAD_LIMIT + 4)
    if end < 0:
        if len(pending) >= HEAD_LIMIT + 4:
            raise HttpError(f"a head of more than {HEAD_LIMIT} bytes")
        return None
    raw = bytes(pending[:end])
    del pending[: end + 4]
    return raw


def parse_head(raw: bytes) -> Head:
    """Return what a head says. HttpError."""
    first, *lines = raw.split(b"\r\n")
    if len(lines) > FIELDS_LIMIT:
        raise HttpError(f"more than {FIELDS_LIMIT} header fields")
    fields: dict[str, str] = {}
    for line in lines:
        match = _FIELD.match(line)
        if match is None:
            raise HttpError("a header field that is none")
        name, value = match[1].decode("ascii").lower(), match[2].strip(b" \t").decode("utf-8", "replace")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return Head(first.decode("utf-8", "replace"), fields)


class ChunkReader:
    """Reads one chunked body off the front of a buffer."""

    def __init__(self) -> None:
        self._left = -1
        """Of the chunk being read; -1: its line comes next, 0: its CRLF."""
        self._trailer = False
        self._trailing = 0
        self.extension = ""
        """Of the last chunk, for example `ieof` (RFC 3507 §4.5)."""
        self.done = False
        """All of it has been read; what is left in the buffer follows it."""

    def read(self, pending: bytearray) -> bytes:
        """Take what is there of the body off the buffer and return it, b"" when more is needed. HttpError."""
        pieces = []
        while not self.done:
            if self._trailer:
                line = _cut_line(pending, TRAILER_LIMIT)
                if line is None:
                    break
                self._trailing += len(line)
                if self._trailing > TRAILER_LIMIT:
                    raise HttpError(f"more than {TRAILER_LIMIT} bytes of fields behind the body")
                self.done = not line
            elif self._left < 0:
                line = _cut_line(pending, CHUNK_LINE_LIMIT)
                if line is None:
                    break
                match = _CHUNK.match(line)
                if match is None:
                    raise HttpError("not the length of a chunk")
                self._left = int(match[1], 16)
                if not self._left:
                    self.extension = (match[2] or b"").decode("ascii", "replace").strip()
                    self._trailer = True
            elif self._left:
                if not pending:
                    break
                piece = bytes(pending[: self._left])
                del pending[: self._left]
                pieces.append(piece)
                self._left -= len(piece)
            else:
                if len(pending) < 2:
                    break
                if pending[:2] != b"\r\n":
                    raise HttpError("a chunk is longer than it says")
                del pending[:2]
                self._left = -1
        return b"".join(pieces)


def build_chunk(data: bytes) -> bytes:
    """Return a chunk; that of b"" ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _cut_line(pending: bytearray, limit: int) -> bytes | None:
    end = pending.find(b"\r\n", 0, limit + 2)
    if end < 0:
        if len(pending) >= limit + 2:
            raise HttpError(f"a line of more than {limit} bytes")
        return None
    line = bytes(pending[:end])
    del pending[: end + 2]
    return line
