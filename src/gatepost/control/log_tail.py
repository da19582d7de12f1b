"""The end of the log file as an operator reads it: the last lines that match, those before them, those after them.

Called by `master.statistics` for the console and the API, on a thread. Reads only; what one call reads, and returns, is
bounded. A place in the file is told as `inode:offset`, so that a log rotated meanwhile is noticed.
"""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec

from gatepost.control.lines import LEVEL_OF

LINES_LIMIT: Final = 500
"""Lines in one answer."""
ANSWER_LIMIT: Final = 256 * 1024
"""Characters in one answer: what a page of a console bears."""
SEARCH_LIMIT: Final = 16 * 1024 * 1024
"""Bytes read for one answer: some ten thousand mails, in a fraction of a second."""
_BLOCK: Final = 256 * 1024
_LETTER: Final = re.compile(r" ([FEWIAD])\](?: ([0-9A-Za-z]{13}))?: ")


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which lines. Without `before` and `after`: the last ones."""

    letters: str = ""
    """Only lines of these, "" = all."""
    text: str = ""
    """Only lines with this in them, upper and lower case alike."""
    queue_id: str = ""
    """Only lines about this message."""
    limit: int = 200
    before: str = ""
    """Lines in front of this place (`Tail.begin` of an earlier answer) ..."""
    after: str = ""
    """... or behind this one (`Tail.end`)."""

    def matches(self, line: str) -> bool:
        """Tell whether a line is wanted. What is no line of a log never is: the file may have been another before."""
        if self.queue_id and self.queue_id not in line:
            return False
        if self.text and self.text.casefold() not in line.casefold():
            return False
        found = _LETTER.search(line)
        return found is not None and (not self.letters or found[1] in self.letters)


class Tail(msgspec.Struct, frozen=True):
    """What was found, in the order of the file."""

    lines: tuple[str, ...]
    begin: str
    """Place of the first byte that was looked at: ask for what is `before` it."""
    end: str
    """Place behind the last: ask for what is `after` it."""
    complete: bool
    """No more there, in the direction that was asked for: the file begins, or ends, here."""
    rotated: bool = False
    """The place that was asked about lies in a former file: these are lines of the one that took its place."""


def check_letters(letters: str) -> None:
    """Raise ValueError for letters that no line has."""
    if unknown := set(letters) - set(LEVEL_OF):
        raise ValueError(f"no such letter: {''.join(sorted(unknown))}; there are {''.join(LEVEL_OF)}")


def read_tail(path: str, wanted: Wanted) -> Tail:
    """Return lines of the log. OSError when it cannot be read; ValueError when a place is none."""
    check_letters(wanted.letters)
    with open(path, "rb") as file:  # noqa: PTH123 - a path from the configuration, as it stands there
        state = os.fstat(file.fileno())
        size = state.st_size
        if wanted.after:
            inode, offset = _parse_place(wanted.after)
            rotated = inode != state.st_ino or offset > size
            return _read_on(file, state.st_ino, 0 if rotated else offset, size, wanted, rotated=rotated)
        end, rotated = size, False
        if wanted.before:
            inode, offset = _parse_place(wanted.before)
            rotated = inode != state.st_ino or offset > size
            end = 0 if rotated else offset
        return _read_back(file, state.st_ino, end, wanted, rotated=rotated)


def _parse_place(place: str) -> tuple[int, int]:
    inode, _, offset = place.partition(":")
    if not (inode.isdecimal() and offset.isdecimal()):
        raise ValueError(f"no place in a log: {place[:40]!r}")
    return int(inode), int(offset)


def _read_on(file: BinaryIO, inode: int, start: int, size: int, wanted: Wanted, *, rotated: bool) -> Tail:
    """Take lines that match behind `start`, up to the limits. A line that is not at its end yet waits."""
    limit = _limit(wanted)
    lines: list[str] = []
    room = ANSWER_LIMIT
    at = start
    file.seek(start)
    rest = b""
    while at < size and at - start < SEARCH_LIMIT:
        block = file.read(min(_BLOCK, size - at - len(rest)))
        if not block:
            break
        *whole, rest = (rest + block).split(b"\n")
        if not whole and len(rest) >= _BLOCK:  # no line of ours: a hole, or another's file
            at += len(rest)
            rest = b""
            continue
        for raw in whole:
            line = raw.decode("utf-8", "replace")
            if wanted.matches(line):
                if len(lines) >= limit or (lines and room < len(line)):
                    return Tail(tuple(lines), f"{inode}:{start}", f"{inode}:{at}", complete=False, rotated=rotated)
                lines.append(line[:ANSWER_LIMIT])
                room -= len(line)
            at += len(raw) + 1
    complete = at + len(rest) >= size
    return Tail(tuple(lines), f"{inode}:{start}", f"{inode}:{at}", complete=complete, rotated=rotated)


def _read_back(file: BinaryIO, inode: int, end: int, wanted: Wanted, *, rotated: bool) -> Tail:
    """Take lines that match in front of `end`, the last first, up to the limits."""
    limit = _limit(wanted)
    lines: list[str] = []
    room = ANSWER_LIMIT
    begin = last = end
    for start, raw in _lines_back(file, end):
        if not raw.endswith(b"\n"):
            last = begin = start  # still being written
            continue
        line = raw[:-1].decode("utf-8", "replace")
        if wanted.matches(line):
            if len(lines) >= limit or (lines and room < len(line)):
                return Tail(tuple(reversed(lines)), f"{inode}:{begin}", f"{inode}:{last}", False, rotated)
            lines.append(line[:ANSWER_LIMIT])
            room -= len(line)
        begin = start
    return Tail(tuple(reversed(lines)), f"{inode}:{begin}", f"{inode}:{last}", begin == 0, rotated)


def _lines_back(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line with its end) from `end` backwards, within the search limit."""
    floor = max(0, end - SEARCH_LIMIT)
    at = end
    tail = b""
    while at > floor:
        start = max(floor, at - _BLOCK)
        file.seek(start)
        data = file.read(at - start) + tail
        at = start
        pieces = _split_lines(data)
        offset = start + len(data)
        # The first piece may begin in front of this block.
        for piece in reversed(pieces[1:]):
            offset -= len(piece)
            yield offset, piece
        tail = pieces[0] if pieces else b""
        if len(tail) > _BLOCK and at > floor:  # as in `_read_on`
            tail = b""
    if tail and at == 0:
        yield 0, tail


def _split_lines(data: bytes) -> list[bytes]:
    pieces = [piece + b"\n" for piece in data.split(b"\n")]
    pieces[-1] = pieces[-1][:-1]
    return pieces if pieces[-1] else pieces[:-1]


def _limit(wanted: Wanted) -> int:
    return max(1, min(wanted.limit, LINES_LIMIT))
