"""Members of zip archives that the standard library cannot read: with a password (ZipCrypto, AES), or packed with a
rarer method.

Called by `openers.zip`. Such a member is put into an archive of its own, which libarchive reads, once the few check
bytes in front of it say that a password may fit: so a wrong one costs microseconds (ZipCrypto) or a key (AES), not the
whole member.
"""

import functools
import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from gatepost.antivirus.budget import Budget, Content
from gatepost.antivirus.libarchive import ArchiveReader, Broken
from gatepost.antivirus.zip_records import (
    CENTRAL,
    CENTRAL_MARK,
    END,
    END_MARK,
    FLAG_DESCRIPTOR,
    FLAG_ENCRYPTED,
    LOCAL,
    LOCAL_MARK,
)

AES_METHOD: Final = 99
AES_EXTRA: Final = 0x9901
AES_ROUNDS: Final = 1000
"""Of PBKDF2, fixed by the format."""
LIBRARY_METHODS: Final = frozenset({0, 8, 12, 14, 93, 95, 98})
CODE_PAGES: Final = ("utf-8", "cp1252", "cp437", "cp1251", "cp866")
"""How archivers turn a password into bytes, the likeliest first; they differ for letters beyond ASCII only."""
USELESS_MEMBERS: Final = 3
"""Members that no password fits, after which the rest of the archive is not tried."""

_ZIPCRYPTO_HEADER = 12


class LockedMember(msgspec.Struct, frozen=True):
    """A member by its headers, with what they cover."""

    method: int
    flags: int
    crc: int
    size: int
    time: int
    """DOS time of the local header: its upper byte checks a password when the checksum follows the data."""
    extra: bytes
    """Extra fields of the local header."""
    raw: bytes


class Keys:
    """The passwords to try in one archive: the one that fitted last comes first."""

    def __init__(self, passwords: Sequence[str]) -> None:
        self._passwords = passwords
        self._fitted: list[bytes] = []
        self._useless = 0

    def candidates(self) -> Iterator[bytes]:
        """Yield passwords as bytes; none once too many members have had none."""
        yield from self._fitted
        if self._useless < USELESS_MEMBERS:
            for password in self._passwords:
                yield from spellings(password)

    def note(self, password: bytes | None) -> None:
        """Remember which one fitted, None: none did."""
        if password is None:
            self._useless += 1
        elif password not in self._fitted:
            self._fitted.insert(0, password)


def spellings(password: str) -> list[bytes]:
    """Return the bytes a password may stand for."""
    if password.isascii():
        return [password.encode("ascii")]
    found: list[bytes] = []
    for page in CODE_PAGES:
        try:
            raw = password.encode(page)
        except UnicodeEncodeError:
            continue
        if raw not in found:
            found.append(raw)
    return found


def read_alone(member: LockedMember, password: bytes, budget: Budget) -> tuple[bytes, str]:
    """Read a member as the only one of an archive: (content, what is wrong with it). OverBudget.

    `password`: b"" for a member that is not encrypted. Broken: nothing of it can be read; with a password: that one
    does not fit.
    """
    content = Content(budget, len(member.raw))
    trouble = ""
    # no "streamable" reading: it would believe the local header alone
    with ArchiveReader(_pack_alone(member), 0, ("format_zip_seekable",), password=password) as reader:
        if reader.next_entry() is None:
            raise Broken("archive holds nothing")
        try:
            while (block := reader.read_block()) is not None:
                content.write_at(*block)
                budget.take_time()
            trouble = reader.warning
        except Broken as error:
            if password or content.is_empty():
                raise
            trouble = f"zip member cannot be read: {error}"
    return content.take(), trouble


def unlock(member: LockedMember, keys: Keys, budget: Budget) -> bytes | None:
    """Return the content of an encrypted member, None when no password fits. OverBudget."""
    fits = _checker(member, budget)
    if fits is None:
        return None
    for password in keys.candidates():
        budget.take_time()
        if not fits(password):
            continue
        try:
            data, trouble = read_alone(member, password, budget)
        except Broken:
            continue
        if trouble:
            continue
        keys.note(password)
        return data
    keys.note(None)
    return None


def _checker(member: LockedMember, budget: Budget) -> Callable[[bytes], bool] | None:
    """Return what tells whether a password may fit, None when the member's encryption is none that is known."""
    if member.method != AES_METHOD:
        return functools.partial(_fits_zipcrypto, member) if member.method in LIBRARY_METHODS else None
    field = _find_extra(member.extra, AES_EXTRA)
    if len(field) < 7 or not 1 <= field[4] <= 3 or int.from_bytes(field[5:7], "little") not in LIBRARY_METHODS:
        return None
    key_size = 8 + 8 * field[4]
    salt_size = key_size // 2
    salt, check = member.raw[:salt_size], member.raw[salt_size : salt_size + 2]
    length = 2 * key_size + 2
    rounds = AES_ROUNDS * -(-length // hashlib.sha1(usedforsecurity=False).digest_size)

    def fits(password: bytes) -> bool:
        return budget.may_derive(rounds) and (
            hashlib.pbkdf2_hmac("sha1", password, salt, AES_ROUNDS, length)[-2:] == check
        )

    return fits


def _find_extra(extra: bytes, wanted: int) -> bytes:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == wanted:
            return extra[position + 4 : position + 4 + length]
        position += 4 + length
    return b""


@functools.cache
def _crc_table() -> tuple[int, ...]:
    """Return what one step of CRC-32 adds, for each low byte."""
    return tuple((zlib.crc32(bytes((value,)), 0xFFFFFFFF) ^ 0xFFFFFFFF) & 0xFFFFFFFF for value in range(256))


def _fits_zipcrypto(member: LockedMember, password: bytes) -> bool:
    """Decrypt the header of 12 bytes (APPNOTE 6.1.6): its last one is the first of the checksum, or of the time."""
    table = _crc_table()
    first, second, third = 0x12345678, 0x23456789, 0x34567890
    plain = 0
    for position, octet in enumerate(password + member.raw[:_ZIPCRYPTO_HEADER]):
        plain = octet
        if position >= len(password):
            mask = third | 2
            plain ^= (mask * (mask ^ 1) >> 8) & 0xFF
        first = table[(first ^ plain) & 0xFF] ^ first >> 8
        second = ((second + (first & 0xFF)) * 134_775_813 + 1) & 0xFFFFFFFF
        third = table[(third ^ second >> 24) & 0xFF] ^ third >> 8
    check = member.time >> 8 if member.flags & FLAG_DESCRIPTOR else member.crc >> 24
    return len(member.raw) >= _ZIPCRYPTO_HEADER and plain == check


def _pack_alone(member: LockedMember) -> bytes:
    """Return a zip archive of this one member, under a name of ours."""
    name, flags = b"x", member.flags & (FLAG_ENCRYPTED | FLAG_DESCRIPTOR)
    version = 63  # of the format, times ten
    aes = _find_extra(member.extra, AES_EXTRA)
    extra = struct.pack("<2H", AES_EXTRA, len(aes)) + aes if aes else b""
    sizes = (member.crc & 0xFFFFFFFF, len(member.raw), member.size & 0xFFFFFFFF, len(name), len(extra))
    local = LOCAL.pack(LOCAL_MARK, version, flags, member.method, member.time, 0, *sizes) + name + extra
    central = CENTRAL.pack(CENTRAL_MARK, version, version, flags, member.method, member.time, 0, *sizes, 0, 0, 0, 0, 0)
    central += name + extra
    end = END.pack(END_MARK, 0, 0, 1, 1, len(central), len(local) + len(member.raw), 0)
    return b"".join((local, member.raw, central, end))
