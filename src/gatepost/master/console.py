"""A process of pages as the master sees it, the console or the pages of recipients: its ports, its process, its link.

Used by `master.front` and `master.user_front`. The ports stay bound while the process is started anew, so that nobody
gets "connection refused" meanwhile; one that cannot be bound is tried again, and mail goes on without it.
"""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from gatepost import __version__
from gatepost.config.console import Console
from gatepost.config.items import parse_endpoint
from gatepost.config.schema import Config
from gatepost.config.user_quarantine import UserQuarantine
from gatepost.console.settings import Settings
from gatepost.control.desk import Arguments, Desk, Refused
from gatepost.control.link import LinkCall, SignedOut, serve_link
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, Request, Response
from gatepost.control.standard_error import StandardError
from gatepost.master.children import Child
from gatepost.master.complaints import Complaints
from gatepost.master.replays import Replays

BIND_AGAIN_S = 30.0
"""Between tries for a port that another program has."""
BACKLOG = 128

CallerOf = Callable[[LinkCall], Caller]


class Pages(msgspec.Struct, frozen=True):
    """What kind of pages."""

    name: str
    """In the log and in the names of its calls."""
    module: str
    """Its process."""
    via: str
    """Of its callers."""
    section: Callable[[Config], Console | UserQuarantine]
    host_names: Callable[[Config], Iterable[str]]
    """Under which browsers reach it."""


CONSOLE = Pages(
    "console",
    "gatepost.console.process",
    "console",
    lambda config: config.console,
    lambda config: (*config.console.host_names, config.network.hostname),
)


