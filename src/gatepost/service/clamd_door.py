"""The clamd door: clamdscan, Exim and whatever else asks ClamAV's daemon.

Opened by `service.doors` for `kind = "clamd"`. Reads commands (`wire.clamd_server`), gathers the object, asks the judge
about it as an object of its own (a mail is opened), answers in the form of the original. Promises: "OK" is said of what
was looked at, of what the policy lets pass unscanned, and of nothing else but by `on_error = "accept"`; files are read
only below `scan_paths`; nobody reloads or stops anything by it.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final

import gatepost
from gatepost.config.doors import OnError
from gatepost.model.envelope import Client
from gatepost.model.filtering import Checks, Deed, Part, Purpose, Request
from gatepost.model.finding import BareObject, ObjectStatus
from gatepost.service.channel import Channel, Serve
from gatepost.service.gathered import MEMORY_BYTES, Gathered
from gatepost.service.held_bytes import HeldBytes, NoRoom, Share
from gatepost.service.judge import Context, Unjudged
from gatepost.service.local_transport import LocalTransport
from gatepost.service.passed_file import (
    NotAllowed,
    TooLarge,
    iterate_files,
    open_below,
    read_descriptor,
)
from gatepost.service.spamd_door import REQUEST_S, linger
from gatepost.wire.clamd_server import (
    OF_PATHS,
    TIMED_OUT,
    Ask,
    ClamdRequestError,
    ClamdServerSession,
    Command,
    Event,
    Passed,
    Piece,
    StreamEnd,
)

OBJECT_LIMIT: Final = 100 * 1024 * 1024
"""Octets of one object: clamd has the same in many installations, and clients reckon with its answer."""
NAME_LIMIT: Final = 200
FOUND_LIMIT: Final = 20
"""Names told of one object by ALLMATCHSCAN."""
NOT_INSPECTED: Final = "Gatepost.Not-Inspected"
"""Name of what could not be judged, where `on_error` is reject."""

_OK: Final = "OK"
_MAIL: Final = "message/rfc822"
PATH_TOLD: Final = 200
"""Characters of a path that is refused, in the log."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_LIKE_A_MAIL: Final = re.compile(rb"(?:From [^\r\n]+\r?\n)?[!-9;-~]{1,100}[ \t]*:")
_FOUND: Final = (ObjectStatus.INFECTED.value, ObjectStatus.DISINFECTED.value, ObjectStatus.SUSPICIOUS.value)
"""Statuses with which something was found, whatever a policy for mail makes of them."""
_NAMES: Final = {
    ObjectStatus.PROTECTED.value: "Heuristics.Encrypted",
    ObjectStatus.FILTERED.value: "Heuristics.Filtered",
    ObjectStatus.ERROR.value: "Heuristics.Limits.Exceeded",
}
"""Names for what the policy does not let pass and nobody has a name for."""


def make(context: Context) -> Serve:
    """Return what serves a connection (see `service.judge.Context`)."""
    return _Door(context).serve


class _Door:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.door = context.door
        self.held = HeldBytes()
        self.limit = context.door.size_limit or OBJECT_LIMIT
        self.commands = ["PING", "VERSION", "VERSIONCOMMANDS", "STATS", "IDSESSION", "END", "INSTREAM", "FILDES"]
        if self.door.scan_paths:
            self.commands += [command.value.decode() for command in Command if command in OF_PATHS]

    async def serve(self, channel: Channel) -> None:
        with Share(self.held) as share:
            await _Visit(self, channel, share).run()

    def version(self) -> str:
        """Return what VERSION says."""
        state = self.context.version() if self.context.version is not None else ""
        return f"Gatepost {gatepost.__version__}" + (f"/{state}" if state else "")

    def statistics(self) -> str:
        """Return what STATS says, in the form of the original; what does not exist here is not available."""
        return (
            f"POOLS: 1\n\nSTATE: VALID PRIMARY\nTHREADS: live 1  idle 0 max {self.door.connections}"
            f" idle-timeout {self.door.data_timeout:.0f}\nQUEUE: 0 items\n\nMEMSTATS: heap N/A mmap N/A used N/A"
            " free N/A releasable N/A pools 1 pools_used N/A pools_total N/A\nEND"
        )


