"""DKIM (RFC 6376, RFC 8301, RFC 8463): checks with keys, in the relay, what `reading` has read in a filter.

`check_signatures` is called by `authentication`.
"""

from gatepost.authn.key import Key, choose_key
from gatepost.authn.question import Inquiry, Question, Record, Reply
from gatepost.model.authn import DkimResult, SignatureMaterial

EARLY_S = 3600.0
"""How far a signer's clock may go wrong against a signature's expiry."""


def check_signatures(signatures: tuple[SignatureMaterial, ...], now: float) -> Inquiry[tuple[DkimResult, ...]]:
    """Check all signatures, with one round of questions."""
    names = tuple(dict.fromkeys(key_name(each) for each in signatures if _wants_key(each, now)))
    keys: dict[str, Reply] = {}
    if names:
        replies = yield tuple(Question(name, Record.TXT) for name in names)
        keys = dict(zip(names, replies, strict=True))
    return tuple(_judge(each, keys.get(key_name(each)), now) for each in signatures)


def key_name(material: SignatureMaterial) -> str:
    """Return the name that the key is published under (RFC 6376 §3.6.2.1)."""
    return f"{material.selector}._domainkey.{material.domain}"


def _wants_key(material: SignatureMaterial, now: float) -> bool:
    return not material.error and material.body_matches and not _is_expired(material, now)


def _is_expired(material: SignatureMaterial, now: float) -> bool:
    return 0 < material.expires < now - EARLY_S


def _judge(material: SignatureMaterial, reply: Reply | None, now: float) -> DkimResult:
    result, reason = _decide(material, reply, now)
    return DkimResult(material.domain, material.selector, result, reason, material.partial and result == "pass")


def _decide(material: SignatureMaterial, reply: Reply | None, now: float) -> tuple[str, str]:
    if material.error:
        return "permerror", material.error
    if _is_expired(material, now):
        return "fail", "the signature has expired"
    if not material.body_matches:
        return "fail", "the body is not what was signed"
    if reply is None or reply.failed:
        return "temperror", "no answer about the key"
    key = choose_key(reply.texts)
    if not isinstance(key, Key):
        return "permerror", key
    if key.strict and material.identity.rpartition("@")[2].lower() != material.domain:
        return "permerror", "the key does not sign for subdomains"
    if not key.verifies(material.algorithm, material.digest, material.signature):
        if key.kind != material.algorithm.partition("-")[0]:
            return "permerror", "the key is of another kind than the signature"
        return ("neutral", "wrong, by a signer that only tries") if key.testing else ("fail", "the signature is wrong")
    if key.short:
        return "policy", "the key is too short to prove anything"
    return "pass", "signs only the first part of the body" if material.partial else ""
