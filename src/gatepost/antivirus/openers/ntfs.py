"""NTFS file systems on images of disks: every file of the master file table, alternate streams included.

Used by `openers.disk`. Folders are not followed: the table lists all files there are, so a damaged or lying folder
hides none. What NTFS itself compressed is trouble, what it encrypted is protected: neither is read here.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.antivirus.openers.archive import clean_name
from gatepost.antivirus.openers.virtual_disk import SECTOR, Disk
from gatepost.antivirus.opening import Member, Opening

MARK: Final = b"NTFS    "
RECORDS: Final = 200_000
"""Files, folders and continuations in one file system."""
RUNS: Final = 100_000
"""Pieces of one file."""
_SYSTEM_RECORDS: Final = 16
"""The first records are the file system's own tables."""
_NAME, _DATA, _LAST = 0x30, 0x80, 0xFFFFFFFF
_IN_USE: Final = 1
_COMPRESSED, _ENCRYPTED = 0x00FF, 0x4000
_DOS_NAME: Final = 2
_RECORD_MASK: Final = 0xFFFFFFFFFFFF


class System(msgspec.Struct, frozen=True):
    """A file system as its boot sector states it."""

    start: int
    """Where on the disk it begins, in bytes."""
    cluster_size: int
    record_size: int
    table: int
    """Cluster with which the master file table begins."""


class _Stream(msgspec.Struct):
    """The content of a file, or of one of its alternate streams."""

    size: int = 0
    valid: int = 0
    """Bytes that have been written; zeros follow."""
    flags: int = 0
    inside: bytes | None = None
    """Content that stands in the table itself."""
    runs: dict[int, tuple[int, int]] = {}
    """By cluster of the stream: (cluster of the disk, -1 for none; clusters)."""


class _File(msgspec.Struct):
    """A file in the making: its parts may stand in several records."""

    name: str = ""
    known: bool = False
    """Its own record was met, and is in use."""
    streams: dict[str, _Stream] = {}


def read_system(disk: Disk, start: int) -> System | None:
    """Return the file system that begins at `start`, None when it is none of this kind."""
    boot = disk.read(start, SECTOR)
    if boot[3:11] != MARK:
        return None
    sector, per_cluster, stated = _number(boot, 0x0B, 2), _number(boot, 0x0D, 1), _number(boot, 0x40, 1)
    if per_cluster > 0x80:
        per_cluster = 1 << 256 - per_cluster
    cluster_size = sector * per_cluster
    record_size = 1 << 256 - stated if stated > 0x7F else stated * cluster_size
    if not (SECTOR <= cluster_size <= 1 << 21 and SECTOR <= record_size <= 1 << 16):
        return None
    return System(start, cluster_size, record_size, _number(boot, 0x30, 8))


