"""Zip archives: directory against headers, methods, encryption. Nothing raises; the standard library's reading is among
ours.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.openers.samples import build_samples

from .unpacked import open_bytes

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 2000
WORDS: Final = (
    b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08", b"\xff\xff\xff\xff", b"\x01\x99\x07\x00",
    b"AE", b"\x08\x00", b"\x09\x00", b"\x06\x00", b"\x63\x00", b"\x5f\x00", b"\x5d\x00", b"\x62\x00",
)  # fmt: skip


def execute(data: bytes) -> None:
    """Open it, and look for what the standard library finds."""
    found = open_bytes(data, (Kind.ZIP, Kind.OOXML, Kind.ODF))
    if not found or len(found) > 40:
        return
    contents = {member.data for member in found}
    unclear = any(member.trouble or member.protected for member in found)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist()[:40]:
                if not entry.is_dir() and entry.file_size < 100_000:
                    assert archive.read(entry) in contents or unclear
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        ValueError,
        EOFError,
        OSError,
        OverflowError,
        zlib.error,
    ):
        return
    except Exception as error:  # the standard library's own bugs are not ours
        if isinstance(error, AssertionError):
            raise


def seeds() -> Iterator[bytes]:
    """Yield archives of every method, encrypted ones, two in a row."""
    archives = [data for kind, data in build_samples() if kind is Kind.ZIP]
    yield from archives
    yield archives[0] + archives[1]
    yield b"MZ" + bytes(100) + archives[0]
