"""CommuniGate Pro's helper: an external filter that the server starts and writes requests to, a line each.

Row F-CLI-07, specification antispam.md §13. A message that is to be changed is handed in anew, with a mark
(`mime.loop_mark`), and the server is told to forget the one it asked about; when it comes by again, it passes.
Promises: nothing is forgotten before its copies lie, synced, where the server takes them from; what was filtered is
known by a mark that nobody else can make; whatever goes wrong, the server keeps the message and asks again.
"""

import asyncio
import contextlib
import ipaddress
import mmap
import os
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Final

import msgspec

from gatepost.client.copies import Copy, PlanError, plan_copies
from gatepost.client.native import build_wire, edit_native
from gatepost.client.on_error import rule_unjudged
from gatepost.client.program import ClientProgram
from gatepost.client.remote import RemoteJudge
from gatepost.client.settings import ClientSettings
from gatepost.mime.loop_mark import SECRET_BYTES, Marked, MessageDigest, build_mark, read_marks
from gatepost.model.envelope import Client
from gatepost.model.filtering import Request
from gatepost.service.gathered import Gathered
from gatepost.service.judge import Unjudged
from gatepost.wire.communigate import (
    LINE_LIMIT,
    Answer,
    Command,
    HelperRequest,
    QueueEnvelope,
    build_answer,
    build_interface,
    build_note,
    build_submission,
    parse_queue_file,
    parse_request,
    strip_commands,
)

PENDING_LIMIT: Final = 1000
"""Requests taken at once: the server has a thread for each it waits for, and never so many."""
HEADER_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a message in which its header is looked for; one without end is not edited, but kept back."""
HEAD_BYTES: Final = 64 * 1024
EXIT_CANNOT: Final = 71

_BLANK: Final = re.compile(rb"\r?\n")
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
SMTP: Final = "SMTP"


class _Told(Exception):  # noqa: N818 - an answer
    """What the server is told."""

    def __init__(self, answer: Answer, text: str = "") -> None:
        super().__init__(text)
        self.answer = answer
        self.text = text


class _Queued(msgspec.Struct, frozen=True):
    """A message in the server's queue."""

    path: str
    envelope: QueueEnvelope
    file: mmap.mmap
    body: int
    """Where, in the file, the body begins."""


def run(program: ClientProgram, _arguments: Sequence[str]) -> int:
    """Serve the server that started this program, until it says QUIT or closes; return the exit status."""
    try:
        secret = _read_secret(program)
        with open(0, "rb", buffering=0, closefd=False) as requests:
            return asyncio.run(_serve(program, secret, requests))
    except (OSError, ValueError) as error:
        program.report("F", f"cgpro ends: {error}")
        return EXIT_CANNOT


async def _serve(program: ClientProgram, secret: bytes, requests: IO[bytes]) -> int:
    return await _Helper(program, secret, requests).run()


def _read_secret(program: ClientProgram) -> bytes:
    """Return the secret of marks. OSError, ValueError: the file cannot be used."""
    path = program.settings.loop_key
    if not path:
        program.report("W", "cgpro: no loop_key: after a restart, mail under way is filtered a second time")
        return os.urandom(SECRET_BYTES)
    secret = Path(path).read_bytes().strip()
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"{path} holds less than {SECRET_BYTES} bytes")
    return secret


