"""An address that swallows connections: nobody accepts there and its queue is full, so the kernel drops what comes."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Final

FILLING: Final = 16
"""Connections begun to fill a queue of one: Linux takes one or two more than it is told."""


@contextlib.contextmanager
def fill(listening: socket.socket) -> Iterator[None]:
    """Fill the queue of a bound socket while the context lasts; connections after that come about for nobody."""
    with contextlib.ExitStack() as stack:
        listening.listen(0)
        for _ in range(FILLING):
            one = stack.enter_context(socket.socket(listening.family))
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(listening.getsockname())
        yield


@contextlib.contextmanager
def silent_address(host: str, port: int) -> Iterator[None]:
    """Make an address silent while the context lasts."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        with fill(listening):
            yield
