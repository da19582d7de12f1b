"""The link between the master and the console: many calls at once over one socket pair, numbered.

The console gets its end at its start and may open no other socket. Each call carries the credential of the person or
program it is made for: the master decides whose it is and what they may do, so a console that is taken over can do no
more than those who are signed in just then.

Frame: 4 bytes of length, most significant first, then JSON.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gatepost.control.socket import ANSWER_LIMIT, CALL_TIMEOUT_S, ControlError, Response

CALLS_LIMIT = 256
"""Calls of one console under way; more wait their turn."""
CALL_LIMIT = 16 * 1024 * 1024
"""Bytes of one call: the largest has a file of 4 MB in base64."""
HELD_LIMIT = 2 * CALL_LIMIT
"""Bytes of all calls under way: a console that is taken over does not fill the master's memory."""


class LinkCall(msgspec.Struct, frozen=True):
    """console → master."""

    number: int
    call: str
    arguments: dict[str, Any] = {}
    credential: str = ""
    """Session or token; "" = nobody has signed in."""
    address: str = ""
    """The client's."""
    via: str = "console"
    key: str = ""
    """Told apart by this, the same act asked for twice is done once (`master.replays`)."""


class LinkAnswer(msgspec.Struct, frozen=True):
    """master → console."""

    number: int
    response: Response


class RefusedCall(ControlError):  # noqa: N818 - an answer
    """The caller may not do it."""


class SignedOut(ControlError):  # noqa: N818 - an answer
    """The credential is nobody's, or is no longer."""


class _Gone(Exception):  # noqa: N818 - what happened
    """The other end has closed."""


Answering = Callable[[LinkCall], Awaitable[Response]]


async def serve_link(sock: socket.socket, answer: Answering) -> None:
    """Answer calls until the other end closes. `answer` never raises."""
    reader, writer = await asyncio.open_connection(sock=sock, limit=CALL_LIMIT)
    under_way = asyncio.Semaphore(CALLS_LIMIT)
    tasks: set[asyncio.Task[None]] = set()
    held, freed = 0, asyncio.Event()

    async def one(call: LinkCall, length: int) -> None:
        nonlocal held
        try:
            _send(writer, call.number, await answer(call))
            await writer.drain()
        except OSError:
            pass  # the console is gone
        finally:
            under_way.release()
            held -= length
            freed.set()

    try:
        while True:
            length = await _receive_length(reader, CALL_LIMIT)
            while held and held + length > HELD_LIMIT:
                freed.clear()
                await freed.wait()
            call = msgspec.json.decode(await reader.readexactly(length), type=LinkCall)
            await under_way.acquire()
            held += length
            task = asyncio.create_task(one(call, length))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError, RecursionError):
        pass  # the console is gone, or is not ours any more: the master ends and restarts it
    finally:
        for task in tasks:
            task.cancel()
        await _close(writer)


class LinkClient:
    """The console's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Begin: calls can be made once this is done."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._sock, limit=ANSWER_LIMIT)

    async def run(self) -> None:
        """Receive answers until the master is gone."""
        assert self._reader is not None, "not open"
        try:
            while True:
                answer = msgspec.json.decode(await _receive(self._reader), type=LinkAnswer)
                waiting = self._waiting.pop(answer.number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer.response)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(_Gone())
            if self._writer is not None:
                await _close(self._writer)

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        credential: str = "",
        address: str = "",
        via: str = "console",
        key: str = "",
    ) -> Any:
        """Return the answer. ControlError (RefusedCall when the credential does not do) says why there is none."""
        if self._writer is None:
            raise ControlError("the gateway does not answer yet", "away")
        self._number += 1
        number = self._number
        waiting: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            data = msgspec.json.encode(LinkCall(number, name, arguments, credential, address, via, key))
            if len(data) > CALL_LIMIT:
                raise ControlError(f"{name}: more than {CALL_LIMIT} bytes at once", "unfit")
            _write(self._writer, data)
            await self._writer.drain()
            async with asyncio.timeout(CALL_TIMEOUT_S):
                response = await waiting
        except TimeoutError as error:
            raise ControlError(f"{name}: no answer within {CALL_TIMEOUT_S:g} s", "away") from error
        except (OSError, _Gone) as error:
            raise ControlError("the gateway is gone", "away") from error
        finally:
            self._waiting.pop(number, None)
        return result_of(response)


def result_of(response: Response) -> Any:
    """Return what a call came to. ControlError (SignedOut, RefusedCall) says why there is nothing."""
    if response.signed_out:
        raise SignedOut(response.error)
    if response.refused:
        raise RefusedCall(response.error)
    if response.error:
        raise ControlError(response.error, response.kind)
    return response.result


def _send(writer: asyncio.StreamWriter, number: int, response: Response) -> None:
    """Send an answer; one that cannot be sent becomes an error, for somebody waits for it."""
    try:
        data = msgspec.json.encode(LinkAnswer(number, response))
    except (TypeError, ValueError) as error:
        data = msgspec.json.encode(LinkAnswer(number, Response(error=f"the answer cannot be sent: {error}")))
    if len(data) > ANSWER_LIMIT:
        data = msgspec.json.encode(LinkAnswer(number, Response(error="the answer is too long: ask for less")))
    _write(writer, data)


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(len(data).to_bytes(4, "big") + data)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):  # the other end was quicker
        await writer.wait_closed()


async def _receive(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(await _receive_length(reader, ANSWER_LIMIT))


async def _receive_length(reader: asyncio.StreamReader, limit: int) -> int:
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > limit:
        raise OSError("a frame longer than any of ours")
    return length