class _Visit:
    """One connection."""

    def __init__(self, door: _Door, channel: Channel, share: Share) -> None:
        self.door = door
        self.channel = channel
        self.share = share
        self.session = ClamdServerSession(door.limit)

    async def run(self) -> None:
        try:
            answer = await self.converse()
        except ClamdRequestError as error:
            answer = error.answer
        except TimeoutError:
            answer = TIMED_OUT.encode() + self.session.end
        except NoRoom as error:
            self.report(str(error))
            answer = b"busy, try again later. ERROR" + self.session.end
        if answer:
            self.channel.write(answer)
            await self.channel.drain()
            await linger(self.channel)

    async def converse(self) -> bytes:
        """Answer commands until the client has no more. ClamdRequestError, TimeoutError, NoRoom."""
        while (event := await self.next_event()) is not None:
            if not isinstance(event, Ask):
                raise TypeError(f"{type(event).__name__} outside a stream")
            async with aclosing(self.answer(event)) as replies:
                async for reply in replies:
                    self.channel.write(event.reply(reply))
                    await self.channel.drain()
        return b""

    async def next_event(self) -> Event | None:
        """Return what comes next, None at the end of the conversation."""
        while (event := self.session.next_event()) is None:
            if self.session.finished:
                return None
            data = await self.channel.read()
            if not data:
                self.session.close()
                return self.session.next_event()
            self.session.feed(data)
        return event

    async def answer(self, ask: Ask) -> AsyncGenerator[str, None]:
        """Yield the replies to a command."""
        match ask.command:
            case Command.PING:
                yield "PONG"
            case Command.VERSION:
                yield self.door.version()
            case Command.COMMANDS:
                yield f"{self.door.version()}| COMMANDS: {' '.join(self.door.commands)}"
            case Command.STATISTICS:
                yield self.door.statistics()
            case Command.RELOAD | Command.SHUTDOWN:
                self.report(f"{ask.command.value.decode()} is refused")
                yield "COMMAND UNAVAILABLE"
            case Command.STREAM:
                reply = await self.scan_stream()
                if reply:
                    yield f"stream: {reply}"
            case Command.DESCRIPTOR:
                reply = await self.scan_descriptor()
                if reply:
                    yield reply
            case _:
                async with aclosing(self.scan_paths(ask)) as replies:
                    async for reply in replies:
                        yield reply
        self.share.release()

    # --- what is scanned

    async def scan_stream(self) -> str:
        """Return what is said of the stream that comes now, "" when the client breaks it off."""
        gathered = Gathered()
        try:
            async with asyncio.timeout(REQUEST_S):
                while isinstance(event := await self.next_event(), Piece):
                    if gathered.size < MEMORY_BYTES:
                        self.share.take(len(event.data))
                    gathered.add(event.data)
            if not isinstance(event, StreamEnd):
                return ""
            return (await self.judge(gathered.content, ""))[0]
        except OSError as error:
            if isinstance(error, (ConnectionError, TimeoutError)):
                raise
            raise NoRoom(f"no room for an object: {error}") from error
        finally:
            gathered.close()

    async def scan_descriptor(self) -> str:
        """Return what is said of the file whose descriptor comes with the next byte, "" when the client breaks off."""
        transport = self.channel._transport
        if not isinstance(transport, LocalTransport):
            raise ClamdRequestError("No file descriptor received. ERROR", self.session.end)
        if not isinstance(await self.next_event(), Passed):
            return ""
        descriptor = transport.take_descriptor()
        if descriptor < 0:
            return "No file descriptor received. ERROR"
        try:
            return f"fd[{descriptor}]: {(await self.scan_file(descriptor, ''))[0]}"
        finally:
            os.close(descriptor)

    async def scan_paths(self, ask: Ask) -> AsyncGenerator[str, None]:
        """Yield what is said of files by name."""
        try:
            opened = await asyncio.to_thread(open_below, ask.path, self.door.door.scan_paths)
        except FileNotFoundError:
            yield f"{ask.path}: File path check failure: No such file or directory. ERROR"
            return
        except NotAllowed as error:
            self.report(f"{_CONTROL.sub('?', ask.path[:PATH_TOLD])} is refused: {error}")
            yield f"{ask.path}: Access denied. ERROR"
            return
        said = False
        try:
            files = iterate_files(opened, ask.path)
            while (found := await asyncio.to_thread(next, files, None)) is not None:
                path, descriptor = found
                try:
                    replies = await self.scan_file(descriptor, path.rpartition("/")[2])
                finally:
                    os.close(descriptor)
                for reply in replies if ask.command is Command.SCAN_ALL else replies[:1]:
                    if reply != _OK:
                        said = True
                        yield f"{path if path == ask.path else _CONTROL.sub('?', path)}: {reply}"
                if said and ask.command is Command.SCAN:
                    return
        except TooLarge as error:
            said = True
            yield f"{ask.path}: {error}. ERROR"
        except OSError as error:
            said = True
            yield f"{ask.path}: {error.strerror or 'not readable'}. ERROR"
        finally:
            os.close(opened)
        if not said:
            yield f"{ask.path}: {_OK}"

    async def scan_file(self, descriptor: int, name: str) -> list[str]:
        """Return what is said of an open file."""
        try:
            self.share.take(min(os.fstat(descriptor).st_size, self.door.limit))
            content = await asyncio.to_thread(read_descriptor, descriptor, self.door.limit)
        except NotAllowed:
            return ["Not supported file type. ERROR"]
        except TooLarge:
            return ["size limit exceeded. ERROR"]
        except OSError as error:
            return [f"{error.strerror or 'not readable'}. ERROR"]
        try:
            return await self.judge(content, name)
        finally:
            self.share.release()

    async def judge(self, content: bytes | Path, name: str) -> list[str]:
        """Return what is said of an object, one for each name that was found."""
        door = self.door.door
        begin = content[:1024] if isinstance(content, bytes) else await asyncio.to_thread(_read_begin, content)
        question = Request(
            client=Client(ip="", listener=door.name),
            purpose=Purpose.ASK,
            checks=Checks.VIRUS,
            bare=BareObject(name=name[:NAME_LIMIT], content_type=_MAIL if _LIKE_A_MAIL.match(begin) else ""),
        )
        try:
            ruling = await self.door.context.judge.judge(question, content, door.deadline)
        except Unjudged as error:
            self.report(f"not judged: {error}")
            match door.on_error:
                case OnError.ACCEPT:
                    return [_OK]
                case OnError.REJECT:
                    return [f"{NOT_INSPECTED} FOUND"]
            return ["not inspected, try again later. ERROR"]
        return [f"{name} FOUND" for name in found_names(ruling.whole)] or [_OK]

    def report(self, text: str) -> None:
        self.door.context.report("W", f"door {self.door.door.name}: {self.channel.peer or 'a client'}: {text}")


def found_names(part: Part) -> list[str]:
    """Return what was found, none when an object may pass."""
    passes = part.deed is Deed.DELIVER and not part.body_changed
    names = [
        _one_word(threat.name or _NAMES.get(threat.status, threat.status))
        for threat in part.threats
        if threat.status in _FOUND or not passes
    ]
    if not names and not passes:
        names = ["Heuristics.Refused"]
    return list(dict.fromkeys(names))[:FOUND_LIMIT]


def _one_word(name: str) -> str:
    """Return a name as clients take it from an answer: one word."""
    return re.sub(r"[^!-~]+", "_", name[:NAME_LIMIT]) or "Unnamed"


def _read_begin(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024)
