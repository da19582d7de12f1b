"""Virtual disks of QEMU (QCOW2), VMware (VMDK in one file) and VirtualBox (VDI), as the disk they stand for.

Used by `openers.disk`. Blocks may be packed one by one; each is unpacked when it is read, and nothing is put together.
A disk that builds on another, is encrypted or has its data in other files is None: what it holds cannot be seen.
"""

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from gatepost.antivirus.openers.virtual_disk import BLOCKS, SECTOR, Disk
from gatepost.model.zstandard import zstd

QCOW_MARK: Final = b"QFI\xfb"
VMDK_MARK: Final = b"KDMV"
VDI_MARK: Final = b"\x7f\x10\xda\xbe"
VDI_MARK_AT: Final = 0x40
PACKED_LARGEST: Final = 128 * 1024
"""Bytes of a block that may be packed: whoever reads a sector has all of it unpacked. Programs use 64 KiB."""
GRAIN_LARGEST: Final = 1024 * 1024
"""Bytes of a block of VMware's; its programs use 64 KiB."""
KEPT: Final = 16
"""Unpacked blocks that are kept: a file's and those of the tables that lead to it."""
_DIRTY, _OTHER_PACKER = 1, 8
_ZERO: Final = 1
_PLACE: Final = 0x00FFFFFFFFFFFE00
_PACKED: Final = 1 << 62
_GRAINS_PACKED, _GRAINS_MARKED = 1 << 16, 1 << 17
_AT_END: Final = 0xFFFFFFFFFFFFFFFF
_NO_BLOCK: Final = 0xFFFFFFFE
_GROWING, _FIXED = 1, 2

Decoder = Callable[[bytes], bytes]


def is_sparse(data: bytes) -> bool:
    """Tell whether an image says that it is one of these."""
    return data.startswith((QCOW_MARK, VMDK_MARK)) or data.startswith(VDI_MARK, VDI_MARK_AT)


def read_sparse(data: bytes) -> Disk | None:
    """Return the disk that an image holds, None when it is of another kind, or in a state that cannot be read."""
    if data.startswith(QCOW_MARK):
        return _read_qcow(data)
    if data.startswith(VMDK_MARK):
        return _read_vmdk(data)
    return _read_vdi(data) if data.startswith(VDI_MARK, VDI_MARK_AT) else None


