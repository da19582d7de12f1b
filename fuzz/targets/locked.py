"""Headers of 7z and rar 5 that are read and written anew: sums are mended, so that changes reach what is behind them."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.openers.samples import build_samples

from .unpacked import open_bytes

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1000
WORDS: Final = (
    b"\x06\xf1\x07\x01", b"\x03\x01\x01", b"\x21", b"\x01\x04\x06", b"\x07\x0b\x01\x00", b"\x0c", b"\x0a\x01", b"\x17\x06", b"\x24\x06",
    b"\x22\x01\x00", b"\x30\x01\x00\x03\x0f", b"\xff\xff\xff\xff\xff\xff\xff\xff",
)  # fmt: skip
_SEVEN_ZIP: Final = b"7z\xbc\xaf\x27\x1c\x00\x04"
_RAR: Final = b"Rar!\x1a\x07\x01\x00"


def execute(data: bytes) -> None:
    """Take the first byte as the format, the next as a length, the rest as header and packed data; open it."""
    if len(data) < 3:
        return
    if data[0] & 1:
        split = min(data[1] * 4, len(data) - 2)
        packed, header = data[2 : 2 + split], data[2 + split :]
        pointer = struct.pack("<2QL", len(packed), len(header), zlib.crc32(header))
        open_bytes(_SEVEN_ZIP + struct.pack("<L", zlib.crc32(pointer)) + pointer + packed + header)
        return
    out, rest = bytearray(_RAR), data[1:]
    while rest:
        size, rest = rest[0] & 0x7F, rest[1:]
        sized = bytes((min(size, len(rest)),)) + rest[:size]
        out += zlib.crc32(sized).to_bytes(4, "little") + sized
        rest = rest[size:]
        count, rest = (rest[0], rest[1:]) if rest else (0, b"")
        out += rest[:count]
        rest = rest[count:]
    open_bytes(bytes(out))


def seeds() -> Iterator[bytes]:
    """Yield the samples in the form described."""
    for kind, data in build_samples():
        if kind is Kind.SEVEN_ZIP:
            offset, size = struct.unpack_from("<2Q", data, 12)
            yield (
                b"\x01"
                + bytes((offset // 4,))
                + data[32 : 32 + offset // 4 * 4]
                + data[32 + offset : 32 + offset + size]
            )
    content = b"content"
    file = b"\x04\x07\x00" + zlib.crc32(content).to_bytes(4, "little") + b"\x00\x01\x01a"
    locked = b"\x30\x01\x00\x03\x0f" + bytes(44)
    hashed = b"\x22\x02\x00" + bytes(32)
    for flags, extra in ((2, b""), (3, hashed), (3, locked), (3, locked + hashed)):
        body = bytes((2, flags)) + (bytes((len(extra),)) if extra else b"") + b"\x07" + file + extra
        yield b"\x00\x03\x01\x00\x00\x00" + bytes((len(body),)) + body + b"\x07" + content + b"\x03\x05\x00\x00\x00"
    yield b"\x00\x22\x04\x00\x00\x01\x0f" + bytes(29) + b"\x40" + bytes(64)
