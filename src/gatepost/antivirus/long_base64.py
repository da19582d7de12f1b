"""Long base64 in texts that are no encoding themselves: JSON, LDIF, YAML, PEM, pages, notes.

Called by `kinds`, which asks whether a text file holds any, and by `openers.texts`, which decodes it. Pure, linear.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import hyperscan

SHORTEST: Final = 160
"""Characters of what is looked at: shorter ones are keys, digests and addresses."""
LINE: Final = 40
"""Characters of a line of base64 that stands in several."""
_DIGITS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BLANKS: Final = b" \t\n\r\v\f"
_ONE: Final = re.compile(rb"[A-Za-z0-9+/]{160,}+={0,2}")
_MANY: Final = re.compile(rb"[A-Za-z0-9+/]{40,}+(?:\s++[A-Za-z0-9+/]{40,}+)++(?:\s++[A-Za-z0-9+/]++)?+={0,2}")
_ESCAPES: Final = (
    (b"\\/", b"/"),
    (b"\\r", b""),
    (b"\\n", b"\n"),
    (b"\\u002b", b"+"),
    (b"\\u002f", b"/"),
    (b"\\u003d", b"="),
)
"""How JSON writes signs of base64 and its line ends."""


class _Search:
    """Finds where an expression ends first, by Hyperscan: of a class repeated 40 times it reads 3 GB a second."""

    def __init__(self, expression: bytes) -> None:
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(expressions=[expression], ids=[0], elements=1, flags=[hyperscan.HS_FLAG_SINGLEMATCH])
        self._database.scratch = hyperscan.Scratch(self._database)

    def end(self, text: bytes, start: int = 0) -> int:
        """Return the end of the match that ends first, -1 when there is none from `start` on."""
        found: list[int] = []
        rest: Any = memoryview(text)[start:]  # the library reads any buffer, which its types do not say
        try:
            self._database.scan(rest, _stop, 0, found)
        except hyperscan.ScanTerminated:
            return start + found[0]
        return -1


def _stop(_number: int, _start: int, end: int, _flags: int, found: Any) -> bool:
    found.append(end)
    return True


_ONE_LINE: Final = _Search(rb"[A-Za-z0-9+/]{160}")
_TWO_LINES: Final = _Search(rb"[A-Za-z0-9+/]{40}\s+[A-Za-z0-9+/]{40}")
_MAYBE_ANY: Final = _Search(rb"[A-Za-z0-9+/\\\s]{158}")
"""What all of them need, without the signs that may stand at the end: few texts go on so long without a point."""
_MAYBE_LINE: Final = _Search(rb"[A-Za-z0-9+/\\]{40}")
_MAYBE_ONE: Final = _Search(rb"[A-Za-z0-9+/\\]{80}")
_MAYBE_TWO: Final = _Search(rb"[A-Za-z0-9+/\\]{40}\s+[A-Za-z0-9+/\\]{40}")
"""The same, and more, where escapes are not resolved: those are of these characters, too, and join two lines to one."""


def find_long_base64(text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield where long base64 stands in `text`, in one line or in many; the former may stand in the latter, too."""
    if not _may_hold(text):
        return
    at = 0
    while (end := _ONE_LINE.end(text, at)) >= 0:
        found = next(_ONE.finditer(text, end - SHORTEST))
        yield found
        at = found.end()
    at = 0
    while (end := _TWO_LINES.end(text, at)) >= 0:
        found = next(_MANY.finditer(text, _begin_of_line(text, at, end - LINE)))
        if len(found[0]) >= SHORTEST:
            yield found
        at = found.end()


def _may_hold(text: bytes) -> bool:
    """Whether there may be any: the cheapest questions come first."""
    if _MAYBE_ANY.end(text) < 0 or _MAYBE_LINE.end(text) < 0:
        return False
    return _MAYBE_ONE.end(text) >= 0 or _MAYBE_TWO.end(text) >= 0


def _begin_of_line(text: bytes, at: int, following: int) -> int:
    """Return where the line of base64 in front of the one at `following` begins, not before `at`."""
    end = at + len(text[at:following].rstrip(_BLANKS))
    return at + len(text[at:end].rstrip(_DIGITS))


def holds_long_base64(text: bytes) -> bool:
    """Whether there is any in `text` as it stands, or as JSON writes it."""
    return _may_hold(text) and next(find_long_base64(plain_text(text)), None) is not None


def plain_text(text: bytes) -> bytes:
    """Return the text with those escapes of JSON resolved that stand in base64."""
    if b"\\" in text:
        for escape, sign in _ESCAPES:
            text = text.replace(escape, sign)
    return text
