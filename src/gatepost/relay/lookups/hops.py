"""Which addresses of a message network checks ask about: strangers' only. Pure."""

from collections.abc import Sequence
from typing import Final

from gatepost.config.masks import PRIVATE, NetworkSet
from gatepost.relay.direction import Networks


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
