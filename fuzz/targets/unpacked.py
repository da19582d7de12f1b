"""What fuzz targets of openers share: any bytes go in; only OverBudget comes out, and members are what they say."""

import math
from collections.abc import Sequence

from gatepost.antivirus.budget import Budget, OverBudget
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.unpack import ARCHIVES, open_container
from gatepost.model.finding import ScanOptions

OPTIONS = ScanOptions(unpacked_bytes=1 << 20, archive_members=50)
PASSWORD = "warm"


def open_bytes(data: bytes, wanted: Sequence[Kind] = ()) -> list[Member]:
    """Open what is an archive, of one of these kinds if any are given, and check the members."""
    kind = detect_kind(data)
    if kind is None or kind not in (wanted or ARCHIVES):
        return []
    return open_as(data, kind)


def open_as(data: bytes, kind: Kind) -> list[Member]:
    """Open a container as what it is said to be, and check the members."""
    opening = Opening(Budget(OPTIONS, math.inf), OPTIONS, (PASSWORD,))
    found: list[Member] = []
    try:
        for member in open_container(data, kind, "x", opening):
            assert len(member.name) <= 300
            assert member.data is not None or member.protected or member.trouble
            assert "opening it failed" not in member.trouble, member.trouble
            found.append(member)
    except OverBudget:
        return found
    assert sum(len(each.data or b"") for each in found) <= 2 * OPTIONS.unpacked_bytes
    return found
