"""What the answer of a UDS server is worth: fingerprints and what is known of them in, a sign out. Pure.

Used by `relay.lookups.uds`. One value of a text may be shared by chance or by a footer, so a text counts as known only
when `TEXT_MATCHES` of its values are. That many gateways ask for a text at the same time is what every newsletter does:
by itself it is told, and weighs nothing.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from gatepost.model.spam import Fingerprint, FingerprintKind, Method, Sign
from gatepost.wire.uds import Known

TEXT_MATCHES: Final = 3
"""Of 32: texts share that many when about half of their groups of words are the same."""
IMAGE_MATCHES: Final = 3
"""Of 8."""
BURST_GATEWAYS: Final = 5
"""Gateways that ask for a value of a text within minutes, for it to be a burst. Servers count few of the values."""
WANTED_COUNTS: Final = 2
"""One gateway that says "wanted" outweighs that many that say "spam": a wrong report must not last."""

KNOWN_TEXT_WEIGHT: Final = 6.0
KNOWN_ATTACHMENT_WEIGHT: Final = 4.0
KNOWN_IMAGE_WEIGHT: Final = 4.0
KNOWN_LINKS_WEIGHT: Final = 2.0
"""Mail that answers spam, or warns of it, has its links."""
REPORTED_BURST_WEIGHT: Final = 3.0
REPORTED_WEIGHT: Final = 1.5
MANY_WEIGHT: Final = 2.0
"""On top for a text that MANY times as many gateways as needed have reported."""
MANY: Final = 4
MOST_WEIGHT: Final = 8.0
"""Decisive whatever the text looks like: what is urgent looks like nothing known."""

_KNOWN_WEIGHTS: Final = {
    FingerprintKind.TEXT: KNOWN_TEXT_WEIGHT,
    FingerprintKind.ATTACHMENT: KNOWN_ATTACHMENT_WEIGHT,
    FingerprintKind.IMAGE: KNOWN_IMAGE_WEIGHT,
    FingerprintKind.LINKS: KNOWN_LINKS_WEIGHT,
}
_MATCHES: Final = {FingerprintKind.TEXT: TEXT_MATCHES, FingerprintKind.IMAGE: IMAGE_MATCHES}
_WORDS: Final = {
    FingerprintKind.TEXT: "its text",
    FingerprintKind.ATTACHMENT: "an attachment of it",
    FingerprintKind.IMAGE: "its picture",
    FingerprintKind.LINKS: "its set of links",
}


class Urgent(msgspec.Struct, frozen=True):
    """What UDS says of a message."""

    known_as: str
    """`spam`, `reported`, `burst` or ""."""
    sign: Sign | None = None


NOTHING: Final = Urgent("")


def weigh_answer(fingerprints: Sequence[Fingerprint], known: Sequence[Known], reporters: int) -> Urgent:
    """Return what is to be said of a message with these fingerprints, of which the server knows this, in their order.

    `reporters`: gateways that have to report a fingerprint until it is known as spam.
    """
    spam: dict[FingerprintKind, list[int]] = {}
    asking: list[int] = []
    for fingerprint, each in zip(fingerprints, known, strict=True):
        spam.setdefault(fingerprint.kind, []).append(each.spam - WANTED_COUNTS * each.wanted)
        if fingerprint.kind is FingerprintKind.TEXT:
            asking.append(each.asking)
    weight = 0.0
    reported: list[str] = []
    gateways = 0
    for kind, counts in spam.items():
        strongest = _strongest(kind, counts)
        if strongest >= reporters:
            weight += _KNOWN_WEIGHTS[kind]
            if kind is FingerprintKind.TEXT and strongest >= MANY * reporters:
                weight += MANY_WEIGHT
            reported.append(_WORDS[kind])
            gateways = max(gateways, strongest)
    if weight:
        evidence = f"{gateways} gateways reported {' and '.join(reported)} as spam to the urgent detection service"
        return Urgent("spam", Sign(Method.UDS, "uds-known", evidence, min(weight, MOST_WEIGHT)))
    at_once = max(asking, default=0)
    once = _strongest(FingerprintKind.TEXT, spam.get(FingerprintKind.TEXT, []))
    if once > 0:
        burst = at_once >= BURST_GATEWAYS
        evidence = f"{once} gateway(s) reported its text as spam to the urgent detection service"
        if burst:
            evidence += f", and {at_once} received it within minutes"
        return Urgent(
            "reported", Sign(Method.UDS, "uds-reported", evidence, REPORTED_BURST_WEIGHT if burst else REPORTED_WEIGHT)
        )
    if at_once >= BURST_GATEWAYS:
        evidence = f"{at_once} gateways received its text within minutes, as spam and newsletters are"
        return Urgent("burst", Sign(Method.UDS, "uds-burst", evidence))
    return NOTHING


def _strongest(kind: FingerprintKind, counts: Sequence[int]) -> int:
    """Return the count that enough fingerprints of this kind reach."""
    needed = _MATCHES.get(kind, 1)
    return sorted(counts, reverse=True)[needed - 1] if len(counts) >= needed else 0
