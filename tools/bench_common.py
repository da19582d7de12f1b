"""What the parts of `make bench` share: ports, waiting, memory, medians."""

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import sysconfig
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

START_S = 60.0
LOOK_S = 0.5
CALM_TICKS = 2
CALM_LOOKS = 4
"""Looks in a row at which hardly any CPU was used since the last."""
DISTRIBUTED = "/usr/bin/python3"
"""What the package runs with. Distributions build it for speed, as they build the peers; others often do not."""
_VERSION = "import sys; print(*sys.version_info[:2])"


def packaged_python() -> list[str]:
    """Return the command line that runs Python as the package does, with this checkout and the libraries of this
    environment; this interpreter where the distribution has none of its version, for which the libraries are built.
    """
    with contextlib.suppress(OSError):
        told = subprocess.run([DISTRIBUTED, "-c", _VERSION], capture_output=True, text=True, check=False).stdout
        if told.split() == [str(number) for number in sys.version_info[:2]]:
            source = str(Path(__file__).resolve().parents[1] / "src")
            path = [
                os.environ.get("PYTHONPATH", ""),
                source,
                sysconfig.get_path("platlib"),
                sysconfig.get_path("purelib"),
            ]
            return ["env", f"PYTHONPATH={os.pathsep.join(dict.fromkeys(filter(None, path)))}", DISTRIBUTED]
    return [sys.executable]


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for_greeting(port: int) -> None:
    """Wait until a mail server greets there."""
    end = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as sock:
            sock.settimeout(5)
            if sock.recv(200).startswith(b"220"):
                return
        if time.monotonic() > end:
            raise SystemExit(f"no greeting on port {port}")
        time.sleep(0.1)


def wait_until_settled(pid: int) -> None:
    """Wait until a process and those below it have started: their console, databases and templates come after the
    greeting, cost seconds of CPU, and are no part of what a mail costs.
    """
    end = time.monotonic() + START_S
    spent, calm = -1, 0
    while calm < CALM_LOOKS and time.monotonic() < end:
        time.sleep(LOOK_S)
        before, spent = spent, sum(map(_ticks_of, (pid, *processes_below(pid))))
        calm = calm + 1 if spent - before <= CALM_TICKS else 0


def _ticks_of(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0


def median(rows: Sequence[dict[str, Any]], name: str) -> float:
    """Return the median of one column, NaN when it is empty."""
    values = [row[name] for row in rows if row[name] is not None]
    return statistics.median(values) if values else float("nan")


def processes_below(process: int) -> list[int]:
    """Return all processes a process has started, directly or not."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children[parent].append(int(entry.name))
    found = []
    below = list(children[process])
    while below:
        pid = below.pop()
        below += children[pid]
        found.append(pid)
    return found


def pss_of(pid: int) -> int:
    """Return a process's proportional share of memory in bytes, 0 when it has ended."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return 1024 * int(rollup.partition("\nPss:")[2].split()[0])
    return 0
