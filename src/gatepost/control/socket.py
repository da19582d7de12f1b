"""The control socket: one request, one answer, JSON lines on a local socket for the gateway's own user and root alone:
its mode says so, and the kernel is asked who it is besides.

The master serves it; `gatepost status`, `gatepost queue` and the like call it.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

ANSWER_LIMIT = 64 * 1024 * 1024
REQUEST_LIMIT = 64 * 1024
CALL_TIMEOUT_S = 30.0
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group, as the kernel gives them."""


class Request(msgspec.Struct, frozen=True):
    """A call by name."""

    call: str
    arguments: dict[str, Any] = {}


class Response(msgspec.Struct, frozen=True):
    """Its result, or what went wrong."""

    result: Any = None
    error: str = ""
    refused: bool = False
    """The error is that the caller may not do it ..."""
    signed_out: bool = False
    """... or that the credential is nobody's (any more)."""
    kind: str = ""
    """What kind of error it is (`ControlError.kind`)."""


class ControlError(Exception):
    """The gateway does not answer, or could not do what was asked."""

    kind = ""
    """For programs, which read no sentences: `missing`, `unfit`, `stale`, `reused`, `away`; "" = it does not go now."""

    def __init__(self, text: str = "", kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind or self.kind


class NotThere(ControlError):  # noqa: N818 - an answer
    """What it is about is not there, or not for this caller."""

    kind = "missing"


class Unfit(ControlError):  # noqa: N818 - an answer
    """The arguments cannot mean anything."""

    kind = "unfit"


class Stale(ControlError):  # noqa: N818 - an answer
    """What was to be changed is no longer what the caller has seen."""

    kind = "stale"


_STRANGER = Response(error="only the gateway's own user, and root, may ask here", refused=True)

Handler = Callable[[Request, int], Awaitable[Any]]
"""Answers a request of the process with this user id."""


async def serve(path: Path, handler: Handler) -> asyncio.Server:
    """Serve the socket. `handler` returns a result or raises ControlError."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                line = await reader.readline()
                user = _user_of(writer)
                # Twice: a mode that somebody has widened lets nobody else in.
                answer = await _respond(handler, line, user) if user in {0, os.geteuid()} else _STRANGER
                writer.write(msgspec.json.encode(answer) + b"\n")
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # the caller is gone, or sent what no caller of ours sends
        finally:
            writer.close()

    path.unlink(missing_ok=True)  # noqa: ASYNC240 - once, at the start
    mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(connected, path, limit=REQUEST_LIMIT)
    finally:
        os.umask(mask)


def _user_of(writer: asyncio.StreamWriter) -> int:
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(credentials)[1]
    return user


async def _respond(handler: Handler, line: bytes, user: int) -> Response:
    try:
        return Response(result=await handler(msgspec.json.decode(line, type=Request), user))
    except (ControlError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Response(error=str(error), kind=getattr(error, "kind", ""))


def listens(path: Path) -> bool:
    """Tell whether a gateway has this socket open. One that was killed leaves its file behind."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(CALL_TIMEOUT_S)
        try:
            sock.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True


def call(path: Path, name: str, /, **arguments: object) -> Any:
    """Call the running gateway. ControlError says why it did not work."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(CALL_TIMEOUT_S)
        try:
            sock.connect(str(path))
            sock.sendall(msgspec.json.encode(Request(name, arguments)) + b"\n")
            data = bytearray()
            while not data.endswith(b"\n") and len(data) < ANSWER_LIMIT:
                piece = sock.recv(256 * 1024)
                if not piece:
                    break
                data += piece
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ControlError(f"no gateway answers at {path}: is it running with this configuration?") from error
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror or error}") from error
    if not data:
        raise ControlError(f"the gateway at {path} closed the connection without an answer: it is stopping")
    return read_answer(bytes(data), f"the gateway at {path}")


def read_answer(data: bytes, who: str) -> Any:
    """Return the result that an answer holds. ControlError: it says what went wrong, or is no answer of `who`."""
    try:
        response = msgspec.json.decode(data, type=Response)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ControlError(f"{who} gives no answer that can be read: see its log") from error
    if response.error:
        raise ControlError(response.error, response.kind)
    return response.result
