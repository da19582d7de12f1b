"""Disk images and those of discs: changes of sound ones, for they are too large to be made byte by byte."""

import functools
import struct
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.openers.samples import build_samples

from .unpacked import open_as

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 200
_SECTOR: Final = 512
_CONTENT: Final = b"content of a file"


def execute(data: bytes) -> None:
    """Take the first byte as the image, the rest as changes: place, length, bytes. Open it."""
    if not data:
        return
    kind, image = _images()[data[0] % len(_images())]
    changed = bytearray(image)
    rest = data[1:]
    while len(rest) > 3:
        place, size = int.from_bytes(rest[:2], "big"), rest[2] % 16
        new = rest[3 : 3 + size]
        if size == 0:
            del changed[place:]
        else:
            changed[place : place + len(new)] = new
        rest = rest[3 + size :]
    found = open_as(bytes(changed), kind)
    if bytes(changed) == image:
        assert _CONTENT in {member.data for member in found} or kind is Kind.ISO
        assert not any(member.trouble for member in found)


@functools.cache
def _images() -> tuple[tuple[Kind, bytes], ...]:
    plain, wide = _floppy(), _large()
    iso = next(data for kind, data in build_samples() if kind is Kind.ISO)
    return (
        (Kind.DISK_IMAGE, plain),
        (Kind.DISK_IMAGE, wide),
        (Kind.DISK_IMAGE, _partitioned(plain)),
        (Kind.DISK_IMAGE, _virtual(plain)),
        (Kind.ISO, iso),
    )


def _boot(per_table: int, root: int, total: int, wide: int) -> bytes:
    head = b"\xeb\x3c\x90MSDOS5.0" + struct.pack(
        "<HBHBHHBH", _SECTOR, 1, 1, 1, root, total, 0xF8, 0 if wide else per_table
    )
    head = head.ljust(36, b"\0")
    if wide:
        head += struct.pack("<LHHL", per_table, 0, 0, 2)
    return head.ljust(510, b"\0") + b"\x55\xaa"


def _entry(name: bytes, attributes: int, cluster: int, size: int) -> bytes:
    return name.ljust(11) + bytes((attributes,)) + bytes(14) + struct.pack("<HL", cluster, size)


def _long_name(text: str) -> bytes:
    raw = (text + "\0").encode("utf-16-le").ljust(26, b"\xff")
    return b"\x41" + raw[:10] + b"\x0f\0\0" + raw[10:22] + b"\0\0" + raw[22:26]


def _folder() -> bytes:
    listing = (
        _entry(b"LABEL", 0x08, 0, 0) + _long_name("long name.bin") + _entry(b"A       TXT", 0x20, 4, len(_CONTENT))
    )
    return (listing + _entry(b"FOLDER", 0x10, 3, 0)).ljust(_SECTOR, b"\0")


def _files(root: bytes) -> bytes:
    inner = _entry(b".", 0x10, 3, 0) + _entry(b"B", 0x20, 4, len(_CONTENT)) + b"\xe5" + _entry(b"GONE", 0x20, 4, 5)[1:]
    return root + inner.ljust(_SECTOR, b"\0") + _CONTENT.ljust(_SECTOR, b"\0") + bytes(4 * _SECTOR)


def _floppy() -> bytes:
    table = b"\xf8\xff\xff\xff\xff\xff\xff\x0f\0".ljust(_SECTOR, b"\0")
    return _boot(1, 16, 12, 0) + table + _folder() + _files(bytes(_SECTOR))


def _large() -> bytes:
    table = struct.pack("<5L", 0x0FFFFFF8, 0x0FFFFFFF, 0x0FFFFFFF, 0x0FFFFFFF, 0x0FFFFFFF).ljust(_SECTOR, b"\0")
    return _boot(1, 0, 12, 1) + table + _files(_folder())


def _partitioned(image: bytes) -> bytes:
    table = b"\x80\0\0\0\x06\0\0\0" + struct.pack("<2L", 1, len(image) // _SECTOR)
    return (bytes(446) + table).ljust(510, b"\0") + b"\x55\xaa" + image


def _virtual(image: bytes) -> bytes:
    size = 16 * 1024
    footer = (b"conectix".ljust(16, b"\0") + struct.pack(">Q", _SECTOR)).ljust(60, b"\0") + struct.pack(">L", 3)
    footer = footer.ljust(_SECTOR, b"\0")
    header = (b"cxsparse" + b"\xff" * 8 + struct.pack(">Q4xLL", 1536, 1, size)).ljust(1024, b"\0")
    blocks = struct.pack(">L", 4).ljust(_SECTOR, b"\xff")
    return footer + header + blocks + bytes(_SECTOR) + image.ljust(size, b"\0") + footer


WORDS: Final = (
    b"\x00\x0b\x02", b"\x00\x0d\x01", b"\x00\x13\x02\xff\xff", b"\x02\x00\x03", b"\x04\x1a\x02\x03\x00", b"\x01\xbe\x08", b"\x04\x0b\x01\x10", b"\x06\x1c\x04\xff\xff\xff\xff",
    b"\x00\x3c\x04\0\0\0\2", b"\x80\x00\x07\1CD001", b"\x80\x9e\x08", b"\xff\xff", b"\0\0\0",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield each image as it is, and with a change or two."""
    for number in range(len(_images())):
        yield bytes((number,))
        yield bytes((number,)) + b"\x02\x03\x02\x03\x00" + b"\x04\x3a\x02\x03\x00"
        yield bytes((number,)) + b"\x00\x0d\x01\x02" + b"\x08\x00\x00"
