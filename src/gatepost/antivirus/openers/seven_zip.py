"""7z archives.

Opener of `unpack.ARCHIVES`, also behind a program.
"""

from collections.abc import Iterator

from gatepost.antivirus import appended
from gatepost.antivirus.appended import find_first
from gatepost.antivirus.openers import archive
from gatepost.antivirus.openers.archive import read_archive
from gatepost.antivirus.opening import Member, Opening


def open_seven_zip(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of the first 7z archive in `data`."""
    return open_seven_zip_at(data, find_first(data, appended.SEVEN_ZIP), name, opening)


def open_seven_zip_at(data: bytes, start: int, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of the 7z archive that begins at `start`."""
    return read_archive(data, start, archive.SEVEN_ZIP, opening)
