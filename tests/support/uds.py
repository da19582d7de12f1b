"""A real UDS server for tests, behind a socket that keeps every datagram that passes, or drops it."""

import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from gatepost.service.uds import read_status
from tests.support.ports import free_port
from tests.support.waiting import WAIT_S, join, wait_for

_POLL_S = 0.05


class UdsServer:
    """`gatepost uds serve` on a port of 127.0.0.1, with one client, which may report; its key lies in `key`."""

    def __init__(self, directory: Path, key: Path, keys: Path) -> None:
        self.key = key
        self.state = directory / "state"
        self.port = free_port()
        self._log = directory / "log"
        self._command = [sys.executable, "-m", "gatepost.cli.main", "uds", "serve"]
        self._command += ["--listen", f"127.0.0.1:{self.port}", "--keys", str(keys), "--state", str(self.state)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(WAIT_S)

    def start(self) -> None:
        """Start it and wait until it is in service."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stderr=log)
        wait_for(self._in_service, "the UDS server")

    def stop(self) -> int:
        """End it as an administrator does; return its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(WAIT_S)

    def status(self) -> dict[str, object]:
        return read_status(self.state)

    def _in_service(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return bool(self.status())
        except OSError:
            return False


class Wire:
    """Hands datagrams on to a port of 127.0.0.1 and back, and keeps a copy of each."""

    def __init__(self, to_port: int) -> None:
        self.passed: list[bytes] = []
        """Everything that went either way, also what was dropped."""
        self.cut = False
        """True: nothing gets through."""
        self._target = ("127.0.0.1", to_port)
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self.port: int = self._front.getsockname()[1]
        self._back: dict[tuple[str, int], socket.socket] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        join(self._thread)
        for each in (self._front, *self._back.values()):
            each.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            ready, _, _ = select.select([self._front, *self._back.values()], [], [], _POLL_S)
            for each in ready:
                if each is self._front:
                    self._ask()
                else:
                    self._answer(each)

    def _ask(self) -> None:
        data, client = self._front.recvfrom(65536)
        self.passed.append(data)
        if self.cut:
            return
        back = self._back.get(client)
        if back is None:
            back = self._back[client] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            back.connect(self._target)
        back.send(data)

    def _answer(self, back: socket.socket) -> None:
        try:
            data = back.recv(65536)
        except ConnectionRefusedError:
            return
        self.passed.append(data)
        client = next(address for address, each in self._back.items() if each is back)
        self._front.sendto(data, client)
