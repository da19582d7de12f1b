"""Ports: the listening sockets of listeners and doors, bound once by the master and shared by all relays."""

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatepost.config.doors import Door
from gatepost.config.schema import Listener

DOOR_BACKLOG: Final = 1024
"""Clients of a door that wait unaccepted while it is busy."""
PATIENCE_S: Final = 10.0
"""How long ports may stay taken after the death of a former master ..."""
LOOK_S: Final = 0.1
"""... and the pause between two tries."""
STALE_LOOK_S: Final = 1.0


class BindFailed(Exception):  # noqa: N818 - what happened, in the words of the return-code table
    """An address cannot be bound (return code 55)."""


REPLIES_BUFFER = 64 * 1024
"""Octets of replies that may wait in the kernel for a mail client: a thousand. One that sends commands and reads no
replies gets no further, and costs a relay no more than their records."""


class _Place(msgspec.Struct, frozen=True):
    """Where to listen."""

    host: str
    port: int
    backlog: int
    path: str = ""
    """Of a local socket ..."""
    mode: int = 0
    """... with its permissions."""
    send_buffer: int = 0
    """SO_SNDBUF, 0 = the kernel's own choice, which grows to megabytes."""

    @property
    def key(self) -> tuple[str, int]:
        return (self.path, 0) if self.path else (self.host, self.port)

    @property
    def address(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Ports:
    """Open sockets by (host, port), local ones by (path, 0)."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], socket.socket] = {}
        self._places: dict[tuple[str, int], _Place] = {}
        self._inodes: dict[str, tuple[int, int]] = {}
        """Of our local sockets: what may be removed."""
        self.paused = False
        """The ports are bound and closed: connections are refused."""

    async def bind_soon(self, listeners: Sequence[Listener], doors: Sequence[Door], patience_s: float) -> None:
        """Have exactly these open, once others let go of what they hold. BindFailed: not within `patience_s`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_s
        while True:
            try:
                return self.bind(listeners, doors)
            except BindFailed:
                if loop.time() >= end:
                    raise
            await asyncio.sleep(LOOK_S)

    def bind(self, listeners: Sequence[Listener], doors: Sequence[Door] = ()) -> None:
        """Have exactly these open, local sockets anew whose file somebody has removed.

        On BindFailed everything is as it was before.
        """
        wanted = {place.key: place for place in (*map(_of_listener, listeners), *map(_of_door, doors))}
        fresh: dict[tuple[str, int], socket.socket] = {}
        for key, place in wanted.items():
            if (key in self._open and not self._is_lost(place.path)) or (self.paused and place.path):
                continue
            try:
                fresh[key] = self._listen(place)
            except OSError as error:
                for sock in fresh.values():
                    self._close(sock)
                raise BindFailed(f"cannot listen on {place.address}: {_explain(place, error)}") from error
        for key in [key for key in self._open if key not in wanted]:
            self._close(self._open.pop(key))
        for key in fresh:
            if key in self._open:
                self._open[key].close()  # its file is another's now
        self._open.update(fresh)
        for key, place in wanted.items():
            if place.path and key in self._open:
                with contextlib.suppress(OSError):  # somebody removes it just now: the next bind mends that
                    Path(place.path).chmod(place.mode)
        self._places = wanted
        if self.paused:
            self._shut(fresh.values())

    def pause(self) -> None:
        """Close all ports for connections, in every process that shares them. Ports stay bound: one that only root may
        bind can be opened again. Local sockets are removed.
        """
        self.paused = True
        self._shut(self._open.values())
        for key in [key for key, place in self._places.items() if place.path and key in self._open]:
            self._close(self._open.pop(key))

    def resume(self) -> None:
        """Open all ports again. On BindFailed those stay closed that cannot be had."""
        failures = []
        for key, place in self._places.items():
            try:
                if key in self._open:
                    self._open[key].listen(place.backlog)
                else:
                    self._open[key] = self._listen(place)
            except OSError as error:
                failures.append(f"{place.address}: {error.strerror or error}")
        if failures:
            self.pause()
            raise BindFailed(f"cannot listen again on {', '.join(failures)}: is another program using the port?")
        self.paused = False

    def _shut(self, sockets: Iterable[socket.socket]) -> None:
        for sock in sockets:
            with contextlib.suppress(OSError):  # it does not listen
                sock.shutdown(socket.SHUT_RDWR)

    def descriptors(self, listeners: Sequence[Listener], doors: Sequence[Door] = ()) -> list[int]:
        """Return the descriptors for `listeners`, then for `doors`, in their order."""
        places = (*map(_of_listener, listeners), *map(_of_door, doors))
        return [self._open[place.key].fileno() for place in places]

    def close(self) -> None:
        """Close all."""
        for sock in self._open.values():
            self._close(sock)
        self._open.clear()

    def _listen(self, place: _Place) -> socket.socket:
        if not place.path:
            return _listen_tcp(place)
        sock = _listen_local(place)
        found = Path(place.path).stat()
        self._inodes[place.path] = (found.st_dev, found.st_ino)
        return sock

    def _is_lost(self, path: str) -> bool:
        """Tell whether the file of an open local socket, by which clients come, is not there any more."""
        if not path:
            return False
        try:
            found = os.lstat(path)
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._inodes.get(path)

    def _close(self, sock: socket.socket) -> None:
        """Close a socket; a local one's file goes, if it is still ours."""
        path = sock.getsockname() if sock.family == socket.AF_UNIX else ""
        sock.close()
        ours = self._inodes.pop(path, None)
        if ours is not None:
            with contextlib.suppress(OSError):
                found = Path(path).stat()
                if (found.st_dev, found.st_ino) == ours:
                    Path(path).unlink()


def _of_listener(listener: Listener) -> _Place:
    return _Place(listener.host, listener.port, listener.backlog, send_buffer=REPLIES_BUFFER)


def _of_door(door: Door) -> _Place:
    return _Place(door.host, door.port, DOOR_BACKLOG, door.socket, int(door.socket_mode, 8))


def _explain(place: _Place, error: OSError) -> str:
    said = error.strerror or str(error)
    if place.path:
        return f"{said}. {_explain_local(place.path, error)}"
    return (
        f"{said}. Is another program using the port, or does the address belong to another host? Ports below 1024 need "
        "root or CAP_NET_BIND_SERVICE"
    )


def _explain_local(path: str, error: OSError) -> str:
    """Return why a local socket cannot be made, and what to do."""
    folder = Path(path).parent
    if error.errno == errno.ENOENT:
        return f"Make its directory, of the gateway's user: install -d -o USER {folder}"
    if error.errno != errno.EADDRINUSE:
        return f"The gateway's user must be able to write in {folder}"
    try:
        found = os.lstat(path)
    except OSError:
        return "Another program uses it now"
    if not stat.S_ISSOCK(found.st_mode):
        return "What is there is no socket, and is not removed"
    if not os.access(path, os.W_OK, effective_ids=True):
        return f"A socket of user {found.st_uid} is there, and may not be asked: remove it if nobody uses it"
    return "A program listens there"


def _listen_tcp(place: _Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if place.send_buffer:  # accepted sockets inherit it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, place.send_buffer)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((place.host, place.port))
        sock.listen(place.backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _listen_local(place: _Place) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~place.mode)  # nobody comes in before the permissions are right
    try:
        try:
            sock.bind(place.path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(place.path):
                raise
            Path(place.path).unlink()
            sock.bind(place.path)
        Path(place.path).chmod(place.mode)
        sock.listen(place.backlog)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def _is_stale(path: str) -> bool:
    """Tell whether a path is a socket that a program has left behind: nobody answers there."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(STALE_LOOK_S)
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
