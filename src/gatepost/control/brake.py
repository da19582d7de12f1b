"""The brake on guessing passwords and codes: who fails again and again waits. Sans-I/O: the time is given.

Used by `master.sign_in`. Counted by address, and by account over all addresses; the latter does not hold up addresses
the account has signed in from before, so strangers cannot lock its owner out.
"""

import ipaddress
from collections import OrderedDict
from typing import Final

from gatepost.relay.passwords import FailureLog

TRIES_EACH: Final = 20
"""Wrong tries at an account, from anywhere, that count as one: its pauses begin after sixty."""
ACCOUNTS_LIMIT: Final = 10_000
"""Names with wrong tries that are remembered, real or not; the oldest are forgotten first."""
_IPV6_NETWORK: Final = 64
"""What one subscriber has of IPv6."""


class Brake:
    """All failures of one gateway's console."""

    def __init__(self) -> None:
        self._addresses = FailureLog()
        self._accounts = FailureLog()
        self._tries: OrderedDict[str, int] = OrderedDict()

    def holds(self, address: str, account: str, now: float, *, known: bool = False) -> bool:
        """Tell whether this try must wait. `known`: the account has signed in from there before."""
        if self._addresses.blocked(place_of(address), now):
            return True
        return not known and self._accounts.blocked(account, now)

    def failed(self, address: str, account: str, now: float) -> None:
        """Note a wrong try."""
        self._addresses.failed(place_of(address), now)
        tries = self._tries.pop(account, 0) + 1
        self._tries[account] = tries
        if len(self._tries) > ACCOUNTS_LIMIT:
            self._tries.popitem(last=False)
        if tries % TRIES_EACH == 0:
            self._accounts.failed(account, now)

    def succeeded(self, address: str, account: str) -> None:
        """Forget the failures."""
        self._addresses.succeeded(place_of(address))
        self._accounts.succeeded(account)
        self._tries.pop(account, None)


def place_of(address: str) -> str:
    """Return what one client's tries and connections are counted by: an IPv4 address, or an IPv6 address's network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))
