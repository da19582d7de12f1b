"""Transfer encodings: what an encoder of the standard library wrote comes back, and damage is decoded as far as it goes."""

import base64
import binascii
import quopri
from collections.abc import Iterator
from typing import Final

from gatepost.mime.blocks import decode_binhex, decode_block, decode_uu, decode_yenc, find_uu_blocks
from gatepost.mime.decode import decode_base64, decode_quoted_printable, decode_range
from gatepost.mime.part import Encoding

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1200
_GROWTH: Final = 400
"""Bytes out for one in: a run of BinHex makes 255 of three characters."""


def execute(data: bytes) -> None:
    """Decode the rest of the input in every way; take it as content, encode it, and look for it."""
    if not data:
        return
    flags, rest = data[0], data[1:]
    for encoding in Encoding:
        out = decode_range(rest, 0, len(rest), encoding)
        assert len(out.data) <= _GROWTH * len(rest) + 16
    assert decode_base64(base64.encodebytes(rest)).data == rest
    assert decode_base64(base64.b64encode(rest).rstrip(b"=")).data == rest
    assert decode_quoted_printable(quopri.encodestring(rest, quotetabs=True)).replace(b"\r\n", b"\n") == rest.replace(
        b"\r\n", b"\n"
    )
    uu = _uu(rest)
    assert decode_uu(uu) == (rest, False)
    yenc = _yenc(rest, 1 + flags % 128)
    assert decode_yenc(yenc) == (rest, False)
    binhex = _binhex(rest)
    assert decode_binhex(binhex) == (rest, False)
    for text in (uu, b"before\n" + yenc, b"x\n" + binhex + b"after"):
        blocks = find_uu_blocks(text, 0, len(text))
        assert [decode_block(text, block)[0] for block in blocks] == [rest]
        assert [block.name for block in blocks] == ["a"]
    for block in find_uu_blocks(rest, 0, len(rest)):
        decode_block(rest, block)


def _uu(content: bytes) -> bytes:
    lines = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"begin 644 a\n" + b"".join(lines) + b"`\nend\n"


def _yenc(content: bytes, width: int) -> bytes:
    out = bytearray()
    column = 0
    for byte in content:
        value = (byte + 42) % 256
        if value in b"\0\n\r=." or (value in b"\t " and column in (0, width - 1)):
            out += bytes((61, (value + 64) % 256))
            column += 1
        else:
            out.append(value)
        column += 1
        if column >= width:
            out += b"\r\n"
            column = 0
    if out.endswith((b"\t", b" ")):
        out += b"\r\n"
    return (
        b"=ybegin line=%d size=%d name=a\r\n" % (width, len(content))
        + bytes(out)
        + b"\r\n=yend size=%d\r\n" % len(content)
    )


_ALPHABET: Final = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_TO_BINHEX: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", _ALPHABET)


def _binhex(content: bytes) -> bytes:
    header = b"\1a\0TEXTabcd\0\0" + len(content).to_bytes(4, "big") + bytes(4) + b"\0\0"
    stream = (header + content + bytes(4)).replace(b"\x90", b"\x90\0")
    text = base64.b64encode(stream).rstrip(b"=").translate(_TO_BINHEX)
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return b"(This file must be converted with BinHex 4.0)\n:" + lines + b":\n"


WORDS: Final = (
    b"begin 644 a\n", b"begin-base64 644 a\n", b"\nend\n", b"====\n", b"=ybegin line=128 name=a\n", b"=ypart begin=1 end=2\n", b"=yend size=1\n", b"=3D", b"= \n",
    b"=\r\n", b"==", b"QUJD", b"(This file must be converted with BinHex 4.0)\n:", b":", b"#86)C\n", b"`\n", b"\r", b"\\", b"\x90\x00", b"\x90\xff",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield content, and content encoded."""
    content = b"text \x00\x90\xff=.\r\n- " * 6
    yield b"\0" + content
    for encoded in (
        _uu(content),
        _yenc(content, 40),
        _binhex(content),
        base64.encodebytes(content),
        quopri.encodestring(content),
    ):
        yield b"\x20" + encoded
    yield b"\x01begin-base64 644 a\nQUJD\n====\nQQ==QQ==QUI\nQ= \r=\t\n"
