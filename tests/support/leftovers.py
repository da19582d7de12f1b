"""Ends what a run of tests leaves behind, however it ends: by its last test, by Ctrl-C, by `kill -9`.

Each process of tests marks the environment of all that it starts, and begins a watcher that holds one end of a pipe. When
the process of tests is no more, the watcher kills whatever still carries the mark: gateways, daemons, servers of others.
"""

import contextlib
import functools
import os
import signal
import sys
import time
from pathlib import Path

MARK = "GATEPOST_TESTS_OF"
"""Variable of the environment; its value is of one process of tests alone."""
_ROUNDS = 100
_PAUSE_S = 0.05
"""Between looks: what is killed may have been about to start another."""


@functools.cache
def watch() -> int:
    """Mark all that this process will start, and begin its watcher. Return the descriptor whose end it waits for."""
    mark = f"{os.getpid()}-{time.time_ns()}"
    os.environ[MARK] = mark
    theirs, ours = os.pipe()
    silence = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", __file__, mark],
        {},  # the watcher itself is not marked
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 0), *silence],
        setsid=True,
    )
    os.close(theirs)
    return ours


def find_marked(mark: str) -> list[int]:
    """Return the processes that were started with this mark, or forked off such a one."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def end_marked(mark: str) -> None:
    """Kill all that carry the mark, and what they may have started meanwhile."""
    for _ in range(_ROUNDS):
        marked = find_marked(mark)
        if not marked:
            return
        for pid in marked:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    while os.read(0, 1):
        pass
    end_marked(sys.argv[1])
