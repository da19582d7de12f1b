"""One step of learning: `plan_step` says by how much which weights change, `apply_step` changes them. Pure.

Text and header are learned apart, each to be right alone: together they are then better than one model of both. The
text's steps are plain gradient steps; the header's shrink for runs that were taught often, because a few runs of it
(who hands the mail over) are in every message.

A step is kept in the journal and can be taken back: the same changes with the sign turned.
"""

from math import exp, sqrt
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from gatepost.antispam.classifier.features import Features
from gatepost.antispam.classifier.learned import Learned, LearnedState, Scope, Weights
from gatepost.antispam.classifier.model import BaseModel
from gatepost.antispam.classifier.scoring import scores

TEXT_RATE: Final = 20.0
HEADER_RATE: Final = 10.0
HEADER_START: Final = 0.02
"""Sum of squared gradients that every run of a header starts with."""
SLOPE_RATE: Final = 0.004
BIAS_RATE: Final = 0.02
_SCORE_LIMIT: Final = 5.0
_SLOPES: Final = (0.2, 3.0)
_BIAS_LIMIT: Final = 3.0
_ODDS_LIMIT: Final = 30.0


class Step(msgspec.Struct, frozen=True):
    """What learning one message changes."""

    spam: bool
    text: float
    """Added to the weight of every run of the text."""
    header: npt.NDArray[np.float16]
    """Added to the weights of the runs of the header."""
    squared: float
    """Added to the sums of squared gradients of the runs of the header."""
    slopes: tuple[float, float, float]
    """Added to the slopes of text and header and to the bias."""


def plan_step(
    features: Features, spam: bool, base: BaseModel, learned: Learned, squares: Weights, domain: str, force: float
) -> Step:
    """Return the step that learning a message as spam (or not) means.

    `squares` are the sums of squared gradients of the header's runs in the scope that learns; `force` from 0 to 1 makes
    the step smaller, for sources that are trusted less.
    """
    state = learned.state
    text, header = scores(features, base.log_odds(features.text), learned, domain)
    truth = 1.0 if spam else 0.0
    text_error = truth - _probability(text)
    header_error = truth - _probability(header)
    error = truth - _probability(state.text_slope * text + state.header_slope * header + state.bias)
    spots = features.header
    steps = np.zeros(0, np.float16)
    if len(spots):
        squared = np.float32(HEADER_START + force * header_error**2)
        sizes = np.sqrt(squared + squares.take(_slots(spots, len(squares))))
        steps = (np.float32(force * HEADER_RATE * header_error / sqrt(len(spots))) / sizes).astype(np.float16)
    return Step(
        spam,
        force * TEXT_RATE * text_error / sqrt(max(1, len(features.text))),
        steps,
        force * header_error**2,
        (
            _bounded_change(state.text_slope, force * SLOPE_RATE * error * _score_bound(text), *_SLOPES),
            _bounded_change(state.header_slope, force * SLOPE_RATE * error * _score_bound(header), *_SLOPES),
            _bounded_change(state.bias, force * BIAS_RATE * error, -_BIAS_LIMIT, _BIAS_LIMIT),
        ),
    )


def apply_step(step: Step, features: Features, scope: Scope, squares: Weights, sign: int = 1) -> None:
    """Change the weights of a scope; `sign` -1 takes a step back."""
    np.add.at(scope.text, _slots(features.text, len(scope.text)), np.float32(sign * step.text))
    spots = _slots(features.header, len(scope.header))
    np.add.at(scope.header, spots, sign * step.header.astype(np.float32))
    np.add.at(squares, spots, np.float32(sign * step.squared))


def apply_state(step: Step, state: LearnedState, sign: int = 1) -> LearnedState:
    """Return the numbers beside the weights after a step."""
    text, header, bias = step.slopes
    return LearnedState(
        max(0, state.spam + (sign if step.spam else 0)),
        max(0, state.ham + (0 if step.spam else sign)),
        state.text_slope + sign * text,
        state.header_slope + sign * header,
        state.bias + sign * bias,
    )


def _slots(spots: npt.NDArray[np.uint32], size: int) -> npt.NDArray[np.uint32]:
    """Return slots of a table of this size: smaller tables fold neighbours together."""
    shift = 18 - (size.bit_length() - 1)
    return spots >> np.uint32(shift) if shift else spots


def _score_bound(value: float) -> float:
    return max(-_SCORE_LIMIT, min(_SCORE_LIMIT, value))


def _bounded_change(value: float, change: float, low: float, high: float) -> float:
    return max(low, min(high, value + change)) - value


def _probability(odds: float) -> float:
    return 1.0 / (1.0 + exp(-max(-_ODDS_LIMIT, min(_ODDS_LIMIT, odds))))
