"""DANE for SMTP (RFC 7672, RFC 7671): does a server's certificate match its TLSA records? Pure.

Called by `relay.outgoing_tls` after a handshake, with what the server showed. The records come from a validating
resolver; whether they may be believed was decided before, and `relay.tlsa` tells which can be used. Promises: no
certificate or record makes it raise.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatepost.relay.certificate_names import match_name
from gatepost.relay.tlsa import DANE_EE, FULL_CERTIFICATE
from gatepost.resolver.answers import Tlsa

DEPTH_LIMIT: Final = 10
"""Certificates between a server and its anchor: real chains have three or four."""

_BAD: Final = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm)
"""What the library raises for certificates that make no sense."""


def match_chain(records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str], now: dt.datetime) -> str:
    """Return "" when the chain (DER, the server's own first) matches one of the usable records, else why not.

    `names` are what an authority may vouch for (DANE-TA); a record of the server's own key vouches for itself: neither
    names nor dates count (RFC 7671 §5.1).
    """
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain[:DEPTH_LIMIT]]
    except _BAD as error:
        return f"the server's certificate cannot be read: {error}"
    if not certificates:
        return "the server showed no certificate"
    leaf = certificates[0]
    why = "the certificate matches no TLSA record"
    for record in records:
        if record.usage == DANE_EE:
            if _is_named(record, leaf):
                return ""
            continue
        anchors = [certificate for certificate in certificates[1:] if _is_named(record, certificate)]
        if not anchors and (shipped := _certificate_in(record)) is not None:
            anchors = [shipped]
        for anchor in anchors:
            trouble = _check_path(leaf, certificates[1:], anchor, names, now)
            if not trouble:
                return ""
            why = trouble
    return why


def _is_named(record: Tlsa, certificate: x509.Certificate) -> bool:
    try:
        if record.selector == FULL_CERTIFICATE:
            selected = certificate.public_bytes(Encoding.DER)
        else:
            selected = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _BAD:
        return False
    if record.matching == 0:
        return selected == record.data
    digest = hashlib.sha256 if record.matching == 1 else hashlib.sha512
    return digest(selected).digest() == record.data


def _certificate_in(record: Tlsa) -> x509.Certificate | None:
    """Return the authority that a record holds whole: servers need not show it (RFC 7671 §5.2.2)."""
    if record.selector != FULL_CERTIFICATE or record.matching != 0:
        return None
    try:
        return x509.load_der_x509_certificate(record.data)
    except _BAD:
        return None


def _check_path(
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    anchor: x509.Certificate,
    names: Sequence[str],
    now: dt.datetime,
) -> str:
    """Return "" when the anchor vouches for the leaf and its names (RFC 7671 §5.2), else why not."""
    if not any(match_name(pattern, name) for pattern in _names_of(leaf) for name in names):
        return f"the certificate is not for {' or '.join(names)}"
    at = leaf
    anchor_der = anchor.public_bytes(Encoding.DER)
    for depth in range(DEPTH_LIMIT):
        if not at.not_valid_before_utc <= now <= at.not_valid_after_utc:
            return "a certificate of the chain is not valid at this time"
        if depth and at.public_bytes(Encoding.DER) == anchor_der:
            return ""
        issuer = next((c for c in (anchor, *others) if _has_issued(c, at)), None)
        if issuer is None or issuer == at:
            return "the chain does not lead to the authority in DNS"
        at = issuer
    return "the chain is too long"


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (*_BAD, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False
    return True


def _names_of(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    except (*_BAD, x509.ExtensionNotFound, x509.DuplicateExtension):
        return []
