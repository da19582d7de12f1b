"""One connection of a door: bytes from an MTA or a client in, bytes out, with the limits every door has.

A door is a coroutine `serve(channel, ...)`: it reads, feeds its sans-I/O session, writes. The channel closes when that
returns or fails. Promises: never more than `UNREAD_LIMIT` bytes are kept unread; a client that neither sends nor reads
within the time ends in `TimeoutError`; its end is told once, when the socket is closed and not before: who does not
read what was said last counts until the time is over.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final, cast

UNREAD_LIMIT: Final = 256 * 1024
"""Bytes kept that the door has not read: above them reading from the client pauses."""


class ChannelClosed(ConnectionError):  # noqa: N818 - a state
    """The client has gone, or its connection is being closed."""


ASKER: ContextVar[str] = ContextVar("asker", default="")
"""Address of the client whose talk the running task is, "" on a local socket."""
Serve = Callable[["Channel"], Awaitable[None]]


class Channel(asyncio.Protocol):
    """A client's connection."""

    __slots__ = (
        "_buffer", "_deadline", "_dropped", "_eof", "_failure", "_loop", "_reader", "_reading", "_serve", "_task",
        "_timeout_s", "_timer", "_transport", "_writer", "on_end", "peer",
    )  # fmt: skip

    def __init__(
        self, serve: Serve, timeout_s: float, on_end: "Callable[[Channel, BaseException | None], None]"
    ) -> None:
        """`serve` talks; `on_end` is told when that is over and the connection closed, and what `serve` failed with."""
        self._serve = serve
        self._timeout_s = timeout_s
        self.on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._eof = False
        self._reading = True
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._deadline = 0.0
        """When the present wait for the client ends; loop time."""
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[BaseException | None] | None = None
        """What is said, until it is over."""
        self._failure: BaseException | None = None
        """What it failed with."""
        self._dropped = False
        """Before there was a connection."""
        self.peer = ""
        """Address of the client, "" on a local socket."""

    # --- the transport's side

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", base)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else ""
        if self._dropped:
            transport.abort()
            return
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._over)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > UNREAD_LIMIT and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._wake(self._reader)

    def eof_received(self) -> bool:
        self._eof = True
        self._wake(self._reader)
        return True  # one that has only ended its own side still gets its answer

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._eof = True
        self._wake(self._reader)
        self._wake(self._writer)
        if self._task is None:
            self.on_end(self, self._failure)

    def pause_writing(self) -> None:
        self._writer = self._loop.create_future()

    def resume_writing(self) -> None:
        self._wake(self._writer)
        self._writer = None

    @staticmethod
    def _wake(future: "asyncio.Future[None] | None") -> None:
        if future is not None and not future.done():
            future.set_result(None)

    # --- the door's side

    @property
    def waits(self) -> bool:
        """Whether the door waits for the client, and the client for nothing."""
        return self._reader is not None and not self._reader.done()

    @property
    def gone(self) -> bool:
        """Whether the client has closed its connection altogether: nobody waits for an answer any more."""
        return self._transport is None

    @property
    def ended(self) -> bool:
        """Whether the client sends nothing more, and all it sent was read: it may have gone for good."""
        return self._eof and not self._buffer

    async def read(self, timeout_s: float | None = None) -> bytes:
        """Return what has come, waiting for the first byte; b"" at the end. TimeoutError."""
        if not self._buffer:
            if self._eof:
                return b""
            self._reader = self._loop.create_future()
            self._watch(self._timeout_s if timeout_s is None else timeout_s)
            await self._reader
        data = bytes(self._buffer)
        self._buffer.clear()
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()
        return data

    def _watch(self, timeout_s: float) -> None:
        """Begin a wait. A timer that fires early enough is not moved: it sees then how long the wait may still last."""
        self._deadline = deadline = self._loop.time() + timeout_s
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        reader = self._reader
        if reader is None or reader.done():
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
        else:
            reader.set_exception(TimeoutError("the client is silent"))

    def write(self, data: bytes) -> None:
        """Send. ChannelClosed."""
        if self._transport is None or self._transport.is_closing():
            raise ChannelClosed("the client has gone")
        if data:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has read enough of what was sent. TimeoutError."""
        if self._writer is not None:
            async with asyncio.timeout(self._timeout_s):
                await self._writer

    def close(self) -> None:
        """Close when what was sent has gone out."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection, and what is said on it."""
        self._dropped = True
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _run(self) -> BaseException | None:
        """Talk; return what that failed with: one connection's fault must not end the others."""
        ASKER.set(self.peer)
        try:
            await self._serve(self)
        except Exception as error:  # noqa: BLE001 - as said
            return error
        return None

    def _over(self, task: "asyncio.Task[BaseException | None]") -> None:
        self._task = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._failure = None if task.cancelled() else task.result()
        transport = self._transport
        if transport is None:
            self.on_end(self, self._failure)
            return
        transport.close()
        if transport.get_write_buffer_size():
            self._loop.call_later(self._timeout_s, transport.abort)
