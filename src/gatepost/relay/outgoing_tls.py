"""TLS of outgoing sessions: contexts, and what a server must prove after the handshake.

`relay.dialling` plans it for each host, `relay.connection` does the handshake. Contexts are made once for each
configuration, so that a reload brings new certificates.
"""

import datetime as dt
import enum
import ssl
from collections.abc import Sequence
from typing import Final

import msgspec

from gatepost.config.masks import MaskSet
from gatepost.config.schema import Config
from gatepost.config.transport import MinimumTls, TlsLevel
from gatepost.relay.certificate_names import match_name
from gatepost.relay.tls import TlsSetupError
from gatepost.relay.tls_policy import TlsDemand, TlsPolicies
from gatepost.resolver.answers import Tlsa
from gatepost.smtp.client import TlsUse

_VERSIONS: Final = {MinimumTls.V1_2: ssl.TLSVersion.TLSv1_2, MinimumTls.V1_3: ssl.TLSVersion.TLSv1_3}


class Proof(enum.StrEnum):
    """What a server proves about itself; the value stands in log lines."""

    NONE = "unverified"
    """Nothing: encryption against those who only listen."""
    AUTHORITY = "verified"
    """A trusted authority vouches for the host's name."""
    DANE = "dane"
    """Its certificate matches TLSA records."""


class TlsPlan(msgspec.Struct, frozen=True):
    """How one session is encrypted."""

    use: TlsUse
    context: ssl.SSLContext | None = None
    host: str = ""
    """Name to ask for (SNI) and to see in the certificate."""
    proof: Proof = Proof.NONE
    names: tuple[str, ...] = ()
    """AUTHORITY: masks of other names that will do. DANE: other names an authority in DNS may vouch for."""
    records: tuple[Tlsa, ...] = ()
    """DANE: the usable ones."""

    @property
    def clear_will_do(self) -> bool:
        """After a handshake that failed the session may be tried in clear."""
        return self.use is TlsUse.MAY


IN_CLEAR: Final = TlsPlan(TlsUse.NONE)


class OutgoingTls:
    """The contexts of one configuration."""

    def __init__(self, config: Config) -> None:
        """TlsSetupError says which file cannot be used."""
        self._minimum = _VERSIONS[config.tls.minimum_version]
        self._ca_file = config.tls.ca_file
        self._contexts: dict[tuple[bool, str, str], ssl.SSLContext] = {}
        # All that may be needed, at once: a file that is damaged later fails no session, its reading holds up no loop.
        demands = TlsPolicies(config).demands
        for demand in demands:
            self._context(verified=False, cert=demand.client_cert, key=demand.client_key)
            if demand.level is TlsLevel.VERIFY or (config.tls.mta_sts and demand is demands[-1]):
                self._context(verified=True, cert=demand.client_cert, key=demand.client_key)
        if self._ca_file:
            self._context(verified=True, cert="", key="")

    def make_authorities(self) -> ssl.SSLContext:
        """Return what checks servers of policies (RFC 8461 §3.3): authority and name. Slow: call it in a thread."""
        context = ssl.create_default_context(cafile=self._ca_file or None)
        context.minimum_version = self._minimum
        return context

    def plan(
        self, demand: TlsDemand, host: str, use: TlsUse, proof: Proof = Proof.NONE, records: Sequence[Tlsa] = ()
    ) -> TlsPlan:
        """Return how a session with `host` is to be encrypted."""
        if use is TlsUse.NONE:
            return IN_CLEAR
        names = demand.names
        if proof is Proof.DANE:
            names = (demand.domain,) if demand.domain else ()
        context = self._context(verified=proof is Proof.AUTHORITY, cert=demand.client_cert, key=demand.client_key)
        return TlsPlan(use, context, host, proof, names, tuple(records))

    def _context(self, *, verified: bool, cert: str, key: str) -> ssl.SSLContext:
        wanted = (verified, cert, key)
        context = self._contexts.get(wanted)
        if context is None:
            context = self._contexts[wanted] = self._make(verified=verified, cert=cert, key=key)
        return context

    def _make(self, *, verified: bool, cert: str, key: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # names are checked by `check_peer`, which knows what else will do
        context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
        context.minimum_version = self._minimum
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        try:
            if verified and self._ca_file:
                context.load_verify_locations(self._ca_file)
            elif verified:
                context.load_default_certs()
            if cert:
                context.load_cert_chain(cert, key or None, _no_password)
        except OSError as error:  # ssl.SSLError is one
            what = f"certificate {cert}" if cert else f"authorities {self._ca_file}"
            raise TlsSetupError(f"TLS of outgoing sessions: {what} cannot be used: {error}") from error
        return context


def _no_password() -> str:
    raise TlsSetupError("TLS of outgoing sessions: the key of a client certificate is locked: store it unlocked")


def check_peer(plan: TlsPlan, connection: ssl.SSLObject, now: dt.datetime) -> str:
    """Return "" when the server has proved what it must, else what is wrong, after the handshake."""
    if plan.proof is Proof.NONE:
        return ""
    if plan.proof is Proof.DANE:
        # Parsing certificates takes 6 MB, which relays that never meet DANE are spared.
        from gatepost.relay.dane import match_chain  # noqa: PLC0415

        return match_chain(plan.records, _chain_of(connection), (plan.host, *plan.names), now)
    shown = connection.getpeercert() or {}
    others = MaskSet(plan.names)
    alternatives: Sequence[tuple[str, str]] = shown.get("subjectAltName", ())  # type: ignore[assignment]
    for kind, value in alternatives:
        name = value.lower()
        if (kind == "DNS" and (match_name(name, plan.host) or others.matches(name))) or (
            kind == "IP Address" and name == plan.host
        ):
            return ""
    return f"the certificate is not for {plan.host}"


def describe_tls(plan: TlsPlan, connection: ssl.SSLObject) -> str:
    """Return version and proof for log lines."""
    return f"{connection.version() or 'TLS'}/{plan.proof.value}"


def _chain_of(connection: ssl.SSLObject) -> list[bytes]:
    """Return what the server showed, its own certificate first (DER)."""
    # Python before 3.13 keeps the whole chain to itself. Without it authorities in DNS match nothing: fail safe.
    inner = getattr(connection, "_sslobj", None)
    chain = getattr(inner, "get_unverified_chain", None)
    if chain is not None:
        return [certificate.public_bytes(_DER) for certificate in chain() or ()]
    own = connection.getpeercert(binary_form=True)
    return [own] if own else []


_DER: Final = 2
"""`ssl`'s own number for the binary form (`_ssl.ENCODING_DER`)."""
