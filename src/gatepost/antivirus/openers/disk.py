"""Images of disks: FAT and NTFS file systems, alone or in partitions (MBR, GPT), in plain images and virtual disks.

Opener of `unpack.ARCHIVES`. Any other file system or form of image is trouble: what it holds was not seen.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.antivirus.kinds import ends_as_apple_image
from gatepost.antivirus.openers.archive import clean_name
from gatepost.antivirus.openers.ntfs import read_files, read_system
from gatepost.antivirus.openers.sparse_disk import is_sparse, read_sparse
from gatepost.antivirus.openers.virtual_disk import SECTOR, Disk, read_disk
from gatepost.antivirus.opening import Member, Opening

ENTRY: Final = 32
FOLDER_BYTES: Final = 65_536 * ENTRY
"""Of one folder: FAT allows no more entries."""
PARTITIONS: Final = 128
"""Of one GUID partition table."""
FOLDERS: Final = 2000
"""Folders looked into in one file system."""
_FREE, _DELETED = 0x00, 0xE5
_VOLUME_LABEL, _FOLDER, _LONG_NAME = 0x08, 0x10, 0x0F
_FAT12_CLUSTERS: Final = 4085
"""Smaller file systems have entries of 12 bits in their table."""
_PARTITION_TABLE: Final = 446
_GUARD: Final = 0xEE
"""Type of the only partition that old systems see of a disk with a GUID partition table."""
_RESERVED: Final = bytes.fromhex("16e3c9e35c0bb84d817df92df00215ae")
_NO_FILES: Final = frozenset({bytes(16), _RESERVED})
"""Types of entries that are unused, or hold Windows' own reserve."""


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


_UNREAD: Final = {
    b"MSWIM\0\0\0": "a Windows image (WIM, ESD), which is not read",
    b"QED\0": "a virtual disk of QEMU (QED), which is not read",
    b"vhdxfile": "a virtual disk (VHDX) that is damaged, was not closed, or builds on another one",
    b"KDMV": "a virtual disk (VMDK) that is damaged, or has its content in other files",
    b"QFI\xfb": "a virtual disk (QCOW2) that is damaged, encrypted, or builds on another one",
}
"""What begins so and is opened by nobody here, or could not be."""


def _describe(data: bytes) -> str:
    """Say in an administrator's words what it is that cannot be opened."""
    if ends_as_apple_image(data):
        return "a disk image of macOS (DMG), which is not read"
    known = (text for mark, text in _UNREAD.items() if data.startswith(mark))
    return next(known, "a disk image that is damaged, was not closed, or is of a kind that is not read")


