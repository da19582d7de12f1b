"""Ports: the listening sockets, bound once by the master and shared by all relays."""

import contextlib
import socket
from collections.abc import Iterable, Sequence

from gatepost.config.schema import Listener


class BindFailed(Exception):  # noqa: N818 - what happened, in the words of the return-code table
    """A listener's address cannot be bound (return code 55)."""


class Ports:
    """Open sockets by (host, port)."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], socket.socket] = {}
        self._backlogs: dict[tuple[str, int], int] = {}
        self.paused = False
        """The ports are bound and closed: connections are refused."""

    def bind(self, listeners: Sequence[Listener]) -> None:
        """Have exactly these listeners open. On BindFailed everything is as it was before."""
        wanted = {(listener.host, listener.port): listener for listener in listeners}
        fresh: dict[tuple[str, int], socket.socket] = {}
        try:
            for key, listener in wanted.items():
                if key not in self._open:
                    fresh[key] = _listen(listener)
        except OSError as error:
            for sock in fresh.values():
                sock.close()
            raise BindFailed(
                f"cannot listen on {listener.address}: {error.strerror or error}. Is another program using the port, "
                "or does the address belong to another host? Ports below 1024 need root or CAP_NET_BIND_SERVICE"
            ) from error
        for key in [key for key in self._open if key not in wanted]:
            self._open.pop(key).close()
        self._open.update(fresh)
        self._backlogs = {key: listener.backlog for key, listener in wanted.items()}
        if self.paused:
            self._shut(fresh.values())

    def pause(self) -> None:
        """Close all ports for connections, in every process that shares them, and keep them bound: a port that only
        root may bind can be opened again.
        """
        self.paused = True
        self._shut(self._open.values())

    def resume(self) -> None:
        """Open all ports again. On BindFailed those stay closed that cannot be had."""
        failures = []
        for key, sock in self._open.items():
            try:
                sock.listen(self._backlogs[key])
            except OSError as error:
                failures.append(f"{key[0]}:{key[1]}: {error.strerror or error}")
        if failures:
            self._shut(self._open.values())
            raise BindFailed(f"cannot listen again on {', '.join(failures)}: is another program using the port?")
        self.paused = False

    def _shut(self, sockets: Iterable[socket.socket]) -> None:
        for sock in sockets:
            with contextlib.suppress(OSError):  # it does not listen
                sock.shutdown(socket.SHUT_RDWR)

    def descriptors(self, listeners: Sequence[Listener]) -> list[int]:
        """Return the descriptors for `listeners`, in their order."""
        return [self._open[listener.host, listener.port].fileno() for listener in listeners]

    def close(self) -> None:
        """Close all."""
        for sock in self._open.values():
            sock.close()
        self._open.clear()


def _listen(listener: Listener) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((listener.host, listener.port))
        sock.listen(listener.backlog)
    except OSError:
        sock.close()
        raise
    return sock
