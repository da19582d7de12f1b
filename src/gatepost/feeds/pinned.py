"""Chosen databases as the processes tell each other of them."""

import msgspec

from gatepost.antivirus.sources import SetFacts
from gatepost.config.profiles_samples import ReadySample


class PinnedSet(msgspec.Struct, frozen=True):
    """A verified set as the template is told of it."""

    directory: str
    facts: SetFacts


class PinnedFile(msgspec.Struct, frozen=True):
    """A compiled file of the administrator's own."""

    path: str
    sha256: str


class SpamBases(msgspec.Struct, frozen=True):
    """Anti-spam databases in use; without any set there are no content checks."""

    sets: tuple[PinnedSet, ...] = ()
    own: tuple[PinnedFile, ...] = ()
    """The administrator's samples and images, compiled."""
    samples: tuple[ReadySample, ...] = ()
    """Those of the rule set in force ..."""
    sample_file: PinnedFile | None = None
    """... or where they lie (`feeds.rule_samples`)."""
