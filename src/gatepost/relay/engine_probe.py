"""Connections to remote engines, and the cheap question whether one works: VERSION of clamd, OPTIONS of ICAP.

Called by `relay.engine_connections` with a time limit around it. OSError and ValueError say what is the matter.
"""

import asyncio
import socket
from typing import Final

import msgspec

from gatepost.config.engines import EngineKind, EngineTable, parse_host_port
from gatepost.wire.clamd import BEGIN, VERSION, Answer, ClamdSession
from gatepost.wire.command import build_greeting
from gatepost.wire.icap import Continue, IcapError, IcapReader, IcapReply, build_options, parse_options, parse_url

_READ: Final = 4096


class Probed(msgspec.Struct, frozen=True):
    """What a working engine says of itself."""

    version: str
    """Of program and signatures; "" when it has none to tell."""
    connections: int = 0
    """Most it takes at once, 0 when it does not say."""


async def connect(engine: EngineTable, commands: str, loop: asyncio.AbstractEventLoop) -> socket.socket:
    """Return a connected, non-blocking socket. `commands`: where the helper of commands listens. OSError."""
    if engine.kind is EngineKind.COMMAND:
        sock = await _connect(loop, socket.AF_UNIX, commands)
        sock.send(build_greeting(engine.name))  # a fresh socket takes that whole
        return sock
    if engine.address.startswith("/"):
        return await _connect(loop, socket.AF_UNIX, engine.address)
    if engine.kind is EngineKind.ICAP:
        service = parse_url(engine.address)
        host, port = service.host, service.port
    else:
        host, port = parse_host_port(engine.address)
    failure: OSError | None = None
    for family, _, _, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            return await _connect(loop, family, address)
        except OSError as error:
            failure = error
    raise failure or OSError(f"{host} has no address")


async def probe(engine: EngineTable, commands: str, loop: asyncio.AbstractEventLoop) -> Probed:
    """Return what the engine says of itself. OSError: it cannot be reached; ValueError: it does not speak properly."""
    sock = await connect(engine, commands, loop)
    try:
        if engine.kind is EngineKind.CLAMD:
            return await _probe_clamd(sock, loop)
        if engine.kind is EngineKind.ICAP:
            return await _probe_icap(engine, sock, loop)
        return Probed("")
    finally:
        sock.close()


async def _connect(loop: asyncio.AbstractEventLoop, family: int, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        await loop.sock_connect(sock, address)  # type: ignore[arg-type] # getaddrinfo gives what it takes
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


async def _probe_clamd(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> Probed:
    session = ClamdSession()
    session.command(VERSION)
    await loop.sock_sendall(sock, BEGIN + VERSION)
    while True:
        for reply in session.feed(await _receive(sock, loop)):
            if reply.answer is not Answer.VERSION:
                raise ValueError(f"asked for its version it says {reply.text!r}")
            return Probed(reply.text)


async def _probe_icap(engine: EngineTable, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> Probed:
    reader = IcapReader()
    reader.expect()
    await loop.sock_sendall(sock, build_options(parse_url(engine.address)))
    reply: Continue | IcapReply | None = None
    while reply is None:
        reply = reader.feed(await _receive(sock, loop))
    if isinstance(reply, Continue):
        raise IcapError("it wants more of a question without a body")
    options = parse_options(reply)
    return Probed(f"{options.service} {options.tag}".strip(), options.connections)


async def _receive(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> bytes:
    data = await loop.sock_recv(sock, _READ)
    if not data:
        raise ConnectionError("it closed the connection without an answer")
    return data
