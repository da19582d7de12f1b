"""rar archives of version 5, made readable: without passwords, and without hashes that libarchive must not check.

Called by `openers.rar`. `plan_rar5` reads the headers and says what of the archive libarchive may be given: the bytes
as they are, or a copy with decrypted members. Streams of NTFS, which libarchive passes over and WinRAR has written
wherever their names said (CVE-2025-8088), are files at the end of that copy. The BLAKE2 hashes are always taken out:
checking them, the library starts threads, which a filter's walls end the process for. All arithmetic is bounded by the
data; nothing raises but OverBudget.
"""

import functools
import hashlib
import operator
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from gatepost.antivirus.budget import Budget

MARK: Final = b"Rar!\x1a\x07\x01\x00"
HEADER_LIMIT: Final = 2 * 1024 * 1024
"""Bytes a header may have (the format's own limit)."""
_MAIN, _FILE, _SERVICE, _ENCRYPTION, _END = 1, 2, 3, 4, 5
_HAS_EXTRA, _HAS_DATA = 0x1, 0x2
_EXTRA_ENCRYPTION, _EXTRA_HASH, _EXTRA_SERVICE = 1, 2, 7
_STREAM: Final = "STM"
"""Name of the service that is a stream of the file in front of it; its extra area has the stream's own name."""
_SPLIT: Final = 0x18
"""Flags of a file that begins in the volume before, or goes on in the next."""
_FILE_HAS_TIME, _FILE_HAS_CHECKSUM = 0x2, 0x4
_PASSWORD_CHECKED = 0x1
_METHOD_BITS: Final = 0x380
_BLOCK: Final = 16


class _End(Exception):  # noqa: N818 - what happens
    """The headers end here, or make no sense."""


class _HeadersLocked(Exception):  # noqa: N818 - what is the matter
    """No password opens the headers."""


class Plan(msgspec.Struct, frozen=True):
    """What libarchive may read of an archive."""

    data: bytes
    start: int
    secret: bool = False
    """Passwords opened something of it."""
    locked: tuple[str, ...] = ()
    """Members that no password opens."""
    headers_locked: bool = False
    """No password opens the headers: not even names are known."""
    trouble: str = ""


class _Header(msgspec.Struct, frozen=True):
    """A block's header: `body` goes from its type to the end of its extra area."""

    kind: int
    flags: int
    fields: int
    """Offset in `body` of what is particular to the type."""
    extra: int
    """Offset in `body` of the extra area; its length when there is none."""
    data_size: int
    body: bytes
    end: int
    """Offset in the archive of what follows the header."""


class _Lock(msgspec.Struct, frozen=True):
    """What an encryption record says."""

    rounds: int
    salt: bytes
    check: bytes
    """Of the password; b"" when there is none."""


class _Passwords:
    """The passwords to try; keys that were made, so that a solid archive of a thousand members makes one."""

    def __init__(self, passwords: Sequence[str], budget: Budget) -> None:
        self._passwords = [password.encode("utf-8", "surrogateescape") for password in passwords]
        self._budget = budget
        self._keys: dict[_Lock, bytes | None] = {}
        self._fitted: list[bytes] = []

    def key(self, lock: _Lock) -> bytes | None:
        """Return the key that opens `lock`, None when no password gives it."""
        if lock not in self._keys:
            self._keys[lock] = self._make_key(lock)
        return self._keys[lock]

    def _make_key(self, lock: _Lock) -> bytes | None:
        if not lock.check:  # nothing would tell a wrong password from a right one
            return None
        for password in dict.fromkeys((*self._fitted, *self._passwords)):
            self._budget.take_time()
            if not self._budget.may_derive(lock.rounds + 2 * 16):
                return None
            value = hashlib.pbkdf2_hmac("sha256", password, lock.salt, lock.rounds + 2 * 16)
            words = (int.from_bytes(value[at : at + 8], "big") for at in range(0, 32, 8))
            if functools.reduce(operator.xor, words) == int.from_bytes(lock.check, "big"):
                self._fitted.insert(0, password)
                return hashlib.pbkdf2_hmac("sha256", password, lock.salt, lock.rounds)
        return None


def plan_rar5(data: bytes, start: int, passwords: Sequence[str], budget: Budget) -> Plan:
    """Read the headers of the archive that begins at `start`. OverBudget."""
    return _Planner(data, start, _Passwords(passwords, budget), budget).plan()


