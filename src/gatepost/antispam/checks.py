"""All content checks, in the order in which they look at a message."""

from gatepost.antispam.check import Check
from gatepost.antispam.classifier.check import build_classifier
from gatepost.antispam.classifier.learned import Learned
from gatepost.antispam.eastern import EasternCheck
from gatepost.antispam.fingerprints import FingerprintCheck
from gatepost.antispam.formal import FormalCheck
from gatepost.antispam.gtube import GtubeCheck
from gatepost.antispam.headers.check import build_header_check
from gatepost.antispam.images.check import ImagesCheck
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.samples.check import SamplesCheck
from gatepost.antispam.terms.check import TermsCheck
from gatepost.antispam.tricks import TricksCheck


def build_checks(knowledge: Knowledge, learned: Learned | None = None) -> tuple[Check, ...]:
    """Make the checks with what the databases say and what was learned.

    ValueError: a file of the databases is faulty; the text names it.
    """
    return (
        ImagesCheck(knowledge),
        SamplesCheck(knowledge),
        TermsCheck(knowledge),
        build_header_check(knowledge),
        EasternCheck(),
        FormalCheck(),
        GtubeCheck(),
        FingerprintCheck(),
        TricksCheck(knowledge),
        *build_classifier(knowledge, learned),
    )


def build_free_checks() -> tuple[Check, ...]:
    """Make the checks that need no databases: UDS knows what no database does yet."""
    return (FingerprintCheck(),)
