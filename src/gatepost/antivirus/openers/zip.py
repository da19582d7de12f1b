"""Zip archives as hostile input: every member that any unpacker might find, each with what is wrong with it.

Called by `unpack`. Reads the central directory, then looks for local headers in the gaps it leaves (members hidden
from the directory, archives without one). Decompression is the standard library's, under the message's budget.
`open_zip` never raises but `OverBudget`; it yields members in the order of their data.
"""

import bz2
import lzma
import re
import struct
import zlib
from collections.abc import Iterator

import msgspec

from gatepost.antivirus.budget import Budget, Content, Damaged, inflate
from gatepost.antivirus.kinds import extension_of
from gatepost.antivirus.libarchive import Broken
from gatepost.antivirus.openers.locked_zip import LIBRARY_METHODS, Keys, LockedMember, read_alone, unlock
from gatepost.antivirus.openers.old_zip import OLD_METHODS, unpack_old
from gatepost.antivirus.openers.stream import decode_stream
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.zip_ends import Directory, find_directories, find_end
from gatepost.antivirus.zip_records import (
    BZIP2,
    CENTRAL,
    CENTRAL_MARK,
    DEFLATED,
    DESCRIPTOR_MARK,
    END_MARK,
    FLAG_DESCRIPTOR,
    FLAG_ENCRYPTED,
    FLAG_MASKED,
    FLAG_STRONG,
    FLAG_UTF8,
    LOCAL,
    LOCAL_MARK,
    LZMA,
    STORED,
    UNKNOWN_32,
    ZIP64_EXTRA,
)

FAST_METHODS = frozenset({STORED, DEFLATED, BZIP2, LZMA})
"""Unpacked by the standard library."""
KNOWN_METHODS = frozenset({0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 14, 18, 19, 93, 94, 95, 96, 97, 98, 99})
LZMA_MEMORY = 128 * 1024 * 1024
"""Dictionary a member may ask for; archivers use 64 MiB at most by default."""
NAME_LIMIT = 255
DIRECTORIES = 8
"""Directories of one archive that are read: a second one is a forgery already."""
UNICODE_EXTRA = 0x7075
UNICODE_MARK = b"up"
"""How the extra field for a Unicode path begins (APPNOTE 4.6.9)."""
CONTRADICTION = "zip directory and member header contradict each other"
HIGHEST_VERSION = 100
"""Of the format, times ten: 6.3 is the newest; more is chance, not a header."""


class _Entry(msgspec.Struct):
    """A member as its headers state it."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    """Offset of the local header."""
    data: int = 0
    """Offset of the packed data; 0 until the local header is read."""
    trouble: str = ""
    time: int = 0
    extra: bytes = b""
    """Of the local header."""
    raw_name: bytes = b""
    """As the directory has it."""
    central_extra: bytes = b""
    """The extra fields in the directory."""


def open_zip(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield every member. OverBudget ends the archive; whatever else is wrong is a member's `trouble`."""
    budget = opening.budget
    keys = Keys(opening.passwords)
    entries, problem, directory = _read_directories(data, budget)
    covered = 0
    for entry in sorted(entries, key=lambda each: each.header):
        yield from _read_hidden(data, covered, entry.header, budget, keys)
        if entry.header < covered:
            yield Member(entry.name, trouble="zip members overlap")
            continue
        other = _place(data, entry)
        if not entry.trouble:
            covered = entry.data + entry.packed
        if other is not None:
            yield _open(data, other, budget, keys)
        if entry.trouble:
            yield Member(entry.name, trouble=entry.trouble)
        elif other is not None or not _is_folder(entry):
            member = _open(data, entry, budget, keys)
            yield member
            for name in _other_names(data, entry):
                budget.take_member()
                yield msgspec.structs.replace(member, name=name)
    yield from _read_hidden(data, covered, directory if directory > covered else len(data), budget, keys)
    if problem:
        yield Member("", trouble=problem)


def _read_directories(data: bytes, budget: Budget) -> tuple[list[_Entry], str, int]:
    """Return (entries of all central directories, what is wrong with them, where the members end)."""
    anywhere = find_end(data) < 0
    directories = find_directories(data, anywhere=anywhere)
    if not directories:
        return [], "" if _is_empty(data) else "zip archive is cut off, or its directory is damaged", len(data)
    entries: list[_Entry] = []
    problem = ""
    for directory in directories[:DIRECTORIES]:
        found, wrong = _read_directory(data, directory, budget)
        entries += found
        problem = problem or wrong
    if len(directories) > 1:
        problem = "zip archive has more than one directory"
    return entries, problem, max(directory.start for directory in directories)


def _is_empty(data: bytes) -> bool:
    """Whether this is an archive without members: nothing but the record at its end."""
    return data.startswith(END_MARK) and find_end(data) == 0


def _read_directory(data: bytes, directory: Directory, budget: Budget) -> tuple[list[_Entry], str]:
    """Return (entries of one central directory, what is wrong with it)."""
    entries: list[_Entry] = []
    position = directory.start
    while position + CENTRAL.size <= directory.limit and data.startswith(CENTRAL_MARK, position):
        budget.take_member()
        entry, position = _read_central(data, position, directory.shift)
        entries.append(entry)
    if position == directory.limit and (len(entries) - directory.count) % 65_536 == 0:  # 16 bits: it may wrap
        return entries, ""
    return entries, f"zip directory announces {directory.count} members and holds {len(entries)}"


