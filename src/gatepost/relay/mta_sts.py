"""MTA-STS (RFC 8461): what a domain publishes about the encryption of mail to it. Pure: text in, policy out.

`relay.sts_store` fetches and keeps the texts; `relay.planning` applies the policies.
"""

import enum
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gatepost.relay.certificate_names import match_name

POLICY_LIMIT: Final = 64 * 1024
"""Bytes of a policy (RFC 8461 §3.3 wants at least this much read)."""
MAX_AGE_LIMIT_S: Final = 31_557_600
"""Longest life of a policy: a year (RFC 8461 §3.2)."""
HOSTS_LIMIT: Final = 1000
"""Host patterns of a policy."""


class Mode(enum.StrEnum):
    """What is asked of senders."""

    ENFORCE = "enforce"
    """No mail to hosts that do not comply."""
    TESTING = "testing"
    """Mail goes there all the same."""
    NONE = "none"
    """As without a policy."""


class StsPolicy(msgspec.Struct, frozen=True):
    """A domain's policy."""

    mode: Mode
    hosts: tuple[str, ...]
    """Host names, or `*.` and a domain."""
    max_age_s: int

    def allows(self, host: str) -> bool:
        """Tell whether a mail host is one of those published (RFC 8461 §4.1)."""
        return any(match_name(pattern, host) for pattern in self.hosts)


_RECORD_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,250}[a-z0-9_])?")


def parse_record(texts: Sequence[bytes]) -> str:
    """Return the id in the TXT records of `_mta-sts.DOMAIN`, "" unless exactly one is of the kind (RFC 8461 §3.1)."""
    ours = [text for text in texts if re.match(rb"v=STSv1[ \t]*;", text)]
    if len(ours) != 1:
        return ""
    for field in ours[0].decode("latin-1").split(";")[1:]:
        name, _, value = field.strip().partition("=")
        if name.strip() == "id" and _RECORD_ID.fullmatch(value.strip()):
            return value.strip()
    return ""


def parse_policy(raw_text: bytes) -> StsPolicy | str:
    """Return the policy, or what is wrong with its text (RFC 8461 §3.2)."""
    if len(raw_text) > POLICY_LIMIT:
        return "the policy is too long"
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in raw_text.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon:
            continue
        if name == "mx":
            hosts.append(value.lower().rstrip("."))
        else:
            fields.setdefault(name, value)  # of fields said twice the first counts
    if fields.get("version") != "STSv1":
        return "the policy has no version that is known"
    mode = fields.get("mode", "")
    if mode not in set(Mode):
        return "the policy has no mode that is known"
    age = fields.get("max_age", "")
    if not (age.isascii() and age.isdecimal() and len(age) <= 10):
        return "the policy has no max_age"
    if mode != Mode.NONE and not hosts:
        return "the policy names no mail host"
    if len(hosts) > HOSTS_LIMIT or not all(_HOST.fullmatch(host) for host in hosts):
        return "the policy names something that is no mail host"
    return StsPolicy(Mode(mode), tuple(hosts), min(int(age), MAX_AGE_LIMIT_S))
