"""Reading message content on the receiving side: from DATA to the line that holds only a dot.

Used by `server_data.ContentSession` only. Promises: only CRLF dot CRLF ends the content, whatever the segmentation;
what comes out has no stuffed dots and, after a fix, no bare CR or LF; memory is a tail of a few bytes, time is linear.
"""

from gatepost.smtp.content import ContentReader, DataLimits, LineFeedPolicy
from gatepost.smtp.lines import CRLF, find_last_dot_line, replace_dot_lines

_END = b"\r\n.\r\n"
_PARTIAL_ENDS = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")


class DataReader(ContentReader):
    """State of one content on its way in. After a fault nothing more is given out, only the end is looked for."""

    def __init__(self, policy: LineFeedPolicy, limits: DataLimits) -> None:
        super().__init__(policy, limits)
        self.plain = True
        self._carry: bytes | None = None
        """End of the last piece that may begin the end of the content; None before the first piece."""
        self._imagined = 0
        """Bytes before the content that were put there and are to be taken off."""

    def read(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Take what came. Return (content to keep, what follows the end or None when the end has not come)."""
        if not data:
            return b"", None
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
        content = raw
        if last >= 0:
            content = replace_dot_lines(raw, CRLF)
            self.plain = self.plain and len(content) == len(raw)
        if self._imagined and raw:
            content = content[self._imagined :]
            self._imagined = 0
        return self._judged(content) if content else b"", rest
