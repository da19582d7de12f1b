"""Faults for the running gateway: code put into its processes, small disks, memory figures, raw SMTP clients.

Faults are put into a gateway's processes as they are forked (`tests.support.nursery`); the product itself knows nothing of them.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.support.gateway import Gateway
from tests.support.nursery import FAULT
from tests.support.waiting import WAIT_S, wait_for

RELAY = "gatepost.relay.process"
TEMPLATE = "gatepost.filter.template"


def injected(directory: Path, process: str, code: str) -> dict[str, str]:
    """Return an environment in which every process that is to be module `process` first executes `code`.

    The code finds `FLAGS`, a directory: a test creates and removes files there to switch a fault on and off.
    """
    place = directory / "injected"
    place.mkdir(parents=True, exist_ok=True)
    file = place / "fault.py"
    file.write_text(f"import os, sys\nFLAGS = {str(place)!r}\n{textwrap.dedent(code)}")
    return {FAULT: json.dumps((process, str(file)))}


def flag(directory: Path, name: str, *, on: bool = True) -> None:
    """Switch a fault of `injected(directory, ...)` on or off."""
    path = directory / "injected" / name
    if on:
        path.touch()
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """Mount a tmpfs of its own; gone at the end, whatever still holds it. Needs root: callers skip without."""
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "gatepost-test", str(place)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


def can_mount(place: Path) -> bool:
    """Tell whether this process may mount a file system."""
    if os.geteuid() != 0:
        return False
    with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError), small_disk(place, 1):
        return True
    return False


def fill(directory: Path, leave: int = 0) -> Path:
    """Fill the disk below `directory` up to `leave` bytes; return the file to remove."""
    ballast = directory / "ballast"
    state = os.statvfs(directory)
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        rest = state.f_bavail * state.f_frsize - leave
        while rest > 0:
            rest -= file.write(bytes(min(rest, 1 << 16)))
    return ballast


def memory_kib(pid: int, field: str = "VmRSS") -> int:
    """Return resident memory of a process now, or with VmHWM its peak, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise AssertionError(f"{field} of {pid} not found")


def reset_peak(pid: int) -> None:
    """Begin a new VmHWM."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def filter_peak_kib(gateway: Gateway) -> int:
    """Return the largest peak of the filters alive."""
    pids = [pid for relay in gateway.status()["relays"] for pid in relay["filter_pids"]]
    return max((memory_kib(pid, "VmHWM") for pid in pids), default=0)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended (a zombie counts as ended, unless threads of it are still ending)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[0] == "Z" and int(fields[17]) <= 1


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


class RawClient:
    """A client that sends what it is told, and reads replies one by one."""

    def __init__(self, gateway: Gateway, timeout: float = WAIT_S, source: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection(("127.0.0.1", gateway.port), timeout, source_address=(source, 0))
        self._stream = self.sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.sock.close()

    def reply(self) -> bytes:
        """Return the next reply without its line ends; b"" when the server has closed."""
        lines = []
        while line := self._stream.readline():
            lines.append(line.rstrip(b"\r\n"))
            if line[3:4] != b"-":
                break
        return b"\n".join(lines)

    def ask(self, line: bytes) -> bytes:
        self.sock.sendall(line + b"\r\n")
        return self.reply()

    def begin(self, recipient: bytes = b"user@example.org") -> None:
        """Go on to the 354 of a transaction."""
        assert self.reply().startswith(b"220")
        assert self.ask(b"EHLO client.example.net").startswith(b"250")
        assert self.ask(b"MAIL FROM:<sender@example.net>").startswith(b"250")
        assert self.ask(b"RCPT TO:<" + recipient + b">").startswith(b"250")
        assert self.ask(b"DATA").startswith(b"354")

    def reset(self) -> None:
        """Drop the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.close()
        self.sock.close()

    def rest(self) -> bytes:
        """Return everything up to the server's close; b"" also when it ended with a reset."""
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := self._stream.read(65536):
                got += piece
        return got


def settled(gateway: Gateway) -> bool:
    """Tell whether nothing waits in the queue, held mail apart. A relay that is still starting counts nothing yet."""
    status = gateway.status()
    queue = status["queue"]
    return all("error" not in relay for relay in status["relays"]) and not (queue["waiting"] or queue["ready"])


def wait_settled(gateway: Gateway) -> None:
    wait_for(lambda: settled(gateway), "the queue to be empty", pause_s=0.05)
