"""Delimiter lines of a multipart (RFC 2046 §5.1.1). Called by `structure` only; linear, never raises."""

import re

_LINE_REST = re.compile(rb"(--)?+[ \t\x0b\f]*+(?:\r*+\n|\r*+\Z)")
_GUESS = re.compile(rb"^--([ \t]?[^\s-][^\r\n]{0,250}?|-[^\r\n]{2,250}?)(?:--)?[ \t]*+\r?+$", re.MULTILINE)

MAX_SUSPECTS = 16
"""Lines per multipart that start with the delimiter and go on, kept to compare with the boundaries inside."""


class Lines:
    """The delimiter lines of one multipart."""

    __slots__ = ("after_close", "boundary", "close_end", "close_start", "delimiters", "suspects")

    def __init__(self, boundary: bytes) -> None:
        self.boundary = boundary
        self.delimiters: list[tuple[int, int]] = []
        self.close_start = -1
        self.close_end = -1
        self.after_close = False
        self.suspects: list[bytes] = []


def find_delimiters(content: bytes, boundary: bytes, start: int, end: int) -> Lines:
    """Find the lines `--boundary` and `--boundary--` in [start, end); trailing white space is allowed."""
    lines = Lines(boundary)
    needle = b"--" + boundary
    size = len(needle)
    match = _LINE_REST.match
    find = content.find
    position = find(needle, start, end)
    while position >= 0:
        after = position + size
        if position == start or content[position - 1] == 10:
            rest = match(content, after, end)
            if rest is None:
                if len(lines.suspects) < MAX_SUSPECTS:
                    line_end = find(b"\n", after, min(end, after + 256))
                    line = content[position + 2 : line_end if line_end >= 0 else min(end, after + 256)]
                    lines.suspects.append(line.rstrip())
            elif lines.close_start >= 0:
                lines.after_close = True
                break
            elif (rest.lastindex and lines.delimiters) or content[rest.end() - 1] != 10:
                # A delimiter without line end has nothing behind it: no part, so it closes as well as any.
                lines.close_start, lines.close_end = position, rest.end()
                after = rest.end()
            else:
                lines.delimiters.append((position, rest.end()))
                after = rest.end()
        position = find(needle, after, end)
    return lines


def before_line_end(content: bytes, start: int, position: int) -> int:
    """Return `position` less the line end in front of it, which belongs to the delimiter (RFC 2046 §5.1.1)."""
    if position > start and content[position - 1] == 10:
        position -= 1
        if position > start and content[position - 1] == 13:
            position -= 1
    return position


def guess_boundary(content: bytes, start: int, end: int) -> bytes:
    """Return what the first line that looks like a delimiter would have as boundary, b"" when there is none."""
    guess = _GUESS.search(content, start, end)
    return guess[1] if guess else b""
