"""Text as terms are matched in it: words in a row, one space between two, nothing else. Pure, linear.

Used for terms when they are compiled and for mail when it is looked at, so that both are written alike: `folded` text
of the view without its punctuation.
"""

import re
from typing import Final

import numpy as np

_WORD = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz")
_TABLE: Final = bytes(each if each in _WORD or each >= 0x80 else 0x20 for each in range(256))
"""ASCII without capitals (they are folded already) and without signs; other letters are bytes from 0x80 on."""
_SIGNS: Final = bytes(each for each in range(256) if _TABLE[each] == 0x20)
_SPACE: Final = 0x20
SHORT: Final = 600
"""Bytes of a text, a subject as a rule, that is cut into words sooner than arrays are made of it."""
_FOREIGN_SIGNS: Final = re.compile(rb"\xe2[\x80-\xaf][\x80-\xbf]|\xc2[\x80-\xbf]|\xe3\x80[\x80-\x9f]")
"""U+2000 to U+2BFF, U+0080 to U+00BF and U+3000 to U+301F: quotation marks, dashes, arrows, pictures."""
_SOFT_SIGNS: Final = re.compile(rb"\xf0\x9f[\x80-\xbf][\x80-\xbf]|\xef\xb8\x8f")
"""Emoji and the selector behind them."""
_ACCENTS: Final = {"a": "àáâãäå", "c": "ç", "e": "èéêë", "i": "ìíîï", "n": "ñ", "o": "òóôõöø", "u": "ùúûü", "y": "ýÿ"}
_ACCENT_LEAD: Final = 0xC3
"""First of the two bytes of these letters in UTF-8."""
_PLAIN: Final = np.zeros(256, dtype=np.uint8)
"""The plain letter, by the second byte; 0 for a letter without one (`ß` is two by folding)."""
for _plain, _letters in _ACCENTS.items():
    for _letter in _letters:
        _PLAIN[_letter.encode()[1]] = ord(_plain)
_YO: Final = (b"\xd1\x91", b"\xd0\xb5")
"""The Russian letter that most write without its dots."""


def build_wording(folded: str) -> bytes:
    """Return the words of a case-folded text in UTF-8, a space before, between and behind them."""
    raw = folded.encode("utf-8", "replace")
    if len(raw) < SHORT and folded.isascii():
        return b" ".join([b"", *raw.translate(_TABLE).split(), b""]) if raw.strip(_SIGNS) else b" "
    if not folded.isascii():
        raw = _FOREIGN_SIGNS.sub(b" ", raw)
        if b"\xf0\x9f" in raw or b"\xef\xb8" in raw:
            raw = _SOFT_SIGNS.sub(b" ", raw)
        raw = raw.replace(*_YO)
    accented = b"\xc3" in raw
    letters = np.frombuffer(bytearray(b" " + raw.translate(_TABLE) + b" "), np.uint8)
    words = letters != _SPACE
    kept = words.copy()
    kept[0] = True
    np.logical_or(words[1:], words[:-1], out=kept[1:])  # of a run of spaces the first; ten times as fast as `replace`
    if accented:
        leads = (letters == _ACCENT_LEAD).nonzero()[0]
        plain = _PLAIN[letters[leads + 1]]
        leads, plain = leads[plain > 0], plain[plain > 0]
        letters[leads + 1] = plain
        kept[leads] = False
    found: bytes = letters[kept].tobytes()
    return found
