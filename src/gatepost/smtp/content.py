"""What every content must be, however it comes in: size, hops, line ends, and the flags told at its end.

Base of `data.DataReader` and `chunks.ChunkReader`. Promises: what is given out has no bare CR or LF unless it is
binary; memory is a tail of a few bytes, time is linear; the first fault does not depend on how the bytes were cut.
"""

import enum
import re
from typing import Final

import msgspec

from gatepost.smtp.lines import has_bare_line_ends, normalise_line_ends
from gatepost.smtp.server_events import Cause

LINE_LIMIT: Final = 1000
"""Octets of a line with its CRLF (RFC 5321 §4.5.3.1.6); longer lines are taken and flagged."""

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_RECEIVED = re.compile(rb"\r\n(?i:received)[ \t:]")
_RECEIVED_TAIL = 10
"""One byte less than what `_RECEIVED` matches: so much of the last piece can begin a field name."""


class LineFeedPolicy(enum.StrEnum):
    """What becomes of mail with a bare CR or LF in its content."""

    REJECT = "reject"
    """Refused after its end."""
    FIX = "fix"
    """Every bare CR or LF becomes a line end; a dot after it is text, never a stuffed dot and never the end."""


class DataLimits(msgspec.Struct, frozen=True, gc=False):
    """Bounds for one message."""

    size: int
    """Bytes of content."""
    session_left: int
    """Bytes of content the session may still bring."""
    hops: int
    """Received fields in the header."""


class ContentReader:
    """State of one content on its way in. After a fault nothing more is given out."""

    def __init__(self, policy: LineFeedPolicy, limits: DataLimits, *, binary: bool = False) -> None:
        """`binary`: declared BODY=BINARYMIME, so line ends mean nothing."""
        self.binary = binary
        self._fix = policy is LineFeedPolicy.FIX
        self._limits = limits
        self._in_header = True
        self._header_tail = b"\r\n"
        self._line = 0
        self.fault: Cause | None = None
        self.size = 0
        self.swallowed = 0
        self.received_fields = 0
        self.fixed = False
        self.nul = False
        self.long_line = False
        self.eight_bit = False
        self.plain = False
        """All lines end with CRLF and none begins with a dot, as they came: known of content by DATA only."""

    def _judged(self, content: bytes) -> bytes:
        """Return `content` as it is to be kept, or b"" and set `fault`."""
        bare = not self.binary and has_bare_line_ends(content)
        if bare and self._fix:
            content = normalise_line_ends(content)
            self.fixed = True
            bare = False
        fields = self._count_fields(content) if self._in_header else ()
        limits = self._limits
        size = self.size + len(content)
        hops = self.received_fields + len(fields)
        if bare or size > limits.size or size > limits.session_left or hops > limits.hops:
            self.fault = self._first_fault(content, fields)
            return b""
        self.size = size
        self.received_fields = hops
        if not self.eight_bit and not content.isascii():
            self.eight_bit = True
        if not self.nul and b"\0" in content:
            self.nul = True
        if not self.long_line:
            self._measure_lines(content)
        return content

    def _count_fields(self, content: bytes) -> tuple[int, ...]:
        """Return where in `content` the names of Received fields end, up to the end of the header."""
        tail = self._header_tail
        end = content.find(b"\r\n\r\n")
        # One more end of a header may span the two pieces; what lies behind either is not looked at.
        window = tail + (content[: end + 4] if end >= 0 else content)
        end = window.find(b"\r\n\r\n")
        if end >= 0:
            self._in_header = False
        else:
            end = len(window)
            self._header_tail = window[-_RECEIVED_TAIL:]
        return tuple([match.end() - len(tail) - 1 for match in _RECEIVED.finditer(window, 0, end)])

    def _measure_lines(self, content: bytes) -> None:
        """Flag a line over the limit, by looking for any line end within reach of the last one."""
        length = len(content)
        position = 0
        reach = LINE_LIMIT - self._line
        find_last = content.rfind
        while position + reach <= length:
            position = find_last(b"\n", position, position + reach) + 1
            if not position:
                self.long_line = True
                return
            reach = LINE_LIMIT
        last = content.rfind(b"\n", position)
        self._line = length - last - 1 if last >= 0 else length - position + LINE_LIMIT - reach

    def _first_fault(self, content: bytes, fields: tuple[int, ...]) -> Cause:
        """Return what is wrong first, so that the answer does not depend on how the bytes were cut into pieces."""
        faults = [
            (self._limits.size - self.size, 0, Cause.MESSAGE_SIZE),
            (self._limits.session_left - self.size, 1, Cause.SESSION_SIZE),
        ]
        bare = None if self._fix or self.binary else _BARE.search(content)
        if bare is not None:
            faults.append((bare.start(), 2, Cause.MALFORMED))
        allowed = self._limits.hops - self.received_fields
        if len(fields) > allowed:
            faults.append((fields[allowed], 3, Cause.HOPS))
        return min(faults)[2]
