"""What every cure promises, whatever was cured: checked by the targets of cures."""

import hashlib
import math
from collections.abc import Sequence

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.cure import BadMember, Cured, plan_cure
from gatepost.antivirus.cure.cured import REMOVED_LENGTH, REMOVED_LISTED
from gatepost.antivirus.engine import ScanObject
from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.opening import Member

from .unpacked import OPTIONS, open_as


def cure(data: bytes, kind: Kind, bad: Sequence[Member], note: str = "") -> Cured | None:
    """Cure an object of which these members are bad. The form is another one, says what it lost, is cured as far as
    a second cure could tell, and opens as well as what it was made of.
    """
    known = [BadMember(each.name, hashlib.sha256(each.data).digest()) for each in bad if each.data]
    subject = ScanObject(data, "x", "", kind)
    cured = plan_cure(subject, known, Budget(OPTIONS, math.inf), note=note)
    if cured is None:
        return None
    assert cured.data != data
    assert 0 < len(cured.removed) <= REMOVED_LISTED
    assert all(each.isprintable() and 0 < len(each) <= REMOVED_LENGTH for each in cured.removed)
    again = plan_cure(ScanObject(cured.data, "x", "", kind), known, Budget(OPTIONS, math.inf))
    assert again is None, (cured.removed, again.removed)
    sound = not any(each.trouble for each in open_as(data, kind))
    left = open_as(cured.data, kind)
    if sound:
        assert not any(each.trouble for each in left), [each.trouble for each in left]
    return cured
