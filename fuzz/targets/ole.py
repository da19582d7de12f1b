"""Older Office documents, installers, messages: compound files whose tables agree, with any streams, then damaged."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.compound import CompoundFile
from gatepost.antivirus.openers.msg import open_msg
from gatepost.antivirus.openers.ole import open_ole

from .compounds import build_compound, join, whole
from .opened import check

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 4000
_PATHS: Final = (
    ("WordDocument",),
    ("Workbook",),
    ("Book",),
    ("PowerPoint Document",),
    ("\x01Ole10Native",),
    ("ObjectPool", "_1", "\x01Ole10Native"),
    ("Macros", "VBA", "dir"),
    ("Macros", "VBA", "Module1"),
    ("Macros", "PROJECT"),
    ("EncryptedPackage",),
    ("EncryptionInfo",),
    ("EncryptedSummary",),
    ("FileHeader",),
    ("BinData", "BIN0001.ole"),
    ("Contents",),
    ("__properties_version1.0",),
    ("__substg1.0_1000001F",),
    ("__attach_version1.0_#00000000", "__substg1.0_37010102"),
    ("__attach_version1.0_#00000000", "__substg1.0_3707001F"),
)


def execute(data: bytes) -> None:
    """Open the file as a document and as a message; its streams, if nothing is damaged, are those it was made of."""
    if not data:
        return
    document = build_compound(data, _PATHS)
    check(open_ole, document)
    check(open_msg, document)
    if not data[0] % 16:
        compound = CompoundFile(document)
        assert all(len(compound.read(stream)) == stream.size for stream in compound.streams)
        assert {stream.path for stream in compound.streams} <= set(_PATHS)


WORDS: Final = (
    b"\x09\x08\x10\x00\x00\x06\x40\x00", b"\x85\x00", b"\xae\x01", b"\x06\x00", b"\x18\x00", b"\x23\x00", b"\x2f\x00", b"\x01\x19\xb0\x00Attribut\x00e",
    b"\x13 DDEAUTO cmd \x14", b"\x13\0D\0D\0E\0", b"\x00\x00\x11\x10", b"\x10\x00\x11\x10", b"\xec\xa5", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"a.exe\0",
    b"\x04\x00\x04\x00", b"\x04\x00\x02\x00", b"<encryption ", b"HWP Document File", b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\x78\x9c", b"\0\0\0\0\0\0\0\0",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield documents of each kind, one message, and one file with a change in its tables."""
    fields = (
        bytes(10)
        + b"\0\1"
        + bytes(20)
        + b"\x13 DDEAUTO cmd \x14\x15"
        + "\x13INCLUDETEXT http://a\x15".encode("utf-16-le")
    )
    yield whole((0, fields), (6, b"\x01\x19\xb0\x00Attribut\x00e VB_Name"), (7, b"\x01\x03\xb0abcd\x08\x01\x00"))
    yield whole(
        (1, b"\x09\x08\x04\x00\x00\x06\x40\x00\x06\x00\x1d\x00" + bytes(20) + b"\x07\x00\x17\x01\x00a\x41\x6e\x00")
    )
    package = b"\x02\0a.exe\0C:\\a\0\0\0\3\0\4\0\0\0a.e\0\2\0\0\0MZ"
    yield whole((4, struct.pack("<L", len(package)) + package), (5, struct.pack("<L", 2) + b"MZ"))
    packed = zlib.compress(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    slide = struct.pack("<HHL", 0x10, 0x1011, len(packed) + 4) + struct.pack("<L", 608) + packed
    yield whole((3, slide + struct.pack("<HHL", 0, 0x1011, 8) + b"MZ" + bytes(6)))
    yield whole((9, bytes(8) + b"x" * 64), (10, struct.pack("<HHL", 4, 4, 0x40) + b"<encryption/>"))
    yield whole((11, bytes(16)), (1, b"\x2f\0\6\0\1\0\1\0\1\0"))
    yield whole((15, bytes(64)), (16, "a".encode("utf-16-le")), (17, b"MZ"), (18, "a.exe".encode("utf-16-le")))
    yield b"\2" + join((0, fields), (14, b"x" * 100)) + b"\0\2\4\7" + b"\0\4\x10\xff"
