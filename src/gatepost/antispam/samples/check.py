"""The check of samples: which sample messages a mail holds, and how much of them."""

from typing import Final

from gatepost.antispam.check import Notes
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.samples.base import SampleBase, compile_samples, parse_samples
from gatepost.antispam.samples.shingles import build_shingles, hash_wording
from gatepost.antispam.samples.source import SUFFIX, parse_sample
from gatepost.antispam.view import MailView
from gatepost.model.spam import Method

COMPILED_SUFFIX: Final = ".samples"
SHARE_LEAST: Final = 0.3
"""Share of a sample below which two texts merely have phrases in common."""
SHARE_FULL: Final = 0.42
"""Share from which it is the same text: with a fifth of the words changed half of the shingles stay."""
WEIGHT: Final = 6.5
"""Log-odds of the same text: spam alone, and with a sign or two to the contrary."""
PROBABLE_WEIGHT: Final = 4.4
"""The same for samples whose category is not below `spam`: a rating of 80."""
NO_SPAM: Final = "other"
"""First name of categories that are for rules only and add nothing."""
_SHOWN: Final = 3


class SamplesCheck:
    """Content check; see the module."""

    name = "samples"

    def __init__(self, knowledge: Knowledge) -> None:
        """ValueError: a file is faulty."""
        texts = [parse_sample(path, data) for path, data in knowledge.by_suffix(SUFFIX)]
        compiled = [("samples of the set", compile_samples(texts)), *knowledge.by_suffix(COMPILED_SUFFIX)]
        self._base = SampleBase(sample for path, data in compiled for sample in parse_samples(path, data))
        self._base.find_among(build_shingles("a first look at a few words makes all of it warm"), SHARE_LEAST)

    def inspect(self, view: MailView, notes: Notes) -> None:
        """Note the samples found, the likest first."""
        if not view.options.content:
            return
        for likeness in self._base.find_among(hash_wording(view.wording), SHARE_LEAST)[:_SHOWN]:
            certainty = min(1.0, (likeness.share - SHARE_LEAST + 0.05) / (SHARE_FULL - SHARE_LEAST + 0.05))
            top = likeness.category.partition("/")[0]
            weight = 0.0 if top == NO_SPAM else certainty * (WEIGHT if top == "spam" else PROBABLE_WEIGHT)
            known = notes.categories.get(likeness.category, 0.0)
            notes.categories[likeness.category] = max(known, weight)
            if any(sign.name == "sample" for sign in notes.signs):
                weight = 0.0  # copies of one sample are one sign
            notes.sign(
                Method.CONTENT,
                "sample",
                f"{likeness.share:.0%} of the sample message “{likeness.name}” ({likeness.category}) stand in it",
                weight,
            )
