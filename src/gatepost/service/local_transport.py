"""A transport over a local socket that keeps the descriptors which come on it: those of event loops lose them.

Made by `service.doors` for kinds whose clients pass descriptors (`PASSES_DESCRIPTORS`); `service.channel` sees no
difference. Promises: what was written goes out before it closes; at most DESCRIPTORS_LIMIT descriptors are kept, and
closed at the end.
"""

import asyncio
import os
import socket
from collections import deque
from typing import Any, Final

from gatepost.config.doors import DoorKind

PASSES_DESCRIPTORS: Final = frozenset((DoorKind.CLAMD,))
DESCRIPTORS_LIMIT: Final = 8
"""Descriptors kept until they are asked for; more are closed."""
READ_BYTES: Final = 256 * 1024
UNSENT_LIMIT: Final = 64 * 1024
"""Bytes not taken by the client, above which the protocol is told to pause."""


class LocalTransport(asyncio.Transport):
    """One connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        """`sock` is connected and does not block."""
        super().__init__({"socket": sock, "peername": sock.getpeername()})
        self._loop = loop
        self._sock = sock
        self._protocol = protocol
        self._unsent = bytearray()
        self._descriptors: deque[int] = deque()
        self._reads = False
        self._paused = False
        """The protocol was told to write no more."""
        self._closing = False
        self._lost = False
        loop.call_soon(self._begin)

    def take_descriptor(self) -> int:
        """Return the descriptor that came first, -1 for none; the caller closes it."""
        return self._descriptors.popleft() if self._descriptors else -1

    # --- asyncio.Transport

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reads

    def pause_reading(self) -> None:
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self._sock.fileno())

    def resume_reading(self) -> None:
        if not self._reads and not self._closing:
            self._reads = True
            self._loop.add_reader(self._sock.fileno(), self._read)

    def write(self, data: Any) -> None:
        if self._lost or not data:
            return
        if not self._unsent:
            try:
                data = memoryview(data)[self._sock.send(data) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._lose(error)
                return
            if not data:
                return
            self._loop.add_writer(self._sock.fileno(), self._write)
        self._unsent += data
        if len(self._unsent) > UNSENT_LIMIT and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def close(self) -> None:
        if self._closing:
            return
        self.pause_reading()
        self._closing = True
        if not self._unsent:
            self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    # --- the socket's side

    def _begin(self) -> None:
        self._protocol.connection_made(self)
        self.resume_reading()

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._sock, READ_BYTES, DESCRIPTORS_LIMIT, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        self._descriptors.extend(descriptors)
        while len(self._descriptors) > DESCRIPTORS_LIMIT:
            os.close(self._descriptors.pop())
        if data:
            self._protocol.data_received(data)
            return
        self.pause_reading()
        if not self._protocol.eof_received():
            self.close()

    def _write(self) -> None:
        try:
            del self._unsent[: self._sock.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        if self._unsent:
            return
        self._loop.remove_writer(self._sock.fileno())
        if self._paused:
            self._paused = False
            self._protocol.resume_writing()
        if self._closing:
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self.pause_reading()
        self._closing = True
        self._loop.remove_writer(self._sock.fileno())
        self._unsent.clear()
        self._loop.call_soon(self._end, error)

    def _end(self, error: Exception | None) -> None:
        self._protocol.connection_lost(error)
        self._sock.close()
        while self._descriptors:
            os.close(self._descriptors.pop())
