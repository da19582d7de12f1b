"""The supervisor of a daemon's master: starts it again when it ends otherwise than it was told to (specification
management.md §4, row F-MGMT-09).

Run by `master.daemon` in a small process of its own, which stays the parent of every master; under a service manager
that watches by itself there is none. It forwards the daemon's signals. Relays of a dead master end by themselves, and
the next finds their mail on the disk. `Restarts` is pure; `supervise` is the shell around it.
"""

import mmap
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from gatepost.master.exit_code import ExitCode

RESTARTS_LIMIT: Final = 5
"""Documented: it gives up after so many restarts ..."""
RESTARTS_WINDOW_S: Final = 600.0
"""... in so long a time."""
FIRST_PAUSE_S: Final = 0.5
"""Before a restart, doubling: relays of the dead master let go of their ports and shards meanwhile."""
STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
FORWARDED: Final = STOP_SIGNALS | {signal.SIGHUP, signal.SIGUSR1}
_WAITED: Final = FORWARDED | {signal.SIGCHLD}


class Supervision(msgspec.Struct, frozen=True):
    """What a master is told of its supervisor."""

    pid: int = 0
    """0 = nobody, or a service manager."""
    restarts: int = 0
    """Earlier masters of this daemon that died."""
    last_end: str = ""
    """How the last of them ended."""


class Restarts:
    """How often a master may be started again."""

    def __init__(self) -> None:
        self._at: deque[float] = deque()

    def plan(self, now: float) -> float | None:
        """Return the pause in seconds before the next start, None to give up. `now` is monotonic."""
        while self._at and now - self._at[0] > RESTARTS_WINDOW_S:
            self._at.popleft()
        if len(self._at) >= RESTARTS_LIMIT:
            return None
        self._at.append(now)
        return FIRST_PAUSE_S * 2.0 ** (len(self._at) - 1)


def describe_end(status: int) -> str:
    """Return how a process ended, from the status that `os.waitpid` gives."""
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"status {code}"


Work = Callable[[Supervision, Callable[[], None]], int]
"""Be a master, call the second argument once in service, and return the exit status."""


def supervise(work: Work, say: Callable[[str, str], None], at_fork: Callable[[], None]) -> int:
    """Run `work` in a child, and again when it dies; return the daemon's exit status.

    `at_fork` is called in each child before it; `say(level, text)` logs. A master that cannot start ends the daemon
    with its code, unless one has been in service before.
    """
    in_service = mmap.mmap(-1, 1)  # one byte shared with the children
    former_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    restarts = Restarts()
    count, last_end = 0, ""
    while True:
        told = Supervision(os.getpid(), count, last_end)
        pid = os.fork()
        if pid == 0:
            _be_child(lambda told: work(told, lambda: in_service.__setitem__(0, 1)), told, former_mask, at_fork)
        status, stopping = _watch(pid)
        code = os.waitstatus_to_exitcode(status)
        if stopping or code == ExitCode.STARTED:
            return ExitCode.STARTED
        if code > 0 and not in_service[0]:
            return code
        last_end = describe_end(status)
        pause = restarts.plan(time.monotonic())
        if pause is None:
            say(
                "F",
                f"the master ended ({last_end}) after {RESTARTS_LIMIT} restarts in {RESTARTS_WINDOW_S / 60:.0f} "
                "minutes: given up. See above why, then `gatepost start`",
            )
            return ExitCode.SYSTEM
        count += 1
        say("E", f"the master ended ({last_end}), starts again in {pause:g} s: restart {count}")
        if _pause(pause):
            return ExitCode.STARTED


def _be_child(
    work: Callable[[Supervision], int],
    told: Supervision,
    mask: "set[int | signal.Signals]",
    at_fork: Callable[[], None],
) -> None:
    """Do the work in a fresh child, and end it."""
    code: int = ExitCode.SYSTEM
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        at_fork()
        code = work(told)
        sys.stdout.flush()
    finally:
        os._exit(code)


def _watch(pid: int) -> tuple[int, bool]:
    """Forward signals until the child ends; return its status, and whether it had been told to stop."""
    stopping = False
    while True:
        number = signal.sigwaitinfo(_WAITED).si_signo
        if number == signal.SIGCHLD:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status, stopping
            continue
        stopping = stopping or number in STOP_SIGNALS
        os.kill(pid, number)  # not reaped yet: the number is still its own


def _pause(pause_s: float) -> bool:
    """Wait; True when the daemon is told to stop meanwhile."""
    end = time.monotonic() + pause_s
    while (left := end - time.monotonic()) > 0:
        found = signal.sigtimedwait(_WAITED, left)
        if found is not None and found.si_signo in STOP_SIGNALS:
            return True
    return False