class _Helper:
    """The program as it runs."""

    def __init__(self, program: ClientProgram, secret: bytes, requests: IO[bytes]) -> None:
        self.program = program
        self.secret = secret
        self.requests = requests
        self.judge = RemoteJudge(program.settings.remote, program.report)
        self.reader = asyncio.StreamReader(limit=2 * LINE_LIMIT)
        self.transport: asyncio.ReadTransport | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.slots = asyncio.Semaphore(PENDING_LIMIT)

    @property
    def settings(self) -> ClientSettings:
        return self.program.settings

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        loop.add_signal_handler(signal.SIGHUP, self.reread)
        self.transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.reader), self.requests
        )
        self.say(build_note("Gatepost filters"))
        try:
            await self.serve()
            if self.tasks:  # answers owed
                await asyncio.wait(self.tasks)
        finally:
            self.transport.close()
            self.judge.close()
        return 0

    def end(self) -> None:
        """A signal: take no more requests. The server asks about those not answered anew when it starts the next."""
        if self.transport is not None:
            self.transport.close()

    def reread(self) -> None:
        """Take the settings anew."""
        if not self.program.reread():
            return
        try:
            judge = RemoteJudge(self.settings.remote, self.program.report)
        except OSError as error:
            self.program.report("E", f"cgpro: the settings in force stay: {error}")
            return
        self.judge.close()
        self.judge = judge

    async def serve(self) -> None:
        """Take requests until there are no more."""
        while line := await self.reader.readline():
            request = parse_request(line.decode("utf-8", "surrogateescape"))
            if request is None:
                self.program.report("W", f"cgpro: not a request: {line[:80]!r}")
                continue
            match request.command:
                case Command.INTERFACE:
                    self.say(build_interface(request.number, request.argument))
                case Command.NOOP | Command.KEY:
                    self.say(build_answer(request.number, Answer.OK))
                case Command.FILE:
                    await self.slots.acquire()
                    task = asyncio.create_task(self.filter(request))
                    self.tasks.add(task)
                    task.add_done_callback(self.done)
                case Command.QUIT:
                    if self.tasks:
                        await asyncio.wait(self.tasks)
                    self.say(build_answer(request.number, Answer.OK))
                    return
                case None:
                    self.say(build_answer(request.number, Answer.FAILURE))

    def done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.slots.release()

    def say(self, line: str) -> None:
        """Write a line: less than a pipe takes at once, so that lines never mix."""
        os.write(1, line.encode("ascii", "replace"))

    # --- a message

    async def filter(self, request: HelperRequest) -> None:
        """Answer about one message."""
        try:
            await self.look(request.argument)
            told = _Told(Answer.OK)
        except _Told as answer:
            told = answer
        except Exception as error:  # noqa: BLE001 - whatever it is, the server is to ask again
            self.program.report("E", f"cgpro: {request.argument}: {type(error).__name__}: {error}")
            told = _Told(Answer.REJECTED, "The message cannot be filtered now")
        with contextlib.suppress(OSError):  # the server has gone: it asks anew
            self.say(build_answer(request.number, told.answer, told.text))

    async def look(self, path: str) -> None:
        """Filter a message; the return means that it passes as it is. _Told."""
        with contextlib.ExitStack() as kept:
            queued = await asyncio.to_thread(_open, path, kept)
            envelope = queued.envelope
            if not self.settings.all_transports and envelope.transport not in {SMTP, ""}:
                return
            size = len(queued.file) - envelope.size
            limit = self.settings.client_filtering_size_limit
            if limit and size > limit:
                self.program.report("I", f"cgpro: {path}: {size} bytes: too large, passed unfiltered")
                return
            digest, marked = await asyncio.to_thread(self.read_marks, queued)
            if marked is Marked.YES:
                return
            if marked is Marked.LOOPS:
                self.program.report("E", f"cgpro: {path}: the server changes what is handed in: filtering never ends")
                raise _Told(Answer.ERROR, "5.4.6 Mail loop in filtering")
            copies = await self.decide(queued, kept)
            await asyncio.to_thread(self.submit, queued, copies, digest)
            raise _Told(Answer.DISCARD)

    def read_marks(self, queued: _Queued) -> tuple[str, Marked]:
        """Return the message's digest, and what the marks in the header say of it."""
        raw_header = queued.file[queued.envelope.size : queued.body]
        digest = MessageDigest(raw_header)
        for at in range(queued.body, len(queued.file), HEAD_BYTES):
            digest.update(queued.file[at : at + HEAD_BYTES])
        header = raw_header.decode("latin-1")
        name = re.escape(self.settings.loop_header)
        values = re.findall(rf"^{name}[ \t]*:([^\n]*)$", header.replace("\r\n", "\n"), re.IGNORECASE | re.MULTILINE)
        return digest.hex(), read_marks(values, self.secret, time.time(), digest.hex())

    async def decide(self, queued: _Queued, kept: contextlib.ExitStack) -> tuple[Copy, ...]:
        """Return the copies to hand in, () for none. _Told: nobody gets it, or it passes as it is."""
        envelope = queued.envelope
        domain = self.settings.client_default_domain
        told = {_complete(each, domain): each for each in envelope.recipients}
        request = Request(
            client=Client(_ip(envelope.client_ip), listener="cgpro", user=envelope.user),
            sender=envelope.sender,
            recipients=tuple(told),
            queue_id=Path(queued.path).stem[:64],
            divided=True,
            accepted=True,
        )
        try:
            content = await asyncio.to_thread(self.wire_form, queued, kept)
            ruling = await self.judge.judge(request, content, self.settings.client_deadline)
            plan = plan_copies(ruling, request.recipients)
        except (Unjudged, PlanError) as error:
            on_error = self.settings.client_on_error
            self.program.report("W", f"cgpro: {queued.path}: not judged, {on_error.value}: {error}")
            plan = plan_copies(rule_unjudged(on_error, request), request.recipients)
        if plan.refusal is not None:
            later = not plan.refusal.permanent
            words = f"{plan.refusal.enhanced} {plan.refusal.text}"
            raise _Told(Answer.REJECTED if later else Answer.ERROR, words)
        if plan.is_plain(request.recipients):
            raise _Told(Answer.OK)
        return tuple(
            msgspec.structs.replace(copy, recipients=tuple(told.get(each, each) for each in copy.recipients))
            for copy in plan.copies
        )

    def wire_form(self, queued: _Queued, kept: contextlib.ExitStack) -> bytes | Path:
        gathered = Gathered(memory_bytes=self.settings.client_message_store_mem or sys.maxsize)
        kept.callback(gathered.close)
        for piece in build_wire(queued.file, queued.envelope.size):
            gathered.add(piece)
        return gathered.content

    # --- handing in

    def submit(self, queued: _Queued, copies: Sequence[Copy], digest: str) -> None:
        """Put copies where the server takes them from. All are synced before the first can be seen. OSError."""
        place = Path(self.settings.submitted_dir)
        stem = re.sub(r"[^0-9A-Za-z-]", "_", Path(queued.path).stem)[:64]
        files = []
        try:
            for number, copy in enumerate(copies):
                # The same name when the server asks again: what it has not taken yet is replaced, not doubled.
                file = place / f"gatepost-{stem}-{number}.tmp"
                files.append(file)
                self.write(file, queued, copy, digest)
            for file in files:
                file.rename(file.with_suffix(".sub"))
        except BaseException:
            for file in files:
                with contextlib.suppress(OSError):
                    file.unlink()
            raise
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def write(self, path: Path, queued: _Queued, copy: Copy, digest: str) -> None:
        """Write a copy. OSError, ValueError."""

        def edited() -> tuple[bytes, Iterator[bytes]]:
            return _cut_header(edit_native(queued.file, copy.prefix, copy.splices, queued.envelope.size))

        header, rest = edited()
        if copy.splices or copy.prefix:  # the mark is for the message as it goes in
            marked = MessageDigest(header)
            for piece in rest:
                marked.update(piece)
            digest = marked.hex()
            header, rest = edited()
        mark = build_mark(self.secret, time.time(), digest)
        head = build_submission(queued.envelope.sender, copy.recipients, [(self.settings.loop_header, mark)])
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(head)
            file.write(strip_commands(header))
            file.write(b"\n")
            file.writelines(rest)
            file.flush()
            os.fsync(file.fileno())


def _open(path: str, kept: contextlib.ExitStack) -> _Queued:
    """Open a message in the server's queue, for as long as `kept` lasts. OSError, ValueError: it is none."""
    with Path(path).open("rb") as file:
        mapped = kept.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    size = HEAD_BYTES
    while (envelope := parse_queue_file(mapped[:size])) is None:
        if size >= len(mapped):
            raise ValueError("its envelope does not end")
        size *= 2
    start = envelope.size
    blank = _BLANK.match(mapped, start) or _HEADER_END.search(mapped, start)
    return _Queued(path, envelope, mapped, blank.end() if blank else len(mapped))


def _cut_header(pieces: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return a message's header, without the empty line behind it, and its body in pieces."""
    head = b""
    rest = iter(pieces)
    for piece in rest:
        head += piece
        end = _BLANK.match(head) or _HEADER_END.search(head)
        if end is not None:
            return head[: end.start()] + (b"\n" if end.start() else b""), chain((head[end.end() :],), rest)
        if len(head) > HEADER_LIMIT:
            raise ValueError(f"a header of more than {HEADER_LIMIT} bytes")
    return head, rest


def _complete(address: str, domain: str) -> str:
    return f"{address}@{domain}" if domain and "@" not in address else address


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
