"""TNEF files and the compressed RTF in them."""

import struct
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.openers.tnef import open_tnef

from .opened import check

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1500


def execute(data: bytes) -> None:
    """Open the input as TNEF."""
    check(open_tnef, b"\x78\x9f\x3e\x22" + data)


WORDS: Final = (
    b"\x01\x03\x90\x06\x00", b"\x02\x02\x90\x06\x00", b"\x02\x0f\x80\x06\x00", b"\x02\x10\x80\x01\x00", b"\x02\x05\x90\x06\x00",
    b"\x01\x0c\x80\x02\x00", b"\x02\x01\x09\x10", b"\x1f\x00\x07\x37", b"\x0d\x00\x01\x37", b"LZFu", b"MELA", b"\x01\x00\x00\x00",
)  # fmt: skip


def _attribute(level: int, number: int, value: bytes) -> bytes:
    return struct.pack("<BLL", level, number, len(value)) + value + b"\0\0"


def seeds() -> Iterator[bytes]:
    """Yield a message with an attachment, and one with properties of each kind."""
    rtf = b"\x0d\x00\x00\x00\x05\x00\x00\x00LZFu\0\0\0\0\x00abcde"
    properties = (
        struct.pack("<LHHLL", 2, 0x102, 0x1009, 1, len(rtf))
        + rtf
        + b"\0" * (-len(rtf) % 4)
        + struct.pack("<HHL", 3, 0x0E, 1)
    )
    named = (
        struct.pack("<LHH16sLL", 1, 0x1F, 0x8001, b"g" * 16, 1, 4) + b"a\0b\0" + struct.pack("<LL", 1, 2) + b"x\0\0\0"
    )
    yield (
        b"\x01\x00"
        + _attribute(2, 0x69002, b"r" * 14)
        + _attribute(2, 0x18010, b"a.exe\0")
        + _attribute(2, 0x6800F, b"MZ")
    )
    yield (
        b"\x01\x00"
        + _attribute(1, 0x69003, properties)
        + _attribute(1, 0x69003, named)
        + _attribute(1, 0x2800C, b"text\0")
    )