class ConsoleHost:
    """The console, or other pages; or none."""

    def __init__(
        self, desk: Desk, caller_of: CallerOf, say: Callable[[str, str], None], pages: Pages = CONSOLE
    ) -> None:
        """`caller_of(call)` tells for whom a call is made, SignedOut when the credential is nobody's."""
        self._pages = pages
        self._desk = desk
        self._caller_of = caller_of
        self._say = say
        self._replays = Replays()
        self._listening: dict[str, socket.socket] = {}
        self._fingerprint: object = None
        self._settings = Settings()
        self._wanted: tuple[str, ...] = ()
        self._again: asyncio.TimerHandle | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._walls_missing: tuple[str, ...] = ()
        self._up = False
        self._standard_error = StandardError()
        self._retired: list[Child] = []
        self.current: Child | None = None
        self.troubles: tuple[str, ...] = ()
        """Addresses that could not be bound, each with the reason."""

    def register(self, desk: Desk) -> None:
        """Register what the console tells, at the desk it calls, and at `desk` what is told of it."""

        async def up(arguments: Arguments, caller: Caller) -> None:
            if caller.via == self._pages.via:
                self._up = True
                self._note_walls(tuple(map(str, arguments["walls_missing"]))[:10])

        async def status(_: Arguments, __: Caller) -> dict[str, Any]:
            return self.status()

        self._desk.add(f"{self._pages.name}.up", Right.NONE, up)
        desk.add(f"{self._pages.name}.status", Right.VIEW, status)

    def status(self) -> dict[str, Any]:
        """Return where the console is, and how it fares."""
        child = self.current
        return {
            "enabled": bool(self._wanted),
            "state": child.state if child is not None else "stopped",
            "pid": child.pid if child is not None else 0,
            "restarts": child.restarts if child is not None else 0,
            "up": self._up,
            "addresses": [self._link(address) for address in self._listening],
            "troubles": list(self.troubles),
            "walls_missing": list(self._walls_missing),
        }

    def bind(self, config: Config) -> None:
        """Have exactly the configured addresses open, as far as they can be had. As root, where a port needs it."""
        section = self._pages.section(config)
        self._wanted = section.listen if section.enabled else ()
        for address in [address for address in self._listening if address not in self._wanted]:
            self._listening.pop(address).close()
        troubles = []
        for address in self._wanted:
            if address not in self._listening:
                try:
                    self._listening[address] = _listen(address)
                except OSError as error:
                    troubles.append(f"{self._pages.name}: cannot listen on {address}: {error.strerror or error}")
        for trouble in troubles:
            if trouble not in self.troubles:
                self._say("E", f"{trouble}; it is tried again every {BIND_AGAIN_S:.0f} s, mail goes on")
        self.troubles = tuple(troubles)

    def configure(self, config: Config) -> None:
        """Have the console this configuration asks for; one that runs with other settings is replaced."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self.bind(config)
        if self.troubles:
            self._again = asyncio.get_running_loop().call_later(BIND_AGAIN_S, self.configure, config)
        self._settings = _settings_of(config, self._pages)
        fingerprint = (self._settings, tuple(self._listening), _certificate_of(self._settings))
        if fingerprint == self._fingerprint:
            return
        self._fingerprint = fingerprint
        self._end_current()
        if self._listening:
            self.current = Child(self._pages.name, self._start, ended=lambda _, __: None, say=self._say)
            self.current.start()
            self._say("I", f"{self._pages.name}: {', '.join(map(self._link, self._listening))}")

    def dismiss(self) -> list[Child]:
        """End the console and close its ports; return the processes to wait for."""
        if self._again is not None:
            self._again.cancel()
        self._end_current()
        for sock in self._listening.values():
            sock.close()
        self._listening.clear()
        return self._retired

    def _end_current(self) -> None:
        child, self.current = self.current, None
        self._retired = [old for old in self._retired if old.pid]
        if child is not None:
            child.dismiss()
            child.signal(signal.SIGTERM)
            self._retired.append(child)

    def _start(self) -> "subprocess.Popen[bytes]":
        self._up = False
        ours, theirs = socket.socketpair()
        listening = [sock.fileno() for sock in self._listening.values()]
        command = [sys.executable, "-m", self._pages.module, "--link", str(theirs.fileno())]
        command += ["--listen", ",".join(map(str, listening))]
        try:
            process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(), *listening),
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        assert process.stdin is not None
        assert process.stderr is not None
        Complaints(process.stderr, self._standard_error, self._complained)
        with contextlib.suppress(OSError):  # it has just ended: told when that is seen
            process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
            process.stdin.flush()
        task = asyncio.create_task(serve_link(ours, self.answer))
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        return process

    def _complained(self, last: str, lost: int) -> None:
        """Keep what it ended with: nobody sees the standard error of a daemon."""
        self._say("W", f"{self._pages.name} ended with: {last}")
        if lost:
            self._say("W", f"{self._pages.name}: {lost} bytes that it said are lost: nobody reads our standard error")
        if self.current is not None:
            self.current.trouble = last

    async def answer(self, call: LinkCall) -> Response:
        """Answer a call over the link."""
        try:
            caller = self._caller_of(call)
        except SignedOut as error:
            return Response(error=str(error), signed_out=True)
        if not call.key or not caller.name:  # of strangers nothing is kept, and none is given another's session
            return await self._act(call, caller)
        return await self._replays.answer(caller, call.key, call.call, call.arguments, lambda: self._act(call, caller))

    async def _act(self, call: LinkCall, caller: Caller) -> Response:
        try:
            return Response(result=await self._desk.handle(Request(call.call, call.arguments), caller))
        except SignedOut as error:
            return Response(error=str(error), signed_out=True)
        except Refused as error:
            return Response(error=str(error), refused=True)
        except ControlError as error:
            return Response(error=str(error), kind=error.kind)
        except Exception as error:  # noqa: BLE001 - one bad call must not end the link; the log tells which it was
            self._say("E", f"{self._pages.name}: {call.call} failed: {error!r}")
            return Response(error=f"{call.call}: an inner error; the gateway's log says more")

    def _note_walls(self, missing: tuple[str, ...]) -> None:
        if missing and missing != self._walls_missing:
            self._say("W", f"{self._pages.name}: not walled in by {'; '.join(missing)}")
        self._walls_missing = missing

    def _link(self, address: str) -> str:
        """Return an address as browsers are told."""
        return f"{'https' if self._settings.tls_cert else 'http'}://{address}/"


def _settings_of(config: Config, pages: Pages) -> Settings:
    section = pages.section(config)
    return Settings(
        host_names=tuple(dict.fromkeys(name.lower() for name in pages.host_names(config))),
        tls_cert=section.tls_cert,
        tls_key=section.tls_key,
        proxies=section.proxies,
        api_rate=config.console.api_rate,
        version=__version__,
    )


def _certificate_of(settings: Settings) -> tuple[float, ...]:
    """Return when certificate and key were written: renewed ones come into use by a reload."""
    times = []
    for name in (settings.tls_cert, settings.tls_key):
        try:
            times.append(Path(name).stat().st_mtime if name else 0.0)
        except OSError:
            times.append(-1.0)
    return tuple(times)


def _listen(address: str) -> socket.socket:
    host, port = parse_endpoint(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
