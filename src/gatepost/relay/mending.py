"""Mending over-long lines (specification smtp.md §6, "Malformed mail"): sans-I/O, pieces of content in and out.

Called by `relay.incoming` for mail with a line of more than 998 octets (RFC 5322 §2.1.1), which the next server might
cut wherever it likes, or refuse. A line of the header is folded before white space, so that it means what it meant; a
line of the body is broken behind white space; where there is none, between two characters.
"""

from typing import Final

LINE_LIMIT: Final = 998
"""Octets of a line without its CRLF."""
SEARCH: Final = 600
"""Octets at the end of a full line in which white space is looked for: what is cut must keep a useful length."""
_MARGIN: Final = 4
"""A UTF-8 character has at most so many octets."""


class LineMender:
    """Breaks over-long lines of one content. Feed it everything in order, then take `flush`.

    Content must have CRLF line ends only. Memory is one line's worth; time is linear.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._header = True
        self.mended = False
        """A line was broken."""

    def feed(self, piece: bytes) -> bytes:
        """Return what is settled so far; the unfinished last line is kept for later."""
        data = self._rest + piece if self._rest else piece
        end = data.rfind(b"\n") + 1
        out: list[bytes] = []
        start = 0
        while start < end:
            if not self._header:
                start = self._body(data, start, end, out)
                continue
            stop = data.index(b"\n", start) + 1
            line = data[start:stop]
            if line == b"\r\n":
                self._header = False
            out.append(self._broken(line[:-2], complete=True) + b"\r\n" if stop - start > LINE_LIMIT + 2 else line)
            start = stop
        rest = data[end:]
        if len(rest) > 2 * LINE_LIMIT:
            # An endless line: its first pieces are settled whatever follows.
            kept = self._broken(rest, complete=False)
            cut = kept.rfind(b"\r\n") + 2
            out.append(kept[:cut])
            rest = kept[cut:]
        self._rest = rest
        return b"".join(out)

    def flush(self) -> bytes:
        """Return what is left at the end of the content."""
        rest, self._rest = self._rest, b""
        ending = b"\r" if rest.endswith(b"\r") else b""
        line = rest[: len(rest) - len(ending)]
        return (self._broken(line, complete=True) if len(line) > LINE_LIMIT else line) + ending

    def _body(self, data: bytes, start: int, end: int, out: list[bytes]) -> int:
        """Pass on body lines as they are up to one that is too long, break that; return where the next one starts."""
        at = start
        while at < end:
            # The last line end within reach: everything up to it is of lawful lines.
            last = data.rfind(b"\n", at, min(at + LINE_LIMIT + 2, end))
            if last >= 0:
                at = last + 1
                continue
            out.append(data[start:at])
            stop = data.index(b"\n", at) + 1
            out.append(self._broken(data[at : stop - 2], complete=True))
            out.append(b"\r\n")
            return stop
        out.append(data[start:at])
        return at

    def _broken(self, line: bytes, *, complete: bool) -> bytes:
        """Return one line, without its CRLF, in pieces of lawful length; not `complete`: more of it follows."""
        pieces: list[bytes] = []
        start = 0
        limit = LINE_LIMIT
        reserve = 0 if complete else LINE_LIMIT
        while len(line) - start - reserve > limit:
            cut, space = self._place(line, start, start + limit)
            pieces.append(line[start:cut])
            pieces.append(b"\r\n" if space or not self._header else b"\r\n ")
            limit = LINE_LIMIT if space or not self._header else LINE_LIMIT - 1
            start = cut
            self.mended = True
        pieces.append(line[start:])
        return b"".join(pieces)

    def _place(self, line: bytes, start: int, end: int) -> tuple[int, bool]:
        """Return where to cut `line[start:end + 1]`, at most at `end`, and whether there is white space there."""
        first = end - SEARCH
        if self._header:
            # The continuation begins with the white space, and a line of white space alone would be lost to fields.
            cut = max(line.rfind(b" ", first, end), line.rfind(b"\t", first, end))
            if cut > start and line[start:cut].strip():
                return cut, True
        else:
            cut = max(line.rfind(b" ", first, end), line.rfind(b"\t", first, end)) + 1
            if cut > start:
                return cut, True
        cut = end
        for _ in range(_MARGIN - 1):
            if line[cut] & 0xC0 != 0x80:
                return cut, False
            cut -= 1
        return end, False  # no UTF-8: any place is as good
