"""Virtual disks of QEMU, VMware and VirtualBox, made at run time around any disk; blocks of zeros are left out."""

import struct
import zlib

from gatepost.model.zstandard import zstd

BLOCK = 64 * 1024
SECTOR = 512


def _blocks(disk: bytes) -> list[bytes]:
    return [disk[at : at + BLOCK].ljust(BLOCK, b"\0") for at in range(0, len(disk), BLOCK)]


def qcow(
    disk: bytes, *, packer: str = "", version: int = 3, backing: int = 0, features: int = 0, twice: bool = False
) -> bytes:
    """QCOW2. `packer`: "zlib" or "zstd". `twice`: two entries of the first table lead to one second table."""
    head = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", version, backing, 0, 16, len(disk), 0, 2 if twice else 1, BLOCK, 0, 1, 0, 0
    )
    head += (
        struct.pack(">QQQII", features | (8 if packer == "zstd" else 0), 0, 0, 4, 112)
        + bytes((packer == "zstd",))
        + bytes(7)
    )
    if twice:
        head = head[:24] + struct.pack(">Q", 2 * (BLOCK // 8) * BLOCK) + head[32:]
    first = struct.pack(">Q", 1 << 63 | 2 * BLOCK) * (2 if twice else 1)
    entries, data = [], b""
    for block in _blocks(disk):
        place = 3 * BLOCK + len(data)
        if not block.strip(b"\0"):
            entries.append(0)
        elif not packer:
            entries.append(1 << 63 | place)
            data += block
        else:
            raw = zstd.compress(block) if packer == "zstd" else zlib.compress(block, wbits=-12)
            data += raw + bytes(-len(raw) % SECTOR)
            entries.append(1 << 62 | (-(-len(raw) // SECTOR) - 1) << 54 | place)
    second = b"".join(struct.pack(">Q", entry) for entry in entries)
    return b"".join(part.ljust(BLOCK, b"\0") for part in (head, first, second)) + data


def vmdk(disk: bytes, *, packed: bool = False, text: bytes = b"") -> bytes:
    """A sparse extent of VMware; `packed`: as in appliances, with a copy of the header at the end."""
    blocks = _blocks(disk)

    def header(directory: int) -> bytes:
        flags = 0x30001 if packed else 1
        fields = (b"KDMV", 3 if packed else 1, flags, len(blocks) * 128, 128, 1, 1, 512, 0, directory, 128, 0)
        return struct.pack("<4sIIQQQQIQQQB", *fields).ljust(SECTOR, b"\0")

    start = 128 * SECTOR
    data, entries = b"", []
    for number, block in enumerate(blocks):
        if not block.strip(b"\0"):
            entries.append(0)
            continue
        raw = zlib.compress(block)
        entries.append((start + len(data)) // SECTOR)
        data += struct.pack("<QI", number * 128, len(raw)) + raw if packed else block
        data += bytes(-len(data) % SECTOR)
    table = b"".join(struct.pack("<I", entry) for entry in entries).ljust(2048, b"\0")
    at = (start + len(data)) // SECTOR
    tables = table + struct.pack("<I", at).ljust(SECTOR, b"\0")
    front = (header(0xFFFFFFFFFFFFFFFF if packed else at + 4) + text).ljust(start, b"\0")
    return front + data + tables + (header(at + 4) + bytes(SECTOR) if packed else b"")


def vdi(disk: bytes) -> bytes:
    """A growing image of VirtualBox."""
    blocks = _blocks(disk)
    head = bytearray(b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(512, b"\0"))
    struct.pack_into("<IIII", head, 0x40, 0xBEDA107F, 0x10001, 400, 1)
    struct.pack_into("<II", head, 0x154, 512, 4096)
    struct.pack_into("<QIIII", head, 0x170, len(disk), BLOCK, 0, len(blocks), 0)
    entries, data = [], b""
    for block in blocks:
        entries.append(len(data) // BLOCK if block.strip(b"\0") else 0xFFFFFFFF)
        data += block if block.strip(b"\0") else b""
    table = b"".join(struct.pack("<I", entry) for entry in entries)
    return (bytes(head) + table).ljust(4096, b"\0") + data
