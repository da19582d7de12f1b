"""ARC (RFC 8617): what each host on the way saw, sealed. Validates in the relay what `chain` has read in a filter.

`check_chain` is called by `authentication`.
"""

import msgspec

from gatepost.authn.dkim import key_name
from gatepost.authn.key import Key, choose_key
from gatepost.authn.question import Inquiry, Question, Record, Reply
from gatepost.model.authn import ArcSet, SignatureMaterial


class ArcResult(msgspec.Struct, frozen=True):
    """What ARC says."""

    result: str
    """none, pass, fail; temperror when a key could not be had."""
    sealer: str = ""
    """Domain of the last seal of a chain that passes."""
    reason: str = ""


def check_chain(sets: tuple[ArcSet, ...], error: str) -> Inquiry[ArcResult]:
    """Validate a chain (RFC 8617 §5.2): the newest signature and every seal, with one round of questions."""
    if error:
        return ArcResult("fail", reason=error)
    if not sets:
        return ArcResult("none")
    newest = sets[-1].message
    if newest.error or not newest.body_matches:
        return ArcResult("fail", reason=newest.error or "the body is not what the last host signed")
    materials = (newest, *(each.seal for each in reversed(sets)))
    names = tuple(dict.fromkeys(key_name(each) for each in materials))
    replies = yield tuple(Question(name, Record.TXT) for name in names)
    keys = dict(zip(names, replies, strict=True))
    for material in materials:
        reason = _refute(material, keys[key_name(material)])
        if reason:
            failed = keys[key_name(material)].failed
            return ArcResult("temperror" if failed else "fail", reason=f"{reason} ({material.domain})")
    return ArcResult("pass", sets[-1].seal.domain)


def _refute(material: SignatureMaterial, reply: Reply) -> str:
    """Return why a signature proves nothing, "" when it does."""
    if reply.failed:
        return "no answer about the key"
    key = choose_key(reply.texts)
    if not isinstance(key, Key):
        return key
    if key.short:
        return "the key is too short to prove anything"
    return "" if key.verifies(material.algorithm, material.digest, material.signature) else "the signature is wrong"
