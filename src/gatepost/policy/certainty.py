"""Whether a message is spam beyond doubt, so that others may be told without anybody having looked at it. Pure.

Called by `relay.inspection` where reports of certain spam are switched on. What it says must not feed on itself: what
the classifier, UDS and reputation hold is the opinion of others, or of ourselves, and counts for nothing here.
"""

from collections.abc import Iterable
from typing import Final

from gatepost.antispam.rating import rate
from gatepost.model.envelope import Direction, Envelope
from gatepost.model.finding import Analysis
from gatepost.model.spam import Method, SpamStatus
from gatepost.policy.group import GroupPolicy
from gatepost.policy.spam import decide_spam

CERTAIN_RATING: Final = 99.5
"""By first-hand signs alone: a sum of +8.3."""
WITNESSES: Final = 2
"""Methods that have to find a clear sign each: no single rule, and no test message, is certain."""
CLEAR_WEIGHT: Final = 1.5
_OPINIONS: Final = frozenset((Method.LEARNED, Method.UDS, Method.REPUTATION))


def is_certain_spam(analysis: Analysis, envelope: Envelope, groups: Iterable[GroupPolicy], now: float) -> bool:
    """Tell whether a message from outside is spam beyond doubt, for each of its groups. `now`: Unix seconds."""
    spam, network = analysis.spam, analysis.network
    if spam is None or network is None or spam.trouble or spam.formal or envelope.direction is not Direction.INBOUND:
        return False
    signs = [sign for sign in (*spam.signs, *network.signs) if sign.method not in _OPINIONS]
    if rate(signs) < CERTAIN_RATING:
        return False
    if len({sign.method for sign in signs if sign.weight >= CLEAR_WEIGHT}) < WITNESSES:
        return False
    verdicts = (decide_spam(analysis, envelope, group, now) for group in groups)
    return all(verdict is not None and verdict.status is SpamStatus.SPAM for verdict in verdicts)
