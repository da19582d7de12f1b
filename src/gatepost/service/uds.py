"""The UDS server: sockets, timers and signals around `service.uds_desk`. Run by `gatepost uds serve`.

One process, one thread. Promises: what was reported is in the database within `SWEEP_S` seconds and survives a restart;
SIGHUP takes the keys anew, SIGTERM and SIGINT end it with everything stored.
"""

import asyncio
import secrets
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import msgspec
import uvloop

from gatepost.service.uds_desk import UdsDesk
from gatepost.service.uds_reports import KEEP_S, ReportStore, StateError
from gatepost.wire.uds import SESSION_BYTES, UdsKey, parse_keys

SWEEP_S: Final = 1.0
RECEIVE_BYTES: Final = 4 * 1024 * 1024
"""Of the socket's buffer: some seconds of questions at full load; the system may give less."""
STATUS_SOCKET: Final = "status.sock"
DATABASE: Final = "reports.sqlite"
_STATUS_LIMIT: Final = 16 * 1024 * 1024
_STATUS_TIMEOUT_S: Final = 5.0

Report = Callable[[str, str], None]


class ServeError(Exception):
    """The server cannot run; the text says why."""


class ServeSettings(msgspec.Struct, frozen=True):
    """What the server is told."""

    listen: tuple[tuple[str, int], ...]
    keys: Path
    state: Path
    keep_s: float = KEEP_S


def serve(settings: ServeSettings, report: Report) -> None:
    """Serve until a signal ends it. `report(level, text)` writes to the log. ServeError."""
    keys = _read_keys(settings.keys)
    try:
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = ReportStore(settings.state / DATABASE, settings.keep_s)
    except (OSError, StateError) as error:
        raise ServeError(f"{settings.state}: {error}") from error
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Server(settings, keys, store, report).run())
    finally:
        store.close()


def read_status(state: Path) -> dict[str, object]:
    """Return what the server of this state directory says of itself. OSError when none answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_STATUS_TIMEOUT_S)
        connection.connect(str(state / STATUS_SOCKET))
        raw = bytearray()
        while (piece := connection.recv(65536)) and len(raw) < _STATUS_LIMIT:
            raw += piece
    return msgspec.json.decode(bytes(raw), type=dict[str, object])


def _read_keys(path: Path) -> tuple[UdsKey, ...]:
    try:
        return parse_keys(path.read_text())
    except OSError as error:
        raise ServeError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ServeError(f"{path}: {error}") from error


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, desk: UdsDesk) -> None:
        self._desk = desk

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._send = cast("asyncio.DatagramTransport", transport).sendto

    def datagram_received(self, data: bytes, addr: "tuple[str | object, int]") -> None:
        answer = self._desk.take(data, time.time())
        if answer is not None:
            self._send(answer, addr)

    def error_received(self, exc: Exception) -> None:
        """A client that has gone: nothing to do."""


class _Server:
    def __init__(self, settings: ServeSettings, keys: tuple[UdsKey, ...], store: ReportStore, report: Report) -> None:
        self._settings = settings
        self._report = report
        self._trouble = ""
        """Why the database takes nothing."""
        self._desk = UdsDesk(keys, store, secrets.token_bytes(SESSION_BYTES), time.time())
        report("I", f"UDS server: {len(keys)} clients, {store.entries} reports")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        transports = [await self._open(loop, *place) for place in self._settings.listen]
        status = self._settings.state / STATUS_SOCKET
        status.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._tell, status)
        status.chmod(0o600)
        self._report("I", "UDS server is in service")
        try:
            while not ended.is_set():
                self._sweep()
                try:
                    async with asyncio.timeout(SWEEP_S):
                        await ended.wait()
                except TimeoutError:
                    pass
        finally:
            for transport in transports:
                transport.close()
            server.close()
            status.unlink(missing_ok=True)
        self._report("I", "UDS server ends")

    async def _open(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> asyncio.DatagramTransport:
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: _Socket(self._desk), local_addr=(host, port))
        except OSError as error:
            raise ServeError(f"{host}:{port}: {error.strerror or error}") from error
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self._report("I", "UDS server listens on {}:{}".format(*own.getsockname()[:2]))
        return transport

    def _sweep(self) -> None:
        trouble = ""
        try:
            self._desk.sweep(time.time())
        except StateError as error:
            trouble = str(error)
        if trouble != self._trouble:
            self._report(
                "E" if trouble else "I", f"reports are not stored: {trouble}" if trouble else "reports are stored again"
            )
        self._trouble = trouble

    def _reload(self) -> None:
        try:
            keys = _read_keys(self._settings.keys)
        except ServeError as error:
            self._report("E", f"keys not taken, the old ones stay in force: {error}")
            return
        gone = self._desk.configure(keys)
        self._report("I", f"keys of {len(keys)} clients are in force; reports of {gone} that have none forgotten")

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = reader
        try:
            writer.write(msgspec.json.encode(self._desk.status(time.time())))
            async with asyncio.timeout(_STATUS_TIMEOUT_S):
                await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()
