"""A short run of accuracy: a sample of the SpamAssassin corpus, learned on line. `make accuracy` makes the whole."""

import os
import sys
from math import log
from pathlib import Path

import numpy as np
import pytest

from gatepost.antispam.classifier.features import extract
from gatepost.antispam.classifier.learned import Learned, blank
from gatepost.antispam.classifier.model import build_model, parse_model
from gatepost.antispam.classifier.scoring import judge
from gatepost.antispam.classifier.training import apply_state, apply_step, plan_step
from gatepost.antispam.rating import PRIOR
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.learned_weights import HEADER_BITS, TEXT_BITS
from gatepost.model.spam import SpamOptions

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("GATEPOST_SHARED", ROOT.parent / "shared"))
CORPUS = SHARED / "corpora" / "spam" / "spamassassin-2002.tar.gz"
PROBABLE = -PRIOR
"""Weight that makes a rating of 50 with nothing beside it."""
SPAM = log(9) - PRIOR
"""And of 90."""
STEP = 6
"""Every so many messages: a thousand of them, four seconds."""


@pytest.mark.skipif(not CORPUS.exists(), reason="the shared corpora are not beside the checkout (GATEPOST_SHARED)")
def test_learning_on_line_tells_spam_from_wanted_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "tools"), *sys.path])
    from accuracy_figures import area_above
    from model_sources import read_set

    base = parse_model(build_model(np.zeros(1 << TEXT_BITS, np.float32), 1.0, 0.0, ()))
    learned, squares = Learned(blank()), np.zeros(1 << HEADER_BITS, np.float32)
    labels, weights = [], []
    for number, mail in enumerate(read_set("spamassassin-2002")):
        if number % STEP:
            continue
        features = extract(build_view(parse(mail.content), SpamOptions()))
        labels.append(mail.spam)
        weights.append(judge(features, base, learned).weight)
        step = plan_step(features, mail.spam, base, learned, squares, "", 1.0)
        apply_step(step, features, learned.gateway, squares)
        learned.state = apply_state(step, learned.state)
    spam, scores = np.array(labels)[len(labels) // 5 :], np.array(weights)[len(labels) // 5 :]
    assert area_above(spam, scores) < 1.0
    assert (scores[~spam] > SPAM).mean() <= 0.005
    assert (scores[spam] > PROBABLE).mean() > 0.75
