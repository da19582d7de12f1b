"""Replies as a server sends them (RFC 5321 §4.2), cut out of the byte stream. Used by `client.ClientSession`.

Memory is bounded: a line or a reply beyond its limit is an error, never kept.
"""

import functools
import re
from typing import Final

from gatepost.model.reply import Reply
from gatepost.smtp.errors import ReplySyntaxError

LINE_LIMIT: Final = 4096
"""Octets of a reply line: eight times what RFC 5321 §4.5.3.1.5 allows, for the servers that put links in theirs."""
LINES_LIMIT: Final = 128
"""Lines of one reply: an EHLO answer has a few dozen at most."""

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)")


class ReplyParser:
    """Collects bytes and gives out whole replies."""

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[str] = []
        self._code = 0

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer = self._buffer + data if self._buffer else data

    @property
    def pending(self) -> bool:
        """Whether bytes are left that belong to no reply given out yet."""
        return bool(self._buffer)

    def next_reply(self) -> Reply | None:
        """Return the next reply, None when it is not complete. Raises ReplySyntaxError, after which all is lost.

        A bare LF is taken as the end of a line: a reply carries nobody's content.
        """
        while True:
            buffer = self._buffer
            if not buffer:
                return None
            end = buffer.find(b"\n", 0, LINE_LIMIT)
            if end < 0:
                if len(buffer) >= LINE_LIMIT:
                    raise ReplySyntaxError("reply line too long")
                return None
            raw_line = buffer[:end].removesuffix(b"\r")
            self._buffer = buffer[end + 1 :]
            if not self._lines and raw_line[3:4] != b"-":
                return _parse_line(raw_line)
            code, last, text = _split_line(raw_line)
            if self._lines and code != self._code:
                raise ReplySyntaxError("malformed reply")
            self._code = code
            self._lines.append(text)
            if last:
                lines, self._lines = self._lines, []
                return _build_reply(code, lines)
            if len(self._lines) >= LINES_LIMIT:
                raise ReplySyntaxError("reply has too many lines")


@functools.lru_cache(maxsize=256)  # a peer answers MAIL, RCPT and DATA with the same lines all day
def _parse_line(raw_line: bytes) -> Reply:
    """Return the reply that is this one line."""
    code, _, text = _split_line(raw_line)
    return _build_reply(code, [text])


@functools.lru_cache(maxsize=256)  # and EHLO
def _split_line(raw_line: bytes) -> tuple[int, bool, str]:
    """Return the code, whether this is the last line of its reply, and the text."""
    match = _LINE.fullmatch(raw_line)
    if match is None:
        raise ReplySyntaxError("malformed reply")
    return int(match[1]), match[2] != b"-", (match[3] or b"").decode("ascii", "backslashreplace")


def _build_reply(code: int, lines: list[str]) -> Reply:
    """Return the reply with its enhanced code (RFC 2034) taken off the lines when it agrees with the code."""
    enhanced = ""
    match = _ENHANCED.match(lines[0])
    if match is not None and match[1][0] == str(code)[0]:
        enhanced = match[1]
        lines = [line[len(enhanced) :].lstrip(" ") if line.startswith(enhanced) else line for line in lines]
    return Reply(code, enhanced, tuple(lines), code in {221, 421})