class _Planner:
    def __init__(self, data: bytes, start: int, passwords: _Passwords, budget: Budget) -> None:
        self.data = data
        self.start = start
        self.passwords = passwords
        self.budget = budget
        self.pieces: list[bytes] = [MARK]
        self.streams: list[bytes] = []
        self.file_name = ""
        self.changed = False
        self.secret = False
        self.split = False
        self.locked: list[str] = []
        self.header_key: bytes | None = None

    def plan(self) -> Plan:
        position = self.start + len(MARK)
        trouble = ""
        try:
            while position:
                self.budget.take_time()
                position = self.step(position)
        except _HeadersLocked:
            return Plan(b"", 0, headers_locked=True)
        except (_End, IndexError):
            trouble = "rar archive is damaged or cut off"
        if self.split:
            trouble = "rar archive is one volume of several"
        if not self.changed:
            return Plan(self.data, self.start, trouble=trouble)
        self.pieces += self.streams
        return Plan(b"".join(self.pieces), 0, self.secret, tuple(self.locked), trouble=trouble)

    def step(self, position: int) -> int:
        """Take one block; return where the next one stands, 0 behind the last."""
        header = self.read(position)
        position = header.end + header.data_size
        if header.kind == _ENCRYPTION:
            self.header_key = self.passwords.key(_read_lock(header.body, header.fields, with_vector=False)[0])
            if self.header_key is None:
                raise _HeadersLocked
            self.changed = self.secret = True
            return position
        if header.kind == _END:
            self.pieces += self.streams
            self.streams = []
        self.copy(header)
        self.split |= header.kind == _FILE and header.flags & _SPLIT > 0
        if header.kind == _END:
            return 0
        if position > len(self.data):
            raise _End
        return position

    def read(self, position: int) -> _Header:
        """Read the header at `position`, decrypted if headers are encrypted."""
        if self.header_key is None:
            raw, shift = self.data[position : position + HEADER_LIMIT], 0
        else:
            vector = self.data[position : position + _BLOCK]
            first = _decrypt(self.header_key, vector, self.data[position + _BLOCK : position + 2 * _BLOCK])
            size, after = _number(first, 4)
            length = -(-(after + size) // _BLOCK) * _BLOCK
            if size > HEADER_LIMIT:
                raise _End
            raw = _decrypt(self.header_key, vector, self.data[position + _BLOCK : position + _BLOCK + length])
            shift = _BLOCK + length
        size, after = _number(raw, 4)
        if not 0 < size <= HEADER_LIMIT or zlib.crc32(raw[4 : after + size]) != int.from_bytes(raw[:4], "little"):
            raise _End
        body = raw[after : after + size]
        kind, at = _number(body, 0)
        flags, at = _number(body, at)
        extra = data_size = 0
        if flags & _HAS_EXTRA:
            extra, at = _number(body, at)
        if flags & _HAS_DATA:
            data_size, at = _number(body, at)
        if extra > size - at:
            raise _End
        return _Header(kind, flags, at, size - extra, data_size, body, position + (shift or after + size))

    def copy(self, header: _Header) -> None:
        """Put a block into the copy: as it is, or decrypted and without hash."""
        raw = self.data[header.end : header.end + header.data_size]
        records = list(_read_records(header.body[header.extra :])) if header.kind in {_FILE, _SERVICE} else []
        kinds = {kind for kind, _ in records}
        fields = header.body[header.fields : header.extra]
        name = _read_name(fields) if header.kind in {_FILE, _SERVICE} else ""
        if header.kind == _FILE:
            self.file_name = name
        is_stream = header.kind == _SERVICE and name == _STREAM
        if not is_stream and not kinds & {_EXTRA_ENCRYPTION, _EXTRA_HASH}:
            self.pieces += (_build_header(header.body), raw)
            return
        self.changed = True
        size = len(raw)
        if _EXTRA_ENCRYPTION in kinds:
            record = next(record for kind, record in records if kind == _EXTRA_ENCRYPTION)
            lock, vector = _read_lock(record, 0, with_vector=True)
            key = self.passwords.key(lock)
            if key is None:
                if header.kind == _FILE or is_stream:
                    self.locked.append(name)
                return
            self.secret = True
            raw = _decrypt(key, vector, raw[: len(raw) // _BLOCK * _BLOCK])
            size = len(raw)
            fields, stored, unpacked = _without_checksum(fields)
            raw = raw[:unpacked] if stored else raw[: _end_of_blocks(raw)]
            size = len(raw)
        if is_stream:
            own = next((record for kind, record in records if kind == _EXTRA_SERVICE), b"")
            fields = _renamed(fields, self.file_name.encode("utf-8", "replace") + own)
            body = _build_number(_FILE) + _build_number(_HAS_DATA) + _build_number(size) + fields
            self.streams += (_build_header(body), raw)
            return
        extra = b"".join(
            _build_number(len(record) + 1) + bytes((kind,)) + record
            for kind, record in records
            if kind not in {_EXTRA_ENCRYPTION, _EXTRA_HASH} and kind < 0x80
        )
        flags = (header.flags | _HAS_EXTRA | _HAS_DATA) if extra else (header.flags | _HAS_DATA) & ~_HAS_EXTRA
        body = _build_number(header.kind) + _build_number(flags)
        if extra:
            body += _build_number(len(extra))
        self.pieces += (_build_header(body + _build_number(size) + fields + extra), raw)


def _read_lock(record: bytes, at: int, *, with_vector: bool) -> tuple[_Lock, bytes]:
    """Read an encryption record: (lock, initialisation vector)."""
    _, at = _number(record, at)
    flags, at = _number(record, at)
    rounds = 1 << min(record[at], 40)
    salt = record[at + 1 : at + 17]
    at += 17
    vector = record[at : at + _BLOCK] if with_vector else b""
    at += len(vector)
    check = record[at : at + 8] if flags & _PASSWORD_CHECKED else b""
    if len(salt) != _BLOCK or (with_vector and len(vector) != _BLOCK):
        raise _End
    return _Lock(rounds, salt, check), vector


def _read_records(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(extra):
        size, at = _number(extra, at)
        kind, after = _number(extra, at)
        if not size or at + size > len(extra):
            raise _End
        yield kind, extra[after : at + size]
        at += size


def _split_fields(fields: bytes) -> tuple[int, int, int, int]:
    """Return (file flags, unpacked size, offset of time and checksum, offset behind them)."""
    flags, at = _number(fields, 0)
    unpacked, at = _number(fields, at)
    _, at = _number(fields, at)
    return flags, unpacked, at, at + 4 * bool(flags & _FILE_HAS_TIME) + 4 * bool(flags & _FILE_HAS_CHECKSUM)


def _read_name(fields: bytes) -> str:
    *_, at = _split_fields(fields)
    _, at = _number(fields, at)
    _, at = _number(fields, at)
    length, at = _number(fields, at)
    return fields[at : at + length].decode("utf-8", "replace")


def _renamed(fields: bytes, name: bytes) -> bytes:
    """Return the fields with another name, which stands at their end."""
    *_, at = _split_fields(fields)
    _, at = _number(fields, at)
    _, at = _number(fields, at)
    return fields[:at] + _build_number(len(name)) + name


def _without_checksum(fields: bytes) -> tuple[bytes, bool, int]:
    """Return (fields without the checksum, which passwords distort, whether the member is stored, unpacked size)."""
    flags, unpacked, _, behind = _split_fields(fields)
    method, _ = _number(fields, behind)
    if not flags & _FILE_HAS_CHECKSUM:
        return fields, not method & _METHOD_BITS, unpacked
    _, after_flags = _number(fields, 0)
    kept = fields[after_flags : behind - 4]
    return _build_number(flags & ~_FILE_HAS_CHECKSUM) + kept + fields[behind:], not method & _METHOD_BITS, unpacked


def _end_of_blocks(raw: bytes) -> int:
    """Return where packed data end: behind the block that says that it is the last one, in front of the padding."""
    at = 0
    while at < len(raw):
        flags = raw[at]
        count = (flags >> 3 & 3) + 1
        at += 2 + count + int.from_bytes(raw[at + 2 : at + 2 + count], "little")
        if flags & 0x40:
            break
    return at


def _decrypt(key: bytes, vector: bytes, raw: bytes) -> bytes:
    if len(vector) != _BLOCK or len(raw) % _BLOCK:
        raise _End
    decryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
    return decryptor.update(raw) + decryptor.finalize()


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte: (value, offset behind it)."""
    value = shift = 0
    for octet in data[at : at + 10]:
        value |= (octet & 0x7F) << shift
        at += 1
        if octet < 0x80:
            return value, at
        shift += 7
    raise _End


def _build_number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _build_header(body: bytes) -> bytes:
    sized = _build_number(len(body)) + body
    return zlib.crc32(sized).to_bytes(4, "little") + sized
