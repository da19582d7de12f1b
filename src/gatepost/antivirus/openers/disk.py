"""Images of disks: FAT file systems, alone, in partitions (MBR), and in Microsoft's virtual disks (VHD).

Opener of `unpack.ARCHIVES`. Any other file system or form of image is trouble: what it holds was not seen.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.antivirus.openers.archive import clean_name
from gatepost.antivirus.opening import Member, Opening

SECTOR: Final = 512
ENTRY: Final = 32
VHD_MARK: Final = b"conectix"
DISK_BYTES: Final = 128 * 1024 * 1024
"""A virtual disk that is put together in memory may be so large."""
FOLDERS: Final = 2000
"""Folders looked into in one file system."""
_FREE, _DELETED = 0x00, 0xE5
_VOLUME_LABEL, _FOLDER, _LONG_NAME = 0x08, 0x10, 0x0F
_FAT12_CLUSTERS: Final = 4085
"""Smaller file systems have entries of 12 bits in their table."""
_PARTITION_TABLE: Final = 446


class _FileSystem(msgspec.Struct, frozen=True):
    """A FAT file system as its boot sector states it; offsets into the image in bytes."""

    width: int
    """Bits of an entry of the table: 12, 16 or 32."""
    table: int
    root: int
    """Offset of the root folder (12, 16), or its first cluster (32)."""
    root_size: int
    clusters: int
    """Offset of cluster 2."""
    cluster_size: int
    count: int


def open_disk_image(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the files of every file system that can be read; a trouble for what cannot be. OverBudget."""
    image = _unwrap(data, opening)
    if image is None:
        yield Member("", trouble="a disk image of a kind that cannot be opened")
        return
    starts = _find_partitions(image)
    known = False
    for start in starts:
        system = _read_boot_sector(image, start)
        if system is None:
            continue
        known = True
        yield from _read_files(image, system, opening)
    if not known or any(_read_boot_sector(image, start) is None for start in starts):
        yield Member("", trouble="a disk image with a file system that cannot be read")


