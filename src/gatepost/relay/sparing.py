"""Sparing the anti-virus stage what nobody gets (preset speed; specification antispam.md §9).

Used by `relay.examination`: what it makes answers a filter that has anti-spam look first and asks before it scans.
"""

import msgspec

from gatepost.filter.questions import SpamJudge
from gatepost.model.finding import Analysis, ScanOptions
from gatepost.model.spam import SpamFacts
from gatepost.policy.listings import Listings
from gatepost.policy.spam import withheld_from_all
from gatepost.relay.disposal import Partition
from gatepost.relay.lookups.checks import Ongoing
from gatepost.spool import clock
from gatepost.spool.interface import Stored


def build_judge(
    stored: Stored,
    partition: Partition,
    options: ScanOptions,
    ongoing: Ongoing | None,
    listings: Listings,
    limit_s: float | None = None,
) -> SpamJudge | None:
    """Return who tells a filter that a message need not be scanned; None where all mail is. `limit_s`: time of the
    network checks, where it is less than their own.
    """
    if options.spam is None or not options.spam.first:
        return None

    async def judge(facts: SpamFacts) -> bool:
        analysis = Analysis((), spam=facts)
        if ongoing is not None:
            analysis = msgspec.structs.replace(analysis, network=await ongoing.finish(facts, limit_s))
        now = clock.now()
        shares = listings.share(partition, stored.envelope, analysis, now)
        return withheld_from_all(analysis, stored.envelope, [group for group, _ in shares], now)

    return judge
