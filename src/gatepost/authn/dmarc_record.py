"""DMARC records (RFC 9989 §4.7): from text to policy. Called by `dmarc`.

What a record says wrongly, but for its version and policy, counts as not said: the RFC asks for tolerance.
"""

import functools
import re

import msgspec

POLICIES = ("none", "quarantine", "reject")
"""Mildest first."""

_VERSION = re.compile(rb"\s*v\s*=\s*DMARC1\s*(?:;|\Z)")
_WEAKER = {"reject": "quarantine", "quarantine": "none", "none": "none"}


class DmarcRecord(msgspec.Struct, frozen=True, gc=False):
    """One record, read."""

    policy: str
    subdomain_policy: str
    """`sp=`, or what stands for it."""
    absent_policy: str
    """`np=`: for names that do not exist, or what stands for it."""
    strict_dkim: bool = False
    strict_spf: bool = False
    psd: str = ""
    """`psd=`: y, n, or "" for not said."""
    testing: bool = False
    """`t=y`, or the older `pct=0`: one step milder than it says."""

    def applied(self, policy: str) -> str:
        """Return what is left of a policy in test mode (RFC 9989 §4.7 `t`)."""
        return _WEAKER[policy] if self.testing else policy


def is_dmarc(raw: bytes) -> bool:
    """Tell whether a TXT record is a DMARC record: version first, in this spelling."""
    return _VERSION.match(raw) is not None


@functools.lru_cache(maxsize=1024)
def parse_policy(raw: bytes) -> DmarcRecord | None:
    """Read a record that `is_dmarc`; None: it says no policy and wants no reports, so it says nothing."""
    tags: dict[str, str] = {}
    for piece in raw.decode("ascii", "replace").split(";"):
        name, _, value = piece.partition("=")
        tags.setdefault(name.strip().lower(), value.strip().lower())
    policy = tags.get("p", "")
    if policy not in POLICIES:
        if "mailto:" not in tags.get("rua", ""):
            return None
        policy = "none"
    below = tags.get("sp", "")
    below = below if below in POLICIES else policy
    absent = tags.get("np", "")
    psd = tags.get("psd", "")
    return DmarcRecord(
        policy,
        below,
        absent if absent in POLICIES else below,
        tags.get("adkim") == "s",
        tags.get("aspf") == "s",
        psd if psd in ("y", "n") else "",
        tags.get("t") == "y" or tags.get("pct") == "0",
    )
