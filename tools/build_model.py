"""Make the base model: `python tools/build_model.py [--without SET]... [--out FILE]`.

Takes the permitted sets (`model_sources.PERMITTED`) and the written examples, prints what it used and how well the
model does on messages it was made without. `--without` leaves a set out, together with near-duplicates of it elsewhere.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import msgspec
import numpy as np

from gatepost.antispam.classifier.building import calibrate, held_out_scores, train_base
from gatepost.antispam.classifier.features import Indices, distinct, reader_text, text_runs, text_units
from gatepost.antispam.classifier.model import build_model
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions
from model_sources import PERMITTED, ROOT, Mail, cleaned, group_of, read_set
from model_texts import write_examples

EXAMPLES_EACH = 120
"""Messages of every kind and language."""
NEWSLETTERS = "hard-ham"
NEWSLETTER_WEIGHT = 8.0
"""How much more the newsletters of a set count: there are few, and they are what a filter gets wrong."""
HEAVIEST = 8.0
EXAMPLES = "examples"
LEAN = 1.6
"""Log-odds added to the calibrated ones. Calibration is on sources the model was made without, and so says too little
of what is new; with so much more no set loses more wanted mail (docs/adr/0002-classifier.md).
"""
MASS = {"spamassassin-2002": 0.3, "inbox-2023-2025": 0.5, EXAMPLES: 1.0}
"""How much each source weighs, whatever its number of messages: half of it its spam, half its wanted mail."""


class Sample(msgspec.Struct, frozen=True):
    """One message for the model."""

    spam: bool
    source: str
    group: int
    factor: float
    text: Indices


def text_of(mail: Mail) -> str:
    """Return what the classifier reads of a message."""
    view = build_view(parse(cleaned(mail.content)), SpamOptions())
    return reader_text(view.subject, view.body)


def make_sample(spam: bool, source: str, text: str, part: str = "") -> Sample:
    """Return the sample of a text of a source, from a part of it."""
    factor = NEWSLETTER_WEIGHT if part.startswith(NEWSLETTERS) else 1.0
    return Sample(spam, source, group_of(text), factor, distinct(text_runs(text_units(text))))


def gather(without: Iterable[str] = ()) -> list[Sample]:
    """Return the samples of all permitted sets but those named, and without what is nearly a message of those."""
    barred = {group_of(text_of(mail)) for name in without for mail in read_set(name)}
    found = [
        make_sample(mail.spam, name, text_of(mail), mail.source)
        for name in PERMITTED
        if name not in without
        for mail in read_set(name)
    ]
    found += [
        make_sample(each.spam, EXAMPLES, reader_text(each.subject, each.body)) for each in write_examples(EXAMPLES_EACH)
    ]
    return [sample for sample in found if sample.group not in barred]


def weigh(samples: list[Sample]) -> list[float]:
    """Return how much each message counts."""
    counts = Counter((sample.source, sample.spam) for sample in samples)
    mean = len(samples) / 2 / sum(MASS[source] for source in {sample.source for sample in samples})
    return [
        min(HEAVIEST, sample.factor * MASS[sample.source] * mean / counts[sample.source, sample.spam])
        for sample in samples
    ]


def make_model(samples: list[Sample]) -> bytes:
    """Return the file of a base model made of these samples."""
    texts, spam, weights = [sample.text for sample in samples], [sample.spam for sample in samples], weigh(samples)
    held_out = held_out_scores(texts, spam, weights, [sample.source for sample in samples])
    real = [number for number, sample in enumerate(samples) if sample.source != EXAMPLES] or list(range(len(samples)))
    slope, intercept = calibrate(
        held_out[real], [spam[number] for number in real], [weights[number] for number in real]
    )
    table = train_base(texts, spam, weights)
    counts = Counter((sample.source, "spam" if sample.spam else "ham") for sample in samples)
    for source in sorted({sample.source for sample in samples}):
        chosen = np.array([sample.source == source for sample in samples])
        truth, odds = np.array(spam)[chosen], held_out[chosen] * slope + intercept
        print(
            f"{source}: {counts[source, 'ham']} ham, {counts[source, 'spam']} spam; held out: "
            f"{(odds[~truth] > 0).mean():.2%} of ham above 0, {(odds[truth] < 0).mean():.2%} of spam below",
            file=sys.stderr,
        )
    sources = tuple(f"{source}: {number} {label}" for (source, label), number in sorted(counts.items()))
    return build_model(table, slope, intercept + LEAN, sources)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the base model of the classifier.")
    parser.add_argument("--without", action="append", default=[], choices=PERMITTED, help="leave a set out")
    parser.add_argument("--out", type=Path, default=ROOT / "src/gatepost/antispam/rules/model/base.mpk")
    chosen = parser.parse_args()
    data = make_model(gather(chosen.without))
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_bytes(data)
    print(f"{chosen.out}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
