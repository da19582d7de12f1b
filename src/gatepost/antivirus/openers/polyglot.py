"""Other readings of an object: archives that it is as well, behind or inside what its own opener sees.

Called by `unpack` for every object that is opened. Nothing says that anybody would read it that way, so only what is
found inside counts: an archive that cannot be read is no trouble of the object.
"""

from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.appended import CAB, RAR, SEVEN_ZIP, ZIP, Found, find_archives, find_first, is_appended
from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.openers.archive import CAB as CAB_FORMAT
from gatepost.antivirus.openers.archive import read_archive
from gatepost.antivirus.openers.rar import open_rar_at
from gatepost.antivirus.openers.seven_zip import open_seven_zip_at
from gatepost.antivirus.openers.zip import open_zip
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.zip_ends import find_directories, find_end
from gatepost.antivirus.zip_records import END

_ZIPS: Final = frozenset({Kind.ZIP, Kind.OOXML, Kind.ODF})
_STARTED: Final = frozenset({RAR, SEVEN_ZIP, CAB})
"""Kinds whose own opener takes the first archive in the data."""
_STARTS: Final = (b"PK", b"Rar!", b"7z\xbc\xaf", b"MSCF")


def open_others(data: bytes, kind: Kind, name: str, opening: Opening, members: Iterator[Member]) -> Iterator[Member]:
    """Yield `members`, which the object's own opener gives, then those of the other archives in it."""
    others = _find_others(data, kind)
    if not others:
        yield from members
        return
    given: list[bytes] = []
    for member in members:
        if member.data is not None and member.data.startswith(_STARTS):
            given.append(member.data)
        yield member
    for other in others:
        if any(data.startswith(each, other.start) for each in given):
            continue  # a member that is stored as it is
        for member in _open_other(data, other, name, opening):
            if member.data is not None or member.protected:
                yield Member(
                    member.name, member.data, member.protected, secret=member.secret, content_type=member.content_type
                )


def _find_others(data: bytes, kind: Kind) -> list[Found]:
    size = len(data)
    if kind in _ZIPS:
        if not data.startswith(b"PK"):
            return list(find_archives(data, 0, size))
        end = find_end(data)
        return list(find_archives(data, end + END.size, size)) if end >= 0 else []
    first = Found(kind.value, find_first(data, kind.value)) if kind.value in _STARTED else None
    others = [found for found in find_archives(data, 1, size) if found != first]
    if is_appended(data):
        directories = find_directories(data, anywhere=find_end(data) < 0)
        others.append(Found(ZIP, max(0, min(directory.shift for directory in directories))))
    return others


def _open_other(data: bytes, other: Found, name: str, opening: Opening) -> Iterator[Member]:
    if other.kind == ZIP:
        return open_zip(data, name, opening)
    if other.kind == RAR:
        return open_rar_at(data, other.start, name, opening)
    if other.kind == SEVEN_ZIP:
        return open_seven_zip_at(data, other.start, name, opening)
    return read_archive(data, other.start, CAB_FORMAT, opening)
