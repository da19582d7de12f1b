"""The helper that runs the administrator's scanners: `python -m gatepost.master.command_helper`, a child of the master.

Standard input is the line to the master: first one line of JSON (`HelperSettings`), then nothing until its end, which
ends the helper. Standard output gets one line, `ready`, when the socket listens. Relays connect, name the engine and
pass the connection on to a filter, which sends objects (`wire.command`).

Promises: the helper and all it starts have no network, write nowhere but to a scratch directory of their own that is
emptied when nothing runs, and see programs, libraries and what the engine's `readable` names only (as far as the kernel
has Landlock and seccomp; what is missing is said on standard error). Every run has limits of memory, processor and wall
time, and its process group is killed as a whole at its end: nothing it started stays. Memory is bounded by the engines'
`connections` and `max_size`.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import msgspec

from gatepost.config.engines import EngineTable
from gatepost.master.command_run import run_command
from gatepost.master.command_walls import CommandWalls, enter_walls
from gatepost.wire.command import GREETING, OBJECT, CommandError, CommandOutcome, build_outcome, parse_greeting

SETTINGS_LIMIT = 256 * 1024
"""Bytes of the settings line."""
BACKLOG = 64
GREETING_S = 10.0
"""Time a relay has to name the engine."""
COPY_SIZE = 256 * 1024
"""Bytes taken from a filter at once."""


class HelperSettings(msgspec.Struct, frozen=True):
    """What the helper is told."""

    engines: tuple[EngineTable, ...]
    """Of kind `command`."""
    scratch: str
    """Directory of its own, to be made anew; the only place where a command can write."""


class Helper:
    """The connections of one helper process."""

    def __init__(self, settings: HelperSettings, walls: CommandWalls) -> None:
        self._engines = {engine.name: engine for engine in settings.engines}
        self._scratch = Path(settings.scratch)
        self._walls = walls
        self._places = {engine.name: asyncio.Semaphore(engine.connections) for engine in settings.engines}
        self._running = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until its filter closes it."""
        with contextlib.suppress(asyncio.IncompleteReadError, CommandError, OSError, TimeoutError):
            async with asyncio.timeout(GREETING_S):
                name = parse_greeting(await reader.readexactly(GREETING.size))
            engine = self._engines.get(name)
            while engine is not None:
                (size,) = OBJECT.unpack(await reader.readexactly(OBJECT.size))
                if size > engine.max_size:
                    break
                outcome = await self._scan(engine, reader, size)
                writer.write(build_outcome(outcome))
                await writer.drain()
        writer.close()

    async def _scan(self, engine: EngineTable, reader: asyncio.StreamReader, size: int) -> CommandOutcome:
        descriptor = os.memfd_create("object", os.MFD_CLOEXEC)
        try:
            left = size
            while left:
                piece = await reader.read(min(left, COPY_SIZE))
                if not piece:
                    raise OSError("the filter has gone")
                os.write(descriptor, piece)  # memory takes a piece whole, or fails
                left -= len(piece)
            os.lseek(descriptor, 0, os.SEEK_SET)
            async with self._places[engine.name]:
                self._running += 1
                try:
                    return await run_command(engine, descriptor, self._scratch, self._walls)
                finally:
                    self._running -= 1
                    if not self._running:
                        _empty(self._scratch)
        finally:
            os.close(descriptor)


def _empty(directory: Path) -> None:
    """Remove what commands have left behind."""
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


async def _work(helper: Helper, listener: socket.socket, lifeline: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def look() -> None:
        if not os.read(lifeline, SETTINGS_LIMIT):
            ended.set()

    loop.add_reader(lifeline, look)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    for number in (signal.SIGINT, signal.SIGHUP):  # from a terminal they reach the whole group; the master decides
        signal.signal(number, signal.SIG_IGN)
    server = await asyncio.start_unix_server(helper.serve, sock=listener)
    print("ready", flush=True)
    await ended.wait()
    server.close()


def _read_settings(lifeline: int) -> HelperSettings:
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(lifeline, SETTINGS_LIMIT)
        line += chunk
        if not chunk or len(line) > SETTINGS_LIMIT:
            raise SystemExit("gatepost command helper: no settings on standard input")
    return msgspec.json.decode(line, type=HelperSettings)


def main() -> None:
    """Run the helper."""
    parser = argparse.ArgumentParser(
        prog="gatepost.master.command_helper", description="Runs scanners for the filters."
    )
    parser.add_argument("--socket", type=Path, required=True, help="where relays connect")
    path: Path = parser.parse_args().socket
    lifeline = os.dup(0)
    settings = _read_settings(lifeline)
    scratch = Path(settings.scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(0o700, parents=True)
    listener = _listen(path)
    readable = [each for engine in settings.engines for each in (engine.command[0], *engine.readable)]
    walls = enter_walls(readable, scratch)
    for missing in walls.missing:
        print(f"gatepost command helper runs without: {missing}", file=sys.stderr, flush=True)
    asyncio.run(_work(Helper(settings, walls), listener, lifeline))


if __name__ == "__main__":
    main()
