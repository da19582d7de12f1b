"""Files that a script carries in its text and puts together at the reader's side: HTML smuggling, droppers.

`find_blobs` is called by `texts` for scripts that are files, by `html` for those in pages. Base64 and hex in quotes (in
pieces, too), lists of numbers, escapes, characters by number; what these hide once more is `openers.disguises`'
business. Linear in the text; nothing is raised but `OverBudget`.
"""

import binascii
import re
import struct
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.kinds import detect_kind
from gatepost.antivirus.openers.disguises import UNTOLD, decode_base64, is_telling, see_through

_JOIN = re.compile(
    rb"[\"'`]\s{0,200}+(?:[+,&](?:\s{0,20}_)?|(?:[;:]\s{0,200}+)?\$?[A-Za-z_$][\w$.]{0,60}\s{0,20}(?:\+=|=\s{0,20}\$?[\w$.]{1,60}\s{0,20}[+&]))"
    rb"\s{0,200}[\"'`]"
)
"""Between two pieces of one text: `'a' + 'b'`, `['a', 'b']`, `"a" & _ "b"`, `x = 'a'; x += 'b'`, `x = x & "b"`."""
_BASE64 = re.compile(
    rb"[\"'`>](?:data:[\w.+/;=-]{0,100},)?([A-Za-z0-9+/_-][A-Za-z0-9+/_\s\\-]{62,}+={0,2}+)\s{0,50}[\"'`<]"
)
_REVERSED = re.compile(rb"[\"'`](={1,2}+[A-Za-z0-9+/]{62,}+)[\"'`]")
_HEX = re.compile(rb"[\"'`]((?:[0-9a-fA-F]{2}){32,}+)[\"'`]")
_NUMBERS = re.compile(
    rb"[\[(,]\s{0,50}((?:(?:0[xX][0-9a-fA-F]{1,2}|-?[0-9]{1,3})\s{0,50},\s{0,50}){31,}(?:0[xX][0-9a-fA-F]{1,2}|-?[0-9]{1,3}))"
)
_WIDE_NUMBERS = re.compile(rb"[\[(]\s{0,50}((?:[0-9]{1,20}n?\s{0,50},\s{0,50}){7,}+[0-9]{1,20}n?)\s{0,50}[\])]")
_ESCAPES = re.compile(
    rb"(?:(?:\\x|%)[0-9a-fA-F]{2}|(?:\\u|%u)[0-9a-fA-F]{4}|\\u\{[0-9a-fA-F]{1,4}\}|\\[0-3][0-7]{2}){32,}+"
)
_ESCAPE = re.compile(
    rb"(?:\\x|%(?!u))([0-9a-fA-F]{2})|(?:\\u|%u)([0-9a-fA-F]{4})|\\u\{([0-9a-fA-F]{1,4})\}|\\([0-7]{3})"
)
_SEPARATED_HEX = re.compile(
    rb"[\"'`]((?:[0-9a-fA-F]{2}[^0-9A-Za-z\"'`]{1,2}){31,}+(?:[0-9a-fA-F]{2})?)[^0-9A-Za-z\"'`]{0,3}[\"'`]"
)
_SEPARATED = re.compile(rb"[\"'`]((?:[0-9]{1,3}[^0-9A-Za-z\"'`]{1,2}){31,}+(?:[0-9]{1,3})?)[^0-9A-Za-z\"'`]{0,3}[\"'`]")
_CHARACTERS = re.compile(
    rb"(?:chrw?\$?\s?\(\s?(?:&h[0-9a-f]{1,2}|[0-9]{1,3})\s?\)\s{0,9}+(?:[&+][\s_]{0,9}+)?+){16,}+", re.IGNORECASE
)
_CHARACTER = re.compile(rb"\(\s?(?:&[hH]([0-9a-fA-F]{1,2})|([0-9]{1,3}))")
_PIECE = re.compile(rb"[\"'`>]([A-Za-z0-9+/_-]{8,}+={0,2}+)(?=[\"'`<])")
_LONG: Final = b'"' + b"a" * 200
_QUOTES_AND_LINES: Final = bytes(
    ord('"') if each in b"\"'`" else ord("\n") if each in b"\r\n" else ord("a") for each in range(256)
)
_ARMOUR = re.compile(rb"-----BEGIN [A-Z0-9 ]{1,40}-----\s([A-Za-z0-9+/=\s]{64,}+)-----END")
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f")) + b"\x7f"
_BASE64_ALONE = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
BLOBS_LIMIT: Final = 5_000
"""Blobs of one script that are shown: about 20 µs each. Libraries carry some dozens."""
SHORTEST: Final = 64
"""Digits of a text that is decoded where it stands."""
LAYERS: Final = 2
"""Scripts in the texts of scripts: each is shorter than its text, so three readings are the whole cost."""
PIECES: Final = 3
"""Fewer pieces of a text are joined where they stand."""
STARTS: Final = 2_000
"""Pieces that are looked at for the beginning of a file: microseconds each."""
GATHERED: Final = 8
"""Files put together from pieces that stand apart."""
SMALLEST_TEXT: Final = 16
"""Bytes of a text that is a member: shorter ones are chance, and no script."""
HEAD: Final = 88
"""Digits whose content tells the kind of a file."""
_WIDTHS: Final = ((2, "H"), (4, "I"), (8, "Q"))


