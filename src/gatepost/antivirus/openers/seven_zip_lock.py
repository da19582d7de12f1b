"""Encrypted 7z archives, made readable: `unlock_seven_zip` gives the same archive without its encryption.

Called by `openers.seven_zip` for each password. Headers are read as 7zFormat.txt has them, encrypted streams decrypted,
and the archive written anew without the AES coders; libarchive does the rest, and its checksums tell whether the
password was right. Nothing here raises: what makes no sense gives None.
"""

import hashlib
import lzma
import struct
import zlib
from typing import Final

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from gatepost.antivirus.budget import Budget

MARK: Final = b"7z\xbc\xaf\x27\x1c\x00\x04"
START: Final = 32
"""Bytes of the signature header; offsets count from behind it."""
HEADER_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a header, unpacked: some hundred thousand names."""
ITEMS_LIMIT: Final = 100_000
"""Folders, streams and such in one archive."""
CODERS_LIMIT: Final = 32
"""Coders in a folder, streams of a coder (the format's own limit)."""
_LZMA: Final = b"\x03\x01\x01"
_LZMA2: Final = b"\x21"
_BRANCHES: Final = frozenset({b"\x04", b"\x03\x03\x01\x03"})
"""Methods that stand for the x86 filter, which some programs put before LZMA2."""
_AES: Final = b"\x06\xf1\x07\x01"
_COPY: Final = b"\x00"
(
    _END, _HEADER, _ARCHIVE_PROPERTIES, _ADDITIONAL, _MAIN, _FILES, _PACK_INFO, _UNPACK_INFO, _SUB_STREAMS, _SIZE,
    _DIGESTS, _FOLDER, _UNPACK_SIZE,
) = range(13)  # fmt: skip
_ENCODED_HEADER: Final = 0x17
_CHUNK: Final = 65_536
"""Rounds hashed in one call."""


class _Nonsense(Exception):  # noqa: N818 - what the data are
    """The headers make no sense, or are of a kind nobody writes."""


class _Coder(msgspec.Struct):
    method: bytes
    inputs: int
    outputs: int
    properties: bytes


class _Folder(msgspec.Struct):
    coders: list[_Coder]
    bindings: list[tuple[int, int]]
    """(input, output), both counted over all coders."""
    packed: list[int]
    """Inputs that are fed from packed streams."""
    sizes: list[int] = []
    """Of each output."""
    digest: int | None = None


class _Streams(msgspec.Struct):
    """Packed streams and what they unpack to."""

    position: int
    sizes: list[int]
    folders: list[_Folder]
    rest: bytes
    """Whatever follows in the header, as it is."""


class _Reader:
    """Reads a header."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def octet(self) -> int:
        return self.raw(1)[0]

    def raw(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) < size:
            raise _Nonsense
        self.at += size
        return piece

    def number(self) -> int:
        first = self.octet()
        value = 0
        for index in range(8):
            mask = 0x80 >> index
            if not first & mask:
                return value | (first & (mask - 1)) << 8 * index
            value |= self.octet() << 8 * index
        return value

    def count(self, limit: int = ITEMS_LIMIT) -> int:
        value = self.number()
        if value > limit:
            raise _Nonsense
        return value

    def digests(self, count: int) -> list[int | None]:
        if self.octet():
            defined = [True] * count
        else:
            bits = self.raw(-(-count // 8))
            defined = [bool(bits[i // 8] & 0x80 >> i % 8) for i in range(count)]
        return [int.from_bytes(self.raw(4), "little") if each else None for each in defined]


def unlock_seven_zip(data: bytes, start: int, password: str, budget: Budget) -> bytes | None:
    """Return the archive that begins at `start` without encryption; None: the password cannot be right, or nothing is
    encrypted in a way that is known. A wrong password may also give an archive that cannot be read. OverBudget.
    """
    try:
        return _Unlocker(data[start:], password, budget).unlock()
    except (_Nonsense, lzma.LZMAError, ValueError, IndexError, struct.error):
        return None


class _Unlocker:
    def __init__(self, data: bytes, password: str, budget: Budget) -> None:
        self.data = data
        self.password = password.encode("utf-16-le", "surrogatepass")
        self.budget = budget
        self.keys: dict[tuple[int, bytes], bytes] = {}

    def unlock(self) -> bytes:
        offset, size = struct.unpack_from("<2Q", self.data, 12)
        header = self.data[START + offset : START + offset + size]
        for _ in range(4):  # an encoded header may be encoded again
            if header[:1] != bytes((_ENCODED_HEADER,)):
                break
            header = self.decode_header(_read_streams(_Reader(header[1:])))
        reader = _Reader(header)
        if reader.octet() != _HEADER:
            raise _Nonsense
        kind = reader.octet()
        if kind != _MAIN:  # archive properties and additional streams: written by no program
            raise _Nonsense
        return self.write(_read_streams(reader))

    def decode_header(self, streams: _Streams) -> bytes:
        """Return the header that is packed, and perhaps encrypted, in one folder."""
        if len(streams.folders) != 1 or len(streams.sizes) != 1:
            raise _Nonsense
        folder = streams.folders[0]
        raw = self.packed_stream(streams.position, streams.sizes[0])
        raw = self.strip(folder, [raw])[0]
        outputs = {output for _, output in folder.bindings}
        size = next(size for output, size in enumerate(folder.sizes) if output not in outputs)
        if size > HEADER_LIMIT:
            raise _Nonsense
        if folder.coders[0].method != _COPY:
            filters = [_build_filter(coder) for coder in folder.coders]
            raw = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters).decompress(raw, size)
        header = raw[:size]
        if folder.digest is not None and zlib.crc32(header) != folder.digest:
            raise _Nonsense
        return header

    def packed_stream(self, position: int, size: int) -> bytes:
        raw = self.data[START + position : START + position + size]
        if len(raw) < size:
            raise _Nonsense
        return raw

    def strip(self, folder: _Folder, packed: list[bytes]) -> list[bytes]:
        """Take the AES coders out of a folder whose streams are `packed`; return its streams decrypted."""
        for index in reversed(range(len(folder.coders))):
            coder = folder.coders[index]
            if coder.method != _AES:
                continue
            into = sum(each.inputs for each in folder.coders[:index])
            out = sum(each.outputs for each in folder.coders[:index])
            if coder.inputs != 1 or coder.outputs != 1 or into not in folder.packed:
                raise _Nonsense
            which = folder.packed.index(into)
            size = folder.sizes[out]
            packed[which] = self.decrypt(coder.properties, packed[which])[:size]
            if len(folder.coders) == 1:
                folder.coders[0] = _Coder(_COPY, 1, 1, b"")
                continue
            target = next((each for each, source in folder.bindings if source == out), None)
            if target is None:
                raise _Nonsense
            folder.packed[which] = target
            folder.bindings = [
                (each - (each > into), source - (source > out)) for each, source in folder.bindings if source != out
            ]
            folder.packed = [each - (each > into) for each in folder.packed]
            del folder.coders[index], folder.sizes[out]
        return packed

    def decrypt(self, properties: bytes, raw: bytes) -> bytes:
        """Decrypt a stream by the properties of its coder."""
        first, second = properties[0], properties[1] if properties[0] & 0xC0 else 0
        salt_size = (first >> 7) + (second >> 4)
        vector_size = (first >> 6 & 1) + (second & 0x0F)
        salt = properties[2 : 2 + salt_size]
        vector = properties[2 + salt_size : 2 + salt_size + vector_size].ljust(16, b"\0")
        key = self.make_key(first & 0x3F, salt)
        decryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
        return decryptor.update(raw[: len(raw) // 16 * 16]) + decryptor.finalize()

    def make_key(self, power: int, salt: bytes) -> bytes:
        """Hash salt, password and a counter of eight bytes 2**power times."""
        known = self.keys.get((power, salt))
        if known is not None:
            return known
        if power == 0x3F:
            return (salt + self.password)[:32].ljust(32, b"\0")
        rounds = 1 << power
        if not self.budget.may_derive(rounds):
            raise _Nonsense
        unit = salt + self.password + bytes(8)
        count = min(rounds, _CHUNK)
        block = bytearray(unit * count)
        low, high = len(unit) - 8, len(unit) - 7
        block[low :: len(unit)] = bytes(range(256)) * (count // 256) if count >= 256 else bytes(range(count))
        block[high :: len(unit)] = b"".join(bytes((each,)) * min(256, count) for each in range(max(1, count // 256)))
        digest = hashlib.sha256()
        for chunk in range(rounds // count):
            for place, octet in enumerate((chunk & 0xFF, chunk >> 8 & 0xFF)):
                block[high + 1 + place :: len(unit)] = bytes((octet,)) * count
            digest.update(block)
            self.budget.take_time()
        self.keys[power, salt] = digest.digest()
        return digest.digest()

    def write(self, streams: _Streams) -> bytes:
        """Return the archive anew, without encryption."""
        position = streams.position
        sizes = iter(streams.sizes)
        stored: list[bytes] = []
        for folder in streams.folders:
            packed = []
            for _ in folder.packed:
                size = next(sizes, -1)
                if size < 0:
                    raise _Nonsense
                packed.append(self.packed_stream(position, size))
                position += size
            stored += self.strip(folder, packed)
            self.budget.take_time()
        header = _write_header(streams, [len(each) for each in stored])
        body = b"".join(stored)
        pointer = struct.pack("<2QL", len(body), len(header), zlib.crc32(header))
        return MARK + struct.pack("<L", zlib.crc32(pointer)) + pointer + body + header


def _build_filter(coder: _Coder) -> dict[str, int]:
    """Return a coder of a header in the standard library's terms."""
    if coder.method == _LZMA:
        octet, dictionary = coder.properties[0], int.from_bytes(coder.properties[1:5], "little")
        size = min(max(dictionary, 4096), HEADER_LIMIT)
        return {"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": octet % 9, "lp": octet // 9 % 5, "pb": octet // 45}
    if coder.method == _LZMA2:
        return {"id": lzma.FILTER_LZMA2, "dict_size": HEADER_LIMIT}
    if coder.method in _BRANCHES:
        return {"id": lzma.FILTER_X86}
    raise _Nonsense


def _read_streams(reader: _Reader) -> _Streams:
    """Read PackInfo and UnpackInfo."""
    if reader.octet() != _PACK_INFO:
        raise _Nonsense
    position, count = reader.number(), reader.count()
    sizes: list[int] = []
    while (kind := reader.octet()) != _END:
        if kind == _SIZE:
            sizes = [reader.number() for _ in range(count)]
        elif kind == _DIGESTS:
            reader.digests(count)
        else:
            raise _Nonsense
    if reader.octet() != _UNPACK_INFO or reader.octet() != _FOLDER:
        raise _Nonsense
    number = reader.count()
    if reader.octet():  # in another stream: written by no program
        raise _Nonsense
    folders = [_read_folder(reader) for _ in range(number)]
    if reader.octet() != _UNPACK_SIZE:
        raise _Nonsense
    for folder in folders:
        folder.sizes = [reader.number() for coder in folder.coders for _ in range(coder.outputs)]
    while (kind := reader.octet()) != _END:
        if kind != _DIGESTS:
            raise _Nonsense
        for folder, digest in zip(folders, reader.digests(number), strict=True):
            folder.digest = digest
    return _Streams(position, sizes, folders, reader.data[reader.at :])


def _read_folder(reader: _Reader) -> _Folder:
    coders: list[_Coder] = []
    for _ in range(reader.count(CODERS_LIMIT)):
        flags = reader.octet()
        method = reader.raw(flags & 0x0F)
        inputs, outputs = (reader.count(CODERS_LIMIT), reader.count(CODERS_LIMIT)) if flags & 0x10 else (1, 1)
        properties = reader.raw(reader.count()) if flags & 0x20 else b""
        coders.append(_Coder(method, inputs, outputs, properties))
    into, out = sum(each.inputs for each in coders), sum(each.outputs for each in coders)
    bindings = [(reader.count(), reader.count()) for _ in range(out - 1)]
    left = into - len(bindings)
    if not coders or left < 1:
        raise _Nonsense
    if left == 1:
        bound = {each for each, _ in bindings}
        packed = [each for each in range(into) if each not in bound][:1]
    else:
        packed = [reader.count() for _ in range(left)]
    return _Folder(coders, bindings, packed)


def _write_header(streams: _Streams, sizes: list[int]) -> bytes:
    out = bytearray((_HEADER, _MAIN, _PACK_INFO))
    out += _build_number(0) + _build_number(len(sizes))
    out.append(_SIZE)
    for size in sizes:
        out += _build_number(size)
    out += bytes((_END, _UNPACK_INFO, _FOLDER)) + _build_number(len(streams.folders)) + b"\0"
    for folder in streams.folders:
        out += _build_number(len(folder.coders))
        for coder in folder.coders:
            simple = coder.inputs == coder.outputs == 1
            out.append(len(coder.method) | (0 if simple else 0x10) | (0x20 if coder.properties else 0))
            out += coder.method
            if not simple:
                out += _build_number(coder.inputs) + _build_number(coder.outputs)
            if coder.properties:
                out += _build_number(len(coder.properties)) + coder.properties
        for into, source in folder.bindings:
            out += _build_number(into) + _build_number(source)
        if len(folder.packed) > 1:
            for each in folder.packed:
                out += _build_number(each)
    out.append(_UNPACK_SIZE)
    for folder in streams.folders:
        for size in folder.sizes:
            out += _build_number(size)
    if any(folder.digest is not None for folder in streams.folders):
        out += bytes((_DIGESTS, 0))
        bits = bytearray(-(-len(streams.folders) // 8))
        for index, folder in enumerate(streams.folders):
            if folder.digest is not None:
                bits[index // 8] |= 0x80 >> index % 8
        out += bits
        for folder in streams.folders:
            if folder.digest is not None:
                out += folder.digest.to_bytes(4, "little")
    out.append(_END)
    return bytes(out) + streams.rest


def _build_number(value: int) -> bytes:
    """Return a number in the format's form: always the longest, of nine bytes, where one does not do."""
    return bytes((value,)) if value < 0x80 else b"\xff" + value.to_bytes(8, "little")
