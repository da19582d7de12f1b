"""Sections about the way between servers: encryption in both directions, and what certain destinations ask for.

Struct fields are the parameters (see `gatepost.config.parameter`).
"""

import enum
from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, Item, Required, choice, flag, listing, path

Texts = tuple[str, ...]


class TlsLevel(enum.StrEnum):
    """What encryption an outgoing session must have."""

    NONE = "none"
    """Never use it."""
    MAY = "may"
    """Use it when offered, whatever the certificate says; in clear otherwise."""
    ENCRYPT = "encrypt"
    """Must be encrypted, whatever the certificate says."""
    VERIFY = "verify"
    """Must be encrypted, with a certificate for the host's name from a trusted authority."""
    DANE = "dane"
    """Must match the TLSA records in a signed zone (RFC 7672); as MAY where there are none."""
    DANE_ONLY = "dane_only"
    """Must match TLSA records, and there must be some."""


class MinimumTls(enum.StrEnum):
    """Oldest protocol version spoken."""

    V1_2 = "1.2"
    V1_3 = "1.3"


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Encryption. Our own certificate is network.tls_cert and tls_key; listeners say how they use it."""

    minimum_version: Annotated[
        MinimumTls, choice("", tuple(MinimumTls), "oldest protocol version spoken", generations=OWN)
    ] = MinimumTls.V1_2
    ca_file: Annotated[
        str,
        path("", "authorities that outgoing `verify` trusts; empty = those of the system", generations=OWN),
    ] = ""
    outgoing: Annotated[
        TlsLevel,
        choice("", tuple(TlsLevel), "what outgoing sessions need where nothing else is said", generations=OWN),
    ] = TlsLevel.MAY
    mta_sts: Annotated[
        bool,
        flag("", "keep to the policies that destinations publish by MTA-STS (RFC 8461)", generations=OWN),
    ] = False
    client_cert: Annotated[str, path("", "certificate chain shown to servers that ask for one", generations=OWN)] = ""
    client_key: Annotated[str, path("", "private key of client_cert", generations=OWN)] = ""


class TlsPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What the sessions to certain destinations need: `[[tls_policy]]`, first match decides."""

    destinations: Annotated[
        Texts,
        listing(
            "",
            Item.DOMAIN_MASK,
            "recipient domains, or hosts of routes",
            required=Required.ALWAYS,
            generations=OWN,
        ),
    ] = ()
    level: Annotated[TlsLevel, choice("", tuple(TlsLevel), "what they need", generations=OWN)] = TlsLevel.ENCRYPT
    names: Annotated[
        Texts,
        listing("", Item.DOMAIN_MASK, "names a certificate may have, besides the host's", generations=OWN),
    ] = ()
    client_cert: Annotated[
        str, path("", "certificate chain shown to them instead of tls.client_cert", generations=OWN)
    ] = ""
    client_key: Annotated[str, path("", "private key of client_cert", generations=OWN)] = ""


class ListenerTls(enum.StrEnum):
    """How a listener encrypts."""

    AUTO = "auto"
    """STARTTLS is offered when there is a certificate."""
    OFF = "off"
    REQUIRED = "required"
    """STARTTLS must come before MAIL."""
    IMPLICIT = "implicit"
    """From the first byte (port 465, RFC 8314)."""


class SignIn(enum.StrEnum):
    """Whether clients of a listener sign in (RFC 4954), which they can over TLS only."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"
    """For submission (RFC 6409): nobody sends without."""


class Transport(enum.StrEnum):
    """What a next hop speaks."""

    SMTP = "smtp"
    LMTP = "lmtp"


class HopOrder(enum.StrEnum):
    """How several next hops of a route share the mail."""

    FAILOVER = "failover"
    """The first that answers."""
    ROUND_ROBIN = "round_robin"
    """In turn; one that does not answer is passed over."""
