"""TLSA records: which of them SMTP can use (RFC 7672 §3.1.3). Pure.

Called by `relay.dialling`; `relay.dane` compares certificates with what is left.
"""

from collections.abc import Sequence
from typing import Final

from gatepost.resolver.answers import Tlsa

DANE_TA: Final = 2
"""The record names an authority in the server's chain."""
DANE_EE: Final = 3
"""The record names the server's own certificate or key."""
FULL_CERTIFICATE: Final = 0
_PUBLIC_KEY: Final = 1
_DIGEST_SIZES: Final = {1: 32, 2: 64}


def usable(records: Sequence[Tlsa]) -> tuple[Tlsa, ...]:
    """Return those records that SMTP can use: usages 2 and 3 (RFC 7672 §3.1.3), known and well-formed."""
    return tuple(
        record
        for record in records
        if record.usage in {DANE_TA, DANE_EE}
        and record.selector in {FULL_CERTIFICATE, _PUBLIC_KEY}
        and (
            (record.matching == 0 and record.data)
            or (record.matching in _DIGEST_SIZES and len(record.data) == _DIGEST_SIZES[record.matching])
        )
    )
