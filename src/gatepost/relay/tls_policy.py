"""What encryption a destination needs: the rows of `[[tls_policy]]` and the default. Pure.

Used by `relay.planning`; what it gives becomes part of every planned host, so that a session made under one demand is
never used for mail under another.
"""

from collections.abc import Sequence

import msgspec

from gatepost.config.masks import MaskSet
from gatepost.config.schema import Config
from gatepost.config.transport import TlsLevel, TlsPolicy


class TlsDemand(msgspec.Struct, frozen=True, cache_hash=True):
    """What a session with one host must have."""

    level: TlsLevel
    names: tuple[str, ...] = ()
    """Masks of names that a certificate may have, besides the host's."""
    client_cert: str = ""
    """Path of the certificate chain to show; "" = none."""
    client_key: str = ""
    domain: str = ""
    """Domain the host was found by: a DANE trust anchor may vouch for it as well (RFC 7672 §3.2.2)."""
    otherwise: TlsLevel = TlsLevel.MAY
    """What DANE falls back to where there are no TLSA records."""


class TlsPolicies:
    """The policies of one configuration. First match wins."""

    def __init__(self, config: Config) -> None:
        self._rows = [(MaskSet(policy.destinations), _demand_of(policy, config)) for policy in config.tls_policies]
        self._default = TlsDemand(config.tls.outgoing, (), config.tls.client_cert, config.tls.client_key)

    @property
    def demands(self) -> tuple[TlsDemand, ...]:
        """All that are stated, the default last."""
        return (*(demand for _, demand in self._rows), self._default)

    def find(self, destinations: Sequence[str]) -> tuple[TlsDemand, bool]:
        """Return what is needed where one of these (recipient domain, host or domain of the route) is concerned, and
        whether a row says so.
        """
        for masks, demand in self._rows:
            if any(masks.matches(name) for name in destinations):
                return demand, True
        return self._default, False


def is_dane(level: TlsLevel) -> bool:
    """Tell whether TLSA records are asked for."""
    return level is TlsLevel.DANE or level is TlsLevel.DANE_ONLY


def _demand_of(policy: TlsPolicy, config: Config) -> TlsDemand:
    cert, key = policy.client_cert, policy.client_key
    if not cert:
        cert, key = config.tls.client_cert, config.tls.client_key
    return TlsDemand(policy.level, policy.names, cert, key)
