"""Writing message content on the sending side: whatever goes in, lines end with CRLF and no line is a lone dot.

Used by `client.ClientSession` only. Promises: a bare CR or LF never leaves (it becomes CRLF first, dots are stuffed
last), so no peer, however lax, can be made to see the end of the content inside it.
"""

from gatepost.smtp.lines import CRLF, find_last_dot_line, has_bare_line_ends, normalise_line_ends, replace_dot_lines


class DotStuffer:
    """State between two pieces of one content."""

    def __init__(self, *, plain: bool = False) -> None:
        """`plain`: the content is known to need nothing (`client_events.Transaction.plain`)."""
        self._plain = plain
        self._line_start = True
        self._carriage_return = b""

    def stuff(self, data: bytes) -> bytes:
        """Return what to send for `data`; a CR at its end is kept until it is known what follows."""
        if self._plain:
            return data
        if self._carriage_return:
            data = self._carriage_return + data
            self._carriage_return = b""
        if data.endswith(b"\r"):
            self._carriage_return = b"\r"
            data = data[:-1]
        if not data:
            return b""
        if has_bare_line_ends(data):
            data = normalise_line_ends(data)
        stuffed = replace_dot_lines(data, b"\r\n..") if find_last_dot_line(data, len(data)) >= 0 else data
        if self._line_start and data.startswith(b"."):
            stuffed = b"." + stuffed
        self._line_start = data.endswith(CRLF)
        return stuffed

    def finish(self) -> bytes:
        """Return what ends the content: its missing CRLF, if any, and the dot."""
        ended = self._line_start and not self._carriage_return
        return b".\r\n" if ended else b"\r\n.\r\n"
