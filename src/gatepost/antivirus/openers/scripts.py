"""Files that a script carries in its text and puts together at the reader's side: HTML smuggling, droppers.

Called by `html` for scripts in pages. Base64 and hex in quotes (also in pieces joined by `+`, also backwards), lists of
byte values, escapes. Pure; linear in the text.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import Kind, detect_kind

_JOIN = re.compile(rb"[\"'`]\s{0,200}(?:[+,]|;\s{0,200}[A-Za-z_$][\w$.]{0,60}\s{0,20}\+=)\s{0,200}[\"'`]")
"""Between two pieces of one text: `'a' + 'b'`, `['a', 'b']`, `x = 'a'; x += 'b'`."""
_BASE64 = re.compile(
    rb"[\"'`>](?:data:[\w.+/;=-]{0,100},)?([A-Za-z0-9+/_-][A-Za-z0-9+/_\s\\-]{62,}+={0,2}+)\s{0,50}[\"'`<]"
)
_REVERSED = re.compile(rb"[\"'`](={1,2}+[A-Za-z0-9+/]{62,}+)[\"'`]")
_HEX = re.compile(rb"[\"'`]((?:[0-9a-fA-F]{2}){32,}+)[\"'`]")
_NUMBERS = re.compile(
    rb"[\[(,]\s{0,50}((?:(?:0[xX][0-9a-fA-F]{1,2}|-?[0-9]{1,3})\s{0,50},\s{0,50}){31,}(?:0[xX][0-9a-fA-F]{1,2}|-?[0-9]{1,3}))"
)
_ESCAPES = re.compile(rb"(?:(?:\\x|%)[0-9a-fA-F]{2}|(?:\\u|%u)[0-9a-fA-F]{4}|\\u\{[0-9a-fA-F]{1,4}\}){32,}+")
_ESCAPE = re.compile(rb"(?:\\x|%(?!u))([0-9a-fA-F]{2})|(?:\\u|%u)([0-9a-fA-F]{4})|\\u\{([0-9a-fA-F]{1,4})\}")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
BLOBS_LIMIT: Final = 5_000
"""Blobs of one script that are shown: about 20 µs each. Libraries carry some dozens."""
_UNTOLD: Final = frozenset({Kind.PICTURE, Kind.FONT, Kind.SOUND})


def find_blobs(script: bytes) -> Iterator[bytes]:
    """Yield what the texts in a script decode to; pictures, fonts and sounds are left out."""
    joined = _JOIN.sub(b"", script)
    for content in _decoded(joined):
        if content and detect_kind(content) not in _UNTOLD:
            yield content


def _decoded(text: bytes) -> Iterator[bytes]:
    hexes: set[int] = set()
    for found in _HEX.finditer(text):
        hexes.add(found.start(1))
        yield binascii.unhexlify(found[1])
    for found in _BASE64.finditer(text):
        if found.start(1) not in hexes:
            yield decode_base64(found[1])
    for found in _REVERSED.finditer(text):
        yield decode_base64(found[1][::-1])
    for found in _NUMBERS.finditer(text):
        yield bytes(int(number, 0) & 0xFF for number in _plain_numbers(found[1]))
    for found in _ESCAPES.finditer(text):
        values = [(each[1] is None, int(each[1] or each[2] or each[3], 16)) for each in _ESCAPE.finditer(found[0])]
        if all(value < 256 for _, value in values):  # characters that stand for bytes
            yield bytes(value for _, value in values)
        if any(wide for wide, _ in values):  # 16-bit units
            yield b"".join(value.to_bytes(2 if wide else 1, "little") for wide, value in values)


def _plain_numbers(raw: bytes) -> Iterator[str]:
    for number in raw.split(b","):
        text = number.strip().decode("ascii")
        yield text if text[:2] in ("0x", "0X") else (text.lstrip("0") or "0") if text[:1] != "-" else text


def decode_base64(text: bytes) -> bytes:
    """Decode base64, also the form for addresses, as tolerantly as programs do: other characters are passed over."""
    digits = text.translate(_URL_SAFE).translate(None, _NOT_BASE64)
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"==")
