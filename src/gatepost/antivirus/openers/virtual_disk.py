"""Images of disks as the disk they stand for: plain ones, and Microsoft's virtual disks (VHD, VHDX).

Used by `openers.disk`. A virtual disk may be of terabytes: nothing is put together, `Disk.read` looks into the image.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final

import msgspec

SECTOR: Final = 512
VHD_MARK: Final = b"conectix"
VHDX_MARK: Final = b"vhdxfile"
BLOCKS: Final = 1024 * 1024
"""Blocks of a virtual disk: 2 TB of those that VHD has by default."""
_FIXED, _DYNAMIC = 2, 3
_HEADERS: Final = (64 * 1024, 128 * 1024)
_HEADER_SIZE: Final = 4096
_REGIONS: Final = (192 * 1024, 256 * 1024)
_REGION_SIZE: Final = 64 * 1024
_MB: Final = 1024 * 1024
_TABLE_ID: Final = bytes.fromhex("6677c22d23f600429d64115e9bfd4a08")
_METADATA_ID: Final = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
_PARAMETERS_ID: Final = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")
_SIZE_ID: Final = bytes.fromhex("2442a52f1bcd7648b2115dbed83bf4b8")
_SECTOR_ID: Final = bytes.fromhex("1dbf41816fa90947ba47f233a8faab5f")
_HAS_PARENT: Final = 2
_PRESENT: Final = 6
_BITMAP_SPAN: Final = 1 << 23
"""Sectors that one bitmap block of a VHDX is about ([MS-VHDX] 2.5)."""


class Disk(msgspec.Struct, frozen=True):
    """A disk inside an image."""

    data: bytes
    size: int
    """Bytes of the disk."""
    block_size: int = 0
    """Of a disk in blocks; 0: its bytes are those of the image."""
    blocks: Sequence[int] = ()
    """Where each block stands in the image, -1: nowhere, it is all zeros."""
    packed_blocks: frozenset[int] = frozenset()
    """Blocks that are packed, and are none of `blocks`."""
    unpack: Callable[[int], bytes] | None = None
    """Gives one of them; less of it where it is damaged."""

    @property
    def packed(self) -> int:
        """Bytes of the image."""
        return len(self.data)

    @property
    def is_cut(self) -> bool:
        """Whether blocks stand behind the end of the image."""
        return max(self.blocks, default=-1) >= len(self.data)

    def read(self, at: int, length: int) -> bytes:
        """Return up to `length` bytes from `at`; fewer where the disk or the image ends."""
        length = max(0, min(length, self.size - at))
        if at < 0 or not self.block_size:
            return self.data[at : at + length] if at >= 0 else b""
        pieces: list[bytes] = []
        while length > 0:
            number, shift = divmod(at, self.block_size)
            step = min(length, self.block_size - shift)
            place = self.blocks[number] if number < len(self.blocks) else -1
            if number in self.packed_blocks and self.unpack is not None:
                piece = self.unpack(number)[shift : shift + step]
            else:
                piece = bytes(step) if place < 0 else self.data[place + shift : place + shift + step]
            pieces.append(piece)
            if len(piece) < step:
                break
            at += step
            length -= step
        return b"".join(pieces)


def read_disk(data: bytes) -> Disk | None:
    """Return the disk that an image holds, None when it is of a kind, or in a state, that cannot be read."""
    if data.startswith(VHDX_MARK):
        return _read_vhdx(data)
    footer = data[-SECTOR:] if data[-SECTOR:].startswith(VHD_MARK) else data[:SECTOR]
    if footer.startswith(VHD_MARK):
        return _read_vhd(data, footer)
    return Disk(data, len(data)) if data[510:512] == b"\x55\xaa" else None


def _read_vhd(data: bytes, footer: bytes) -> Disk | None:
    """Read the "Virtual Hard Disk Image Format Specification" 1.0; None: it builds on another disk, or is damaged."""
    kind = _big(footer, 60, 4)
    if kind == _FIXED:
        return Disk(data, len(data) - SECTOR)
    header = _big(footer, 16, 8)
    if kind != _DYNAMIC or data[header : header + 8] != b"cxsparse" or len(data) < header + 1024:
        return None
    table, count, block_size = _big(data, header + 16, 8), _big(data, header + 28, 4), _big(data, header + 32, 4)
    if block_size < SECTOR or count > BLOCKS or table + 4 * count > len(data):
        return None
    bitmap = -(-block_size // SECTOR // 8 // SECTOR) * SECTOR
    sectors = (_big(data, table + 4 * number, 4) for number in range(count))
    blocks = [-1 if sector == 0xFFFFFFFF else sector * SECTOR + bitmap for sector in sectors]
    return Disk(data, count * block_size, block_size, blocks)


def _read_vhdx(data: bytes) -> Disk | None:
    """Read [MS-VHDX]; None: it builds on another disk, is damaged, or was not closed: what its log would change is not
    applied here.
    """
    found = [at for at in _REGIONS if data[at : at + 4] == b"regi"]
    # They are copies. Of two that differ a system takes the one whose checksum is right, and shows another disk.
    if len({data[at : at + _REGION_SIZE] for at in found}) != 1 or not _is_closed(data):
        return None
    regions = found[0]
    places = _read_table(data, regions + 16, 32, min(_little(data, regions + 8, 4), 2047))
    metadata, table = _little_place(places.get(_METADATA_ID)), _little_place(places.get(_TABLE_ID))
    items = _read_table(data, metadata + 32, 32, min(_little(data, metadata + 10, 2), 2047)) if metadata else {}
    parameters, size, sector = (items.get(each, b"") for each in (_PARAMETERS_ID, _SIZE_ID, _SECTOR_ID))
    if not (table and parameters and size and sector):
        return None
    at = metadata + _little(parameters, 0, 4)
    block_size, flags = _little(data, at, 4), _little(data, at + 4, 4)
    whole = _little(data, metadata + _little(size, 0, 4), 8)
    width = _little(data, metadata + _little(sector, 0, 4), 4)
    if flags & _HAS_PARENT or block_size < _MB or not width or whole > BLOCKS * block_size:
        return None
    ratio = max(1, _BITMAP_SPAN * width // block_size)
    blocks: list[int] = []
    for number in range(-(-whole // block_size)):
        entry = _little(data, table + 8 * (number + number // ratio), 8)
        blocks.append((entry >> 20) * _MB if entry & 7 >= _PRESENT else -1)
    return Disk(data, whole, block_size, blocks)


def _is_closed(data: bytes) -> bool:
    """Tell whether the header in force names no log that would have to be applied ([MS-VHDX] 2.2.2)."""
    headers = list(_read_headers(data))
    newest = max((number for number, _ in headers), default=-1)
    return newest >= 0 and not any(log.strip(b"\0") for number, log in headers if number == newest)


def _read_headers(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (sequence number, identifier of the log) of each header whose checksum is right: others nobody heeds."""
    for at in _HEADERS:
        header = data[at : at + _HEADER_SIZE]
        unsigned = header[:4] + bytes(4) + header[8:]
        if header[:4] == b"head" and len(header) == _HEADER_SIZE and _crc32c(unsigned) == _little(header, 4, 4):
            yield _little(header, 8, 8), header[48:64]


@cache
def _crc_table() -> tuple[int, ...]:
    values = list(range(256))
    for _ in range(8):
        values = [value >> 1 ^ (0x82F63B78 if value & 1 else 0) for value in values]
    return tuple(values)


def _crc32c(data: bytes) -> int:
    """Return the checksum of RFC 3720 §12.1."""
    table, rest = _crc_table(), 0xFFFFFFFF
    for byte in data:
        rest = table[(rest ^ byte) & 0xFF] ^ rest >> 8
    return rest ^ 0xFFFFFFFF


def _read_table(data: bytes, at: int, width: int, count: int) -> dict[bytes, bytes]:
    """Return the rest of each entry of a table by the identifier that it begins with."""
    rows = (data[at + width * number : at + width * (number + 1)] for number in range(count))
    return {row[:16]: row[16:] for row in rows if len(row) == width}


def _little_place(entry: bytes | None) -> int:
    return _little(entry, 0, 8) if entry else 0


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")
