"""Small carriers and mail: shortcuts, notebooks, mail folders, encoded files, packed macros, and what their kind is."""

from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kind_names import conflicts
from gatepost.antivirus.kinds import detect_kind
from gatepost.antivirus.openers.activemime import open_active_mime
from gatepost.antivirus.openers.encoded import open_encoded
from gatepost.antivirus.openers.lnk import open_lnk
from gatepost.antivirus.openers.mailbase import open_mail, open_mbox
from gatepost.antivirus.openers.onenote import open_onenote

from .opened import check

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1500
_OPENERS: Final = (open_lnk, open_onenote, open_mbox, open_mail, open_encoded, open_active_mime)


def execute(data: bytes) -> None:
    """Open the input as what its first byte says, and ask for its kind."""
    if not data:
        return
    rest = data[1:]
    check(_OPENERS[data[0] % len(_OPENERS)], rest)
    kind = detect_kind(rest, "a.html", "text/html")
    assert isinstance(conflicts(kind, "a.pdf", "image/png"), str)
    assert detect_kind(rest) in (kind, None)


WORDS: Final = (
    b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F", b"\xe7\x16\xe3\xbde&\x11E\xa4\xc4\x8dM\x0b{\x9e\xac", b"\nFrom a\n", b"begin 644 a\n", b"=ybegin line=128 name=a\n",
    b"(This file must be converted with BinHex 4.0)\n:", b"ActiveMime\0\0", b"\x78\x9c", b"Content-Type: multipart/mixed; boundary=b\n", b"\n--b\n", b"%PDF-", b"PK\3\4",
    b"[Content_Types].xml", b"<html", b"<?xml", b"\xff\xfe", b"MZ", b"message/partial",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield one of each."""
    flags = (0xFF).to_bytes(4, "little")
    texts = b"".join(
        len(text).to_bytes(2, "little") + text.decode().encode("utf-16-le")
        for text in (b"d", b"r", b"w", b"/c calc", b"i")
    )
    info = (28).to_bytes(4, "little") * 2 + bytes(20)
    yield (
        b"\0L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F"
        + flags
        + bytes(52)
        + b"\x04\0abcd"
        + info
        + texts
        + b"\0\0\0\0"
        + b"appended" * 4
    )
    yield b"\1" + bytes(16) + WORDS[1] + (4).to_bytes(8, "little") + bytes(12) + b"MZ\0\0"
    yield b"\2From a Thu Jan  1 00:00:00 1970\nFrom: a\nTo: b\n\ntext\nFrom b\nSubject: x\n\nbegin 644 a\n#86)C\n`\nend\n"
    yield b"\3From: a\nTo: b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b--\n"
    yield b"\4(This file must be converted with BinHex 4.0)\n:#'0XB@dZCAKP!%9B43\"$E'&Y!!!!!!)J!!!!!EY969T3!!)!!!!%!!m!rrm!!,J:\n"
    yield b"\5ActiveMime\0\0" + bytes(38) + b"\x78\x9c\x4b\x4c\x4a\x06\x00\x02\x4d\x01\x27"
