"""From features to the weight of the sign: `judge`. Pure.

Two scores are kept apart, text and header, each a sum of weights over the root of the number of runs. The text's is the
base model's plus what was learned; the header's is learned only. How far what was learned counts grows with how many
messages of the rarer kind were learned, and so does the most it may weigh.
"""

from math import inf, isfinite, sqrt, tanh
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gatepost.antispam.classifier.features import Features, Indices
from gatepost.antispam.classifier.learned import WEIGHT_LIMIT, Learned, Weights
from gatepost.antispam.classifier.model import BaseModel

BASE_SPAM_LIMIT: Final = 4.0
"""Log-odds the base model may add alone: with the prior less than Spam at every level."""
BASE_HAM_LIMIT: Final = 0.8
"""And take away: text that reads like wanted mail is easily made, and must not outweigh a clear sign."""
LEARNED_SPAM_LIMIT: Final = 8.0
LEARNED_HAM_LIMIT: Final = 5.0
LEARNED_SCALE: Final = 0.95
"""How much of learned log-odds counts. Chosen by what wanted mail it costs where a gateway learns on line: 1.1 loses
six of 4,150 messages of the old corpus, this three, and a hundredth of the spam (docs/adr/0002-classifier.md).
"""


class Opinion(NamedTuple):
    """What the classifier thinks of a message."""

    text: float
    """Raw score of the text in log-odds, base model included."""
    header: float
    base: float
    """Log-odds by the base model alone."""
    learned: float
    """Log-odds of all together."""
    trust: float
    """0 to 1: share of what was learned in the weight."""
    weight: float
    """Of the sign."""


def judge(
    features: Features, base: BaseModel, learned: Learned | None, domain: str = "", strongest: float = -inf
) -> Opinion:
    """Weigh a message for a recipient domain ("" for several, or none in particular). `strongest`: log-odds of the part
    of its text that looks most like spam to the base model.
    """
    base_odds = base.log_odds(features.text)
    base_weight = bound(max(base_odds, strongest), BASE_HAM_LIMIT, BASE_SPAM_LIMIT)
    if learned is None or not (trust := (state := learned.state).trust):
        return Opinion(base_odds, 0.0, base_odds, base_odds, 0.0, base_weight)
    text, header = scores(features, base_odds, learned, domain)
    odds = state.text_slope * text + state.header_slope * header + state.bias
    if not isfinite(odds):  # the file is damaged inside; the learner writes it anew when it starts next
        return Opinion(base_odds, 0.0, base_odds, base_odds, 0.0, base_weight)
    weight = (1.0 - trust) * base_weight
    weight += trust * bound(odds * LEARNED_SCALE, LEARNED_HAM_LIMIT, LEARNED_SPAM_LIMIT)
    return Opinion(text, header, base_odds, odds, trust, weight)


def scores(features: Features, base_odds: float, learned: Learned, domain: str) -> tuple[float, float]:
    """Return the scores of text and header."""
    text, header = base_odds, 0.0
    for scope in learned.scopes(domain):
        text += score(scope.text, features.text, scope.shift)
        header += score(scope.header, features.header, scope.shift)
    return text, header


def score(table: Weights, slots: Indices, shift: int) -> float:
    """Return the sum of the weights in these slots over the root of their number."""
    if not len(slots):
        return 0.0
    return float(read(table, slots, shift).sum(dtype=np.float64)) / sqrt(len(slots))


def read(table: Weights, slots: Indices, shift: int) -> npt.NDArray[np.float32]:
    """Return the weights in these slots, bounded."""
    found = table.take(slots >> np.uint32(shift) if shift else slots)
    return np.clip(found, -WEIGHT_LIMIT, WEIGHT_LIMIT, out=found)


def bound(odds: float, ham: float, spam: float) -> float:
    """Bring log-odds softly between -ham and spam: their order stays."""
    return spam * tanh(odds / spam) if odds > 0 else ham * tanh(odds / ham)
