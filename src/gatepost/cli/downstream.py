"""The embedded downstream server of `gatepost demo`: takes everything, stores each mail as a file, relays nothing."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from gatepost.smtp import server as smtp

SIZE_LIMIT = 100 * 1024 * 1024
SESSION_LIMIT = 10 * SIZE_LIMIT


class Downstream(asyncio.Protocol):
    """One session of the downstream server."""

    def __init__(self, folder: Path, arrived: Callable[[bytes], None]) -> None:
        self._folder = folder
        self._arrived = arrived
        settings = smtp.ServerSettings(
            hostname="downstream.localdomain",
            size_limit=SIZE_LIMIT,
            session_bytes_limit=SESSION_LIMIT,
            messages_limit=100_000,
            recipients_limit=100_000,
            hops_limit=100,
        )
        self._session = smtp.ServerSession(settings, "127.0.0.1")
        self._chunks: list[bytes] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._session.greeting())

    def data_received(self, data: bytes) -> None:
        session = self._session
        session.feed(data)
        while (event := session.next_event()) is not None:
            match event:
                case smtp.DataChunk():
                    self._chunks.append(event.data)
                case smtp.DataEnd():
                    self._store()
                    session.answer()
                case smtp.Hello() | smtp.MailFrom() | smtp.RcptTo() | smtp.DataBegin():
                    self._chunks.clear()
                    session.answer()
        self._transport.write(session.take_output())
        if session.closed:
            self._transport.close()

    def _store(self) -> None:
        content = b"".join(self._chunks)
        self._chunks.clear()
        number = sum(1 for _ in self._folder.iterdir()) + 1
        (self._folder / f"{number:05}.eml").write_bytes(content)
        self._arrived(content)


async def serve(folder: Path, port: int, arrived: Callable[[bytes], None]) -> asyncio.Server:
    """Listen on 127.0.0.1:`port` and store what comes below `folder`; `arrived` gets each content."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, at the start
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Downstream(folder, arrived), "127.0.0.1", port)