def _unwrap(data: bytes, opening: Opening) -> bytes | None:
    """Return the bytes of the disk: of a virtual one put together, None when that cannot be done."""
    footer = data[-SECTOR:] if data[-SECTOR:].startswith(VHD_MARK) else data[:SECTOR]
    if not footer.startswith(VHD_MARK):
        return data if data[510:512] == b"\x55\xaa" else None
    kind = int.from_bytes(footer[60:64], "big")
    if kind == 2:
        return data[:-SECTOR]
    header = int.from_bytes(footer[16:24], "big")
    if kind != 3 or data[header : header + 8] != b"cxsparse" or len(data) < header + 1024:
        return None
    (table,) = struct.unpack_from(">Q", data, header + 16)
    count, block_size = struct.unpack_from(">2L", data, header + 28)
    bitmap = -(-block_size // SECTOR // 8 // SECTOR) * SECTOR
    if not block_size or table + 4 * count > len(data):
        return None
    budget = opening.budget
    pieces: list[bytes] = []
    used = [int.from_bytes(data[table + 4 * i : table + 4 * i + 4], "big") for i in range(count)]
    while used and used[-1] == 0xFFFFFFFF:
        used.pop()
    if len(used) * block_size > min(DISK_BYTES, budget.allowance(len(data))):
        return None
    for sector in used:
        at = sector * SECTOR + bitmap
        pieces.append(b"" if sector == 0xFFFFFFFF else data[at : at + block_size])
        pieces[-1] = pieces[-1].ljust(block_size, b"\0")
    budget.take_bytes(len(used) * block_size)
    return b"".join(pieces)


def _find_partitions(image: bytes) -> list[int]:
    """Return where file systems begin: at 0 without a partition table; [] when nowhere."""
    if _read_boot_sector(image, 0) is not None:
        return [0]
    if len(image) < SECTOR:
        return []
    starts: list[int] = []
    for at in range(_PARTITION_TABLE, _PARTITION_TABLE + 64, 16):
        kind, first = image[at + 4], int.from_bytes(image[at + 8 : at + 12], "little")
        if kind and first:
            starts.append(first * SECTOR)
    return starts


def _read_boot_sector(image: bytes, start: int) -> _FileSystem | None:
    """Read the parameters of a FAT file system ([Microsoft FAT specification] §3), None when there is none."""
    if start + SECTOR > len(image) or image[start + 510 : start + 512] != b"\x55\xaa":
        return None
    sector, per_cluster, reserved, tables, root_entries, total, _, per_table = struct.unpack_from(
        "<HBHBHHBH", image, start + 11
    )
    (total_large,) = struct.unpack_from("<L", image, start + 32)
    wide = not per_table
    if wide:
        (per_table,) = struct.unpack_from("<L", image, start + 36)
    sizes = (sector in {512, 1024, 2048, 4096}, per_cluster.bit_count() == 1, reserved, tables in {1, 2}, per_table)
    if not all(sizes):
        return None
    table = start + reserved * sector
    root = table + tables * per_table * sector
    root_size = root_entries * ENTRY
    clusters = root + -(-root_size // sector) * sector
    count = ((total or total_large) * sector - (clusters - start)) // (per_cluster * sector)
    if count <= 0:
        return None
    if wide:
        (first,) = struct.unpack_from("<L", image, start + 44)
        return _FileSystem(32, table, first, 0, clusters, per_cluster * sector, count)
    width = 12 if count < _FAT12_CLUSTERS else 16
    return _FileSystem(width, table, root, root_size, clusters, per_cluster * sector, count)


def _read_files(image: bytes, system: _FileSystem, opening: Opening) -> Iterator[Member]:
    """Walk the folders, the root first; each is read once."""
    budget = opening.budget
    if system.width == 32:
        folder, _ = _read_chain(image, system, system.root, system.count * system.cluster_size, opening)
    else:
        folder = image[system.root : system.root + system.root_size]
    waiting, seen = [folder], {0, system.root}
    while waiting:
        long_name = ""
        folder = waiting.pop()
        for at in range(0, len(folder) - ENTRY + 1, ENTRY):
            entry = folder[at : at + ENTRY]
            attributes = entry[11]
            if entry[0] == _FREE:
                break
            if attributes & _LONG_NAME == _LONG_NAME:
                part = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", "replace")
                long_name = part.partition("\0")[0] + long_name if not entry[0] & 0x40 else part.partition("\0")[0]
                continue
            name, long_name = long_name or _short_name(entry), ""
            budget.take_member()
            if entry[0] in {_DELETED, 0x2E} or attributes & _VOLUME_LABEL:
                continue
            cluster = int.from_bytes(entry[26:28], "little") | int.from_bytes(entry[20:22], "little") << 16
            size = int.from_bytes(entry[28:32], "little")
            if attributes & _FOLDER:
                if cluster not in seen and len(seen) < FOLDERS:
                    seen.add(cluster)
                    waiting.append(_read_chain(image, system, cluster, len(image), opening)[0])
                continue
            content, whole = _read_chain(image, system, cluster, size, opening)
            trouble = "" if whole else "file of a disk image is cut off"
            yield Member(clean_name(name), content, trouble=trouble)
    if len(seen) >= FOLDERS:
        yield Member("", trouble=f"more than {FOLDERS} folders in a disk image")


def _read_chain(image: bytes, system: _FileSystem, cluster: int, size: int, opening: Opening) -> tuple[bytes, bool]:
    """Return (at most `size` bytes of the chain that begins with `cluster`, whether there were as many)."""
    budget = opening.budget
    if size > budget.allowance(len(image)):
        raise budget.refuse(len(image))
    pieces: list[bytes] = []
    left = min(size, len(image))  # a chain that runs in a circle ends here, too
    while left > 0 and 2 <= cluster < system.count + 2:
        at = system.clusters + (cluster - 2) * system.cluster_size
        piece = image[at : at + min(system.cluster_size, left)]
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
        cluster = _next_cluster(image, system, cluster)
        if not len(pieces) & 0xFFF:
            budget.take_time()
    content = b"".join(pieces)
    budget.take_bytes(len(content))
    return content, len(content) == size


def _next_cluster(image: bytes, system: _FileSystem, cluster: int) -> int:
    if system.width == 12:
        at = system.table + cluster * 3 // 2
        value = int.from_bytes(image[at : at + 2], "little")
        return value >> 4 if cluster & 1 else value & 0xFFF
    width = system.width // 8
    at = system.table + cluster * width
    return int.from_bytes(image[at : at + width], "little") & 0x0FFFFFFF


def _short_name(entry: bytes) -> str:
    stem = entry[:8].decode("cp437").rstrip()
    extension = entry[8:11].decode("cp437").rstrip()
    return f"{stem}.{extension}" if extension else stem
