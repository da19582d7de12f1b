"""rar archives, versions 1.5 to 5.

Opener of `unpack.ARCHIVES`, also behind a program.
"""

from collections.abc import Iterator

from gatepost.antivirus.appended import RAR, find_first
from gatepost.antivirus.openers import archive
from gatepost.antivirus.openers.archive import read_archive
from gatepost.antivirus.opening import Member, Opening


def open_rar(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of the first rar archive in `data`."""
    return open_rar_at(data, find_first(data, RAR), name, opening)


def open_rar_at(data: bytes, start: int, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of the rar archive that begins at `start`."""
    if data.startswith(b"\x01\0", start + 6):
        return read_archive(data, start, archive.RAR5, opening)
    return read_archive(data, start, archive.RAR, opening)
