"""From signs to the rating: a calibrated probability of spam in percent. Pure.

Signs are weighed in log-odds, so that the rating is the logistic function of their sum and each sign's share can be
told. Used by `policy.spam` for each group, with the signs of the methods that the group uses.
"""

import math
from collections.abc import Iterable
from typing import Final

from gatepost.model.spam import Sign

PRIOR: Final = -3.0
"""Log-odds of a message without any sign."""
_BOUND: Final = 30.0


def rate(signs: Iterable[Sign]) -> float:
    """Return the probability of spam in percent, 0 to 100."""
    total = PRIOR + math.fsum(sign.weight for sign in signs)
    return 100.0 / (1.0 + math.exp(-max(-_BOUND, min(_BOUND, total))))
