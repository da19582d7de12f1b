"""Fields of RTF documents that lie in each other without an end: what is read of them all together is bounded."""

import math

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.openers.rtf import INSTRUCTION_BYTES, INSTRUCTIONS_BYTES, open_rtf
from gatepost.antivirus.opening import Member, Opening
from gatepost.model.finding import ScanOptions


def members(data: bytes) -> list[Member]:
    options = ScanOptions()
    return list(open_rtf(data, "a.rtf", Opening(Budget(options, math.inf), options)))


def test_endless_fields_are_not_read_again_and_again() -> None:
    found = members(b"{\\rtf1" + b"{\\*\\template http://a/" * 40_000)
    assert "endless" in found[-1].trouble
    assert len(found) <= INSTRUCTIONS_BYTES // INSTRUCTION_BYTES + 2


def test_ordinary_fields_are_all_read() -> None:
    found = members(b"{\\rtf1" + b"{\\*\\fldinst { DDEAUTO a b } }" * 900 + b"}")
    assert len(found) == 900
    assert not any(member.trouble for member in found)
