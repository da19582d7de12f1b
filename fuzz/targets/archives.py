"""Archives that libarchive reads, packed streams, arj, disk images: nothing raises, nothing is without end."""

import bz2
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.openers.samples import build_samples

from .unpacked import open_bytes

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 12_000
WORDS: Final = (
    b"ustar", b"MSCF\0\0\0\0", b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00", b"070701", b"!<arch>\n", b"xar!\x00\x1c", b"CD001", b"-lh5-",
    b"-lh7-", b"\x60\xea", b"LZIP\x01", b"\x1f\x9d", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18",
    b"SZDD\x88\xf0\x27\x33A", b"conectix", b"cxsparse", b"\x55\xaa", b"\xed\xab\xee\xdb", b"]\0\0", b"GNU.sparse", b"K\0\0\0", b"\0\0\0\0",
)  # fmt: skip
_SKIPPED: Final = frozenset({Kind.ZIP, Kind.ISO})
"""Zip has a target of its own; an image is too large to change."""


def execute(data: bytes) -> None:
    """Open it."""
    open_bytes(data)


def seeds() -> Iterator[bytes]:
    """Yield an archive of each kind."""
    yield from (data for kind, data in build_samples() if kind not in _SKIPPED)
    yield b"SZDD\x88\xf0\x27\x33A\0\x08\0\0\0\xff12345678"
    yield bz2.compress(b"a") + bz2.compress(b"b")
