"""Ports and loopback networks that nobody else on the machine is using: not another worker of this run, not another run.

Each process of pytest claims a block of numbers for its life and hands them out in turn. The ports lie below the
range the kernel takes the ports of outgoing connections from, so one that is free stays free until it is listened on.
"""

import functools
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

BLOCK = 400
"""Ports of one process: more than one run of the suite in one process listens on at the same time, by far."""
_FIRST_PORT = 10_100
"""Above the last of the ports that browsers refuse to connect to (10080, ERR_UNSAFE_PORT)."""
_FIRST_NETWORK = 64


@functools.cache
def _claim() -> tuple[int, socket.socket]:
    """Claim the first free block: its number, and the socket that holds it until this process ends."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for number in range(min((low - _FIRST_PORT) // BLOCK, 256 - _FIRST_NETWORK)):
        # A name of the abstract space: no file to clean up, and the kernel frees it however the process ends.
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0gatepost-tests-block-{number}")
        except OSError:
            holder.close()
            continue
        return number, holder
    raise OSError("every block of ports is claimed by another process of tests")


@functools.cache
def _numbers() -> Iterator[int]:
    first = _FIRST_PORT + _claim()[0] * BLOCK
    return itertools.cycle(range(first, first + BLOCK))


def free_port() -> int:
    """Return a port below the ephemeral range that nobody listens on, a different one each time."""
    for port in itertools.islice(_numbers(), BLOCK):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise OSError("no free port in this process's block")


def loopback_network() -> str:
    """Return the first two numbers of a loopback network of this process's own, such as "127.64"."""
    return f"127.{_FIRST_NETWORK + _claim()[0]}"
