"""Bounds of what a filter may say of spam and of header fields: `check_spam`, `check_fields`. Used by
`filter.dialogue`, whose promise it shares.
"""

import math
from collections.abc import Sequence

from gatepost.filter.hostile import HostileAnswer
from gatepost.model.authn import SETS_LIMIT, SIGNATURES_LIMIT, AuthnMaterial, SignatureMaterial
from gatepost.model.finding import FIELDS_LIMIT, NamedField
from gatepost.model.spam import COSTS_TOLD, FieldSpot, SpamFacts

SIGNS_LIMIT = 400
WORD_LIMIT = 320
"""Characters of a token, a host name, an address."""
WORDS_LIMIT = 2_048
"""Characters of an evidence, a link, a subject."""
LIST_LIMIT = 256
"""Links, hops, categories, fingerprints, authors."""
SPOT_LIMIT = 1_000
DIGEST_LIMIT = 64
SIGNATURE_LIMIT = 2_048
"""Bytes of a signature: RSA of 16,384 bits."""
RESULTS_LIMIT = 16_384
"""Characters of one Authentication-Results field."""
WEIGHT_LIMIT = 100.0
LESSON_LIMIT = 32 * 1024


def check_spam(facts: SpamFacts, size: int) -> None:
    """Raise HostileAnswer unless every number and text fits content of `size` bytes."""
    if len(facts.signs) > SIGNS_LIMIT:
        raise HostileAnswer(f"{len(facts.signs)} signs, limit {SIGNS_LIMIT}")
    for sign in facts.signs:
        if len(sign.name) > WORD_LIMIT or len(sign.detail) > WORD_LIMIT or len(sign.evidence) > WORDS_LIMIT:
            raise HostileAnswer("sign over its limits")
        if not abs(sign.weight) <= WEIGHT_LIMIT:
            raise HostileAnswer("weight of a sign out of range")
    if max(len(facts.categories), len(facts.eastern), len(facts.hops), len(facts.links)) > LIST_LIMIT:
        raise HostileAnswer("list of spam facts over its limit")
    if len(facts.fingerprints) > LIST_LIMIT:
        raise HostileAnswer("fingerprints over their limit")
    _check_words((*facts.categories, facts.formal, *facts.eastern, *facts.hops), WORD_LIMIT)
    for link in facts.links:
        if max(len(link.host), len(link.domain), len(link.source)) > WORD_LIMIT or len(link.url) > WORDS_LIMIT:
            raise HostileAnswer("link over its limits")
    for fingerprint in facts.fingerprints:
        if not 8 <= len(fingerprint.value) <= DIGEST_LIMIT:
            raise HostileAnswer("fingerprint over its limits")
    _check_words((facts.trouble,), WORDS_LIMIT)
    if len(facts.lesson) > LESSON_LIMIT:
        raise HostileAnswer("lesson over its limit")
    if not 0 <= facts.elapsed_ms < math.inf:
        raise HostileAnswer("time of the content checks out of range")
    if len(facts.costs) > COSTS_TOLD:
        raise HostileAnswer("more times of checks than are told")
    for name, elapsed_ms in facts.costs:
        if len(name) > WORD_LIMIT or not 0 <= elapsed_ms < math.inf:
            raise HostileAnswer("time of a check out of range")
    _check_authn(facts.authn)
    if facts.subject is not None:
        _check_spots((facts.subject,), size)
    _check_spots(facts.foreign, size)
    _check_spots(facts.keywords, size)


def check_fields(fields: Sequence[NamedField], size: int) -> None:
    """Raise HostileAnswer unless the fields told for rules fit content of `size` bytes."""
    if len(fields) > FIELDS_LIMIT:
        raise HostileAnswer("too many header fields")
    names = [field.name for field in fields]
    _check_words(names, WORD_LIMIT)
    if not all(map(str.isascii, names)):
        raise HostileAnswer("name of a header field that is none")
    _check_spots([field.spot for field in fields], size)


def _check_words(words: Sequence[str], limit: int) -> None:
    for each in words:  # no generator: relays do this for every mail
        if len(each) > limit:
            raise HostileAnswer("text of a spam fact over its limit")


def _check_spots(spots: Sequence[FieldSpot], size: int) -> None:
    if len(spots) > SPOT_LIMIT:
        raise HostileAnswer("too many header fields")
    at = 0
    for spot in spots:
        if not at <= spot.start <= spot.value <= spot.end <= size or len(spot.text) > WORDS_LIMIT:
            raise HostileAnswer("header field outside the content")
        at = spot.end


def _check_authn(material: AuthnMaterial) -> None:
    # Each signature may cost the relay a question to the DNS and a check with a key.
    if len(material.signatures) > SIGNATURES_LIMIT or len(material.arc) > SETS_LIMIT:
        raise HostileAnswer("more signatures than are read of one message")
    if len(material.authors) > LIST_LIMIT or len(material.results) > LIST_LIMIT:
        raise HostileAnswer("authentication material over its limits")
    _check_words(material.authors, WORD_LIMIT)
    _check_words((material.arc_error,), WORDS_LIMIT)
    _check_words(material.results, RESULTS_LIMIT)
    _check_words([each.results for each in material.arc], RESULTS_LIMIT)
    for signature in material.signatures:
        _check_signature(signature)
    for arc in material.arc:
        _check_words((arc.validation,), WORD_LIMIT)
        _check_signature(arc.seal)
        _check_signature(arc.message)


def _check_signature(each: SignatureMaterial) -> None:
    _check_words((each.domain, each.selector, each.algorithm, each.identity, *each.fields), WORD_LIMIT)
    _check_words((each.error,), WORDS_LIMIT)
    if len(each.digest) > DIGEST_LIMIT or len(each.signature) > SIGNATURE_LIMIT or len(each.fields) > SPOT_LIMIT:
        raise HostileAnswer("signature over its limits")
