"""Children of the master: one process each, watched, started again with back-off when it ends.

`plan_restart` is pure; `Child` is the shell around one process.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence

from gatepost.master.fork_server import ForkedProcess, Process

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 60.0
"""Bounds of the pause before a restart (docs/architecture.md §3): children are restarted for ever."""
SETTLED_S = 30.0
"""A child that lived this long starts its back-off anew."""
GIVEN_UP_AFTER = 5
"""Ends in a row after which the state is shown as failing."""


def plan_restart(ends_in_a_row: int) -> float:
    """Return the pause in seconds before start number `ends_in_a_row` + 1: doubling, at most a minute."""
    return min(FIRST_PAUSE_S * 2.0 ** min(ends_in_a_row - 1, 30), LONGEST_PAUSE_S)


class Child:
    """One supervised process."""

    def __init__(
        self,
        name: str,
        start: Callable[[], Process],
        *,
        ended: Callable[["Child", int], None],
        say: Callable[[str, str], None],
    ) -> None:
        """`start` makes the process; `ended(child, status)` is told of each end before a restart is planned;
        `say(level, text)` logs.
        """
        self.name = name
        self._start = start
        self._ended = ended
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._process: Process | None = None
        self._pidfd = -1
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = True
        self._gone = asyncio.Event()
        self._gone.set()
        self.ends = 0
        """Ends in a row, each soon after its start."""
        self.restarts = 0
        self.trouble = ""
        """What it last complained of, where someone listens to it."""

    @property
    def pid(self) -> int:
        """Process id, 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    @property
    def state(self) -> str:
        """`running`, `waiting` for a restart, `failing` (waiting, after many ends in a row), `stopped`."""
        if self._process is not None:
            return "running"
        if not self._wanted:
            return "stopped"
        return "failing" if self.ends >= GIVEN_UP_AFTER else "waiting"

    @property
    def settled(self) -> bool:
        """It runs, and not only between two of several ends in a row."""
        return self._process is not None and (self.ends < 2 or self._loop.time() - self._since >= SETTLED_S)

    def start(self) -> None:
        """Start the process now."""
        self._timer = None
        self._gone.clear()
        self._since = self._loop.time()
        try:
            self._process = self._start()
        except OSError as error:
            self._say("E", f"{self.name} cannot be started: {error}")
            self._over(-1)
            return
        process = self._process
        self._pidfd = process.pidfd if isinstance(process, ForkedProcess) else os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)

    def signal(self, number: int) -> None:
        """Send a signal, if there is a process."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def dismiss(self) -> None:
        """Do not start it again."""
        self._wanted = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the process to end; False when it still runs after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def _on_exit(self) -> None:
        assert self._process is not None
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        status = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it had not read before it ended
                    stream.close()
        self._over(status)

    def _over(self, status: int) -> None:
        self._process = None
        self._gone.set()
        self._ended(self, status)
        if not self._wanted:
            return
        self.ends = 1 if self._loop.time() - self._since >= SETTLED_S else self.ends + 1
        pause = plan_restart(self.ends)
        how = f"signal {-status}" if status < 0 else f"status {status}"
        self._say("E", f"{self.name} ended ({how}), starts again in {pause:.1f} s")
        self.restarts += 1
        self._timer = self._loop.call_later(pause, self.start)


async def stop_all(children: Sequence[Child], timeout_s: float) -> None:
    """Wait for dismissed children to end, and kill those that outlast `timeout_s`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    for child in children:
        if not await child.wait(max(0.0, end - loop.time())):
            child.signal(signal.SIGKILL)
            await child.wait(timeout_s)
