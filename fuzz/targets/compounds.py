"""What fuzz targets of compound files share: files made of the input's own streams, and damage done to them.

Whole files reach the openers of streams, which a file of chance bytes does not: its tables would have to agree.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from gatepost.antivirus.cure.compound import Node, write_compound

_STREAM, _STORAGE, _ROOT = 2, 1, 5
CONTENT_LIMIT: Final = 1500
"""Bytes of one stream."""
_DAMAGE: Final = 4
"""Bytes that say which of the file's is changed, and into what."""


def build_compound(data: bytes, paths: Sequence[Sequence[str]]) -> bytes:
    """Return a compound file. The first byte of the input says how many changes stand at its end; each stream has
    one byte for its path, two for its length, and its content.
    """
    changes = min(data[0] % 16 if data else 0, (len(data) - 1) // _DAMAGE)
    end = len(data) - changes * _DAMAGE
    root = Node("Root Entry", _ROOT)
    for number, content in split(data[1:end]):
        place = root
        *storages, name = paths[number % len(paths)]
        for storage in storages:
            inner = place.child(storage)
            if inner is None:
                inner = Node(storage, _STORAGE)
                place.children.append(inner)
            place = inner
        if place.child(name) is None:
            place.children.append(Node(name, _STREAM, content))
    whole = bytearray(write_compound(root))
    for at in range(end, len(data), _DAMAGE):
        whole[int.from_bytes(data[at : at + 3], "big") % len(whole)] = data[at + 3]
    return bytes(whole)


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut the input into (number, content): one byte says which, two the length."""
    while len(data) > 3:
        size = int.from_bytes(data[1:3], "big") % CONTENT_LIMIT
        yield data[0], data[3 : 3 + size]
        data = data[3 + size :]


def join(*parts: tuple[int, bytes]) -> bytes:
    """Return the input that `split` cuts into these."""
    return b"".join(bytes((number,)) + len(content).to_bytes(2, "big") + content for number, content in parts)


def whole(*streams: tuple[int, bytes]) -> bytes:
    """Return the input of which `build_compound` makes these streams, with nothing changed."""
    return b"\0" + join(*streams)
