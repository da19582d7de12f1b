"""What a peer has sent and the server session has not interpreted yet; cuts it into command lines.

Used by `server.ServerSession` only. Holds what was fed last and at most one unfinished command line; time is linear
in the bytes fed, however they are cut.
"""

import enum
from typing import Final

COMMAND_LIMIT: Final = 2048
"""Octets of a command line with its CRLF: 512 (RFC 5321 §4.5.3.1.4), 636 for the DSN parameters (RFC 3461 §4), room
for those to come, RFC 6531 §3.4 included; what is longer is reported once and swallowed without being kept."""
SIGN_IN_LIMIT: Final = 12288
"""Octets of AUTH and of what the client sends during it, with CRLF (RFC 4954 §4)."""

_CR = 13


class LineFault(enum.Enum):
    """Why a line is no command. What follows it up to the next CRLF belongs to it and is swallowed."""

    TOO_LONG = "too-long"
    BARE_LINE_FEED = "bare-line-feed"
    """Were the rest taken as the next line, a relay in front that lets LF through could be made to carry commands."""


class InputBuffer:
    """Bytes received, with a reading position."""

    def __init__(self) -> None:
        self._bytes = b""
        self._position = 0
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        if self._position < len(self._bytes):
            data = self._bytes[self._position :] + data
        self._bytes = data
        self._position = 0

    def take(self) -> bytes:
        """Return and remove everything."""
        data = self._bytes[self._position :] if self._position else self._bytes
        self._bytes = b""
        self._position = 0
        return data

    def take_some(self, limit: int) -> bytes:
        """Return and remove at most `limit` bytes."""
        data, start = self._bytes, self._position
        if len(data) - start <= limit:
            return self.take()
        self._position = start + limit
        return data[start : start + limit]

    @property
    def empty(self) -> bool:
        """Tell whether everything has been read."""
        return self._position == len(self._bytes)

    def begins_with(self, command: bytes) -> bool:
        """Tell whether what is to be read next is this line, with its CRLF and in any case of letters."""
        return self._bytes[self._position : self._position + len(command)].upper() == command

    def put_back(self, data: bytes) -> None:
        """Make `data` everything there is."""
        self._bytes = data
        self._position = 0

    def next_line(self, limit: int = COMMAND_LIMIT) -> bytes | LineFault | None:
        """Return the next line without its CRLF, what is wrong with it, or None when it is not complete.

        `limit` is in octets with the CRLF.
        """
        if self._skipping and not self._skip():
            return None
        data, start = self._bytes, self._position
        if start == len(data):
            return None
        end = data.find(b"\n", start, start + limit)
        if end < 0:
            if len(data) - start < limit:
                return None
            self._skipping = True
            self._position = start + limit - 1  # the last byte may be the CR of the CRLF that ends the line
            return LineFault.TOO_LONG
        self._position = end + 1
        if end == start or data[end - 1] != _CR:
            self._skipping = True
            return LineFault.BARE_LINE_FEED
        return data[start : end - 1]

    def _skip(self) -> bool:
        """Swallow the rest of a faulty line; False when its end has not come."""
        data = self._bytes
        end = data.find(b"\r\n", self._position)
        if end < 0:
            self.put_back(b"\r" if data.endswith(b"\r", self._position) else b"")
            return False
        self._position = end + 2
        self._skipping = False
        return True
