"""Delimiter lines of a multipart (RFC 2046 §5.1.1). Called by `structure` only; linear, never raises."""

import itertools
import re

_LINE_REST = re.compile(rb"(--)?+[ \t\x0b\f]*+(?:\r*+\n|\r*+\Z)")
_GUESS = re.compile(rb"^--([ \t]?[^\s-][^\r\n]{0,250}?|-[^\r\n]{2,250}?)(?:--)?[ \t]*+\r?+$", re.MULTILINE)

MAX_SUSPECTS = 16
"""Lines per multipart that start with the delimiter and go on, kept to compare with the boundaries inside."""
MAX_SUSPECT_LENGTH = 256
"""Bytes of such a line behind the delimiter that are kept."""
_LF = 10
_CR = 13


class Lines:
    """The delimiter lines of one multipart."""

    __slots__ = ("after_close", "bare_return", "boundary", "close_end", "close_start", "delimiters", "suspects")

    def __init__(self, boundary: bytes) -> None:
        self.boundary = boundary
        self.delimiters: list[tuple[int, int]] = []
        self.close_start = -1
        self.close_end = -1
        self.after_close = False
        self.bare_return = False
        """There is one more for whom a bare carriage return ends a line."""
        self.suspects: list[bytes] = []


def find_delimiters(content: bytes, boundary: bytes, start: int, end: int, most: int) -> Lines:
    """Find the lines `--boundary` and `--boundary--` in [start, end), trailing white space allowed; at most `most`
    delimiter lines are returned.
    """
    lines = Lines(boundary)
    needle = b"--" + boundary
    size = len(needle)
    find = content.find
    position = find(needle, start, end)
    while position >= 0:
        after = position + size
        if position == start or content[position - 1] == _LF:
            rest = _LINE_REST.match(content, after, end)
            if rest is not None:
                after = rest.end()
                if not _add_line(lines, content, position, rest, most):
                    break
            elif len(lines.suspects) < MAX_SUSPECTS:
                line_end = find(b"\n", after, min(end, after + MAX_SUSPECT_LENGTH))
                line = content[position + 2 : line_end if line_end >= 0 else min(end, after + MAX_SUSPECT_LENGTH)]
                lines.suspects.append(line.rstrip())
                lines.bare_return |= content[after] == _CR
            else:
                _find_rest(lines, content, after, end, most)
                break
        elif content[position - 1] == _CR:
            lines.bare_return = True
        position = find(needle, after, end)
    return lines


def _find_rest(lines: Lines, content: bytes, start: int, end: int, most: int) -> None:
    """Go on with a regular expression, for content made of lines that only look like delimiters. (Compiling it costs
    more than all the searching in ordinary mail.)
    """
    pattern = re.compile(rb"(?<=\n)--" + re.escape(lines.boundary) + rb"((--)?+[ \t\x0b\f]*+(?:\r*+\n|\r*+\Z))")
    for line in pattern.finditer(content, start, end):
        rest = _LINE_REST.match(content, line.start(1), end)
        if rest is None or not _add_line(lines, content, line.start(), rest, most):
            break


def _add_line(lines: Lines, content: bytes, position: int, rest: re.Match[bytes], most: int) -> bool:
    """Note one delimiter line; return whether to go on."""
    if lines.close_start >= 0:
        lines.after_close = True
        return False
    if (rest.lastindex and lines.delimiters) or content[rest.end() - 1] != _LF:
        # A delimiter without line end has nothing behind it: no part, so it closes as well as any.
        lines.close_start, lines.close_end = position, rest.end()
        return True
    lines.delimiters.append((position, rest.end()))
    return len(lines.delimiters) < most


def before_line_end(content: bytes, start: int, position: int) -> int:
    """Return `position` less the line end in front of it, which belongs to the delimiter (RFC 2046 §5.1.1)."""
    if position > start and content[position - 1] == _LF:
        position -= 1
        if position > start and content[position - 1] == _CR:
            position -= 1
    return position


def guess_boundaries(content: bytes, start: int, end: int, most: int) -> list[bytes]:
    """Return what the first lines that look like a delimiter would have as boundary, at most `most`."""
    found: list[bytes] = []
    for guess in itertools.islice(_GUESS.finditer(content, start, end), MAX_SUSPECTS):
        if guess[1] not in found:
            found.append(guess[1])
    return found[:most]
