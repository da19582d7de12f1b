"""Direction: which way mail goes, and which client it really comes from. Pure.

Asked by `relay.access`; the words are those of `gatepost.model.envelope.Direction`.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from gatepost.config.masks import MaskSet, NetworkSet, RelayRule
from gatepost.config.schema import Config
from gatepost.model.envelope import Direction, Recipient

_LOOPBACK = NetworkSet(("127.0.0.0/8", "::1/128"))
_ITSELF = NetworkSet(("127.0.0.1", "::1"))
"""How a relay is known to itself."""
_EVERYBODY = frozenset(("any", "*", "*@*"))
RECEIVED_LIMIT = 100
"""Received fields looked at: the most hops a configuration may allow."""
FIELD_LIMIT = 4096
"""Octets of a field looked at: longer than any honest relay's, certificates named and all."""

_FROM = re.compile(rb"\s*from\s+(\S+)(.*)", re.IGNORECASE | re.DOTALL)
_BY = re.compile(rb"\sby\s", re.IGNORECASE)
_CLAIMS = re.compile(rb"\b(?:helo|ehlo|ident|port)[= ][^\s)]*", re.IGNORECASE)
"""In a comment: what the client said of itself, which may look like an address (Exim's `helo=`, qmail's `HELO`)."""
_COMMENT = re.compile(rb"\(\s*([^()\s][^()]*)")
_BRACKETED = re.compile(rb"\[(?:ipv6:)?([0-9a-f:.]{2,45})\](?!\S*@)", re.IGNORECASE)
_BARE = re.compile(rb"(?:[^\s@]*@)?([0-9a-f:.]{2,45})\s*", re.IGNORECASE)


class Networks(Protocol):
    """A set of addresses."""

    def contains(self, ip: str) -> bool:
        """Tell whether it holds `ip`."""


class TrustedByRules:
    """The networks that relay rules let relay to everybody, and loopback: what is trusted when nothing else is said.

    A rule for `any` client trusts nobody: it says something of recipients, not of networks.
    """

    __slots__ = ("_rules",)

    def __init__(self, rules: Iterable[RelayRule]) -> None:
        self._rules: list[tuple[bool, NetworkSet]] = []
        for rule in rules:
            if not any(mask.lower() in _EVERYBODY for mask in rule.recipients):
                continue
            anybody = any(client.lower() in _EVERYBODY for client in rule.clients)
            self._rules.append((rule.allow and not anybody, NetworkSet(rule.clients)))
            if anybody:
                break

    def contains(self, ip: str) -> bool:
        """Tell whether `ip` is of our own networks."""
        if _LOOPBACK.contains(ip):
            return True
        return next((allow for allow, clients in self._rules if clients.contains(ip)), False)


def trusted_networks(config: Config) -> Networks:
    """Return our own networks: `network.trusted_networks`, else what the relay rules say."""
    named = config.network.trusted_networks
    return NetworkSet(named) if named else TrustedByRules(config.relay_rules)


def resolve_direction(*, ours: bool, protected: MaskSet, recipients: Iterable[Recipient]) -> Direction:
    """Return the direction of a message. `ours`: from a trusted network or a user who has signed in.

    One of ours to several recipients is outbound as soon as one of them is elsewhere; groups look at each recipient.
    """
    if not ours:
        return Direction.INBOUND
    if all(protected.matches(recipient.address) for recipient in recipients):
        return Direction.INTERNAL
    return Direction.OUTBOUND


def first_untrusted_hop(received_fields: Sequence[bytes], front: NetworkSet, trusted: Networks) -> str | None:
    """Return the address of the client before our own relays; None when the mail began at one of ours (a trusted
    client, or the relay itself); "" when somebody handed it in whose address cannot be read.

    `received_fields`: bodies of the Received fields, the newest first, as relays of ours have written them: our own
    field is not among them. Fields are believed downwards for as long as the hop that wrote the next one is a front
    relay; the first that is not one is the client. What a stranger wrote below is never looked at. A relay that hands
    mail to itself, by loopback or without SMTP (content filters), has not brought it into the world: one looks on.
    """
    for body in received_fields[:RECEIVED_LIMIT]:
        clauses = _BY.split(body[:FIELD_LIMIT].partition(b";")[0])
        made = _FROM.match(b" " + clauses[0])
        if made is None:
            continue
        # A second `by` may be the end of a name that was given at HELO.
        ip = _client_of(made[1], made[2], exim=b"(exim" in body.lower()) if len(clauses) <= 2 else ""
        if front.contains(ip) or _ITSELF.contains(ip):
            continue
        return None if trusted.contains(ip) else ip
    return "" if len(received_fields) > RECEIVED_LIMIT else None


def _client_of(name: bytes, rest: bytes, *, exim: bool) -> str:
    """Return the address the writing relay saw (RFC 5321 §4.4), else "": that of the first comment behind `name`, which
    is mostly what the client calls itself. What stands further behind, as of a certificate, is the client's word too.
    """
    comment = _COMMENT.search(_CLAIMS.sub(b"", rest))
    if comment is not None:
        found = _BRACKETED.findall(comment[1]) or [m[1] for m in [_BARE.fullmatch(comment[1])] if m is not None]
    else:
        # Exim, about a client without a name.
        found = _BRACKETED.findall(name) if exim or b"(helo=" in rest else []
    try:
        return str(ipaddress.ip_address(found[-1].decode("ascii"))) if found else ""
    except ValueError:
        return ""
