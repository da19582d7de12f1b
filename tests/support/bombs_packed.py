"""Packed bombs, made when asked for: a few kilobytes that would become gigabytes, or members without end."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import py7zr

GIB = 1 << 30


def zip_of(*members: tuple[str, bytes]) -> bytes:
    """Return an ordinary zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def in_a_row(pack: Callable[[bytes], bytes], step: int, size: int = GIB) -> bytes:
    return pack(bytes(step)) * (size // step)


def deflated(size: int) -> bytes:
    block = bytes(1 << 20)
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)) * (size >> 20) + b"\x03\x00"


def zip_entry(name: bytes, raw: bytes, size: int, crc: int) -> tuple[bytes, bytes]:
    """Return a member's local header with its data, and its entry of the directory without the offset."""
    common = struct.pack("<5HLLLH", 20, 0, 8, 0, 0, crc, len(raw), size, len(name))
    local = b"PK\x03\x04" + common + b"\0\0" + name + raw
    return local, b"PK\x01\x02" + struct.pack("<H", 20) + common + bytes(12)


def zip_by_hand(entries: list[tuple[bytes, bytes, int, int]]) -> bytes:
    out, directory = bytearray(), bytearray()
    for name, raw, size, crc in entries:
        local, central = zip_entry(name, raw, size, crc)
        directory += central + struct.pack("<L", len(out)) + name
        out += local
    count = len(entries)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), len(out), 0)
    return bytes(out + directory) + end


def nested(levels: int, wide: int) -> bytes:
    """The layout of 42.zip: each level holds the one below so many times."""
    data = zip_of(("zeros", bytes(32 << 20)))
    for level in range(levels):
        data = zip_of(*((f"{level}-{index}.zip", data) for index in range(wide)))
    return data


def overlapping(count: int, kernel_size: int) -> bytes:
    """Each local header quotes the next one with a stored block, and all of them share one kernel."""
    kernel = deflated(kernel_size)
    pieces: list[bytes] = []
    directory = bytearray()
    offset = 0
    size = kernel_size
    packed = len(kernel)
    names = [b"%05d" % index for index in range(count)]
    bodies: list[tuple[bytes, int, int]] = []
    following = b""
    for name in reversed(names):
        quote = b"\x00" + struct.pack("<HH", len(following), len(following) ^ 0xFFFF) if following else b""
        if following:
            packed += len(quote) + len(following)
            size += len(following)
        header = b"PK\x03\x04" + struct.pack("<5HLLLHH", 20, 0, 8, 0, 0, 0, packed, size, len(name), 0) + name
        bodies.append((header + quote, packed, size))
        following = header
    for name, (piece, each_packed, each_size) in zip(names, reversed(bodies), strict=True):
        directory += b"PK\x01\x02" + struct.pack("<6H", 20, 20, 0, 8, 0, 0)
        directory += struct.pack("<3L5H2L", 0, each_packed, each_size, len(name), 0, 0, 0, 0, 0, offset) + name
        pieces.append(piece)
        offset += len(piece)
    body = b"".join(pieces) + kernel
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    return body + bytes(directory) + end


def tar_header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def sparse_tar(size: int) -> bytes:
    """A GNU sparse file of so many bytes, all of them hole."""
    header = bytearray(tar_header("sparse", 0))
    header[156:157] = b"S"
    header[386:398] = b"\x80" + size.to_bytes(11, "big")
    header[398:410] = b"%011o\0" % 0
    header[483:495] = b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def tar_in_tar(levels: int) -> bytes:
    data = b"x"
    for level in range(levels):
        data = tar_header(f"{level}.tar", len(data)) + data + bytes(-len(data) % 512) + bytes(1024)
    return data


def many_empty(count: int) -> bytes:
    return zip_by_hand([(b"%d" % index, b"", 0, 0) for index in range(count)])


def seven_zip_of_zeros(size: int) -> bytes:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", filters=[{"id": py7zr.FILTER_LZMA2, "preset": 0}]) as archive:
        archive.writef(io.BytesIO(bytes(size)), "zeros")
    return out.getvalue()
