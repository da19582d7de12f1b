"""The console process: `python -m gatepost.console.process --link FD --listen FD,…`, settings on standard input.

Started by `master.console` with its listening sockets open already. It ends when the link closes, so it never outlives
its master; ending it at any moment loses nothing but the requests under way.
"""

import argparse
import asyncio
import contextlib
import logging
import mimetypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgspec
import uvicorn

from gatepost.console import walls
from gatepost.console.app import build_app
from gatepost.console.gateway import Gateway
from gatepost.console.protocol import BoundedProtocol, Connections
from gatepost.console.render import environment
from gatepost.console.settings import Settings
from gatepost.control.link import LinkClient
from gatepost.control.socket import ControlError

IDLE_CONNECTION_S = 15
LAST_REQUESTS_S = 1
"""How long requests under way may take when the console ends: live views never end by themselves."""


class Server(uvicorn.Server):
    """A server that leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not touch signals."""
        yield


class Kind(msgspec.Struct, frozen=True):
    """What pages a process serves."""

    name: str
    """As the master names its calls and its log lines."""
    build_app: Callable[[LinkClient, Settings], Any]
    templates: str = ""
    """Beginning of the names of the templates it uses."""


def _build_config(kind: Kind, settings: Settings, link: LinkClient) -> uvicorn.Config:
    tls = {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key or None} if settings.tls_cert else {}
    return uvicorn.Config(
        kind.build_app(link, settings),
        http=partial(BoundedProtocol, connections=Connections(settings.proxies)),  # type: ignore[arg-type]
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        timeout_keep_alive=IDLE_CONNECTION_S,
        timeout_graceful_shutdown=LAST_REQUESTS_S,
        **tls,  # type: ignore[arg-type]
    )


async def _serve(
    kind: Kind, config: uvicorn.Config, link: LinkClient, listeners: list[socket.socket], missing: list[str]
) -> None:
    server = Server(config)

    def end() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    await link.open()
    linked = asyncio.create_task(link.run())
    linked.add_done_callback(lambda _: end())
    with contextlib.suppress(ControlError):
        await link.call(f"{kind.name}.up", {"walls_missing": missing})
    await server.serve(listeners)
    linked.cancel()


def serve(kind: Kind) -> None:
    """Serve until the master is gone or TERM comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--link", type=int, required=True)
    parser.add_argument("--listen", required=True)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal it goes to the master, too, who ends us
    # What browsers send wrong is no news for the log; what breaks down here is.
    logging.basicConfig(level=logging.ERROR, format=f"{kind.name}: %(message)s")
    # That requests were cut off at the end is no news either: live views never end by themselves.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "graceful shutdown" not in str(record.msg))
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    link = LinkClient(socket.socket(fileno=arguments.link))
    listeners = [socket.socket(fileno=int(fd)) for fd in arguments.listen.split(",")]
    config = _build_config(kind, settings, link)
    try:
        config.load()  # reads the certificate
    except OSError as error:
        sys.exit(f"{kind.name}: {settings.tls_cert}: {error}")
    for name in environment().list_templates(["html"]):
        if name.startswith(kind.templates):
            environment().get_template(name)  # compiled now: no visitor waits for it
    mimetypes.init()  # the machine's table of file types lies outside the walls
    missing = walls.enter(os.getppid())
    asyncio.run(_serve(kind, config, link, listeners, list(missing)))


CONSOLE: Final = Kind("console", lambda link, settings: build_app(Gateway(link), settings))

if __name__ == "__main__":
    serve(CONSOLE)
