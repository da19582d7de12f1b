"""Document streams of older PowerPoint files (MS-PPT) made harmless in place: `disarm_slides`.

Called by `office`. No record changes its length: the presentation no longer says that it has macros, stored VBA
projects become empty storages, embedded objects are disarmed, and buttons run neither programs nor macros.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Final

from gatepost.antivirus.cure.compound import Node, is_compound, read_compound, write_compound
from gatepost.antivirus.cure.cured import Uncurable

_HEADER: Final = struct.Struct("<2HL")
_CONTAINER: Final = 0xF
_VBA_INFO_ATOM, _OLE_STORAGE, _INTERACTIVE = 0x0400, 0x1011, 0x0FF3
_VBA_INFO_BYTES, _INTERACTIVE_BYTES = 12, 16
_ACTION_AT: Final = 8
_ACTIONS: Final = {1: "macro of a button", 2: "program started by a button"}
_STORAGE_BYTES: Final = 64 * 1024 * 1024
"""Of one embedded object, unpacked."""
_RECORDS: Final = 500_000
"""Of one presentation: big ones have some ten thousand."""

Disarm = Callable[[Node], list[str]]
"""Takes what is bad out of the tree of an embedded compound file; returns what it was."""


def disarm_slides(data: bytes, disarm: Disarm) -> tuple[bytes, list[str]]:
    """Return (stream of the same length, what was made harmless). Uncurable when it is damaged."""
    out = bytearray(data)
    removed: list[str] = []
    pending = [(0, len(out))]
    count = 0
    while pending:
        position, end = pending.pop()
        while position + _HEADER.size <= end:
            instance, kind, length = _HEADER.unpack_from(out, position)
            start = position + _HEADER.size
            count += 1
            if start + length > end or count > _RECORDS:
                raise Uncurable("a record that is cut off, or too many")
            if instance & 0xF == _CONTAINER:
                pending.append((start, start + length))
            elif kind == _VBA_INFO_ATOM and length >= _VBA_INFO_BYTES:
                struct.pack_into("<2L", out, start, 0, 0)
            elif kind == _INTERACTIVE and length >= _INTERACTIVE_BYTES and out[start + _ACTION_AT] in _ACTIONS:
                removed.append(_ACTIONS[out[start + _ACTION_AT]])
                out[start + _ACTION_AT] = 0
            elif kind == _OLE_STORAGE:
                content, words = _disarm_storage(bytes(out[start : start + length]), bool(instance >> 4), disarm)
                if words:
                    out[start : start + length] = content.ljust(length, b"\0")
                    removed += words
            position = start + length
    return bytes(out), removed


def _disarm_storage(data: bytes, packed: bool, disarm: Disarm) -> tuple[bytes, list[str]]:
    """Return (new content no longer than `data`, what was taken out), the latter empty when all may stay."""
    content = data
    if packed:
        stream = zlib.decompressobj()
        try:
            content = stream.decompress(data[4:], _STORAGE_BYTES)
        except zlib.error as error:
            raise Uncurable(f"an embedded object is damaged: {error}") from None
        # PowerPoint does not end its streams: the stated length tells that all is here.
        if not stream.eof and data[:4] != struct.pack("<L", len(content)):
            raise Uncurable("an embedded object is cut off or too large")
    if not is_compound(content):
        return data, []
    tree = read_compound(content)
    removed = disarm(tree)
    if not removed:
        return data, []
    for candidate in (tree, Node("Root Entry", tree.kind)):
        fresh = write_compound(candidate)
        if packed:
            fresh = struct.pack("<L", len(fresh)) + zlib.compress(fresh, 9)
        if len(fresh) <= len(data):
            return fresh, removed
    return b"", removed
