"""NTFS file systems, partition tables and virtual disks put together at run time."""

import struct

CLUSTER = 512
RECORD = 1024
_TABLE = 4
"""Cluster with which the file table begins."""
_MB = 1024 * 1024


def name_of(text: str, space: int = 1) -> bytes:
    """Return the attribute that names a file."""
    raw = bytes(0x40) + bytes((len(text), space)) + text.encode("utf-16-le")
    return _resident(0x30, raw)


def data_inside(content: bytes, title: str = "", flags: int = 0) -> bytes:
    """Return the attribute of content that stands in the table."""
    return _resident(0x80, content, title, flags)


def data_outside(runs: bytes, size: int, *, valid: int = -1, first: int = 0, flags: int = 0) -> bytes:
    """Return the attribute of content in clusters."""
    sizes = struct.pack("<QQQ", size, size, size if valid < 0 else valid)
    body = struct.pack("<QQHH4x", first, first + 999, 0x40, 0) + sizes + runs + b"\0"
    body += bytes(-len(body) % 8)
    return struct.pack("<IIBBHHH", 0x80, 16 + len(body), 1, 0, 0x40, flags, 1) + body


def run(count: int, shift: int | None) -> bytes:
    """Return one piece: so many clusters, so far from where the last one began; None: a hole."""
    if shift is None:
        return struct.pack("<BB", 0x01, count)
    return struct.pack("<BBh", 0x21, count, shift)


def _resident(kind: int, content: bytes, title: str = "", flags: int = 0) -> bytes:
    named = title.encode("utf-16-le")
    start = 24 + len(named) + -len(named) % 8
    body = struct.pack("<IHH", len(content), start, 0) + named.ljust(start - 24, b"\0") + content
    body += bytes(-len(body) % 8)
    return struct.pack("<IIBBHHH", kind, 16 + len(body), 0, len(title), 24, flags, 1) + body


def record(*attributes: bytes, flags: int = 1, base: int = 0) -> bytes:
    """Return one record of the file table, with the ends of its sectors put away."""
    head = b"FILE" + struct.pack("<HHQHHHHIIQ", 0x30, 3, 0, 1, 1, 0x38, flags, 0, RECORD, base)
    raw = bytearray((head.ljust(0x38, b"\0") + b"".join(attributes) + b"\xff\xff\xff\xff").ljust(RECORD, b"\0"))
    raw[0x30:0x36] = b"\7\7" + raw[510:512] + raw[1022:1024]
    raw[510:512] = raw[1022:1024] = b"\7\7"
    return bytes(raw)


def ntfs(records: dict[int, bytes], clusters: dict[int, bytes]) -> bytes:
    """Return a file system with these records, from 16 on, and what stands in these clusters."""
    count = max(records) + 1
    length = count * RECORD // CLUSTER
    own = record(name_of("$MFT"), data_outside(run(length, _TABLE), count * RECORD))
    table = b"".join(records.get(number, own if number == 0 else bytes(RECORD)) for number in range(count))
    boot = bytearray(512)
    boot[:11] = b"\xeb\x52\x90NTFS    "
    boot[0x0B:0x0E] = struct.pack("<HB", CLUSTER, 1)
    boot[0x30:0x38] = struct.pack("<Q", _TABLE)
    boot[0x40] = 256 - 10
    boot[510:] = b"\x55\xaa"
    size = max([_TABLE + length, *(at + -(-len(data) // CLUSTER) for at, data in clusters.items())]) + 64
    image = bytearray(size * CLUSTER)
    image[:512] = boot
    image[_TABLE * CLUSTER : _TABLE * CLUSTER + len(table)] = table
    for at, data in clusters.items():
        image[at * CLUSTER : at * CLUSTER + len(data)] = data
    return bytes(image)


def mbr(system: bytes) -> bytes:
    """Return a disk with one partition."""
    first = bytearray(8 * 512)
    first[446:462] = struct.pack("<B3xB3xII", 0, 7, 8, len(system) // 512)
    first[510:512] = b"\x55\xaa"
    return bytes(first) + system


def gpt(system: bytes) -> bytes:
    """Return a disk with a GUID partition table: Windows' reserve, and one partition."""
    first = bytearray(64 * 512)
    first[446:462] = struct.pack("<B3xB3xII", 0, 0xEE, 1, 9999)
    first[510:512] = b"\x55\xaa"
    first[512:520] = b"EFI PART"
    first[584:600] = struct.pack("<QII", 2, 128, 128)
    first[1024:1072] = bytes.fromhex("16e3c9e35c0bb84d817df92df00215ae") + bytes(16) + struct.pack("<QQ", 40, 63)
    first[1152:1200] = bytes.fromhex("a2a0d0ebe5b9334487c068b6b72699c7") + bytes(16) + struct.pack("<QQ", 64, 9998)
    return bytes(first) + system


def vhdx_header(sequence: int, log: bytes = bytes(16), *, damage: int = 0) -> bytes:
    """Return a header of a VHDX with its checksum, from which `damage` is taken."""
    rest = struct.pack("<Q", sequence) + bytes(32) + log + struct.pack("<HHIQ", 0, 1, _MB, _MB) + bytes(4016)
    return b"head" + struct.pack("<I", (crc32c(b"head" + bytes(4) + rest) - damage) & 0xFFFFFFFF) + rest


def crc32c(data: bytes) -> int:
    """Return the checksum, bit by bit as it is defined."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF


NO_LOG = vhdx_header(8)
A_LOG = vhdx_header(7, bytes(range(16)))


def vhdx(disk: bytes, *, flags: int = 0, headers: tuple[bytes, bytes] = (A_LOG, NO_LOG)) -> bytes:
    """Return a growing virtual disk in blocks of a megabyte, the second of which is a hole. The header in force says
    that it was closed, the one before that it was not.
    """
    image = bytearray(3 * _MB)
    image[:8] = b"vhdxfile"
    for number, header in enumerate(headers, 1):
        image[number * 65536 : number * 65536 + len(header)] = header
    regions = b"regi" + struct.pack("<4xI4x", 2)
    regions += bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e") + struct.pack("<QII", _MB, _MB, 1)
    regions += bytes.fromhex("6677c22d23f600429d64115e9bfd4a08") + struct.pack("<QII", 2 * _MB, _MB, 1)
    for at in (192 * 1024, 256 * 1024):
        image[at : at + len(regions)] = regions
    items = b"metadata" + struct.pack("<2xH20x", 3)
    for number, identifier in enumerate(
        ("3767a1ca36fa434db3b633f0aa44e76b", "2442a52f1bcd7648b2115dbed83bf4b8", "1dbf41816fa90947ba47f233a8faab5f")
    ):
        items += bytes.fromhex(identifier) + struct.pack("<III4x", 65536 + 16 * number, 8, 4)
    image[_MB : _MB + len(items)] = items
    values = struct.pack("<II8xQ8xI12x", _MB, flags, 3 * _MB, 512)
    image[_MB + 65536 : _MB + 65536 + len(values)] = values
    image[2 * _MB : 2 * _MB + 24] = struct.pack("<QQQ", 3 << 20 | 6, 0, 4 << 20 | 6)
    return bytes(image) + disk[:_MB].ljust(_MB, b"\0") + disk[2 * _MB : 3 * _MB].ljust(_MB, b"\0")
