"""Encodings older than MIME: uuencode, yEnc and BinHex, as transfer encoding and as blocks inside text.

Called by `decode`, by the filter (`find_uu_blocks` on every text body), and by `edit` for what is written back. Nothing
raises; damaged lines are decoded as far as they go.
"""

import binascii
import re
from collections.abc import Callable

import msgspec

MAX_BLOCKS = 1000
"""Encoded blocks taken out of one text; the last one then reaches to the end of the text. Decoding ends where a block
does, so whoever gets as many has not seen everything."""
TOO_MANY = f"more than {MAX_BLOCKS - 1} encoded blocks in one text"

_BEGIN = re.compile(
    rb"^(?:begin[ \t]++[0-9]{1,7}[ \t]++(?P<uu>[^\r\n]*+)|begin-base64[ \t]++[0-9]{1,7}[ \t]++(?P<base64>[^\r\n]*+)"
    rb"|=ybegin[ \t][^\r\n]*?(?:name=(?P<yenc>[^\r\n]*+))?"
    rb"|\(This file must be converted with (?P<binhex>BinHex)[^\r\n]*+)\r*+\n",
    re.MULTILINE,
)
_UU_END = re.compile(rb"^(?:end[ \t\r]*+(?:\n|\Z)|en?+\Z)", re.MULTILINE)
_BASE64_END = re.compile(rb"^====[ \t\r]*+(?:\n|\Z)", re.MULTILINE)
_BINHEX_END = re.compile(rb":[^:]{3,}:")
_YENC_END = re.compile(rb"^=yend\b[^\n]*+(?:\n|\Z)", re.MULTILINE)
_UU_LINE = re.compile(rb"[ -`][ -`]*+[ \t\r]*+(?:\n|\Z)")
UU_BEGIN_LINE = re.compile(rb"\s*+begin(?:-base64)?[ \t][^\n]*+\n")
_YENC_CONTROL = re.compile(rb"^=y(?:begin|part|end)\b[^\n]*+(?:\n|\Z)", re.MULTILINE)
_YENC_ESCAPE = re.compile(rb"=(.)", re.DOTALL)
_YENC_TABLE = bytes((value - 42) % 256 for value in range(256))
_BINHEX_ALPHABET = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BINHEX_TABLE = bytes.maketrans(_BINHEX_ALPHABET, _BASE64_ALPHABET)
_NOT_BINHEX = bytes(set(range(256)) - set(_BINHEX_ALPHABET))
_BINHEX_RUN = re.compile(rb"(.?)\x90(.)", re.DOTALL)
_RUN_BYTE = 0x90
_UU_BYTES = 45
"""Bytes of a uuencoded line, as all encoders make them."""
_NAMELESS = "file"
BINHEX_NAME_SEARCH = 200
"""Encoded bytes that hold the longest name (63 bytes), with the line ends between."""


class Block(msgspec.Struct, frozen=True, array_like=True):
    """An encoded block in a text: the lines [start, end), begin and end line included, and the text between them."""

    start: int
    end: int
    name: str
    """As given on the begin line, without path."""
    data_start: int
    data_end: int
    decoder: Callable[[bytes], tuple[bytes, bool]]
    """Takes the text between the lines, returns (decoded bytes, whether it was damaged)."""


def find_uu_blocks(content: bytes, start: int, end: int) -> list[Block]:
    """Return the uuencoded (also `begin-base64`), yEnc and BinHex blocks in [start, end) of `content`, in order.

    A block without its end line reaches to `end`. Text that only looks like a begin line is no block.
    """
    if content.find(b"begin", start, end) < 0 and content.find(b"converted with BinHex", start, end) < 0:
        return []
    blocks: list[Block] = []
    position = start
    while begin := _BEGIN.search(content, position, end):
        position = begin.end()
        kind = begin.lastgroup
        if kind == "uu":
            if not _UU_LINE.match(content, position, end):
                continue
            stop, decoder = _UU_END, decode_uu
        elif kind == "base64":
            stop, decoder = _BASE64_END, _decode_uu_base64
        elif kind == "binhex":
            stop, decoder = _BINHEX_END, decode_binhex
        else:
            stop, decoder = _YENC_END, decode_yenc
        last = stop.search(content, position, end) if len(blocks) < MAX_BLOCKS - 1 else None
        data_end = last.start() if last else end
        raw_name = begin[kind] if kind else b""
        if kind == "binhex":
            data_end = last.end() if last else end
            raw_name = _binhex_name(content[position : position + BINHEX_NAME_SEARCH])
        name = raw_name.decode("utf-8", "replace").strip().rpartition("/")[2]
        blocks.append(Block(begin.start(), last.end() if last else end, name, begin.end(), data_end, decoder))
        position = blocks[-1].end
    return blocks


