"""The licensing daemon of the filtering server, and who asks it for every message (row F-ASD-06).

`LicenceServer` is opened by the master when `licence_daemon.license_listen` names a local socket; `LicenceClient` is
the doors' side. A question is the line `MAY`, its answer `YES` or `NO why`; they come in the same order on a connection
that stays open. Promises: a daemon that is away or slow costs a message its time-outs and no more; "I cannot tell" is
never yes.
"""

import asyncio
import contextlib
import os
import socket
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gatepost.config.licence_daemon import LicenceDaemon
from gatepost.service.channel import Channel, ChannelClosed

QUESTION: Final = b"MAY\n"
YES: Final = b"YES\n"
LINE_LIMIT: Final = 300
"""Bytes of a question or an answer."""


class LicenceServer:
    """The daemon's socket."""

    def __init__(self, may_filter: Callable[[], str], report: Callable[[str, str], None]) -> None:
        """`may_filter` returns "", or why mail may not be checked for spam; `report(level, text)` logs."""
        self._may_filter = may_filter
        self._report = report
        self._server: asyncio.Task[asyncio.Server] | None = None
        self._path = ""
        self._channels: set[Channel] = set()

    def configure(self, settings: LicenceDaemon) -> None:
        """Take a (new) configuration into use. A socket that cannot be had is on the log: doors go on without it."""
        self._settings = settings
        if settings.license_listen == self._path:
            return
        self.close()
        self._path = settings.license_listen
        if self._path:
            try:
                sock = _listen(self._path)
            except OSError as error:
                self._report("E", f"licensing daemon: cannot listen at {self._path}: {error.strerror}")
                self._path = ""
            else:
                opening = asyncio.get_running_loop().create_unix_server(self._begin, sock=sock)
                self._server = asyncio.ensure_future(opening)

    def close(self) -> None:
        """End it, though it may be opening yet."""
        if self._server is not None:
            self._server.add_done_callback(lambda opened: opened.result().close())
            self._server = None
            with contextlib.suppress(OSError):
                Path(self._path).unlink(missing_ok=True)
        self._path = ""
        for channel in list(self._channels):
            channel.abort()

    def _begin(self) -> Channel:
        channel = Channel(self._serve, self._settings.license_idle_timeout, self._ended)
        self._channels.add(channel)
        return channel

    def _ended(self, channel: Channel, _: BaseException | None) -> None:
        self._channels.discard(channel)

    async def _serve(self, channel: Channel) -> None:
        if len(self._channels) > self._settings.license_max_connections:
            return
        pending = b""
        while True:
            data = await channel.read(self._settings.license_data_timeout if pending else None)
            if not data:
                return
            *questions, pending = (pending + data).split(b"\n")
            if len(pending) > LINE_LIMIT or any(each + b"\n" != QUESTION for each in questions):
                return
            if questions:
                why = self._may_filter()
                answer = (
                    YES if not why else f"NO {' '.join(why.split())[: LINE_LIMIT - 10]}\n".encode("ascii", "replace")
                )
                channel.write(answer * len(questions))
                await channel.drain()


def ask_once(settings: LicenceDaemon) -> str:
    """Return "" when the daemon that doors ask lets mail be checked for spam, else why not. Blocks."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(settings.filter_license_connect_timeout)
            probe.connect(settings.filter_license_connect_to)
            probe.settimeout(settings.filter_license_data_timeout)
            probe.sendall(QUESTION)
            with probe.makefile("rb") as answers:
                answer = answers.readline(LINE_LIMIT)
    except TimeoutError:
        return _SILENT
    except OSError as error:
        return _unreachable(error)
    if answer == YES:
        return ""
    return _why(answer) if answer.startswith(b"NO") else "the licensing daemon says what it was not asked"


class LicenceClient:
    """Asks the daemon over one connection, however many messages wait."""

    def __init__(self, settings: LicenceDaemon) -> None:
        self._settings = settings
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()
        self._asked: deque[asyncio.Future[str]] = deque()

    async def ask(self) -> str:
        """Return "" when mail may be checked for spam, else why not."""
        try:
            kept = self._channel is not None
            try:
                return await self._ask()
            except ConnectionError:
                if not kept:
                    raise
            return await self._ask()  # the daemon ended an idle connection at the same moment
        except TimeoutError:
            self._drop()  # answers that come late would be taken for those of later questions
            return _SILENT
        except OSError as error:
            return _unreachable(error)

    async def _ask(self) -> str:
        channel = await self._connect()
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        channel.write(QUESTION)
        self._asked.append(answer)
        async with asyncio.timeout(self._settings.filter_license_data_timeout):
            return await answer

    async def _connect(self) -> Channel:
        if self._channel is not None and not self._channel.gone:
            return self._channel
        async with self._opening:
            if self._channel is not None and not self._channel.gone:
                return self._channel
            settings = self._settings
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(settings.filter_license_connect_timeout):
                _, channel = await loop.create_unix_connection(
                    lambda: Channel(self._listen, _FOR_EVER_S, self._ended), settings.filter_license_connect_to
                )
            self._channel = channel
            return channel

    async def _listen(self, channel: Channel) -> None:
        pending = b""
        while data := await channel.read():
            *answers, pending = (pending + data).split(b"\n")
            for answer in answers:
                if not self._asked or (answer + b"\n" != YES and not answer.startswith(b"NO")):
                    raise ChannelClosed("the licensing daemon says what it was not asked")
                waiting = self._asked.popleft()
                if not waiting.done():
                    waiting.set_result("" if answer + b"\n" == YES else _why(answer))
            if len(pending) > LINE_LIMIT:
                raise ChannelClosed("the licensing daemon babbles")

    def _ended(self, channel: Channel, _: BaseException | None) -> None:
        if channel is self._channel:
            self._drop()

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        asked, self._asked = self._asked, deque()
        for waiting in asked:
            if not waiting.done():
                waiting.set_exception(ChannelClosed("it closed the connection"))
        if channel is not None:
            channel.abort()

    def close(self) -> None:
        """Close the connection."""
        self._drop()


def _listen(path: str) -> socket.socket:
    """Return a listening local socket for our own group; a stale one is taken the place of."""
    sock = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o117)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(Path(path).lstat().st_mode):
                Path(path).unlink()
        sock.bind(path)
        sock.listen()
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


_FOR_EVER_S: Final = 1e9
"""The daemon ends idle connections; another is opened with the next question."""


_SILENT: Final = "the licensing daemon does not answer"


def _unreachable(error: OSError) -> str:
    return f"the licensing daemon cannot be reached: {error.strerror or error}"


def _why(answer: bytes) -> str:
    return answer[2:].decode("ascii", "replace").strip() or "the licence does not allow it"