def is_text(content: bytes) -> bool:
    """Tell whether content is a text that is long enough to be no chance."""
    if len(content) < SMALLEST_TEXT or content.translate(None, _CONTROLS) != content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def find_blobs(script: bytes, budget: Budget, layers: int = LAYERS) -> Iterator[bytes]:
    """Yield what the texts in a script decode to; pictures, fonts and sounds are left out. Those that are scripts again
    are looked into as well. OverBudget.
    """
    joined = _JOIN.sub(b"", script)
    for content in _decoded(joined):
        if not content:
            continue
        kind = detect_kind(content)
        if kind in UNTOLD:
            continue
        yield content
        if kind is None:
            yield from see_through(content, budget)
            if layers and is_text(content):
                yield from find_blobs(content, budget, layers - 1)
    yield from find_pieces(joined)


def find_pieces(text: bytes) -> Iterator[bytes]:
    """Yield files whose base64 stands in pieces apart from each other: in variables, properties, attributes, elements;
    or among characters that are taken out before it is decoded; or backwards.
    """
    for straight in _find_long(text):
        backwards = straight[::-1]
        if _BASE64_ALONE.fullmatch(straight) is None and is_telling(decode_base64(straight[:HEAD])):
            yield decode_base64(straight)
        if is_telling(decode_base64(backwards[:HEAD])):
            yield decode_base64(backwards)
    pieces = _PIECE.findall(text)
    if len(pieces) < PIECES:
        return
    whole = b"".join(pieces)
    at = given = 0
    for number, piece in enumerate(pieces[:STARTS]):
        if len(piece) < SHORTEST and is_telling(decode_base64(whole[at : at + HEAD])):
            padded = any(b"=" in each for each in pieces[number:-1])
            yield b"".join(map(decode_base64, pieces[number:])) if padded else decode_base64(whole[at:])
            given += 1
            if given >= GATHERED:
                return
        at += len(piece)


def _find_long(text: bytes) -> Iterator[bytes]:
    """Yield the texts of a line that stand in quotes and are long. Searches for bytes cost a tenth of an expression."""
    shape = text.translate(_QUOTES_AND_LINES)
    start = shape.find(_LONG)
    while start >= 0:
        end = shape.find(b'"', start + len(_LONG))
        if end < 0:
            return
        whole = shape.find(b"\n", start + len(_LONG), end) < 0
        if whole:
            yield text[start + 1 : end]
        start = shape.find(_LONG, end + whole)


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
        yield bytes(_read_number(number.strip()) & 0xFF for number in found[1].split(b","))
    for found in _ESCAPES.finditer(text):
        values = [_read_escape(each) for each in _ESCAPE.finditer(found[0])]
        if all(value < 256 for _, value in values):  # characters that stand for bytes
            yield bytes(value for _, value in values)
        if any(wide for wide, _ in values):  # 16-bit units
            yield b"".join(value.to_bytes(2 if wide else 1, "little") for wide, value in values)
    yield from _decoded_rarely(text)


def _read_escape(found: re.Match[bytes]) -> tuple[bool, int]:
    """Return (whether it is a 16-bit unit, its value)."""
    if found[4]:
        return False, int(found[4], 8)
    return found[1] is None, int(found[1] or found[2] or found[3], 16)


def _decoded_rarely(text: bytes) -> Iterator[bytes]:
    for found in _SEPARATED.finditer(text):
        numbers = [int(number) for number in re.findall(rb"[0-9]+", found[1])]
        if max(numbers) < 256:
            yield bytes(numbers)
    for found in _SEPARATED_HEX.finditer(text):
        yield binascii.unhexlify(b"".join(re.findall(rb"[0-9a-fA-F]{2}", found[1])))
    for found in _WIDE_NUMBERS.finditer(text):
        wide = [int(number.strip().rstrip(b"n")) for number in found[1].split(b",")]
        for size, form in _WIDTHS:
            if 256 <= max(wide) < 1 << 8 * size:
                content = struct.pack(f"<{len(wide)}{form}", *wide)
                if is_telling(content):
                    yield content
    if b"hr" in text or b"HR" in text:
        for found in _CHARACTERS.finditer(text):
            values = [int(each[1], 16) if each[1] else int(each[2]) for each in _CHARACTER.finditer(found[0])]
            if max(values) < 256:
                yield bytes(values)
    if b"-----BEGIN" in text:
        for found in _ARMOUR.finditer(text):
            content = decode_base64(found[1])
            if is_telling(content):
                yield content


def _read_number(raw: bytes) -> int:
    """Return the value of `_NUMBERS`' numbers: hexadecimal behind 0x, else decimal whatever zeros are in front."""
    return int(raw, 16 if raw[:2] in (b"0x", b"0X") else 10)
