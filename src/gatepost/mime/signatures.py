"""Signatures and encryption of a message that an edit would break. Called by the filter, which alone has the tree.

Looks at what the message says of itself; whether a signature is valid is not asked here. Never raises, linear.
"""

import re
from collections.abc import Iterator
from typing import Final

from gatepost.mime.decode import decode_body
from gatepost.mime.part import Message, Part, PartKind

DKIM: Final = "dkim"
"""DKIM or ARC (RFC 6376 §3.5, RFC 8617 §4.1.2): over header fields and the body as it is sent."""
SMIME: Final = "smime"
"""S/MIME (RFC 8551): signed or encrypted."""
PGP: Final = "pgp"
"""OpenPGP, by MIME (RFC 3156) or in the text itself: signed or encrypted."""
SIGNATURES: Final = (DKIM, SMIME, PGP)

ARMOUR_LIMIT: Final = 1024 * 1024
"""Encoded bytes of one text that are searched for OpenPGP's own lines: far more than people write."""
TEXTS_LIMIT: Final = 16
"""Texts searched so."""
_FIELDS: Final = frozenset({b"dkim-signature", b"arc-message-signature"})
_SMIME_TYPES: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_ARMOUR = re.compile(rb"^-----BEGIN PGP (?:SIGNED )?MESSAGE-----", re.MULTILINE)


def find_signatures(message: Message) -> tuple[str, ...]:
    """Return which of `SIGNATURES` a message has, those of messages inside it included, in that order."""
    found: set[str] = set()
    if any(field.name in _FIELDS for field in message.root.fields):
        found.add(DKIM)
    texts = TEXTS_LIMIT
    pending = [message]
    while pending:
        each = pending.pop()
        for part in _parts(each):
            if part.nested is not None:
                pending.append(part.nested)
            declared = declared_signature(part)
            if declared:
                found.add(declared)
            elif texts and is_text(part):
                texts -= 1
                if has_armour(each.content, part):
                    found.add(PGP)
    return tuple(name for name in SIGNATURES if name in found)


def declared_signature(part: Part) -> str:
    """Return what kind of signature or encryption a part says it is (RFC 1847, RFC 8551 §3), "" when it is none."""
    content_type = part.content_type
    if content_type in _SMIME_TYPES:
        return SMIME
    if content_type in ("multipart/signed", "multipart/encrypted"):
        return PGP if "pgp" in part.parameters.get("protocol", "").lower() else SMIME
    return ""


def is_text(part: Part) -> bool:
    """Tell whether a part is text that people read in the message, and no attachment."""
    return (
        part.content_type in ("text/plain", "text/html")
        and part.disposition != "attachment"
        and not part.names
        and part.is_leaf
    )


def has_armour(content: bytes, part: Part) -> bool:
    """Tell whether a text holds an OpenPGP message in its own lines; `content` is that of the part's message."""
    return part.end - part.body <= ARMOUR_LIMIT and _ARMOUR.search(decode_body(content, part).data) is not None


def _parts(message: Message) -> Iterator[Part]:
    return (part for part in message.walk() if part.kind is PartKind.PART)
