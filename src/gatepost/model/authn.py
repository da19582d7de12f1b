"""What the filter reads out of a message for its authentication, for the relay to check against the DNS."""

import msgspec

SIGNATURES_LIMIT = 10
"""Signatures of a message that are looked at, from the top: mail through several services has four."""
SETS_LIMIT = 50
"""ARC sets of a message (RFC 8617 §4.2.1)."""


class SignatureMaterial(msgspec.Struct, frozen=True, array_like=True):
    """One DKIM-Signature, ARC-Message-Signature or ARC-Seal: all but the key (RFC 6376 §3, RFC 8617 §4)."""

    domain: str
    selector: str
    algorithm: str
    """`a=`, lower case."""
    digest: bytes = b""
    """SHA-256 of the canonicalised header fields: what was signed. b"" when `error` is set."""
    signature: bytes = b""
    """`b=`, decoded."""
    identity: str = ""
    """`i=`, or what stands for it."""
    fields: tuple[str, ...] = ()
    """Names of the signed fields, lower case, in order of `h=`."""
    timestamp: int = 0
    expires: int = 0
    """Unix times of `t=` and `x=`; 0 = absent."""
    body_matches: bool = False
    """The body has the hash that `bh=` states (a seal has no body: True)."""
    partial: bool = False
    """`l=` leaves some of the body unsigned."""
    error: str = ""
    """Why it cannot be checked, in words."""


class ArcSet(msgspec.Struct, frozen=True, array_like=True):
    """One ARC set (RFC 8617 §4.2)."""

    instance: int
    validation: str
    """`cv=` of its seal."""
    seal: SignatureMaterial
    message: SignatureMaterial
    results: str = ""
    """Value of its ARC-Authentication-Results."""


class AuthnMaterial(msgspec.Struct, frozen=True, array_like=True):
    """What authentication needs of one message."""

    authors: tuple[str, ...] = ()
    """Addresses of the From fields as readers may show them, lower case; more than one: ambiguous."""
    signatures: tuple[SignatureMaterial, ...] = ()
    arc: tuple[ArcSet, ...] = ()
    """In order of their instances."""
    arc_error: str = ""
    """Why the ARC chain is broken before any key is asked for."""
    results: tuple[str, ...] = ()
    """Values of Authentication-Results fields, top first."""


class DkimResult(msgspec.Struct, frozen=True, array_like=True):
    """One signature, checked (RFC 8601 §2.7.1)."""

    domain: str
    selector: str
    result: str
    """none, pass, fail, policy, neutral, temperror, permerror."""
    reason: str = ""
    partial: bool = False
    """It passes for the first part of the body only (`l=`), and so proves nobody: anything can follow."""


class AuthnResults(msgspec.Struct, frozen=True, array_like=True):
    """What authentication came to; every result a token of RFC 8601 §2.7, "" for not checked."""

    spf: str = ""
    spf_domain: str = ""
    """Of MAIL FROM, or the HELO name for the null sender."""
    spf_reason: str = ""
    dkim: tuple[DkimResult, ...] = ()
    dmarc: str = ""
    dmarc_domain: str = ""
    """Author domain whose policy was found."""
    dmarc_policy: str = ""
    """none, quarantine or reject, as it applies to this author; "" when there is none."""
    dmarc_reason: str = ""
    arc: str = ""
    arc_sealer: str = ""
    """Domain of the last seal of a valid chain."""
    trusted_arc: bool = False
    """The chain is valid and its sealer is one we trust: what it says of the first hop counts."""
    authenticated: tuple[str, ...] = ()
    """Domains that are proved: SPF pass of the sender's, DKIM pass of the signers', lower case."""
    spf_helo: bool = False
    """The name of HELO was checked: the sender is the null sender."""
    stated_by: str = ""
    """A trusted host before us whose Authentication-Results count here; "" for none."""
    vouched: str = ""
    """Trusted ARC sealer that saw DMARC pass before the message was changed on its way; "" for none."""
