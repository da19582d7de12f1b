"""What a filter may say of spam: the bounds let through what the content checks can say, and nothing beyond."""

import math

import pytest

from gatepost.filter.dialogue import check_analysis
from gatepost.filter.hostile import HostileAnswer
from gatepost.filter.spam_bounds import LIST_LIMIT, SIGNS_LIMIT, SPOT_LIMIT, WORD_LIMIT, WORDS_LIMIT, check_spam
from gatepost.model.authn import SETS_LIMIT, SIGNATURES_LIMIT, ArcSet, AuthnMaterial, SignatureMaterial
from gatepost.model.finding import Analysis
from gatepost.model.spam import FieldSpot, Fingerprint, FingerprintKind, Link, Method, NetworkFacts, Sign, SpamFacts

SIZE = 100
SIGN = Sign(Method.CONTENT, "n", "e", 1.0)
SIGNATURE = SignatureMaterial("d.example", "s", "rsa-sha256")
SPOT = FieldSpot(10, 20, 15)
LONG, LONGER = "x" * (WORD_LIMIT + 1), "x" * (WORDS_LIMIT + 1)


def arc(
    seal: SignatureMaterial = SIGNATURE, message: SignatureMaterial = SIGNATURE, validation: str = "none"
) -> ArcSet:
    return ArcSet(1, validation, seal, message)


@pytest.mark.parametrize(
    "facts",
    [
        SpamFacts(),
        SpamFacts(signs=(SIGN,) * SIGNS_LIMIT, links=(Link("h.example"),) * LIST_LIMIT),
        SpamFacts(authn=AuthnMaterial(signatures=(SIGNATURE,) * SIGNATURES_LIMIT, arc=(arc(),) * SETS_LIMIT)),
        SpamFacts(subject=SPOT, foreign=(SPOT, FieldSpot(20, 30, 25)), keywords=(SPOT,)),
        SpamFacts(subject=FieldSpot(0, SIZE, SIZE)),
    ],
)
def test_what_is_within_bounds_is_taken(facts: SpamFacts) -> None:
    check_analysis(Analysis((), spam=facts), SIZE)


@pytest.mark.parametrize(
    "facts",
    [
        SpamFacts(signs=(SIGN,) * (SIGNS_LIMIT + 1)),
        *(SpamFacts(signs=(Sign(Method.SPF, "n", "e", weight),)) for weight in (math.nan, math.inf, -math.inf, 100.1)),
        SpamFacts(signs=(Sign(Method.SPF, LONG, "e"),)),
        SpamFacts(signs=(Sign(Method.SPF, "n", LONGER),)),
        SpamFacts(signs=(Sign(Method.SPF, "n", "e", 0.0, LONG),)),
        SpamFacts(categories=("c",) * (LIST_LIMIT + 1)),
        SpamFacts(categories=(LONG,)),
        SpamFacts(formal=LONG),
        SpamFacts(eastern=(LONG,)),
        SpamFacts(hops=("",) * (LIST_LIMIT + 1)),
        SpamFacts(hops=(LONG,)),
        SpamFacts(links=(Link("h"),) * (LIST_LIMIT + 1)),
        SpamFacts(links=(Link(LONG),)),
        SpamFacts(links=(Link("h", LONG),)),
        SpamFacts(links=(Link("h", "", LONGER),)),
        SpamFacts(links=(Link("h", "", "", LONG),)),
        SpamFacts(fingerprints=(Fingerprint(FingerprintKind.TEXT, b"1234567"),)),
        SpamFacts(fingerprints=(Fingerprint(FingerprintKind.TEXT, b"1" * 65),)),
        SpamFacts(trouble=LONGER),
        *(SpamFacts(elapsed_ms=value) for value in (math.nan, math.inf, -1.0)),
        *(
            SpamFacts(subject=spot)
            for spot in (
                FieldSpot(-1, 10, 5),
                FieldSpot(0, SIZE + 1, 5),
                FieldSpot(10, 20, 21),
                FieldSpot(10, 20, 9),
                FieldSpot(20, 10, 15),
                FieldSpot(10, 20, 15, LONGER),
            )
        ),
        SpamFacts(foreign=(SPOT, SPOT)),
        SpamFacts(foreign=(SPOT, FieldSpot(0, 10, 5))),
        SpamFacts(keywords=(SPOT, FieldSpot(19, 30, 25))),
        SpamFacts(foreign=(FieldSpot(0, 0, 0),) * (SPOT_LIMIT + 1)),
        SpamFacts(authn=AuthnMaterial(authors=(LONG,))),
        SpamFacts(authn=AuthnMaterial(authors=("a",) * (LIST_LIMIT + 1))),
        SpamFacts(authn=AuthnMaterial(arc_error=LONGER)),
        SpamFacts(authn=AuthnMaterial(results=("x" * 20_000,))),
        SpamFacts(authn=AuthnMaterial(signatures=(SIGNATURE,) * (SIGNATURES_LIMIT + 1))),
        SpamFacts(authn=AuthnMaterial(arc=(arc(),) * (SETS_LIMIT + 1))),
        SpamFacts(authn=AuthnMaterial(arc=(arc(validation=LONG),))),
        *(
            SpamFacts(authn=material)
            for each in (
                SignatureMaterial(LONG, "s", "a"),
                SignatureMaterial("d", LONG, "a"),
                SignatureMaterial("d", "s", LONG),
                SignatureMaterial("d", "s", "a", b"1" * 65),
                SignatureMaterial("d", "s", "a", b"", b"1" * 3000),
                SignatureMaterial("d", "s", "a", identity=LONG),
                SignatureMaterial("d", "s", "a", fields=(LONG,)),
                SignatureMaterial("d", "s", "a", fields=("f",) * (SPOT_LIMIT + 1)),
                SignatureMaterial("d", "s", "a", error=LONGER),
            )
            for material in (
                AuthnMaterial(signatures=(each,)),
                AuthnMaterial(arc=(arc(seal=each),)),
                AuthnMaterial(arc=(arc(message=each),)),
            )
        ),
    ],
)
def test_a_lie_beyond_bounds_counts_as_a_crash(facts: SpamFacts) -> None:
    with pytest.raises(HostileAnswer):
        check_spam(facts, SIZE)
    with pytest.raises(HostileAnswer):
        check_analysis(Analysis((), spam=facts), SIZE)


def test_a_filter_says_nothing_about_the_network() -> None:
    with pytest.raises(HostileAnswer):
        check_analysis(Analysis((), spam=SpamFacts(), network=NetworkFacts()), SIZE)
