"""What shadows would have done with a message: records, and nothing else. Called by `relay.disposal`."""

from collections.abc import Callable
from typing import Final

from gatepost.model.finding import Analysis
from gatepost.model.record import Shadowed
from gatepost.model.verdict import Verdict
from gatepost.policy.group import GroupPolicy
from gatepost.policy.shadow import ShadowTable, tell_deed
from gatepost.spool.interface import Stored

SCAN_FIRST: Final = "scan, and deliver what is clean"
"""Would be done with mail that was not scanned because nobody gets it, where the shadow lets it pass."""


def build_shadowed(
    table: ShadowTable,
    copy: Stored,
    group: GroupPolicy,
    recipients: int,
    verdict: Verdict,
    analysis: Analysis | None,
    now: float,
    judge: Callable[[GroupPolicy], Verdict],
) -> list[Shadowed]:
    """Return a record for each shadow of a group. `judge`: gives the verdict of a group on the same analysis."""
    records = []
    was = tell_deed(verdict, analysis)
    for name, shadow in table.shadows_of(group, now):
        other = judge(shadow)
        if analysis is not None and analysis.spared and not (other.spam is not None and other.spam.withheld):
            told, changed = SCAN_FIRST, True
        else:
            would = tell_deed(other, analysis)
            told, changed = would.describe(), would != was
        records.append(Shadowed(copy.id, now, name, group.name, recipients, copy.source, was.describe(), told, changed))
    return records
