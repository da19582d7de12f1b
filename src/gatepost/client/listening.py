"""Client programs that stay and listen: a door of the filtering server before the judge of a client. `listen`.

Used by `client.milter` and `client.pipe`. Promises: a socket file nobody listens at is replaced, one in use is not;
SIGHUP takes the settings anew for connections to come, broken ones leave those in force; above `client_sessions`
connections wait unaccepted; SIGTERM and SIGINT take no more connections and let those that are busy end within
`STOP_S`.
"""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvloop

from gatepost.client.program import ClientProgram
from gatepost.client.remote import RemoteJudge
from gatepost.client.settings import ClientSettings
from gatepost.config.doors import Door
from gatepost.service.channel import Channel, Serve
from gatepost.service.judge import Context

STOP_S: Final = 10.0
"""For connections under way when the program is to end; most of them are kept open by an MTA for nothing."""
BACKLOG: Final = 256
ACCEPTS_AT_ONCE: Final = 32
"""Connections taken in one turn of the event loop."""
RETRY_S: Final = 0.5
"""Pause when there is no descriptor for a connection."""
EXIT_CANNOT: Final = 71
"""EX_OSERR: it cannot listen."""

Make = Callable[[Context], Serve]


def listen(
    program: ClientProgram,
    address: str,
    door_of: Callable[[ClientSettings], Door],
    make: Make,
    *,
    socket_mode: int = 0o660,
) -> int:
    """Serve at `tcp:host:port` or `unix:/path` until a signal ends it; return the exit status.

    `door_of` gives the door as the settings have it, `make` what serves its connections.
    """
    try:
        listener = _bind(address, socket_mode)
    except (OSError, ValueError) as error:
        program.report("F", f"{program.name} cannot listen at {address}: {getattr(error, 'strerror', '') or error}")
        return EXIT_CANNOT
    pid_file = Path(program.settings.pid_file or os.devnull)
    try:
        pid_file.write_text(f"{os.getpid()}\n")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Listening(program, listener, door_of, make).run())
    except OSError as error:
        program.report("F", f"{program.name} ends: {error}")
        return EXIT_CANNOT
    finally:
        listener.close()
        with contextlib.suppress(OSError):
            if address.startswith("unix:"):
                Path(address.removeprefix("unix:")).unlink()
            if program.settings.pid_file:
                pid_file.unlink()
    return 0


class _Listening:
    def __init__(
        self, program: ClientProgram, listener: socket.socket, door_of: Callable[[ClientSettings], Door], make: Make
    ) -> None:
        self._program = program
        self._listener = listener
        self._door_of = door_of
        self._make = make
        self._channels: set[Channel] = set()
        self._coming: set[asyncio.Task[None]] = set()
        self._listens = False
        self._stops = False
        self._quiet = asyncio.Event()
        self._judge: RemoteJudge | None = None

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reread)
        self._open()
        self._listener.setblocking(False)
        self._listen()
        self._program.report("I", f"{self._program.name} listens")
        await stop.wait()
        self._stops = True
        self._rest()
        self._listener.close()  # who comes now is to hear it at once
        await self._end()

    def _listen(self) -> None:
        free = len(self._channels) < self._program.settings.client_sessions
        if free and not self._listens and not self._stops:
            self._listens = True
            self._loop.add_reader(self._listener, self._accept)

    def _rest(self) -> None:
        if self._listens:
            self._listens = False
            self._loop.remove_reader(self._listener)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._program.report("E", f"connections wait: {error.strerror}")
                self._rest()
                self._loop.call_later(RETRY_S, self._listen)
                return
            connection.setblocking(False)
            channel = self._channel()
            task = self._loop.create_task(self._connect(connection, channel))
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)
            if len(self._channels) >= self._program.settings.client_sessions:
                self._rest()
                return

    async def _connect(self, connection: socket.socket, channel: Channel) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: channel, connection)
        except OSError as error:  # it has gone again
            connection.close()
            self._ended(channel, ConnectionError(str(error)))

    async def _end(self) -> None:
        if self._channels:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._quiet.wait()
        for channel in tuple(self._channels):
            channel.abort()
        if self._judge is not None:
            self._judge.close()
        await asyncio.sleep(0)
        self._program.report("I", f"{self._program.name} ends")

    def _open(self) -> None:
        """Make what serves connections from the settings in force."""
        settings = self._program.settings
        judge = RemoteJudge(settings.remote, self._program.report)
        door = self._door_of(settings)
        context = Context(door=door, judge=judge, hostname=socket.gethostname(), report=self._program.report)
        self._serve = self._make(context)
        self._timeout_s = door.data_timeout
        if self._judge is not None:
            self._judge.close()
        self._judge = judge

    def _reread(self) -> None:
        if not self._program.reread():
            return
        try:
            self._open()
        except OSError as error:
            self._program.report("E", f"the settings in force stay: {error}")

    def _channel(self) -> Channel:
        channel = Channel(self._serve, self._timeout_s, self._ended)
        self._channels.add(channel)
        self._quiet.clear()
        return channel

    def _ended(self, channel: Channel, failure: BaseException | None) -> None:
        self._channels.discard(channel)
        self._listen()
        if not self._channels:
            self._quiet.set()
        if failure is not None and not isinstance(failure, (ConnectionError, TimeoutError)):
            self._program.report("E", f"a connection failed: {failure!r}")


def _bind(address: str, mode: int) -> socket.socket:
    kind, _, place = address.partition(":")
    if kind == "unix":
        return _bind_path(place, mode)
    host, _, port = place.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _bind_path(path: str, mode: int) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, f"{path} is there and no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink()  # of one that was killed
            else:
                raise OSError(errno.EADDRINUSE, "somebody listens there already")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        Path(path).chmod(mode)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
