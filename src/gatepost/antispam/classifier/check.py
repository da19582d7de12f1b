"""The content check of the classifier: one sign, for spam or against it, with the words that weighed most.

Made in the template with the base model and a read-only view of what was learned; filters inherit both.
"""

import math
from typing import Final

import numpy as np

from gatepost.antispam.check import Notes
from gatepost.antispam.classifier.explain import weighty_words
from gatepost.antispam.classifier.features import (
    Features,
    Indices,
    distinct,
    distinct_halves,
    header_lines,
    header_runs,
    reader_text,
    text_runs,
    text_units,
)
from gatepost.antispam.classifier.learned import Learned
from gatepost.antispam.classifier.lesson import Lesson, digest_of, pack_lesson
from gatepost.antispam.classifier.model import BaseModel, parse_model
from gatepost.antispam.classifier.scoring import judge, read
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.view import MailView
from gatepost.model.spam import Method

MODEL_NAME: Final = "model/base.mpk"
SHOWN: Final = 1.0
"""Log-odds below which the words are not looked for: they would only puzzle, and those of wanted mail nobody asks."""
HALF_RUNS: Final = 200
"""Runs of half a text from which on it is weighed by itself."""
FEWEST_RUNS: Final = 40
"""Runs of a text below which nothing is said of it untrained: a few words tell too little."""
FEWEST_WANTED: Final = 200
"""And below which it is not called wanted: the little that pictures of spam leave to be read is harmless talk."""
_NONE: Final = np.zeros(0, np.uint32)


class ClassifierCheck:
    """Weighs a message by base model and learned weights."""

    name = "classifier"

    def __init__(self, base: BaseModel, learned: Learned | None = None) -> None:
        self._base = base
        self._learned = learned

    def inspect(self, view: MailView, notes: Notes) -> None:
        units = text_units(reader_text(view.subject, view.body))
        runs = text_runs(units)
        text, strongest = self._look_at_text(runs)
        features = Features(text, self._look_at_header(view))
        if view.options.learn:
            notes.lesson = pack_lesson(Lesson(digest_of(view), features))
        domain = common_domain(view.options.recipients)
        opinion = judge(features, self._base, self._learned, domain, strongest)
        if not opinion.trust and len(features.text) < (FEWEST_RUNS if opinion.weight > 0 else FEWEST_WANTED):
            return
        words: list[str] = []
        if opinion.weight >= SHOWN:
            contributions = self._base.table.take(runs) * np.float32(self._base.scale * self._base.slope)
            if self._learned is not None:
                for scope in self._learned.scopes(domain):
                    contributions = contributions + read(scope.text, runs, scope.shift)
            words = weighty_words(units, contributions)
        name = "text-like-spam" if opinion.weight > 0 else "text-like-wanted"
        notes.sign(
            Method.LEARNED, name, _evidence(opinion.weight, opinion.trust, opinion.header, words), opinion.weight
        )

    def _look_at_text(self, runs: Indices) -> tuple[Indices, float]:
        """Return the slots of a text, and the log-odds of the half of it that looks most like spam: honest words in
        front of spam, or behind it, must not hide it. Of a short text nothing; nor once only what was learned here
        counts.
        """
        if len(runs) // 2 < HALF_RUNS or (self._learned is not None and self._learned.state.trust >= 1.0):
            return distinct(runs), -math.inf
        text, slots, second = distinct_halves(runs)
        return text, self._base.stronger(slots, second)

    def _look_at_header(self, view: MailView) -> Indices:
        """Return the slots of the header; none where nothing is learned of them and nothing was."""
        if view.options.learn or (self._learned is not None and self._learned.state.trust):
            return distinct(header_runs(header_lines(view)))
        return _NONE


def build_classifier(knowledge: Knowledge, learned: Learned | None) -> tuple[ClassifierCheck, ...]:
    """Return the check, none when the databases hold no base model. ModelError: the model is damaged."""
    return tuple(ClassifierCheck(parse_model(data), learned) for _, data in knowledge.by_suffix(MODEL_NAME)[:1])


def common_domain(recipients: tuple[str, ...]) -> str:
    """Return the domain of all recipients, "" when there are several."""
    domains = {address.rpartition("@")[2].lower() for address in recipients}
    return domains.pop() if len(domains) == 1 else ""


def _evidence(weight: float, trust: float, header: float, words: list[str]) -> str:
    like = "spam" if weight > 0 else "wanted mail"
    source = "the shipped model" if not trust else f"what was learned here ({trust:.0%}) and the shipped model"
    told = f"the text reads like {like} by {source}"
    if words:
        told += ": " + ", ".join(f"“{word}”" for word in words)
    if trust and header * weight > 0 and abs(header) >= 1:
        told += "; its header is like that of learned " + ("spam" if weight > 0 else "wanted mail")
    return told
