"""Long base64 in texts that are no encoding themselves: JSON, LDIF, YAML, PEM, pages, notes.

Called by `kinds`, which asks whether a text file holds any, and by `openers.texts`, which decodes it. Pure, linear.
"""

import ctypes
import re
from collections.abc import Iterator
from typing import Final

SHORTEST: Final = 160
"""Characters of what is looked at: shorter ones are keys, digests and addresses."""
_PATTERNS: Final = (
    re.compile(rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{160,}+={0,2}"),
    re.compile(rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}+(?:\s++[A-Za-z0-9+/]{40,}+)++(?:\s++[A-Za-z0-9+/]++)?+={0,2}"),
)
"""In one line; in many. Tried at its beginning alone: a line may have a million places."""
_MARK_DIGITS: Final = bytes(ord("a") if re.match(rb"[A-Za-z0-9+/]", bytes([each])) else ord(" ") for each in range(256))
_RUN: Final = b"a" * 40
"""What both of them need: a glance at a text without it costs a fiftieth of the search."""
_ESCAPES: Final = (
    (b"\\/", b"/"),
    (b"\\r", b""),
    (b"\\n", b"\n"),
    (b"\\u002b", b"+"),
    (b"\\u002f", b"/"),
    (b"\\u003d", b"="),
)
"""How JSON writes signs of base64 and its line ends."""

# The C library's search: a third of what bytes.find takes for a needle of one letter.
_memmem = ctypes.CDLL(None).memmem
_memmem.restype = ctypes.c_void_p
_memmem.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


def find_long_base64(text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield where long base64 stands in `text`, in one line or in many; the former may stand in the latter, too."""
    if _memmem(text.translate(_MARK_DIGITS), len(text), _RUN, len(_RUN)) is None:
        return
    for pattern in _PATTERNS:
        for found in pattern.finditer(text):
            if len(found[0]) >= SHORTEST:
                yield found


def holds_long_base64(text: bytes) -> bool:
    """Whether there is any in `text` as it stands, or as JSON writes it."""
    return next(find_long_base64(plain_text(text)), None) is not None


def plain_text(text: bytes) -> bytes:
    """Return the text with those escapes of JSON resolved that stand in base64."""
    if b"\\" in text:
        for escape, sign in _ESCAPES:
            text = text.replace(escape, sign)
    return text
