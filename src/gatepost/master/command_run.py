"""One run of an administrator's scanner: started, read, ended in time, its whole process group killed.

Called by `master.command_helper`.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path

from gatepost.config.engines import EngineTable
from gatepost.master.command_walls import CommandWalls
from gatepost.model.foreign_text import printable
from gatepost.wire.command import OUTPUT_LIMIT, CommandOutcome

KEPT = 4096
"""Bytes kept of what a command writes: the last line is what counts."""
READ_SIZE = 64 * 1024
SHARE_OF_TIMEOUT = 0.9
"""A run ends before the filter stops waiting for it, so that the filter learns why."""
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}


class _Run:
    """A started command."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process = process
        self._pipe = process.stdout.fileno()
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(process.pid)
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.written = b""
        os.set_blocking(self._pipe, False)
        self._loop.add_reader(self._pipe, self._read)
        self._loop.add_reader(self._pidfd, self._on_end)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._pipe, READ_SIZE):
                self.written = (self.written + chunk)[-KEPT:]
            self._loop.remove_reader(self._pipe)

    def _on_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        if not self.ended.done():
            self.ended.set_result(None)

    def end(self) -> int:
        """Kill whatever is left of the group, return the exit status. Only then is the leader collected: until then
        the group's number can be nobody else's.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._read()
        self._loop.remove_reader(self._pipe)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


async def run_command(engine: EngineTable, descriptor: int, scratch: Path, walls: CommandWalls) -> CommandOutcome:
    """Return how the engine's command ended with the object behind `descriptor` as its standard input."""
    try:
        process = _start(engine, descriptor, scratch, walls)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return CommandOutcome(trouble=f"it cannot be started: {error}"[:OUTPUT_LIMIT])
    run = _Run(process)
    timeout_s = engine.timeout * SHARE_OF_TIMEOUT
    overrun = False
    try:
        async with asyncio.timeout(timeout_s):
            await run.ended
    except TimeoutError:
        overrun = True
    finally:
        code = run.end()
    if overrun:
        return CommandOutcome(trouble=f"it did not end within {timeout_s:g} s")
    if code < 0:
        return CommandOutcome(trouble=f"it was ended by signal {-code}")
    return CommandOutcome(code, _last_line(run.written))


def _start(engine: EngineTable, descriptor: int, scratch: Path, walls: CommandWalls) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the administrator's own program
        engine.command,
        stdin=descriptor,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=scratch,
        env=ENVIRONMENT | {"TMPDIR": str(scratch), "HOME": str(scratch)},
        process_group=0,
        preexec_fn=lambda: walls.enter_child(engine.timeout),  # noqa: PLW1509 - the helper has one thread
    )


def _last_line(written: bytes) -> str:
    lines = [line for line in written.decode("utf-8", "replace").splitlines() if line.strip()]
    text = lines[-1].strip() if lines else ""
    return printable(text[:OUTPUT_LIMIT])
