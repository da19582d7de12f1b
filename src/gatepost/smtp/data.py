"""Reading message content on the receiving side: from DATA to the line that holds only a dot.

Used by `server.ServerSession` only. Promises: only CRLF dot CRLF ends the content, whatever the segmentation; what
comes out has no stuffed dots and, after a fix, no bare CR or LF; memory is a tail of a few bytes, time is linear.
"""

import enum
import re
from typing import Final

import msgspec

from gatepost.smtp.lines import CRLF, find_last_dot_line, has_bare_line_ends, normalise_line_ends, replace_dot_lines
from gatepost.smtp.server_events import Cause

LINE_LIMIT: Final = 1000
"""Octets of a line with its CRLF (RFC 5321 §4.5.3.1.6); longer lines are taken and flagged."""

_END = b"\r\n.\r\n"
_PARTIAL_ENDS = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
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


class DataReader:
    """State of one content on its way in. After a fault nothing more is given out, only the end is looked for."""

    def __init__(self, policy: LineFeedPolicy, limits: DataLimits) -> None:
        self._fix = policy is LineFeedPolicy.FIX
        self._limits = limits
        self._carry: bytes | None = None
        """End of the last piece that may begin the end of the content; None before the first piece."""
        self._imagined = 0
        """Bytes before the content that were put there and are to be taken off."""
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

    def read(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Take what came. Return (content to keep, what follows the end or None when the end has not come)."""
        # Every copy of a piece is felt in the price of a large mail: the usual piece, which has no dot lines and holds
        # the end at its end or not at all, is copied once or never.
        if self._carry is None:
            if data.startswith(b"."):
                data = CRLF + data  # DATA begins at the start of a line: a dot there is a dot line
                self._imagined = len(CRLF)
        elif self._carry:
            data = self._carry + data
        self._carry = b""
        end = len(data) - len(_END) if data.endswith(_END) else -1
        last = find_last_dot_line(data, end + 2 if end >= 0 else len(data))
        if last >= 0:
            earlier = data.find(_END, 0, last + len(_END))
            end = earlier if earlier >= 0 else end
        rest: bytes | None = None
        if end >= 0:
            raw = data[: end + 2]
            rest = data[end + 5 :]
        elif data.endswith(_PARTIAL_ENDS):
            held = next(len(tail) for tail in _PARTIAL_ENDS if data.endswith(tail))
            raw = data[:-held]
            self._carry = data[-held:]
        else:
            raw = data
        if self.fault is not None:
            self.swallowed += len(raw)
            return b"", rest
        content = replace_dot_lines(raw, CRLF) if last >= 0 else raw
        if self._imagined and raw:
            content = content[self._imagined :]
            self._imagined = 0
        return self._judged(content) if content else b"", rest

    def _judged(self, content: bytes) -> bytes:
        """Return `content` as it is to be kept, or b"" and set `fault`."""
        bare = has_bare_line_ends(content)
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
        bare = None if self._fix else _BARE.search(content)
        if bare is not None:
            faults.append((bare.start(), 2, Cause.MALFORMED))
        allowed = self._limits.hops - self.received_fields
        if len(fields) > allowed:
            faults.append((fields[allowed], 3, Cause.HOPS))
        return min(faults)[2]
