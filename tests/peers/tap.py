"""A tap on the line between two programs: passes everything on and keeps it, so that tests see who really said what."""

import contextlib
import socket
import threading
from typing import Self

from tests.support.ports import free_port
from tests.support.waiting import join


class Tap:
    """Listens on `port` and connects every client to `to`."""

    def __init__(self, to: int, host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self._to = (host, to)
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.pieces: list[bytes] = []
        """What clients sent, as it was read."""
        self.replies: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        join(*self._threads)

    @property
    def said(self) -> bytes:
        """Everything clients sent."""
        with self._lock:
            return b"".join(self.pieces)

    @property
    def answered(self) -> bytes:
        """Everything the server sent."""
        with self._lock:
            return b"".join(self.replies)

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self.pieces.clear()
            self.replies.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._to, timeout=120) as server:
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            back = threading.Thread(target=self._pass, args=(server, client, self.replies), daemon=True)
            back.start()
            self._pass(client, server, self.pieces)
            join(back)
            with self._lock:
                self._sockets -= {client, server}

    def _pass(self, source: socket.socket, target: socket.socket, kept: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                with self._lock:
                    kept.append(piece)
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
