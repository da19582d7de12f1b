"""rar archives, versions 1.5 to 5.

Opener of `unpack.ARCHIVES`, also behind a program.
"""

from collections.abc import Iterator

import msgspec

from gatepost.antivirus.appended import RAR, find_first
from gatepost.antivirus.openers import archive
from gatepost.antivirus.openers.archive import clean_name, read_archive
from gatepost.antivirus.openers.rar5 import MARK, plan_rar5
from gatepost.antivirus.opening import Member, Opening


def open_rar(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of the first rar archive in `data`."""
    return open_rar_at(data, find_first(data, RAR), name, opening)


def open_rar_at(data: bytes, start: int, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of the rar archive that begins at `start`."""
    if data.startswith(MARK, start):
        return _open_rar5(data, start, opening)
    return read_archive(data, start, archive.RAR, opening)


def _open_rar5(data: bytes, start: int, opening: Opening) -> Iterator[Member]:
    plan = plan_rar5(data, start, opening.passwords, opening.budget)
    if plan.headers_locked:
        yield Member("", protected=True)
        return
    for name in plan.locked:
        opening.budget.take_member()
        yield Member(clean_name(name), protected=True)
    trouble = plan.trouble
    for member in read_archive(plan.data, plan.start, archive.RAR5, opening):
        if member.data is None and not member.name:
            trouble = trouble or ("" if plan.locked else member.trouble)
            continue
        yield msgspec.structs.replace(member, secret=plan.secret)
    if trouble:
        yield Member("", trouble=trouble)