def read_files(disk: Disk, system: System, opening: Opening) -> Iterator[Member]:
    """Yield every file and every alternate stream. OverBudget."""
    first = _repair(disk.read(system.start + system.table * system.cluster_size, system.record_size))
    own = _File()
    if first is not None:
        _read_record(first, own)
    table = own.streams.get("")
    if table is None:
        yield Member("", trouble="the file table of a disk image cannot be read")
        return
    records, whole = _read_stream(disk, system, table, opening)
    files: dict[int, _File] = {}
    for number in range(min(len(records) // system.record_size, RECORDS)):
        record = _repair(records[number * system.record_size : (number + 1) * system.record_size])
        if record is not None:
            base = _number(record, 0x20, 8) & _RECORD_MASK
            file = files.setdefault(base or number, _File())
            _read_record(record, file)
            file.known = file.known or not base
        if not number & 0xFF:
            opening.budget.take_time()
    if not whole or len(records) // system.record_size > RECORDS:
        yield Member("", trouble="the file table of a disk image is cut off, or too long")
    for number, file in files.items():
        if number >= _SYSTEM_RECORDS and file.known:
            yield from _open_file(disk, system, file, opening)


def _open_file(disk: Disk, system: System, file: _File, opening: Opening) -> Iterator[Member]:
    opening.budget.take_member()
    for title, stream in file.streams.items():
        name = clean_name(f"{file.name}:{title}" if title else file.name)
        if stream.flags & _ENCRYPTED:
            yield Member(name, protected=True)
        elif stream.flags & _COMPRESSED:
            yield Member(name, trouble="file of a disk image is compressed by its file system")
        elif stream.size:
            content, whole = _read_stream(disk, system, stream, opening)
            yield Member(name, content, trouble="" if whole else "file of a disk image is cut off")


def _repair(record: bytes) -> bytes | None:
    """Return a record with the last bytes of its sectors put back; None when it is none in use, or torn."""
    if record[:4] != b"FILE" or not _number(record, 0x16, 2) & _IN_USE:
        return None
    at, count = _number(record, 4, 2), _number(record, 6, 2)
    mended = bytearray(record)
    for number in range(1, count):
        end = number * SECTOR
        saved = record[at + 2 * number : at + 2 * number + 2]
        if end > len(record) or len(saved) != 2 or record[end - 2 : end] != record[at : at + 2]:
            return None
        mended[end - 2 : end] = saved
    return bytes(mended)


def _read_record(record: bytes, file: _File) -> None:
    """Add what a record says to its file."""
    at = _number(record, 0x14, 2)
    while at + 16 <= len(record):
        kind, length = _number(record, at, 4), _number(record, at + 4, 4)
        if kind == _LAST or length < 16:
            return
        attribute = record[at : at + length]
        if kind == _NAME and not attribute[8]:
            name = _resident(attribute)
            if len(name) > 0x42 and (not file.name or name[0x41] != _DOS_NAME):
                file.name = name[0x42 : 0x42 + 2 * name[0x40]].decode("utf-16-le", "replace")
        elif kind == _DATA:
            start = _number(attribute, 0x0A, 2)
            title = attribute[start : start + 2 * attribute[9]].decode("utf-16-le", "replace")
            _read_data(attribute, file.streams.setdefault(title, _Stream()))
        at += length


def _read_data(attribute: bytes, stream: _Stream) -> None:
    stream.flags |= _number(attribute, 0x0C, 2)
    if not attribute[8]:
        stream.inside = _resident(attribute)
        stream.size = stream.valid = len(stream.inside)
        return
    first = _number(attribute, 0x10, 8)
    if not first:
        stream.size, stream.valid = _number(attribute, 0x30, 8), _number(attribute, 0x38, 8)
    place, at = 0, _number(attribute, 0x20, 2)
    while at < len(attribute) and attribute[at] and len(stream.runs) < RUNS:
        count, shift = attribute[at] & 0x0F, attribute[at] >> 4
        clusters = _number(attribute, at + 1, count)
        raw = attribute[at + 1 + count : at + 1 + count + shift]
        place += int.from_bytes(raw, "little", signed=True)
        if not clusters:
            return
        stream.runs[first] = (place if shift else -1, clusters)
        first += clusters
        at += 1 + count + shift


def _read_stream(disk: Disk, system: System, stream: _Stream, opening: Opening) -> tuple[bytes, bool]:
    """Return the bytes of a stream, and whether they are all there. OverBudget."""
    budget = opening.budget
    if stream.size > budget.allowance(disk.packed):
        raise budget.refuse(disk.packed)
    if stream.inside is not None:
        content = stream.inside
    else:
        pieces: list[bytes] = []
        left, expected = stream.size, 0
        for first, (place, clusters) in sorted(stream.runs.items()):
            length = min(clusters * system.cluster_size, left)
            at = system.start + place * system.cluster_size
            piece = bytes(length) if place < 0 else disk.read(at, length)
            if first != expected or left <= 0:
                break
            pieces.append(piece)
            expected = first + clusters
            left -= len(piece)
            budget.take_time()
            if len(piece) < length:
                break
        content = b"".join(pieces)
        if stream.valid < len(content):
            content = content[: stream.valid] + bytes(len(content) - stream.valid)
    budget.take_bytes(len(content))
    return content, len(content) == stream.size


def _resident(attribute: bytes) -> bytes:
    start = _number(attribute, 0x14, 2)
    return attribute[start : start + _number(attribute, 0x10, 4)]


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
