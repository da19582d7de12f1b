"""7z archives.

Opener of `unpack.ARCHIVES`, also behind a program. What libarchive finds encrypted is tried with the passwords known:
the first whose members have the right checksums opens the archive.
"""

from collections.abc import Iterator
from itertools import chain

import msgspec

from gatepost.antivirus import appended
from gatepost.antivirus.appended import find_first
from gatepost.antivirus.openers import archive
from gatepost.antivirus.openers.archive import read_archive
from gatepost.antivirus.openers.seven_zip_lock import unlock_seven_zip
from gatepost.antivirus.opening import Member, Opening


def open_seven_zip(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of the first 7z archive in `data`."""
    return open_seven_zip_at(data, find_first(data, appended.SEVEN_ZIP), name, opening)


def open_seven_zip_at(data: bytes, start: int, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of the 7z archive that begins at `start`."""
    tried = False
    for member in read_archive(data, start, archive.SEVEN_ZIP, opening):
        if member.protected and not tried:
            tried = True
            opened = _try_passwords(data, start, opening)
            if opened is not None:
                yield from opened
                return
        yield member


def _try_passwords(data: bytes, start: int, opening: Opening) -> Iterator[Member] | None:
    """Return the members by the first password that fits, None when none does. OverBudget."""
    for password in opening.passwords:
        unlocked = unlock_seven_zip(data, start, password, opening.budget)
        if unlocked is None:
            continue
        members = read_archive(unlocked, 0, archive.SEVEN_ZIP, opening)
        looked_at: list[Member] = []
        for member in members:
            looked_at.append(member)
            if member.data or member.trouble:
                break
        if looked_at and not looked_at[-1].trouble and not looked_at[-1].protected:
            return (msgspec.structs.replace(each, secret=True) for each in chain(looked_at, members))
    return None
