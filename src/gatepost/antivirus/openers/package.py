"""Embedded objects of the first OLE ([MS-OLEDS] 2.2, 2.3.6): what RTF holds in hex, and Packager's own form.

Called by `rtf` (whole objects) and by `ole` (the stream `Ole10Native`). Pure; fields that make no sense are passed over
and the data is given as it is.
"""

import struct
from typing import Final

import msgspec

from gatepost.antivirus.compound import MAGIC

NAME_SEARCH: Final = 1024
"""Longest name inside a package: Windows allows 260 characters."""


class Package(msgspec.Struct, frozen=True):
    """A file in a package, and the names it goes by."""

    name: str
    data: bytes
    paths: tuple[str, ...] = ()
    """Where it came from and what Packager would call it on opening."""
    behind: int = 0
    """Bytes that follow the file."""


class Embedded(msgspec.Struct, frozen=True):
    """One object of the first OLE."""

    class_name: str
    data: bytes
    topic: str = ""
    item: str = ""
    linked: bool = False


def parse_package(raw: bytes, *, sized: bool = True) -> Package | None:
    """Read a package ([MS-OLEDS] 2.3.6; the layout inside is Packager's). None: it holds none. `sized`: four bytes of
    length stand in front, as in the stream.
    """
    position = 4 if sized else 0
    if raw[position : position + 2] not in (b"\x02\0", b"\x03\0"):
        return None
    position += 2
    label, position = _read_name(raw, position)
    path, position = _read_name(raw, position)
    if position + 8 > len(raw):
        return None
    form, length = struct.unpack_from("<LL", raw, position)
    position += 8
    if form not in (0x00030000, 0x00010000) or length > NAME_SEARCH:
        return None
    command = raw[position : position + length].partition(b"\0")[0].decode("latin-1")
    position += length
    size = int.from_bytes(raw[position : position + 4], "little")
    data = raw[position + 4 : position + 4 + size]
    name = label or path or command
    paths = tuple(dict.fromkeys(each for each in (label, path, command) if each))
    return Package(name, data, paths, max(0, len(raw) - position - 4 - size))


def _read_name(raw: bytes, position: int) -> tuple[str, int]:
    end = raw.find(b"\0", position, position + NAME_SEARCH)
    if end < 0:
        return "", len(raw)
    return raw[position:end].decode("latin-1"), end + 1


def parse_embedded(raw: bytes) -> Embedded | None:
    """Read an object header and its data ([MS-OLEDS] 2.2.4, 2.2.6), as tolerantly as Word does. None: it is none."""
    if len(raw) < 16:
        return None
    form = int.from_bytes(raw[4:8], "little")
    if form not in (1, 2):
        return None
    position = 8
    texts: list[str] = []
    for _ in range(3):
        length = int.from_bytes(raw[position : position + 4], "little")
        if length > NAME_SEARCH:
            return None
        texts.append(raw[position + 4 : position + 4 + length].partition(b"\0")[0].decode("latin-1"))
        position += 4 + length
    size = int.from_bytes(raw[position : position + 4], "little")
    data = raw[position + 4 :]
    # The length is a statement of the file: what follows it is looked at, too, when it starts in the middle of a file.
    data = data[:size] if 0 < size <= len(data) and not data.startswith(MAGIC) else data
    return Embedded(*(texts[0], data, texts[1], texts[2]), linked=form == 1)
