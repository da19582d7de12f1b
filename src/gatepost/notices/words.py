"""Encoded words (RFC 2047): text beyond ASCII in header fields of ours, and in front of others'. Pure."""

import binascii
from typing import Final

WORD_BYTES: Final = 45
"""Bytes of text in one word: `=?utf-8?B?`, 60 characters of base64 and `?=` stay below the 75 of RFC 2047 §2."""


def encode_words(text: str) -> str:
    """Return `text` as it is when it is printable ASCII, else in encoded words, each on a line of its own."""
    if text.isascii() and text.isprintable():
        return text
    pieces: list[bytearray] = [bytearray()]
    for character in text:
        raw = character.encode("utf-8", "replace")
        if len(pieces[-1]) + len(raw) > WORD_BYTES:  # a word holds whole characters (RFC 2047 §5)
            pieces.append(bytearray())
        pieces[-1] += raw
    return "\r\n ".join(f"=?utf-8?B?{binascii.b2a_base64(piece, newline=False).decode()}?=" for piece in pieces)
