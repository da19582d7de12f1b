"""DKIM signatures of a message, read in a filter: all that can be said of them without a key.

`read_signatures` is called by `antispam.authn_material`; `dkim` checks the answer in the relay.
"""

from gatepost.authn.signature import Signature, SignatureKind, parse_signature, read_names
from gatepost.authn.signed import SignedContent
from gatepost.authn.tags import TagError
from gatepost.mime.part import Field
from gatepost.model.authn import SIGNATURES_LIMIT, SignatureMaterial

FIELD_LIMIT = 16 * 1024
"""Octets of one field that are read: a long `h=` with a long key takes 3,000."""

_NAME = b"dkim-signature"


def read_signatures(signed: SignedContent) -> tuple[SignatureMaterial, ...]:
    """Return what can be said of the message's signatures without a key, top first."""
    fields = [field for field in signed.fields if field.name == _NAME][:SIGNATURES_LIMIT]
    if not fields:
        return ()
    read = [_read(signed, field) for field in fields]
    signed.hash_bodies(each for each in read if isinstance(each, Signature))
    return tuple(
        signed.material(field, each) if isinstance(each, Signature) else each
        for field, each in zip(fields, read, strict=True)
    )


def _read(signed: SignedContent, field: Field) -> Signature | SignatureMaterial:
    text = field_text(signed, field)
    try:
        return parse_signature(text, SignatureKind.DKIM)
    except TagError as error:
        return SignatureMaterial(*read_names(text), "", error=str(error))


def field_text(signed: SignedContent, field: Field) -> str:
    """Return the value of a field, as much of it as is read."""
    return signed.content[field.value : field.value_end][:FIELD_LIMIT].decode("utf-8", "replace")