def decode_block(content: bytes, block: Block) -> tuple[bytes, bool]:
    """Return (decoded bytes, whether damaged) of a block found in `content`."""
    return block.decoder(content[block.data_start : block.data_end])


def encode_block(data: bytes, name: str) -> bytes:
    """Return `data` as a uuencoded block of whole lines, which every reader of encoded blocks knows. `name`: its file
    name; what cannot stand in a begin line becomes `?`.
    """
    safe = "".join(each if " " <= each <= "~" else "?" for each in name) or _NAMELESS
    lines = [
        binascii.b2a_uu(data[start : start + _UU_BYTES], backtick=True)[:-1]
        for start in range(0, len(data) or 1, _UU_BYTES)
    ]
    if data:
        lines.append(b"`")
    return b"\r\n".join((b"begin 644 " + safe.encode("ascii"), *lines, b"end", b""))


def decode_uu(raw: bytes) -> tuple[bytes, bool]:
    """Decode uuencoded lines, with or without begin and end line around them."""
    if begin := UU_BEGIN_LINE.match(raw):
        raw = raw[begin.end() :]
    if last := _UU_END.search(raw):
        raw = raw[: last.start()]
    pieces: list[bytes] = []
    damaged = False
    for line in raw.splitlines():
        if not line or line.isspace():
            continue
        try:
            pieces.append(binascii.a2b_uu(line))
        except binascii.Error:
            damaged = True
            # Some encoders leave junk behind the data, or miscount: take what the length character promises.
            wanted = (((line[0] - 32) & 63) * 4 + 5) // 3
            try:
                pieces.append(binascii.a2b_uu(line[: 1 + wanted]))
            except binascii.Error:
                continue
    return b"".join(pieces), damaged


def _decode_uu_base64(raw: bytes) -> tuple[bytes, bool]:
    text = raw.translate(None, bytes(set(range(256)) - set(_BASE64_ALPHABET)))
    if len(text) % 4 == 1:
        text = text[:-1]
    return binascii.a2b_base64(text + b"=="), False


def decode_yenc(raw: bytes) -> tuple[bytes, bool]:
    """Decode yEnc lines, with or without their control lines."""
    text = _YENC_CONTROL.sub(b"", raw).translate(None, b"\r\n")
    damaged = text.endswith(b"=")
    if b"=" in text:
        text = _YENC_ESCAPE.sub(lambda escape: bytes(((escape[1][0] - 64) % 256,)), text)
    return text.translate(_YENC_TABLE), damaged


def decode_binhex(raw: bytes) -> tuple[bytes, bool]:
    """Decode BinHex 4.0 (RFC 1741) and return the data fork, or the whole stream when its header makes no sense."""
    stream = _binhex_stream(raw)
    name_length = stream[0] if stream else 0
    # 1 length, name, version, type 4, creator 4, flags 2, data length 4, resource length 4, checksum 2
    data = name_length + 22
    length = int.from_bytes(stream[name_length + 12 : name_length + 16], "big")
    if len(stream) < data or data + length > len(stream):
        return stream, True
    return stream[data : data + length], False


def _binhex_stream(raw: bytes) -> bytes:
    """Return what stands between the colons, decoded and with its runs expanded."""
    opened = raw.find(b":")
    closed = raw.find(b":", opened + 1)
    text = raw[opened + 1 : closed if closed > 0 else len(raw)].translate(_BINHEX_TABLE, _NOT_BINHEX)
    if len(text) % 4 == 1:
        text = text[:-1]
    stream = binascii.a2b_base64(text + b"==")
    return _BINHEX_RUN.sub(_expand_run, stream) if b"\x90" in stream else stream


def _binhex_name(raw: bytes) -> bytes:
    """Return the file name from the beginning of a BinHex text (RFC 1741 §4.3)."""
    stream = _binhex_stream(raw)
    return stream[1 : 1 + stream[0]] if stream else b""


def _expand_run(run: re.Match[bytes]) -> bytes:
    """Expand `c 0x90 n` to n times c; `0x90 0x00` is the byte 0x90 itself."""
    count = run[2][0]
    return run[1] + bytes((_RUN_BYTE,)) if count == 0 else run[1] * count
