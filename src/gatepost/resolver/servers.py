"""What the system says of names: its name servers, and the hosts it knows itself. Pure but for reading two files.

Called by `resolver` when it is configured.
"""

import ipaddress
from pathlib import Path
from typing import Final

import msgspec

from gatepost.resolver.names import fold_name, parse_address

DNS_PORT: Final = 53
SERVERS_LIMIT: Final = 8
"""Servers used: more would only make the wait for a dead network longer."""
SYSTEM_FILE: Final = Path("/etc/resolv.conf")
SYSTEM_DEFAULT: Final = "127.0.0.1"
"""Asked when the system names no server (resolv.conf(5))."""
HOSTS_FILE: Final = Path("/etc/hosts")
_FILE_LIMIT = 65536
"""Octets of the system's files that are read."""


class NameServer(msgspec.Struct, frozen=True, gc=False):
    """Where to send questions."""

    ip: str
    port: int = DNS_PORT

    @property
    def label(self) -> str:
        """`ip:port`, for people."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


def parse_server(text: str) -> NameServer | None:
    """Return the server that `ip`, `ip:port`, `[v6]` or `[v6]:port` names, None when it is none of these."""
    text = text.strip()
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        if rest and not rest.startswith(":"):
            return None
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return None
    return NameServer(str(address), int(port) if port else DNS_PORT)


def parse_system_file(text: str) -> tuple[NameServer, ...]:
    """Return the servers of a resolv.conf(5)."""
    rows = (line.split() for line in text.splitlines())
    found = (
        parse_server(f"[{row[1]}]" if ":" in row[1] else row[1])
        for row in rows
        if row[:1] == ["nameserver"] and row[1:]
    )
    return tuple(dict.fromkeys(server for server in found if server is not None))[:SERVERS_LIMIT]


def choose_servers(configured: tuple[str, ...], system_file: Path = SYSTEM_FILE) -> tuple[NameServer, ...]:
    """Return the servers to ask, in order: those configured, else the system's, never none."""
    chosen = dict.fromkeys(server for server in map(parse_server, configured) if server is not None)
    if chosen:
        return tuple(chosen)[:SERVERS_LIMIT]
    return parse_system_file(_read(system_file)) or (NameServer(SYSTEM_DEFAULT),)


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Return the addresses of every name in a hosts(5), names folded, addresses in the order of the file."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        first, *names = line.partition("#")[0].split() or [""]
        address = parse_address(first)
        if address is not None:
            for name in map(fold_name, names):
                found[name] = (*found.get(name, ()), str(address))
    return found


def read_hosts(hosts_file: Path = HOSTS_FILE) -> dict[str, tuple[str, ...]]:
    """Return the hosts the system knows itself; none when the file cannot be read."""
    return parse_hosts(_read(hosts_file))


def _read(path: Path) -> str:
    try:
        with path.open(encoding="latin-1") as file:
            return file.read(_FILE_LIMIT)
    except OSError:
        return ""
