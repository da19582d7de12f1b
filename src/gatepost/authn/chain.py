"""The ARC sets of a message, read in a filter: all that can be said of them without a key.

`read_chain` is called by `antispam.authn_material`; `arc` validates the answer in the relay.
"""

import hashlib
import re

from gatepost.authn.reading import field_text
from gatepost.authn.signature import SignatureKind, parse_signature, read_instance
from gatepost.authn.signed import SignedContent
from gatepost.authn.tags import TagError, parse_tags
from gatepost.mime.part import Field
from gatepost.model.authn import SETS_LIMIT, ArcSet, SignatureMaterial

RESULTS_LIMIT = 8192
"""Characters of one ARC-Authentication-Results that are kept."""

_SEAL, _MESSAGE, _RESULTS = b"arc-seal", b"arc-message-signature", b"arc-authentication-results"
_INSTANCE = re.compile(r"\s*i\s*=\s*([1-9][0-9]?)\s*;(.*)", re.DOTALL)
_NO_SIGNATURE = SignatureMaterial("", "", "")
_CRLF = b"\r\n"


class ChainError(ValueError):
    """The chain is broken; the argument says where."""


def read_chain(signed: SignedContent) -> tuple[tuple[ArcSet, ...], str]:
    """Return (sets in order, why the chain is broken already or "")."""
    found: dict[bytes, list[Field]] = {_SEAL: [], _MESSAGE: [], _RESULTS: []}
    for field in signed.fields:
        if field.name in found:
            found[field.name].append(field)
    if not any(found.values()):
        return (), ""
    try:
        return _read_sets(signed, found), ""
    except (ChainError, TagError) as error:
        return (), f"ARC: {error}"


def _read_sets(signed: SignedContent, found: dict[bytes, list[Field]]) -> tuple[ArcSet, ...]:
    count = len(found[_SEAL])
    if count > SETS_LIMIT or any(len(fields) != count for fields in found.values()):
        raise ChainError("too many fields, or sets that are not whole")
    ordered = {name: _order(signed, name, fields) for name, fields in found.items()}
    newest = ordered[_MESSAGE][count - 1]
    message = parse_signature(field_text(signed, newest), SignatureKind.ARC_MESSAGE)
    signed.hash_bodies([message])
    before = hashlib.sha256()
    sets = []
    for index, seal in enumerate(ordered[_SEAL]):
        results, own_message = ordered[_RESULTS][index], ordered[_MESSAGE][index]
        for field in (results, own_message):
            before.update(signed.form(field, relaxed=True) + _CRLF)
        last = before.copy()
        last.update(signed.own_form(seal, relaxed=True))
        before.update(signed.form(seal, relaxed=True) + _CRLF)
        is_newest = index == count - 1
        material = signed.material(own_message, message) if is_newest else _NO_SIGNATURE
        sets.append(_read_set(signed, index + 1, seal, last.digest(), material, results))
    return tuple(sets)


def _read_set(
    signed: SignedContent, instance: int, seal: Field, digest: bytes, message: SignatureMaterial, results: Field
) -> ArcSet:
    text = field_text(signed, seal)
    tags = parse_signature(text, SignatureKind.ARC_SEAL)
    validation = parse_tags(text, unicode=True).get("cv", "").lower()
    if validation != ("none" if instance == 1 else "pass"):
        raise ChainError(f"seal {instance} says cv={validation[:10]}")
    sealed = SignatureMaterial(
        tags.domain, tags.selector, tags.algorithm, digest, tags.signature, timestamp=tags.timestamp, body_matches=True
    )
    match = _INSTANCE.fullmatch(field_text(signed, results))
    return ArcSet(instance, validation, sealed, message, match[2].strip()[:RESULTS_LIMIT] if match else "")


def _order(signed: SignedContent, name: bytes, fields: list[Field]) -> list[Field]:
    """Return the fields in order of their instances, each of which must be there once."""
    by_instance = {_instance(field_text(signed, field), name): field for field in fields}
    if by_instance.keys() != set(range(1, len(fields) + 1)):
        raise ChainError(f"gaps or doubles in {name.decode()}")
    return [by_instance[number] for number in sorted(by_instance)]


def _instance(text: str, name: bytes) -> int:
    if name != _RESULTS:
        return read_instance(text)
    match = _INSTANCE.fullmatch(text)
    if match is None:
        raise ChainError("results without an instance")
    return int(match[1])
