"""All content checks, in the order in which they look at a message."""

from gatepost.antispam.check import Check
from gatepost.antispam.fingerprints import FingerprintCheck
from gatepost.antispam.knowledge import Knowledge


def build_checks(knowledge: Knowledge) -> tuple[Check, ...]:
    """Make the checks with what the databases say. ValueError: a file of them is faulty; the text names it."""
    _ = knowledge
    return (FingerprintCheck(),)
