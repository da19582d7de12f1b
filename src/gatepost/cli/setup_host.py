"""What this host says about itself: defaults for the questions of `gatepost setup`.

Used by `cli.setup`. Reads /proc and the environment, asks the name service once, and sees whether something answers at
port 25; nothing is changed.
"""

import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from gatepost.cli.setup_questions import BY_ROLE, Answers, Role

SMTP_PORT = 25
PROBE_S = 1.0
_ROUTES = Path("/proc/net/route")
_LOOPBACK = ("127.0.0.0/8", "::1/128")
_SYSTEMD = Path("/run/systemd/system")
"""There while systemd runs this host (sd_booted(3))."""
_DESTINATION, _GATEWAY, _MASK, _COLUMNS = 1, 2, 7, 8
_NO_GATEWAY = "00000000"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    hostname: str = ""
    """Full name, "" when the host has none."""
    networks: tuple[str, ...] = _LOOPBACK
    """Private networks it is in, and itself."""
    mail_system: bool = False
    """Something answers at port 25."""
    proxy: str = ""
    systemd: bool = False


def look_at_host(environment: Mapping[str, str] = os.environ) -> Host:
    """Look."""
    name = socket.getfqdn().rstrip(".").lower()
    full = "." in name and not name.startswith("localhost") and not name.endswith(".arpa")
    return Host(
        hostname=name if full else "",
        networks=(*_LOOPBACK, *parse_routes(_read(_ROUTES))),
        mail_system=_answers(SMTP_PORT),
        proxy=environment.get("http_proxy", "") or environment.get("HTTP_PROXY", ""),
        systemd=_SYSTEMD.is_dir(),
    )


def find_defaults(host: Host) -> Answers:
    """Return answers for a new configuration. With a mail system at port 25 that stays where it is."""
    role = Role.SERVER if host.mail_system else Role.RELAY
    found = Answers(hostname=host.hostname, local_networks=host.networks, proxy=host.proxy, role=role)
    return msgspec.structs.replace(found, **BY_ROLE[role])


def parse_routes(text: str) -> tuple[str, ...]:
    """Return the private networks that a host is connected to, of /proc/net/route.

    Public ones are left out: at a provider's, strangers are in them.
    """
    return tuple(dict.fromkeys(str(network) for network in _networks(text.splitlines()[1:]) if network.is_private))


def _networks(lines: Iterable[str]) -> Iterator[ipaddress.IPv4Network]:
    for line in lines:
        columns = line.split()
        if len(columns) < _COLUMNS or columns[_GATEWAY] != _NO_GATEWAY or columns[_MASK] == _NO_GATEWAY:
            continue
        # Both are written as a little-endian number.
        address, mask = (ipaddress.IPv4Address(bytes.fromhex(columns[at])[::-1]) for at in (_DESTINATION, _MASK))
        network = ipaddress.IPv4Network(f"{address}/{mask}", strict=False)
        if not network.is_loopback and not network.is_link_local:
            yield network


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), PROBE_S):
            return True
    except OSError:
        return False
