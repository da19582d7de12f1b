"""Whether a message is beyond doubt spam, or wanted, so that it may be told without anybody having looked. Pure.

Called by `relay.lookups.service` where reports of certain spam, or learning from certain mail, are switched on. What is
certain spam must not feed on itself: what the classifier, UDS and reputation hold is the opinion of others, or of
ourselves, and counts for nothing there.
"""

from collections.abc import Iterable
from typing import Final

from gatepost.antispam.rating import rate
from gatepost.model.envelope import Direction, Envelope
from gatepost.model.finding import Analysis
from gatepost.model.spam import Method, SpamStatus
from gatepost.policy.group import GroupPolicy
from gatepost.policy.proof import is_author_proved
from gatepost.policy.spam import decide_spam

CERTAIN_RATING: Final = 99.5
"""By first-hand signs alone: a sum of +8.3."""
WITNESSES: Final = 2
"""Methods that have to find a clear sign each: no single rule, and no test message, is certain."""
CLEAR_WEIGHT: Final = 1.5
WANTED_RATING: Final = 1.0
"""At most, by all signs."""
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


def is_certainly_wanted(analysis: Analysis, envelope: Envelope, groups: Iterable[GroupPolicy], now: float) -> bool:
    """Tell whether a message from outside is beyond doubt wanted: rated next to nothing, of a proved author who is
    known, by the white list of each of its groups or by his reputation.
    """
    spam, network = analysis.spam, analysis.network
    if spam is None or network is None or spam.trouble or spam.formal or envelope.direction is not Direction.INBOUND:
        return False
    signs = (*spam.signs, *network.signs)
    if rate(signs) > WANTED_RATING or any(sign.weight >= CLEAR_WEIGHT for sign in signs):
        return False
    authors = spam.authn.authors
    if len(authors) != 1 or not is_author_proved(authors[0], authors, network.authn):
        return False
    if any(sign.method is Method.REPUTATION and sign.weight < 0 for sign in signs):
        wanted = frozenset((SpamStatus.TRUSTED, SpamStatus.NOT_DETECTED))
    else:
        wanted = frozenset((SpamStatus.TRUSTED,))
    verdicts = [decide_spam(analysis, envelope, group, now) for group in groups]
    return all(each is not None and each.checked and each.status in wanted for each in verdicts)
