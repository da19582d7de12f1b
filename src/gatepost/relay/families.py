"""Families of addresses: whether all of IPv6, or all of IPv4, seems to be dead on this machine's way out.

Told and asked by `relay.dialling`. A router that drops one family silently would cost every new host a head start
(`dialling.HEAD_START_S`): where several hosts in a row have answered by the other family alone, this one comes last
for a while. Promises: no address is left out, one answer of a family ends its rest, and a single host proves nothing.
"""

from collections.abc import Iterable
from typing import Final

IPV4: Final = 4
IPV6: Final = 6
HOSTS: Final = 3
"""Different hosts that must have answered by the other family alone."""
REST_S: Final = 600.0
"""Time for which a family comes last; then one host tries it again."""


class Families:
    """What is known of both. Times are seconds of the clock the caller uses throughout."""

    def __init__(self) -> None:
        self._mute_at: dict[int, set[str]] = {IPV4: set(), IPV6: set()}
        """Hosts at which a family said nothing, without an answer of that family since."""
        self._until: dict[int, float] = {}

    def note(self, host: str, answered: str, silent: Iterable[str], now: float) -> None:
        """Remember that one address of a host answered, and that some others, tried beside it, did not."""
        heard = family_of(answered)
        self._mute_at[heard].clear()
        self._until.pop(heard, None)
        for family in {family_of(ip) for ip in silent} - {heard}:
            hosts = self._mute_at[family]
            if len(hosts) < HOSTS:
                hosts.add(host)
            if len(hosts) >= HOSTS:  # they stay: after its rest one host more is enough
                self._until[family] = now + REST_S

    def comes_last(self, ip: str, now: float) -> bool:
        """Tell whether an address is of a family that rests."""
        return bool(self._until) and self._until.get(family_of(ip), now) > now

    def clear(self) -> None:
        """Forget everything: an operator wants a try, or the clock was set back."""
        for hosts in self._mute_at.values():
            hosts.clear()
        self._until.clear()


def family_of(ip: str) -> int:
    """Return IPV4 or IPV6."""
    return IPV6 if ":" in ip else IPV4
