"""Parts of Office documents: compound files with streams of every kind, VBA, workbooks, XML and binary parts."""

import contextlib
import math
import struct
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Budget, Damaged, OverBudget
from gatepost.antivirus.openers.biff import read_workbook
from gatepost.antivirus.openers.msg import open_msg
from gatepost.antivirus.openers.ole import open_ole
from gatepost.antivirus.openers.ooxml import look_into
from gatepost.antivirus.openers.package import parse_embedded, parse_package
from gatepost.antivirus.openers.vba import decompress, open_project
from gatepost.antivirus.opening import Opening
from gatepost.model.finding import ScanOptions

from .opened import check, look_at

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 4096
_PARTS: Final = (
    "word/document.xml",
    "_rels/a.rels",
    "xl/macrosheets/sheet1.bin",
    "xl/externalLinks/externalLink1.bin",
    "content.xml",
)


def execute(data: bytes) -> None:
    """Read the input as what its first byte says."""
    if not data:
        return
    which, rest = data[0] % 6, data[1:]
    options = ScanOptions()
    opening = Opening(Budget(options, math.inf), options)
    if which == 0:
        check(open_ole, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + rest)
    elif which == 1:
        check(open_msg, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + rest)
    elif which == 2:
        half = len(rest) // 2
        look_at(open_project({"dir": rest[:half], "module1": rest[half:]}, opening))
        with contextlib.suppress(Damaged, OverBudget):
            decompress(rest, 0, opening.budget)
    elif which == 3:
        sheets = read_workbook(rest)
        assert all(isinstance(line, str) for line in sheets.macros + sheets.links)
    elif which == 4:
        look_at(look_into(_PARTS[rest[0] % len(_PARTS)] if rest else "a", rest[1:], opening))
    else:
        parse_package(rest)
        parse_embedded(rest)


WORDS: Final = (
    b"\x01\x19\xb0\x00Attribut\x00e", b"\x09\x08\x10\x00\x00\x06\x40\x00", b"\x85\x00", b"\xae\x01", b"\x06\x00", b"\x18\x00", b"\x23\x00", b"\x2f\x00",
    b"W\0o\0r\0k\0b\0o\0o\0k\0", b"V\0B\0A\0", b"d\0i\0r\0", b"\x01\0O\0l\0e\0001\0000\0N\0a\0t\0i\0v\0e\0", b"<Relationship ", b'TargetMode="External"',
    b'Target="file:', b'<ddeLink ddeService="cmd"', b"macrosheet", b"<f>", b"instrText", b"\xfe\xff\xff\xff", b"\xff\xff\xff\xff", b"\x00\x00\x03\x00",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield the smallest compound file with a few streams, and parts of each kind."""
    names = ("Root Entry", "Workbook", "WordDocument", "\x01Ole10Native", "EncryptedPackage", "__substg1.0_37010102")
    for shown in names[1:]:
        yield b"\0" + _compound(shown)[8:]
    yield b"\1" + _compound(names[5])[8:]
    yield b"\2\x01\x19\xb0\x00Attribut\x00e VB_Name = \x01\x03\xb0abcd\x08\x01\x00"
    yield b"\3\x09\x08\x04\x00\x00\x06\x40\x00\x06\x00\x1d\x00" + bytes(20) + b"\x07\x00\x17\x01\x00a\x41\x6e\x00"
    yield b'\4\1<Relationship Type="a/oleObject" Target="http://a" TargetMode="External"/>'
    yield b'\4\0<w:fldChar w:fldCharType="begin"/><w:instrText>DDE</w:instrText>'
    yield b"\5\x20\0\0\0\x02\0a.exe\0C:\\a\0\0\0\3\0\4\0\0\0a.e\0\2\0\0\0MZ"


def _compound(name: str) -> bytes:
    def entry(label: str, kind: int, child: int, start: int, size: int) -> bytes:
        raw = label.encode("utf-16-le")
        free = 0xFFFFFFFF
        return raw.ljust(64, b"\0") + struct.pack(
            "<HBBLLL16xL16xLQ", len(raw) + 2, kind, 1, free, free, child, 0, start, size
        )

    header = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(16)
        + struct.pack("<5H6x3L4x5L", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 4096, 2, 1, 0xFFFFFFFE, 0)
    )
    header += struct.pack("<109L", 0, *([0xFFFFFFFF] * 108))
    fat = struct.pack("<128L", 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFE, 0xFFFFFFFE, *([0xFFFFFFFF] * 124))
    directory = entry("Root Entry", 5, 1, 3, 512) + entry(name, 2, 0xFFFFFFFF, 0, 64) + bytes(256)
    mini_fat = struct.pack("<128L", 0xFFFFFFFE, *([0xFFFFFFFF] * 127))
    return header + fat + directory + mini_fat + bytes(512)
