"""A real clamd with a database of our own: one signature for a harmless marker, and one for a second set."""

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

from tests.peers.conftest import program
from tests.support.ports import free_port
from tests.support.waiting import wait_for

MARKER = b"gatepost-harmless-marker"
SECOND = b"gatepost-second-marker"


def signature(marker: bytes, name: str) -> str:
    """A body signature in ClamAV's extended format."""
    return f"{name}:0:*:{marker.hex()}\n"


class Clamd:
    """One clamd below `place`; start it as often as you like."""

    def __init__(self, place: Path, settings: str = "") -> None:
        self.socket = place / "clamd.sock"
        self.port = free_port()
        self._config = place / "clamd.conf"
        self._log = place / "clamd.log"
        self._databases = place / "db"
        self._databases.mkdir()
        (self._databases / "test.ndb").write_text(signature(MARKER, "Test.Marker"))
        self._config.write_text(
            f"LocalSocket {self.socket}\nTCPSocket {self.port}\nTCPAddr 127.0.0.1\nDatabaseDirectory {self._databases}\n"
            f"LogFile {self._log}\nForeground yes\nStreamMaxLength 2M\nAlertEncrypted yes\nIdleTimeout 30\n{settings}"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        command = [program("clamd"), "-c", str(self._config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self._listens, "clamd to listen")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(120)
            self._process = None
            self.socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Let it be there and say nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def add_signatures(self) -> None:
        """Have it know the second marker as well."""
        (self._databases / "more.ndb").write_text(signature(SECOND, "Test.Second"))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.socket))
            sock.sendall(b"zRELOAD\0")
            assert sock.recv(100).startswith(b"RELOADING")
        wait_for(lambda: self._log.read_text().count("Database correctly reloaded") >= 1, "the reload")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "clamd has ended"
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self.socket))
            except OSError:
                return False
            sock.sendall(b"zPING\0")
            return sock.recv(10) == b"PONG\0"