def _read_central(data: bytes, position: int, shift: int) -> tuple[_Entry, int]:
    fields = CENTRAL.unpack_from(data, position)
    _, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length, *_, offset = fields
    name_at = position + CENTRAL.size
    extra_at = name_at + name_length
    if UNKNOWN_32 in (packed, size, offset):
        size, packed, offset = _read_zip64(data[extra_at : extra_at + extra_length], size, packed, offset)
    name = _decode_name(data[name_at:extra_at], flags)
    entry = _Entry(name, flags, method, crc, packed, size, offset + shift)
    entry.raw_name, entry.central_extra = data[name_at:extra_at], data[extra_at : extra_at + extra_length]
    return entry, extra_at + extra_length + comment_length


def _read_zip64(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Return (size, packed, offset) with the 64-bit values of extra field 1 in place of the unknown ones."""
    for kind, field in _read_extra(extra):
        if kind == ZIP64_EXTRA:
            numbers = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            return (
                next(numbers, size) if size == UNKNOWN_32 else size,
                next(numbers, packed) if packed == UNKNOWN_32 else packed,
                next(numbers, offset) if offset == UNKNOWN_32 else offset,
            )
    return size, packed, offset


def _place(data: bytes, entry: _Entry) -> _Entry | None:
    """Find the packed data behind the local header. Return the member as that header states it, where the directory
    contradicts it: unpackers differ in which they believe.
    """
    if not 0 <= entry.header <= len(data) - LOCAL.size or not data.startswith(LOCAL_MARK, entry.header):
        entry.trouble = "zip member has no header where the directory says"
        return None
    fields = LOCAL.unpack_from(data, entry.header)
    _, _, flags, method, entry.time, _, crc, packed, size, name_length, extra_length = fields
    entry.data = entry.header + LOCAL.size + name_length + extra_length
    extra = data[entry.data - extra_length : entry.data] if extra_length else b""
    if extra and entry.flags & FLAG_ENCRYPTED:
        entry.extra = extra
    if entry.data + entry.packed > len(data):
        entry.trouble = "zip member is cut off"
        return None
    told = packed not in (0, UNKNOWN_32) and not flags & FLAG_DESCRIPTOR
    if not (flags ^ entry.flags) & FLAG_ENCRYPTED and (
        (method == entry.method and (not told or packed == entry.packed)) or flags & FLAG_MASKED
    ):
        return None
    other = _Entry(entry.name, flags, method, entry.crc, entry.packed, entry.size, entry.header, entry.data)
    other.trouble, other.time, other.extra = CONTRADICTION, entry.time, extra
    if told:
        other.crc, other.packed, other.size = crc, min(packed, len(data) - entry.data), size
    return other


def _other_names(data: bytes, entry: _Entry) -> list[str]:
    """Return the names by which other unpackers take a member for another kind of file: that in its own header, and
    those in the extra fields for Unicode paths, which count while the checksum in them is that of the usual name.
    """
    at = entry.header + LOCAL.size
    _, _, flags, *_, length, extra_length = LOCAL.unpack_from(data, entry.header)
    raw = data[at : at + length]
    plain = raw == entry.raw_name and data.find(UNICODE_MARK, at + length, at + length + extra_length) < 0
    if plain and entry.central_extra.find(UNICODE_MARK) < 0:
        return []
    names = [_decode_name(raw, flags)]
    for own, extra in ((raw, data[at + length : at + length + extra_length]), (entry.raw_name, entry.central_extra)):
        for kind, field in _read_extra(extra):
            if kind == UNICODE_EXTRA and int.from_bytes(field[1:5], "little") == zlib.crc32(own):
                names.append(_decode_name(field[5:], FLAG_UTF8))
    by_extension = {extension_of(name): name for name in names}
    by_extension.pop(extension_of(entry.name), None)
    return list(by_extension.values())


def _read_extra(extra: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        yield kind, extra[position + 4 : position + 4 + length]
        position += 4 + length


def _read_hidden(data: bytes, start: int, end: int, budget: Budget, keys: Keys) -> Iterator[Member]:
    """Yield members whose local headers stand in [start, end), where the directory knows of none. It says where that
    ends, which may be outside the archive.
    """
    end = max(0, min(end, len(data)))
    position = data.find(LOCAL_MARK, start, end)
    while position >= 0:
        entry = _read_local(data, position, end)
        if entry is None:
            position = data.find(LOCAL_MARK, position + 1, end)
            continue
        budget.take_member()
        if not _is_folder(entry):
            member = _open(data, entry, budget, keys)
            trouble = member.trouble or "zip member that the directory does not name"
            yield msgspec.structs.replace(member, trouble=trouble)
        position = data.find(LOCAL_MARK, max(entry.data + entry.packed, position + 1), end)


def _read_local(data: bytes, position: int, end: int) -> _Entry | None:
    """Read a local header found by search; None when it is only bytes that look like one."""
    if position + LOCAL.size > end:
        return None
    fields = LOCAL.unpack_from(data, position)
    _, version, flags, method, time, _, crc, packed, size, name_length, extra_length = fields
    start = position + LOCAL.size + name_length + extra_length
    if (version & 0xFF) > HIGHEST_VERSION or method not in KNOWN_METHODS or not name_length or start > end:
        return None
    name = _decode_name(data[position + LOCAL.size :][:name_length], flags)
    trouble = ""
    if flags & FLAG_DESCRIPTOR and not packed:
        stop = data.find(DESCRIPTOR_MARK, start, end)
        packed = (end if stop < 0 else stop) - start
        crc = -1
        size = -1
    elif start + packed > end:
        packed = end - start
        trouble = "zip member is cut off"
    extra = data[start - extra_length : start]
    return _Entry(name, flags, method, crc, packed, size, position, start, trouble, time, extra)


def _open(data: bytes, entry: _Entry, budget: Budget, keys: Keys) -> Member:
    if entry.flags & (FLAG_ENCRYPTED | FLAG_MASKED):
        return _open_locked(data, entry, budget, keys)
    raw = memoryview(data)[entry.data : entry.data + entry.packed]
    try:
        if entry.method in FAST_METHODS:
            content, ended = _decompress(raw, entry, budget)
        else:
            return _open_rare(entry, bytes(raw), budget)
    except Damaged as error:
        return Member(entry.name, trouble=str(error))
    trouble = entry.trouble
    if not ended:
        trouble = trouble or "packed data is damaged or cut off"
    elif entry.crc >= 0 and zlib.crc32(content) != entry.crc:
        trouble = trouble or "checksum of the unpacked data is wrong"
    return Member(entry.name, content, trouble=trouble)


def _open_locked(data: bytes, entry: _Entry, budget: Budget, keys: Keys) -> Member:
    """Open a member that is encrypted, if one of the passwords fits."""
    if not entry.flags & (FLAG_STRONG | FLAG_MASKED):
        content = unlock(_stand_alone(entry, data[entry.data : entry.data + entry.packed]), keys, budget)
        if content is not None:
            return Member(entry.name, content, trouble=entry.trouble, secret=True)
    return Member(entry.name, protected=True, trouble=entry.trouble)


def _open_rare(entry: _Entry, raw: bytes, budget: Budget) -> Member:
    """Open a member packed with a method that is not among the fast ones. Damaged: it cannot be opened at all."""
    if entry.method in LIBRARY_METHODS:
        try:
            content, trouble = read_alone(_stand_alone(entry, raw), b"", budget)
        except Broken as error:
            raise Damaged(f"packed data is damaged: {error}") from None
    elif entry.method in OLD_METHODS:
        content, trouble = unpack_old(entry.method, entry.flags, raw, entry.size, budget)
    else:
        raise Damaged(f"compression method {entry.method} is not opened")
    if not trouble and entry.crc >= 0 and zlib.crc32(content) != entry.crc:
        trouble = "checksum of the unpacked data is wrong"
    return Member(entry.name, content, trouble=entry.trouble or trouble)


def _stand_alone(entry: _Entry, raw: bytes) -> LockedMember:
    return LockedMember(entry.method, entry.flags, entry.crc, entry.size, entry.time, entry.extra, raw)


def _decompress(raw: memoryview, entry: _Entry, budget: Budget) -> tuple[bytes, bool]:
    """Return (unpacked bytes, whether the packed data ended properly)."""
    if entry.method == STORED:
        if len(raw) > budget.allowance(len(raw)):
            raise budget.refuse(len(raw))
        budget.take_bytes(len(raw))
        return bytes(raw), entry.size in (-1, len(raw))
    if entry.method == DEFLATED:
        if not raw:
            raise Damaged("packed data is missing")
        content, _, ended = inflate(raw, -zlib.MAX_WBITS, budget)
        return content, ended
    decompressor: bz2.BZ2Decompressor | lzma.LZMADecompressor
    packed: bytes = bytes(raw)
    if entry.method == BZIP2:
        decompressor = bz2.BZ2Decompressor()
    else:
        # Two bytes of version, two of length, then the five property bytes of the .lzma format, whose header goes on
        # with the size (unknown: the stream's own end mark, or the end of the data).
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=LZMA_MEMORY)
        packed = bytes(raw[4:9]) + max(entry.size, 0).to_bytes(8, "little") + bytes(raw[9:])
    out = Content(budget, len(raw))
    _, trouble = decode_stream(decompressor, packed, 0, out, budget)
    if trouble and out.is_empty():
        raise Damaged(trouble)
    return out.take(), not trouble


def _is_folder(entry: _Entry) -> bool:
    return entry.name.endswith("/") and entry.packed == 0


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _decode_name(raw: bytes, flags: int) -> str:
    name = raw[: NAME_LIMIT * 4].decode("utf-8" if flags & FLAG_UTF8 else "cp437", "replace")
    return _CONTROL.sub("?", name)[-NAME_LIMIT:]
