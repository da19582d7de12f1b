"""Chosen databases as the processes tell each other of them."""

import msgspec

from gatepost.antivirus.sources import SetFacts


class PinnedSet(msgspec.Struct, frozen=True):
    """A verified set as the template is told of it."""

    directory: str
    facts: SetFacts
