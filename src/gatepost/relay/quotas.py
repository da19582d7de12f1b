"""Quotas: who is counted for what, by `[rates]`. Called by `relay.access`; the counting is `relay.rates`'s.

Answers name the limit that would be broken, "" when none is. A client is counted by its address (IPv6 by its /64, which
is what one customer gets), as checks see it. Strangers only: our own clients (by network or sign-in) are held by the
limits of senders and users, and those that `access.allow_clients` spares and relays of ours in front by none.
"""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Final

from gatepost.config.access import Rates
from gatepost.relay.rates import RateTable, Share, key_of
from gatepost.relay.visit import Visit

_V6_PREFIX: Final = 64


class Quotas:
    """The rates of one configuration. `clock` gives a monotonic time that all relays share."""

    def __init__(self, rates: Rates, table: RateTable, clock: Callable[[], float]) -> None:
        self._rates = rates
        self._table = table
        self._clock = clock
        self._interval_s = rates.interval
        self.connections = bool(rates.client_connections)
        """Whether connections are counted at all; so for the others."""
        self.mails = bool(rates.client_mails or rates.client_bytes or rates.user_mails)
        self.recipients = bool(
            rates.client_recipients or rates.sender_mails or rates.sender_recipients or rates.user_recipients
        )
        self.bytes = bool(rates.client_bytes)

    def connect(self, visit: Visit) -> str:
        """Count a connection."""
        return self._take(self._of_client(visit, "client_connections", self._rates.client_connections))

    def mail(self, visit: Visit, size: int) -> str:
        """Count a message of the client and the user; `size` bytes (as declared) must still fit."""
        rates = self._rates
        shares = self._of_client(visit, "client_mails", rates.client_mails)
        if rates.client_bytes:
            shares += [
                (name, Share(share.key, share.limit, max(size, 1), looked_at_only=True))
                for name, share in self._of_client(visit, "client_bytes", rates.client_bytes)
            ]
        shares += _share("user_mails", visit.user.casefold(), rates.user_mails)
        return self._take(shares)

    def recipient(self, visit: Visit, *, outbound: bool) -> str:
        """Count a recipient of the client, the user and, when it is elsewhere, the sender; with the first one outbound
        the message counts for its sender too.
        """
        rates = self._rates
        shares = self._of_client(visit, "client_recipients", rates.client_recipients)
        shares += _share("user_recipients", visit.user.casefold(), rates.user_recipients)
        if outbound and visit.sender:
            sender = visit.sender.casefold()
            shares += _share("sender_recipients", sender, rates.sender_recipients)
            if not visit.counted_sender:
                shares += _share("sender_mails", sender, rates.sender_mails)
        broken = self._take(shares)
        if not broken and outbound:
            visit.counted_sender = True
        return broken

    def done(self, visit: Visit, size: int) -> None:
        """Count the bytes of a message that was taken."""
        shares = self._of_client(visit, "client_bytes", self._rates.client_bytes)
        if shares:
            self._table.add([Share(s.key, s.limit, size) for _, s in shares], self._clock(), self._interval_s)

    def _take(self, shares: Sequence[tuple[str, Share]]) -> str:
        if not shares:
            return ""
        broken = self._table.take([share for _, share in shares], self._clock(), self._interval_s)
        return shares[broken][0] if broken >= 0 else ""

    def _of_client(self, visit: Visit, name: str, limit: int) -> list[tuple[str, Share]]:
        if visit.spared or visit.hidden or visit.ours:
            return []
        return _share(name, customer_of(visit.ip), limit)


def _share(name: str, who: str, limit: int) -> list[tuple[str, Share]]:
    return [(name, Share(key_of(name, who), limit))] if limit and who else []


def customer_of(ip: str) -> str:
    """Return what stands for whoever has an address: IPv4 itself, of IPv6 the /64 he can choose any address in."""
    if ":" not in ip:
        return ip
    try:
        address = ipaddress.IPv6Address(ip.partition("%")[0])
    except ValueError:
        return ip
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _V6_PREFIX), strict=False))
