"""Names for questions: from text to what goes on the wire, and from records to text. Pure.

Called by `resolver` for every question that is not in its cache, and by `message` for names inside answers. Whatever
text comes in (HELO arguments, sender domains, SPF macros), the answer is a name or a `BadNameError` with the reason.
"""

import ipaddress
import re
from typing import Final

import dns.exception
import dns.name
import dns.reversename

from gatepost.smtp.sendable import ascii_domain

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LABELS_LIMIT: Final = 127
"""Labels of a name: 255 octets hold no more (RFC 1035 §2.3.4)."""

_OCTETS = re.compile(r"[ -~]+")
"""A name may hold any octet; what no host name and no SPF macro yields is refused."""
_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


class BadNameError(ValueError):
    """The text is no domain name; the argument says why."""


def fold_name(name: str) -> str:
    """Return the form under which names are compared and cached."""
    return name.lower().removesuffix(".")


def parse_name(name: str) -> dns.name.Name:
    """Return the name of a folded text; `BadNameError` when it cannot be one. U-labels become A-labels (RFC 5891)."""
    if not name or len(name) > 1000:
        raise BadNameError("an empty or endless name")
    converted = ascii_domain(name)
    if converted is None:
        raise BadNameError("a name that has no A-labels")
    name = converted
    if not _OCTETS.fullmatch(name):
        raise BadNameError("a name with control characters")
    if name.count(".") >= LABELS_LIMIT:
        raise BadNameError("a name of too many labels")
    try:
        return dns.name.Name((*(label.encode("ascii") for label in name.split(".")), b""))
    except dns.exception.DNSException as error:
        raise BadNameError(_why(error)) from error


def _why(error: dns.exception.DNSException) -> str:
    if isinstance(error, dns.name.EmptyLabel):
        return "a name with an empty label"
    return "a name or label that is too long"


def show_name(name: dns.name.Name) -> str | None:
    """Return a name out of an answer as text, "" for the root, None when a label holds what no text of ours can say."""
    labels = name.labels[:-1]
    joined = b".".join(labels)
    if not joined:
        return ""
    if joined.count(b".") != len(labels) - 1 or not joined.isascii():
        return None
    text = joined.decode("ascii").lower()
    return text if _OCTETS.fullmatch(text) else None


def is_host_name(name: str) -> bool:
    """Tell whether a folded name may be that of a host: letters, digits, hyphens, underscores, no bare number last."""
    return _HOST.fullmatch(name) is not None and _NUMERIC.fullmatch(name) is None


def parse_address(text: str) -> Address | None:
    """Return the address a text is (brackets and an IPv6 tag allowed, no zone index), None for anything else."""
    if (
        not text or "%" in text or not (text[-1].isdigit() or ":" in text or text[-1] == "]")
    ):  # most host names end here
        return None
    if text[0] == "[" and text[-1] == "]":
        text = text[1:-1]
        if text[:5].lower() == "ipv6:":
            text = text[5:]
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def build_reverse_name(address: Address) -> str:
    """Return the name whose PTR records name the host (RFC 1035 §3.5, RFC 3596 §2.5)."""
    return _unmapped(address).reverse_pointer


def build_list_name(address: Address, zone: str) -> str:
    """Return the name to ask in a DNS list (RFC 5782 §2.1, §2.4): four octets or 32 nibbles, last first."""
    return build_reverse_name(address).rpartition(".")[0].rpartition(".")[0] + "." + fold_name(zone)


def _unmapped(address: Address) -> Address:
    """An IPv4 client on an IPv6 socket is an IPv4 client."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
