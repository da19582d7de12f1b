"""DKIM-Signature, ARC-Message-Signature and ARC-Seal fields: from text to tags (RFC 6376 §3.5, RFC 8617 §4.1).

Called by `signed`. What a field lacks is a `TagError` with the reason.
"""

import enum
import re

import msgspec

from gatepost.authn.tags import TagError, parse_tags, read_base64, read_number, require, split_list

NAMES_LIMIT = 500
"""Names in `h=`: signers name some dozens; each may cost one field's canonical form."""
NAME_LIMIT = 100
"""Characters of one of them."""
SIGNATURE_LIMIT = 1024
"""Octets of a signature: RSA of 8,192 bits, the longest key taken."""
IDENTITY_LIMIT = 320
"""Characters of `i=`: an address (RFC 5321 §4.5.3.1)."""
ALGORITHMS = frozenset({"rsa-sha256", "ed25519-sha256"})
"""RFC 8301 §3.1 took rsa-sha1 out, RFC 8463 put the other one in."""

_DOMAIN = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*")
_INSTANCE = re.compile(r"[1-9][0-9]?")


class SignatureKind(enum.Enum):
    """Which field it is."""

    DKIM = "DKIM-Signature"
    ARC_MESSAGE = "ARC-Message-Signature"
    ARC_SEAL = "ARC-Seal"


_CANONICAL = frozenset({"simple", "relaxed"})
_DEFAULT_FORMS = {SignatureKind.DKIM: "simple/simple", SignatureKind.ARC_MESSAGE: "relaxed/relaxed"}
"""Without `c=`. What ARC leaves open its test suite decides."""


class Signature(msgspec.Struct, frozen=True):
    """The tags of one field, checked."""

    domain: str
    """Lower case."""
    selector: str
    algorithm: str
    signature: bytes
    body_hash: bytes = b""
    fields: tuple[str, ...] = ()
    """Lower case, in order of `h=`."""
    relaxed_header: bool = True
    relaxed_body: bool = True
    length: int | None = None
    """`l=`."""
    identity: str = ""
    timestamp: int = 0
    expires: int = 0


def parse_signature(text: str, kind: SignatureKind) -> Signature:
    """Read the value of a field. TagError: it breaks the standard, or wants what nobody may use any more."""
    tags = parse_tags(text, unicode=True)
    require(tags, "a", "b", "d", "s")
    algorithm = tags["a"].lower()
    if algorithm not in ALGORITHMS:
        raise TagError("SHA-1 proves nothing any more" if "sha1" in algorithm else "unknown algorithm")
    domain, selector = tags["d"].lower(), tags["s"].lower()
    if _DOMAIN.fullmatch(domain) is None or _DOMAIN.fullmatch(selector) is None:
        raise TagError("domain or selector is no name")
    timestamp = read_number(tags, "t")
    signature = read_base64(tags["b"], "b")
    if len(signature) > SIGNATURE_LIMIT:
        raise TagError("signature too long")
    if kind is SignatureKind.ARC_SEAL:
        if "h" in tags or "bh" in tags:
            raise TagError("a seal with tag h or bh")
        return Signature(domain, selector, algorithm, signature, timestamp=timestamp)
    require(tags, "bh")
    if "h" not in tags:
        raise TagError("no tag h")
    fields = tuple(name.lower() for name in split_list(tags["h"]) if name)
    if len(fields) > NAMES_LIMIT or any(len(name) > NAME_LIMIT for name in fields):
        raise TagError("too much in tag h")
    expires = read_number(tags, "x")
    if "x" in tags and "t" in tags and expires < timestamp:
        raise TagError("expires before it was made")
    identity = "@" + domain
    if kind is SignatureKind.DKIM:
        identity = _check_dkim(tags, fields, domain) or identity
    elif "arc-seal" in fields:
        raise TagError("signs a seal")
    header, _, body = tags.get("c", _DEFAULT_FORMS[kind]).lower().partition("/")
    if header not in _CANONICAL or (body or "simple") not in _CANONICAL:
        raise TagError("unknown canonical form")
    return Signature(
        domain,
        selector,
        algorithm,
        signature,
        read_base64(tags["bh"], "bh"),
        fields,
        header == "relaxed",
        body == "relaxed",
        read_number(tags, "l") if "l" in tags else None,
        identity,
        timestamp,
        expires,
    )


def _check_dkim(tags: dict[str, str], fields: tuple[str, ...], domain: str) -> str:
    """Check what only DKIM asks for; return `i=`, "" when it is absent."""
    if tags.get("v") != "1":
        raise TagError("no version 1")
    if "from" not in fields:
        raise TagError("does not sign From")
    if "q" in tags and "dns/txt" not in {each.lower() for each in split_list(tags["q"])}:
        raise TagError("no key in the DNS")
    identity = tags.get("i", "")
    host = identity.rpartition("@")[2].lower()
    if len(identity) > IDENTITY_LIMIT:
        raise TagError("tag i is too long")
    if identity and ("@" not in identity or (host != domain and not host.endswith("." + domain))):
        raise TagError("signs for a stranger (tag i)")
    return identity


def read_names(text: str) -> tuple[str, str]:
    """Return domain and selector of a field that cannot be checked, as far as they can be shown."""
    try:
        tags = parse_tags(text, unicode=True)
    except TagError:
        return "", ""
    domain, selector = (tags.get(name, "").lower() for name in ("d", "s"))
    return (domain if _DOMAIN.fullmatch(domain) else ""), (selector if _DOMAIN.fullmatch(selector) else "")


def read_instance(text: str) -> int:
    """Return the number of the ARC set that a field belongs to (RFC 8617 §4.2.1). TagError: it has none."""
    value = parse_tags(text, unicode=True).get("i", "")
    if _INSTANCE.fullmatch(value) is None:
        raise TagError("no instance")
    return int(value)
