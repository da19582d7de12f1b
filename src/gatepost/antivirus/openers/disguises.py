"""What bytes that look like nothing may be one step further: packed, encoded again, masked by a key.

Called by `scripts` for what the texts of a script decode to, since that step is the next line of the script. Only tried
where the bytes are of no known kind. OverBudget is all that is raised.
"""

import binascii
import re
import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Budget, Damaged, inflate
from gatepost.antivirus.kinds import Kind, detect_kind

UNTOLD: Final = frozenset({Kind.PICTURE, Kind.FONT, Kind.SOUND})
"""What scripts and addresses ordinarily hold; a decoder's faults are not looked for."""
_CARRIED: Final = frozenset(Kind) - UNTOLD - {Kind.MAIL, Kind.MBOX, Kind.LZMA, Kind.CPIO, Kind.COMPRESS, Kind.ARJ}
"""Kinds whose mark is long enough to be no chance."""
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s_-]{64,}+={0,2}\s*")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){32,}+\s*")
_ZLIB_STARTS: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_MARKS: Final = (
    b"PK\x03\x04", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"MSCF\0\0\0\0", b"\xd0\xcf\x11\xe0\xa1\xb1", b"%PDF-1",
    b"MZ\x90\0\x03", b"\x7fELF", b"L\0\0\0\x01\x14\x02", b"<html", b"<!DOC", b"<script",
)  # fmt: skip
"""Beginnings that a key of one byte is told by."""
_ZEROS, _ZEROS_END = 0x1C, 0x3C
"""Reserved words of the header of DOS (`e_res`, `e_res2`), zero in programs that linkers make."""
KEY_LONGEST: Final = 16
"""Bytes of a key that repeats itself at least once in them."""
LAYERS: Final = 4
"""Encodings in each other."""
SMALLEST: Final = 16


def decode_base64(text: bytes) -> bytes:
    """Decode base64, also the form for addresses, as tolerantly as programs do: other characters are passed over."""
    digits = text.translate(_URL_SAFE).translate(None, _NOT_BASE64)
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"==")


def is_telling(content: bytes) -> bool:
    """Tell whether content, or the beginning of it, is a file of a kind that nobody meets by chance."""
    return detect_kind(content) in _CARRIED


def see_through(content: bytes, budget: Budget) -> Iterator[bytes]:
    """Yield what content of no known kind becomes when it is decoded, unpacked or unmasked. OverBudget."""
    for _ in range(LAYERS):
        step = _step(content, budget)
        if step is None:
            return
        yield step
        if detect_kind(step) is not None:
            return
        content = step


def _step(content: bytes, budget: Budget) -> bytes | None:
    """Return what content is inside its outermost disguise, None when it has none that is known."""
    if len(content) < SMALLEST:
        return None
    if _HEX.fullmatch(content) is not None:
        return binascii.unhexlify(content.strip())
    if _BASE64.fullmatch(content) is not None:
        return decode_base64(content)
    for wbits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        if wbits > 0 and not content.startswith(_ZLIB_STARTS):
            continue
        try:
            plain, consumed, ended = inflate(memoryview(content), wbits, budget)
        except Damaged:
            continue
        if ended and plain and consumed >= len(content) - SMALLEST:
            return plain
    for mark in _MARKS:
        key = content[0] ^ mark[0]
        if key and bytes(byte ^ key for byte in content[: len(mark)]) == mark:
            return content.translate(bytes(value ^ key for value in range(256)))
    return _unmask_program(content)


def _unmask_program(content: bytes) -> bytes | None:
    """Return the program that a key of several bytes masks, None when it is none: a key shows itself in the zeros that
    stand in the header of every program.
    """
    zeros = content[_ZEROS:_ZEROS_END]
    if len(zeros) < _ZEROS_END - _ZEROS:
        return None
    for length in range(2, KEY_LONGEST + 1):
        if zeros[length:] == zeros[:-length]:
            key = bytes(zeros[(place - _ZEROS) % length] for place in range(length))
            if bytes(a ^ b for a, b in zip(content[:2], key, strict=False)) != b"MZ":
                return None
            mask = (key * (len(content) // length + 1))[: len(content)]
            return (int.from_bytes(content, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(content), "big")
    return None
