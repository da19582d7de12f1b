"""What every opener of a file promises, whatever the file holds: checked by the targets of openers."""

import math
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Budget, OverBudget
from gatepost.antivirus.opening import Member, Opener, Opening
from gatepost.model.finding import ENCRYPTIONS, ScanOptions

_OPTIONS: Final = ScanOptions(archive_members=3000, unpacked_bytes=64 * 1024 * 1024)
MEMBERS_LIMIT: Final = 8000
"""Members without data cost no budget, but there is one reason for each at most."""


def check(opener: Opener, data: bytes) -> list[Member]:
    """Open a file and look at what comes out."""
    opening = Opening(Budget(_OPTIONS, math.inf), _OPTIONS, ("secret",))
    return look_at(opener(data, "name.bin", opening))


def look_at(members: Iterator[Member]) -> list[Member]:
    """Return the members, which must be what the stage can take, in bounded number and size."""
    found: list[Member] = []
    size = 0
    try:
        for member in members:
            found.append(member)
            size += len(member.data or b"")
            assert isinstance(member.name, str)
            assert len(member.name) <= 300
            assert member.data is None or isinstance(member.data, bytes)
            assert member.name or member.data is not None or member.trouble or member.protected or member.encrypted
            assert not member.encrypted or (member.encrypted in ENCRYPTIONS and not member.name and member.data is None)
            assert len(found) <= MEMBERS_LIMIT
            assert size <= 64 * 1024 * 1024
            member.name.encode("utf-8", "surrogatepass")
            member.trouble.encode("utf-8")
    except OverBudget:
        pass
    return found