def open_disk_image(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the files of every file system that can be read; a trouble for what cannot be. OverBudget."""
    sparse = read_sparse(data)
    disks = [disk for disk in (sparse, read_disk(data)) if disk is not None]  # both, where it is both
    if not disks or (sparse is None and is_sparse(data)):
        yield Member("", trouble=f"{_describe(data)}, so nobody knows what is in it")
    for disk in disks:
        yield from _open_disk(disk, opening)


def _open_disk(disk: Disk, opening: Opening) -> Iterator[Member]:
    starts = _find_partitions(disk)
    unread = not starts
    for start in starts:
        ntfs = read_system(disk, start)
        fat = _read_boot_sector(disk, start) if ntfs is None else None
        if ntfs is not None:
            yield from read_files(disk, ntfs, opening)
        elif fat is not None:
            yield from _read_files(disk, fat, opening)
        else:
            unread = True
    if unread:
        yield Member("", trouble="a disk image with a file system that cannot be read")
    elif disk.is_cut:
        yield Member("", trouble="a disk image that is cut off")


def _find_partitions(disk: Disk) -> list[int]:
    """Return where file systems begin: at 0 without a partition table; [] when nowhere."""
    if read_system(disk, 0) is not None or _read_boot_sector(disk, 0) is not None:
        return [0]
    first = disk.read(0, SECTOR)
    if len(first) < SECTOR:
        return []
    entries = [first[at : at + 16] for at in range(_PARTITION_TABLE, _PARTITION_TABLE + 64, 16)]
    if any(entry[4] == _GUARD for entry in entries):
        return list(_find_gpt_partitions(disk))
    return [_number(entry, 8, 4) * SECTOR for entry in entries if entry[4] and _number(entry, 8, 4)]


def _find_gpt_partitions(disk: Disk) -> Iterator[int]:
    """Yield where the partitions of a GUID partition table begin (UEFI 2.10 §5.3)."""
    header = disk.read(SECTOR, SECTOR)
    if not header.startswith(b"EFI PART"):
        return
    table, count, width = _number(header, 72, 8) * SECTOR, _number(header, 80, 4), _number(header, 84, 4)
    for number in range(min(count, PARTITIONS)):
        entry = disk.read(table + number * width, 48)
        if len(entry) == 48 and entry[:16] not in _NO_FILES:
            yield _number(entry, 32, 8) * SECTOR


def _read_boot_sector(disk: Disk, start: int) -> _FileSystem | None:
    """Read the parameters of a FAT file system ([Microsoft FAT specification] §3), None when there is none."""
    boot = disk.read(start, SECTOR)
    if len(boot) < SECTOR or boot[510:] != b"\x55\xaa":
        return None
    sector, per_cluster, reserved, tables, root_entries, total, _, per_table = struct.unpack_from("<HBHBHHBH", boot, 11)
    total_large = _number(boot, 32, 4)
    wide = not per_table
    if wide:
        per_table = _number(boot, 36, 4)
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
        return _FileSystem(32, table, _number(boot, 44, 4), 0, clusters, per_cluster * sector, count)
    width = 12 if count < _FAT12_CLUSTERS else 16
    return _FileSystem(width, table, root, root_size, clusters, per_cluster * sector, count)


def _read_files(disk: Disk, system: _FileSystem, opening: Opening) -> Iterator[Member]:
    """Walk the folders, the root first; each is read once."""
    budget = opening.budget
    if system.width == 32:
        folder, _ = _read_chain(disk, system, system.root, min(FOLDER_BYTES, disk.size), opening)
    else:
        folder = disk.read(system.root, system.root_size)
    cut = not folder or len(folder) < system.root_size
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
                    inner, _ = _read_chain(disk, system, cluster, min(FOLDER_BYTES, disk.size), opening)
                    cut = cut or not inner or len(inner) % system.cluster_size != 0
                    waiting.append(inner)
                continue
            content, whole = _read_chain(disk, system, cluster, size, opening)
            trouble = "" if whole else "file of a disk image is cut off"
            yield Member(clean_name(name), content, trouble=trouble)
    if cut:
        yield Member("", trouble="a folder of a disk image is cut off")
    if len(seen) >= FOLDERS:
        yield Member("", trouble=f"more than {FOLDERS} folders in a disk image")


def _read_chain(disk: Disk, system: _FileSystem, cluster: int, size: int, opening: Opening) -> tuple[bytes, bool]:
    """Return (at most `size` bytes of the chain that begins with `cluster`, whether there were as many)."""
    budget = opening.budget
    if size > budget.allowance(disk.packed):
        raise budget.refuse(disk.packed)
    pieces: list[bytes] = []
    left = min(size, disk.size)  # a chain that runs in a circle ends here, too
    while left > 0 and 2 <= cluster < system.count + 2:
        at = system.clusters + (cluster - 2) * system.cluster_size
        piece = disk.read(at, min(system.cluster_size, left))
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
        cluster = _next_cluster(disk, system, cluster)
        if not len(pieces) & 0xFFF:
            budget.take_time()
    content = b"".join(pieces)
    budget.take_bytes(len(content))
    return content, len(content) == size


def _next_cluster(disk: Disk, system: _FileSystem, cluster: int) -> int:
    if system.width == 12:
        at = system.table + cluster * 3 // 2
        value = _number(disk.read(at, 2), 0, 2)
        return value >> 4 if cluster & 1 else value & 0xFFF
    width = system.width // 8
    at = system.table + cluster * width
    return _number(disk.read(at, width), 0, width) & 0x0FFFFFFF


def _short_name(entry: bytes) -> str:
    stem = entry[:8].decode("cp437").rstrip()
    extension = entry[8:11].decode("cp437").rstrip()
    return f"{stem}.{extension}" if extension else stem


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
