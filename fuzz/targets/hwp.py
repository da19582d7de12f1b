"""Documents of Hancom's word processor: what is packed in their streams comes out as it was packed."""

import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.openers.hwp import is_hwp, is_locked
from gatepost.antivirus.openers.ole import open_ole

from .compounds import CONTENT_LIMIT, build_compound, join, split, whole
from .opened import check

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 3000
_HEADER: Final = 0
_PATHS: Final = (
    ("FileHeader",),
    ("BinData", "BIN0001.exe"),
    ("BinData", "BIN0002.ole"),
    ("Scripts", "DefaultJScript"),
    ("scripts", "JScriptVersion"),
    ("BodyText", "Section0"),
    ("DocInfo",),
    ("DocOptions", "_LinkDoc"),
    ("BinData", "FileHeader"),
)
_PACKED: Final = frozenset({1, 2, 3, 4, 8})
"""Which of them hold files and scripts."""
_FILE: Final = b"MZ" + bytes(30) + b"this program"


def execute(data: bytes) -> None:
    """Open the file that the input makes. One bit of the first byte: its streams are packed before they are put in."""
    if not data:
        return
    flags, rest = data[0], data[1:]
    if not flags & 1:
        check(open_ole, build_compound(rest, _PATHS))
        return
    streams = [(number % len(_PATHS), content) for number, content in split(rest)]
    packed = [(number, _pack(content) if number else content) for number, content in streams]
    if any(len(content) >= CONTENT_LIMIT for _, content in packed):
        return
    members = check(open_ole, build_compound(whole(*packed), _PATHS))
    taken: dict[int, bytes] = {}
    for number, content in streams:
        taken.setdefault(number, content)
    header = taken.get(_HEADER, b"")
    if is_hwp(header):
        assert is_locked(header) == any(each.protected for each in members)
        contents = {each.data for each in members}
        assert all(taken[number] in contents or taken[number][4:] in contents for number in _PACKED & set(taken))


def _pack(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


WORDS: Final = (
    b"HWP Document File", b"\x01\0\0\0", b"\x03\0\0\0", b"\0\0\0\5", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\x03\0", b"\x01\x02\0\xfd\xff", b"MZ", b"var a=",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield documents packed and not, one that is locked, one whose packed file is cut off."""
    header = b"HWP Document File".ljust(32, b"\0") + b"\0\0\0\5\1\0\0\0"
    locked = header[:-4] + b"\3\0\0\0"
    script = "var a='x'".encode("utf-16-le")
    yield b"\1" + join((_HEADER, header), (1, _FILE), (3, script), (5, b"text"))
    yield b"\1" + join((_HEADER, header), (2, b"\x10\0\0\0\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(24)))
    yield b"\1" + join((_HEADER, locked), (1, _FILE))
    yield b"\0" + whole((_HEADER, header), (1, _pack(_FILE)[:-9]), (7, _FILE), (4, script))
    yield b"\0" + b"\1" + join((_HEADER, header), (1, _pack(_FILE))) + b"\0\4\x10\xff"
