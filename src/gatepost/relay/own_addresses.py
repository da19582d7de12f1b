"""Own addresses: whether an address that DNS names is one this gateway listens at.

Asked by `relay.dialling` before mail is sent and by `relay.verification` before a recipient is asked for.
"""

import ipaddress
import socket

from gatepost.config.schema import Config


class OwnAddresses:
    """Where this gateway listens: mail must not be sent there because DNS says so (RFC 5321 §5.1)."""

    def __init__(self, config: Config) -> None:
        self._ports_of: dict[str, set[int]] = {}
        self._ports_of_all: set[int] = set()
        for listener in config.listeners:
            if listener.host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
                self._ports_of_all.add(listener.port)
            else:
                self._ports_of.setdefault(listener.host, set()).add(listener.port)

    def holds(self, ip: str, port: int) -> bool:
        """Tell whether that is a listener of ours, in whatever form DNS writes its address."""
        address = ipaddress.ip_address(ip)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address.is_unspecified:
            return True  # connecting there leads to this machine
        ip = str(address)
        return port in self._ports_of.get(ip, ()) or (port in self._ports_of_all and _is_local(ip))


def _is_local(ip: str) -> bool:
    """Tell whether an address is one of this machine: the kernel knows."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True
