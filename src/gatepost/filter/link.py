"""The pool's connection to the template: asks for filters, receives their sockets and pidfds.

Used by `filter.pool` only. Connects when first needed and again, with back-off, whenever the template goes away (a
new one takes over the same path).
"""

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from pathlib import Path
from typing import Protocol

from gatepost.filter.dialogue import (
    CONTROL_FRAME_LIMIT,
    FrameReader,
    Hello,
    Refused,
    StartFilter,
    build_frame,
    parse_from_template,
)
from gatepost.filter.hostile import HostileAnswer

DESCRIPTORS_AT_ONCE = 16
"""Descriptors one read may bring: two a filter, and the kernel never joins two such messages."""
RECONNECT_FIRST_S = 0.05
RECONNECT_MAX_S = 5.0
"""Bounds of the wait between attempts to reach a template that is not there."""


class LinkUser(Protocol):
    """What the link tells the pool."""

    def on_template(self, generation: int) -> None:
        """A template answers."""

    def on_filter(self, sock: socket.socket, pidfd: int, pid: int) -> None:
        """A filter asked for was forked; the receiver owns both descriptors."""

    def on_refused(self, reason: str) -> None:
        """A filter asked for will not come."""


class TemplateLink:
    """One connection to the template at `path`."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, user: LinkUser) -> None:
        self._path = path
        self._loop = loop
        self._user = user
        self._sock: socket.socket | None = None
        self._reader = FrameReader(CONTROL_FRAME_LIMIT)
        self._descriptors: deque[int] = deque()
        self._asked = 0
        self._wait_s = RECONNECT_FIRST_S
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def open(self) -> None:
        """Connect now; when that fails, keep trying until `close`."""
        self._timer = None
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:  # no descriptors are left now
            self._retry()
            return
        try:
            sock.connect(str(self._path))
        except OSError:
            sock.close()
            self._retry()
            return
        self._sock = sock
        self._reader = FrameReader(CONTROL_FRAME_LIMIT)
        self._loop.add_reader(sock, self._read)

    def ask(self, gone: tuple[int, ...]) -> None:
        """Ask for one filter (`gone` as in `StartFilter`): answered by `on_filter` or `on_refused`, the latter at once
        when there is no template.
        """
        if self._sock is None:
            self._user.on_refused(f"no template listens at {self._path}")
            return
        frame = build_frame(StartFilter(gone))
        self._asked += 1
        try:
            sent = self._sock.send(frame)
        except OSError:
            sent = 0
        if sent != len(frame):
            self._lose("the template does not read")

    def reopen(self) -> None:
        """Connect to who listens now, without waiting for the other template to hang up or for the next attempt."""
        if self._closed:
            return
        if self._sock is not None:
            self._lose("another template is in force")
        if self._timer is not None:
            self._timer.cancel()
        self.open()

    def close(self) -> None:
        """End for good."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._disconnect()

    def _retry(self) -> None:
        if not self._closed and self._timer is None:
            self._timer = self._loop.call_later(self._wait_s, self.open)
            self._wait_s = min(self._wait_s * 2, RECONNECT_MAX_S)

    def _disconnect(self) -> None:
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _lose(self, reason: str) -> None:
        self._disconnect()
        asked, self._asked = self._asked, 0
        self._retry()
        for _ in range(asked):
            self._user.on_refused(reason)

    def _read(self) -> None:
        if self._sock is None:
            return
        space = socket.CMSG_SPACE(DESCRIPTORS_AT_ONCE * array.array("i").itemsize)
        try:
            chunk, ancillary, _, _ = self._sock.recvmsg(CONTROL_FRAME_LIMIT, space, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(f"the template has gone: {error}")
            return
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                self._descriptors.extend(numbers)
        if not chunk:
            self._lose("the template has gone")
            return
        try:
            for body in self._reader.feed(chunk):
                self._take(body)
        except HostileAnswer as error:
            self._lose(f"the template speaks nonsense: {error}")

    def _take(self, body: bytes | memoryview) -> None:
        word = parse_from_template(body)
        if isinstance(word, Hello):
            self._wait_s = RECONNECT_FIRST_S
            self._user.on_template(word.generation)
            return
        if self._asked == 0:
            raise HostileAnswer("an answer nobody asked for")
        self._asked -= 1
        if isinstance(word, Refused):
            self._user.on_refused(word.reason)
            return
        if len(self._descriptors) < 2:
            self._asked += 1
            raise HostileAnswer("a filter without its descriptors")
        sock = socket.socket(fileno=self._descriptors.popleft())
        sock.setblocking(False)
        pidfd = self._descriptors.popleft()
        with contextlib.suppress(OSError):
            os.set_inheritable(pidfd, False)
        self._user.on_filter(sock, pidfd, word.pid)
