"""Virtual disks that are too small to have anything on them are trouble, not a fault of the opener."""

import math
import struct

import pytest

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.openers.disk import SECTOR, open_disk_image
from gatepost.antivirus.opening import Opening
from gatepost.model.finding import ScanOptions


def virtual(block_size: int) -> bytes:
    """A growing disk of one block."""
    footer = (b"conectix".ljust(16, b"\0") + struct.pack(">Q", SECTOR)).ljust(60, b"\0") + struct.pack(">L", 3)
    header = b"cxsparse" + b"\xff" * 8 + struct.pack(">Q4xLL", 1536, 1, block_size)
    table = struct.pack(">L", 4).ljust(SECTOR, b"\xff")
    return footer.ljust(SECTOR, b"\0") + header.ljust(1024, b"\0") + table + bytes(1024) + footer.ljust(SECTOR, b"\0")


@pytest.mark.parametrize(
    "data",
    [
        virtual(1),
        virtual(SECTOR - 1),
        virtual(SECTOR),
        b"conectix".ljust(60, b"\0") + b"\0\0\0\2".ljust(SECTOR - 60, b"\0"),
    ],
)
def test_a_disk_of_less_than_a_sector(data: bytes) -> None:
    options = ScanOptions()
    (member,) = open_disk_image(data, "a.vhd", Opening(Budget(options, math.inf), options))
    assert member.trouble
