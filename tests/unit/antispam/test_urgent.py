"""What the answer of a UDS server is worth."""

import pytest

from gatepost.antispam.rating import rate
from gatepost.antispam.urgent import BURST_GATEWAYS, MOST_WEIGHT, TEXT_MATCHES, Urgent, weigh_answer
from gatepost.model.spam import Fingerprint, FingerprintKind
from gatepost.wire.uds import Known

REPORTERS = 2


def weigh(*parts: tuple[FingerprintKind, Known, int]) -> Urgent:
    """Weigh fingerprints: (kind, known, how many of it)."""
    fingerprints, known = [], []
    for kind, each, count in parts:
        fingerprints += [Fingerprint(kind, len(fingerprints).to_bytes(8))] * count
        known += [each] * count
    return weigh_answer(fingerprints, known, REPORTERS)


def text(known: Known, count: int = TEXT_MATCHES) -> tuple[FingerprintKind, Known, int]:
    return FingerprintKind.TEXT, known, count


UNKNOWN_REST = text(Known(), 32 - TEXT_MATCHES)


def weight(found: Urgent) -> float:
    return found.sign.weight if found.sign else 0.0


def test_a_known_text_is_spam_at_the_default_level_and_says_why() -> None:
    found = weigh(text(Known(spam=2)), UNKNOWN_REST)
    assert found.known_as == "spam"
    assert found.sign is not None
    assert rate([found.sign]) >= 90
    assert "2 gateways reported its text as spam" in found.sign.evidence


def test_fewer_values_than_that_are_chance() -> None:
    assert weigh(text(Known(spam=9), TEXT_MATCHES - 1), UNKNOWN_REST) == Urgent("")


def test_one_reporter_is_a_sign_and_no_verdict() -> None:
    found = weigh(text(Known(spam=1)), UNKNOWN_REST)
    assert found.known_as == "reported"
    assert found.sign is not None
    assert found.sign.weight > 0
    assert rate([found.sign]) < 60


def test_one_reporter_in_a_burst_is_more_and_still_no_verdict_alone() -> None:
    quiet = weigh(text(Known(spam=1)), UNKNOWN_REST)
    burst = weigh(text(Known(spam=1, asking=BURST_GATEWAYS)), UNKNOWN_REST)
    assert weight(quiet) < weight(burst)
    assert burst.sign is not None
    assert rate([burst.sign]) < 60


def test_a_burst_alone_weighs_nothing_as_newsletters_are_bursts() -> None:
    found = weigh(text(Known(asking=200)), UNKNOWN_REST)
    assert found.known_as == "burst"
    assert weight(found) == 0.0


@pytest.mark.parametrize(("wanted", "known_as"), [(0, "spam"), (1, "reported"), (2, "")])
def test_reports_of_wanted_mail_count_twice(wanted: int, known_as: str) -> None:
    assert weigh(text(Known(spam=3, wanted=wanted)), UNKNOWN_REST).known_as == known_as


def test_many_reporters_weigh_more_than_just_enough() -> None:
    assert weight(weigh(text(Known(spam=7)), UNKNOWN_REST)) == weight(weigh(text(Known(spam=2)), UNKNOWN_REST))
    assert weight(weigh(text(Known(spam=8)), UNKNOWN_REST)) > weight(weigh(text(Known(spam=2)), UNKNOWN_REST))


def test_links_alone_are_no_verdict_as_warnings_of_spam_have_them() -> None:
    found = weigh((FingerprintKind.LINKS, Known(spam=200), 1), text(Known(), 32))
    assert found.sign is not None
    assert rate([found.sign]) < 60


def test_an_attachment_makes_it_probable_and_weights_have_a_top() -> None:
    attachment = (FingerprintKind.ATTACHMENT, Known(spam=2), 1)
    alone = weigh(attachment)
    assert alone.sign is not None
    assert 60 <= rate([alone.sign]) < 90
    both = weigh(text(Known(spam=9)), attachment)
    assert weight(both) == MOST_WEIGHT
    assert both.sign is not None
    assert "its text and an attachment of it" in both.sign.evidence


def test_nothing_known_is_nothing() -> None:
    assert weigh(text(Known(), 32)) == Urgent("")
    assert weigh() == Urgent("")
