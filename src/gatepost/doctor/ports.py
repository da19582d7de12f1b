"""Ports: does the gateway listen where it should, and who else does? Read from the kernel's tables."""

import ipaddress
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatepost.config.doors import Door
from gatepost.config.schema import Config
from gatepost.doctor.finding import Finding, State

AREA: Final = "ports"
_LISTEN: Final = "0A"
PROBE_S: Final = 1.0
"""A local socket answers at once, or its backlog is full."""
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")


class Listening(msgspec.Struct, frozen=True):
    """A socket that takes connections."""

    address: str
    port: int
    inode: int


def read_listening() -> list[Listening]:
    """Return every listening TCP socket of this network namespace."""
    found: list[Listening] = []
    for table in _TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        found += parse_listening(lines)
    return found


def parse_listening(lines: Iterable[str]) -> Iterator[Listening]:
    """Read lines of a kernel table (proc_net_tcp): addresses are words in the host's order, in hexadecimal."""
    for line in lines:
        fields = line.split()
        if len(fields) < 10 or fields[3] != _LISTEN:
            continue
        raw_address, _, port = fields[1].partition(":")
        words = [bytes.fromhex(raw_address[start : start + 8])[::-1] for start in range(0, len(raw_address), 8)]
        yield Listening(str(ipaddress.ip_address(b"".join(words))), int(port, 16), int(fields[9]))


def find_owner(inode: int) -> str:
    """Return the program that holds a socket, "" when this user may not see it."""
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if any(str(each.readlink()) == wanted for each in (process / "fd").iterdir()):
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"{name} (process {process.name})"
        except OSError:
            continue
    return ""


def check_ports(config: Config, *, running: bool, receiving: bool = True) -> Iterator[Finding]:
    """Look at every listener; `running`: the gateway is up, `receiving`: its reception is switched on."""
    taken: Mapping[int, list[Listening]] = {}
    for each in read_listening():
        taken = {**taken, each.port: [*taken.get(each.port, []), each]}
    for listener in config.listeners:
        key = f"port:{listener.address}"
        holders = [each for each in taken.get(listener.port, ()) if _covers(each.address, listener.host)]
        if running and holders:
            yield Finding(key, AREA, State.OK, f"the gateway listens on {listener.address}")
        elif running and receiving:
            mend = "look at the log for what happened, then `gatepost restart`"
            yield Finding(key, AREA, State.ERROR, f"nobody listens on {listener.address}", mend)
        elif holders:
            owner = find_owner(holders[0].inode) or "a program of another user"
            mend = "stop it (often the mail server that came with the host), or give the gateway another port"
            yield Finding(key, AREA, State.ERROR, f"{listener.address} is taken by {owner}", mend)
        elif not running:
            yield from _check_address(key, listener.host, listener.address)
    for door in config.doors:
        yield _check_door(door, taken, running=running, receiving=receiving)


def _check_door(door: Door, taken: Mapping[int, Sequence[Listening]], *, running: bool, receiving: bool) -> Finding:
    """Look at a door: a local socket answers or it does not; a port is looked at as a listener's."""
    key = f"port:{door.address}"
    if door.socket:
        held = _answers(door.socket)
    else:
        held = any(_covers(each.address, door.host) for each in taken.get(door.port, ()))
    if running and (held or not receiving):
        return Finding(key, AREA, State.OK, f"door {door.name} is open at {door.address}")
    if running:
        mend = "`gatepost reload` makes it anew" if door.socket else "look at the log, then `gatepost restart`"
        return Finding(key, AREA, State.ERROR, f"nobody listens on {door.address}, door {door.name}", mend)
    if held:
        mend = "stop the program that uses it, or give the door another address"
        return Finding(key, AREA, State.ERROR, f"{door.address} of door {door.name} is taken", mend)
    folder = Path(door.socket).parent
    if door.socket and not folder.is_dir():
        return Finding(
            key,
            AREA,
            State.ERROR,
            f"{folder} of door {door.name} is missing",
            f"make it, of the gateway's user: install -d -o USER {folder}",
        )
    return Finding(key, AREA, State.OK, f"{door.address} is free")


def _answers(path: str) -> bool:
    """Tell whether a program listens at a local socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _covers(held: str, wanted: str) -> bool:
    return held == wanted or held in {"0.0.0.0", "::"} or wanted in {"0.0.0.0", "::"}  # noqa: S104 - compared


def _check_address(key: str, host: str, address: str) -> Iterator[Finding]:
    """Say whether this host has the address at all; port 0 is any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((host, 0))
        except OSError as error:
            mend = "name an address of this host in listen_on, or 0.0.0.0 for all"
            yield Finding(key, AREA, State.ERROR, f"cannot listen on {address}: {error.strerror}", mend)
        else:
            yield Finding(key, AREA, State.OK, f"{address} is free")
