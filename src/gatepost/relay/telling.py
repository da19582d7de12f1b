"""Whether the sender of a message that another mail system asks about is told of a rejection, and by whom. Pure.

Used by `relay.disposal` for the doors of the filtering server. Promises: no report to anybody who is not proved to be
the sender (no backscatter); what he is not told of is kept in quarantine; nobody is told twice.
"""

from collections.abc import Sequence
from typing import Final

from gatepost.model.verdict import Verdict
from gatepost.relay.rejecting import is_refused
from gatepost.relay.rule_stage import bounce_instead, is_bounced, keep_untold

NOT_ALONE: Final = "its sender cannot be told of some of the recipients alone"


def decide_telling(
    verdicts: Sequence[Verdict], *, proved: bool, accepted: bool, handle: bool, divided: bool
) -> list[Verdict]:
    """Return the verdicts as they are carried out.

    `proved`: the sender is who he says. `accepted`: the asker's rejection would be a bounce. `handle`: the asker does
    what it is told, and reports ordered by rules are ours to send; else it only asks. Not `divided`: it has one answer
    for all recipients (specification antispam.md §7), in which rejections for some are lost.
    """
    if handle and proved:
        verdicts = [bounce_instead(verdict) for verdict in verdicts]
    refused = [is_refused(verdict) for verdict in verdicts]
    if accepted and not proved:
        return [keep_untold(verdict) for verdict in verdicts]
    if not handle:
        return list(verdicts)
    if not proved:
        verdicts = [keep_untold(verdict) if is_bounced(verdict) else verdict for verdict in verdicts]
    if not divided and any(refused) and not all(refused):
        verdicts = [
            keep_untold(verdict, NOT_ALONE) if lost else verdict
            for verdict, lost in zip(verdicts, refused, strict=True)
        ]
    return list(verdicts)