def _read_qcow(data: bytes) -> Disk | None:
    """Read QCOW2 (QEMU, docs/interop/qcow2.rst), versions 2 and 3."""
    version, backing, bits, size = (_big(data, at, width) for at, width in ((4, 4), (8, 8), (20, 4), (24, 8)))
    encrypted, count, table = _big(data, 32, 4), _big(data, 36, 4), _big(data, 40, 8)
    features = _big(data, 72, 8) if version == 3 else 0
    packer = data[104] if features & _OTHER_PACKER and len(data) > 104 else 0
    if version not in (2, 3) or backing or encrypted or features & ~(_DIRTY | _OTHER_PACKER) or packer > 1:
        return None
    cluster = 1 << bits if 9 <= bits <= 21 else 0
    if not cluster or size > BLOCKS * cluster or count * 8 > len(data):
        return None
    wide = 62 - (bits - 8)
    per_table = cluster // 8
    seen: set[int] = set()
    places: dict[int, int] = {}
    packed: dict[int, tuple[int, int]] = {}
    for number in range(min(count, -(-size // (cluster * per_table)))):
        second = _big(data, table + 8 * number, 8) & _PLACE
        if second in seen:
            return None  # no program shares them: whoever does wants them read again and again
        seen.update({second} - {0})
        entries = data[second : second + cluster] if second else b""
        for at in range(0, len(entries.rstrip(b"\0")), 8):
            entry, block = _big(entries, at, 8), number * per_table + at // 8
            if block * cluster >= size:
                break
            if entry & _PACKED:
                place = entry & (1 << wide) - 1
                packed[block] = (place, ((entry >> wide & (1 << 62 - wide) - 1) + 1) * SECTOR - place % SECTOR)
            elif entry & _PLACE and not (version == 3 and entry & _ZERO):
                places[block] = entry & _PLACE
    return _build(data, size, cluster, places, packed, _unpack_zstd if packer else _inflate_raw)


def _read_vmdk(data: bytes) -> Disk | None:
    """Read a sparse extent (VMware, "Virtual Disk Format 5.0"), whose header may say that the one at the end counts."""
    header = data[:SECTOR]
    if _little(header, 56, 8) == _AT_END:
        header = data[-2 * SECTOR : -SECTOR]
    flags, sectors, grain_sectors = _little(header, 8, 4), _little(header, 12, 8), _little(header, 20, 8)
    per_table, directory = _little(header, 44, 4), _little(header, 56, 8) * SECTOR
    grain = grain_sectors * SECTOR
    if not header.startswith(VMDK_MARK) or not directory or not per_table or not SECTOR <= grain <= GRAIN_LARGEST:
        return None
    count = -(-sectors * SECTOR // grain)
    if count > BLOCKS or data.find(b"parentFileNameHint", 0, 1 << 20) >= 0:
        return None
    seen: set[int] = set()
    places: dict[int, int] = {}
    packed: dict[int, tuple[int, int]] = {}
    for number in range(-(-count // per_table)):
        table = _little(data, directory + 4 * number, 4) * SECTOR
        if table in seen:
            return None
        seen.update({table} - {0})
        entries = data[table : table + 4 * per_table] if table else b""
        for at in range(0, len(entries.rstrip(b"\0")), 4):
            place, block = _little(entries, at, 4) * SECTOR, number * per_table + at // 4
            if place <= SECTOR or block >= count:  # nowhere, or all zeros
                continue
            if flags & _GRAINS_PACKED:
                start = place + 12 if flags & _GRAINS_MARKED else place
                packed[block] = (start, _little(data, place + 8, 4) if flags & _GRAINS_MARKED else 2 * grain)
            else:
                places[block] = place
    return _build(data, sectors * SECTOR, grain, places, packed, _inflate)


def _read_vdi(data: bytes) -> Disk | None:
    """Read VirtualBox's image, version 1.1 (VDICore.h): a growing or a fixed one."""
    kind, table, first = (_little(data, at, 4) for at in (0x4C, 0x154, 0x158))
    size, block, extra, count = (_little(data, 0x170, 8), *(_little(data, at, 4) for at in (0x178, 0x17C, 0x180)))
    if kind not in (_GROWING, _FIXED) or extra or block < SECTOR or count > BLOCKS or table + 4 * count > len(data):
        return None
    entries = ((number, _little(data, table + 4 * number, 4)) for number in range(count))
    places = {number: first + entry * block for number, entry in entries if entry < _NO_BLOCK}
    return _build(data, min(size, count * block), block, places, {}, _inflate)


def _build(
    data: bytes,
    size: int,
    block_size: int,
    places: dict[int, int],
    packed: dict[int, tuple[int, int]],
    decode: Decoder,
) -> Disk | None:
    """Return the disk; None: blocks are packed that are too large to be unpacked for a sector."""
    if packed and block_size > PACKED_LARGEST:
        return None

    @lru_cache(KEPT)
    def unpack(number: int) -> bytes:
        start, length = packed[number]
        return decode(data[start : start + length])[:block_size]

    blocks = [-1] * max((number + 1 for number in places), default=0)
    for number, place in places.items():
        blocks[number] = place
    return Disk(data, size, block_size, blocks, frozenset(packed), unpack)


def _inflate(raw: bytes) -> bytes:
    return _decode(zlib.decompressobj(), raw)


def _inflate_raw(raw: bytes) -> bytes:
    return _decode(zlib.decompressobj(-zlib.MAX_WBITS), raw)


def _unpack_zstd(raw: bytes) -> bytes:
    try:
        return zstd.ZstdDecompressor().decompress(raw, PACKED_LARGEST)
    except (zstd.ZstdError, ValueError):
        return b""


def _decode(stream: "zlib._Decompress", raw: bytes) -> bytes:
    try:
        return stream.decompress(raw, PACKED_LARGEST)
    except zlib.error:
        return b""


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
