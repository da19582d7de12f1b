"""Which addresses of a message network checks ask about: strangers' only. Pure."""

from collections.abc import Sequence
from typing import Final

from gatepost.config.masks import NetworkSet
from gatepost.relay.direction import Networks

PRIVATE: Final = NetworkSet(
    (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",
        "::/127",
        "fc00::/7",
        "fe80::/10",
        "ff00::/8",
    )
)
"""Addresses that nobody outside can say anything of (RFC 1918, 3927, 4193, 6598, 6890)."""


def is_public(ip: str) -> bool:
    """Tell whether strangers may have this address; text that is no address is nobody's."""
    return bool(ip) and not PRIVATE.contains(ip) and _IS_ADDRESS.contains(ip)


_IS_ADDRESS: Final = NetworkSet(("0.0.0.0/0", "::/0"))


def foreign_hops(hops: Sequence[str], client_ip: str, ours: Networks, front: Networks, limit: int) -> tuple[str, ...]:
    """Return the addresses to ask about besides the client's: of the first `limit` Received fields (F-AS-06).

    `hops`: as the fields name them, newest first. Fields about relays of ours, and what they say of the client, are no
    hops; a field that names nobody, or a private address, is one that cannot be asked about.
    """
    found: list[str] = []
    left = limit
    for ip in hops:
        if left <= 0:
            break
        if ip == client_ip or (ip and (ours.contains(ip) or front.contains(ip))):
            continue
        left -= 1
        if ip not in found and is_public(ip):
            found.append(ip)
    return tuple(found)
