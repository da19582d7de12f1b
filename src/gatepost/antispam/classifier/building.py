"""How a base model is made of labelled messages: `train_base`. Used by `tools/build_model.py` and by the accuracy runs.

Deterministic for the same messages in the same order.
"""

from collections.abc import Sequence
from math import exp, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from gatepost.antispam.classifier.features import Indices
from gatepost.antispam.classifier.learned import Weights
from gatepost.model.learned_weights import TEXT_BITS

RATE: Final = 10.0
PASSES: Final = 4
START: Final = 0.1
_SEED: Final = 2002
_LIMIT: Final = 30.0


def train_base(
    texts: Sequence[Indices], spam: Sequence[bool], weights: Sequence[float], passes: int = PASSES
) -> Weights:
    """Return weights for runs of text; `weights` say how much each message counts."""
    table = np.zeros(1 << TEXT_BITS, np.float32)
    squares = np.full(1 << TEXT_BITS, START, np.float32)
    order = np.random.default_rng(_SEED)
    for _ in range(passes):
        for number in order.permutation(len(texts)):
            runs = texts[number]
            if not len(runs):
                continue
            root = sqrt(len(runs))
            error = (spam[number] - probability(float(table.take(runs).sum()) / root)) * weights[number]
            squares[runs] += np.float32(error * error)
            table[runs] += np.float32(RATE * error / root) / np.sqrt(squares.take(runs))
    return table


def raw_score(table: Weights, runs: Indices) -> float:
    """Return the uncalibrated score of a text."""
    return float(table.take(runs).sum()) / sqrt(len(runs)) if len(runs) else 0.0


def held_out_scores(
    texts: Sequence[Indices], spam: Sequence[bool], weights: Sequence[float], sources: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Return each message's score by a model made without its source: as the model will do on mail from elsewhere."""
    found = np.zeros(len(texts))
    for source in sorted(set(sources)):
        rest = [number for number in range(len(texts)) if sources[number] != source]
        table = train_base(
            [texts[number] for number in rest], [spam[number] for number in rest], [weights[number] for number in rest]
        )
        for number in range(len(texts)):
            if sources[number] == source:
                found[number] = raw_score(table, texts[number])
    return found


def calibrate(scores: npt.NDArray[np.float64], spam: Sequence[bool], weights: Sequence[float]) -> tuple[float, float]:
    """Return slope and intercept that make log-odds of scores, for as much spam as wanted mail."""
    truth = np.array(spam, float)
    share = np.array(weights, float)
    share = np.where(truth == 1, share / share[truth == 1].sum(), share / share[truth == 0].sum())
    slope, intercept = 1.0, 0.0
    for _ in range(100):
        odds = np.clip(slope * scores + intercept, -_LIMIT, _LIMIT)
        guess = 1.0 / (1.0 + np.exp(-odds))
        error, curve = share * (truth - guess), share * guess * (1 - guess) + 1e-12
        hessian = np.array(
            [[(curve * scores**2).sum() + 1e-9, (curve * scores).sum()], [(curve * scores).sum(), curve.sum()]]
        )
        step = np.linalg.solve(hessian, np.array([(error * scores).sum(), error.sum()]))
        slope, intercept = slope + float(step[0]), intercept + float(step[1])
        if abs(step).max() < 1e-9:
            break
    return slope, intercept


def probability(odds: float) -> float:
    """Return the probability that log-odds mean."""
    return 1.0 / (1.0 + exp(-max(-_LIMIT, min(_LIMIT, odds))))
