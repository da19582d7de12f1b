"""In place of qmail-queue: a message on descriptor 0, its envelope on 1; filtered, it goes to the original program.

Started for each message by `client/qmail_queue.c`, which is installed as qmail-queue with mode 4755 (specification
antispam.md §13, row F-CLI-06). Exit codes are those of qmail-queue(8). Promises: 0 only when the original program has
queued all copies, or the ruling gives the message to nobody; whatever goes wrong is temporary; the original program
gets the message byte for byte where the ruling changes nothing.
"""

import asyncio
import contextlib
import enum
import ipaddress
import mmap
import os
import pwd
import signal
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import mkstemp
from typing import Final

import msgspec

from gatepost.client.copies import Copy, Plan, PlanError, plan_copies
from gatepost.client.native import Raw, build_wire, edit_native
from gatepost.client.on_error import rule_too_large, rule_unjudged
from gatepost.client.program import ClientProgram
from gatepost.client.remote import RemoteJudge
from gatepost.model.envelope import Client
from gatepost.model.filtering import Request, Ruling
from gatepost.model.reply import Reply
from gatepost.service.gathered import Gathered
from gatepost.service.judge import Unjudged

ADDRESS_LIMIT: Final = 1003
"""Bytes of an address: qmail-queue's own limit."""
ENVELOPE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of an envelope: what a list of a million addresses needs."""
READ_BYTES: Final = 256 * 1024
TOLD: Final = 6
"""Descriptor for words of our own, which callers with that extension (netqmail, notqmail) open as a pipe."""
TOLD_LIMIT: Final = 250
SESSIONS: Final = ("qmaild", "root")
"""Users whose word on the client's address is believed: the SMTP daemon's. Others are people on this host."""


class Exit(enum.IntEnum):
    """Exit codes of qmail-queue(8): 11 to 40 are permanent, all others temporary."""

    DONE = 0
    ADDRESS_TOO_LONG = 11
    REFUSED = 31
    NO_MEMORY = 51
    WRITE_ERROR = 53
    READ_ERROR = 54
    LATER = 71
    BUG = 81
    TOLD = 82
    """The reason stands in `TOLD`: D and a text for a permanent one, Z and a text for a temporary one."""
    BAD_ENVELOPE = 91
    NO_PROGRAM = 120


class _End(Exception):  # noqa: N818 - a way out
    """The program ends with this code."""

    def __init__(self, code: int, why: str = "") -> None:
        super().__init__(why)
        self.code = code
        self.why = why


class Envelope(msgspec.Struct, frozen=True):
    """An envelope as it came."""

    sender: bytes
    recipients: tuple[bytes, ...]


def parse_envelope(raw: bytes) -> Envelope:
    """Return what `F` sender NUL, `T` recipient NUL …, NUL says. ValueError."""
    if not raw.endswith(b"\0\0"):
        raise ValueError("it does not end")
    first, *rest = raw[:-2].split(b"\0")
    if not first.startswith(b"F") or not rest or any(not each.startswith(b"T") for each in rest):
        raise ValueError("it is not F sender, T recipients")
    return Envelope(first[1:], tuple(each[1:] for each in rest))


def build_envelope(sender: bytes, recipients: Iterable[bytes]) -> bytes:
    """Return it as qmail-queue reads it."""
    return b"".join((b"F", sender, b"\0", *(b"T%b\0" % each for each in recipients), b"\0"))


def run(program: ClientProgram, _arguments: Sequence[str]) -> int:
    """Filter the message that is coming, and queue it; return the exit code."""
    try:
        return _Queueing(program).run()
    except _End as end:
        if end.why:
            program.report("E", f"qmail: {end.why}")
        return end.code
    except MemoryError:
        program.report("E", "qmail: out of memory")
        return Exit.NO_MEMORY
    except Exception as error:  # noqa: BLE001 - whatever it is, the sender is to try again
        program.report("E", f"qmail: {type(error).__name__}: {error}")
        return Exit.BUG


class _Queueing:
    """One message."""

    def __init__(self, program: ClientProgram) -> None:
        self.program = program
        self.settings = program.settings
        self.memory_bytes = self.settings.client_message_store_mem or sys.maxsize
        self.open = contextlib.ExitStack()

    def run(self) -> int:
        with self.open:
            raw = self.read_message()
            try:
                envelope = parse_envelope(_read_envelope())
            except ValueError as error:
                raise _End(Exit.BAD_ENVELOPE, f"an envelope that cannot be read: {error}") from None
            if any(len(each) >= ADDRESS_LIMIT for each in (envelope.sender, *envelope.recipients)):
                raise _End(Exit.ADDRESS_TOO_LONG)
            told = {_address(each, self.settings.client_default_domain): each for each in envelope.recipients}
            request = Request(
                client=_client(os.environ), sender=_sender(envelope.sender), recipients=tuple(told), divided=True
            )
            plan = self.decide(request, raw)
            if plan.refusal is not None:
                return _refuse(plan.refusal)
            return self.hand_on(envelope, told, plan, raw)

    def read_message(self) -> Raw:
        """Return what comes on descriptor 0."""
        gathered = Gathered(memory_bytes=self.memory_bytes)
        self.open.callback(gathered.close)
        while True:
            try:
                data = os.read(0, READ_BYTES)
            except OSError as error:
                raise _End(Exit.READ_ERROR, f"the message cannot be read: {error.strerror}") from None
            if not data:
                break
            try:
                gathered.add(data)
            except OSError as error:
                raise _End(Exit.WRITE_ERROR, f"no room for the message: {error.strerror}") from None
        content = gathered.content
        if isinstance(content, bytes):
            return content
        with content.open("rb") as file:
            return self.open.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    # --- the judgement

    def decide(self, request: Request, raw: Raw) -> Plan:
        """Ask, and return what is to be done."""
        limit = self.settings.client_filtering_size_limit
        if limit and len(raw) > limit:
            self.program.report("I", f"qmail: {len(raw)} bytes from <{request.sender}>: too large, passed unfiltered")
            return plan_copies(rule_too_large(request), request.recipients)
        try:
            return plan_copies(self.ask(request, raw), request.recipients)
        except (Unjudged, PlanError) as error:
            on_error = self.settings.client_on_error
            self.program.report("W", f"qmail: from <{request.sender}>: not judged, {on_error.value}: {error}")
            return plan_copies(rule_unjudged(on_error, request), request.recipients)

    def ask(self, request: Request, raw: Raw) -> Ruling:
        """Return the ruling of a server. Unjudged, PlanError."""
        content = self.wire_form(raw)
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        ruling = asyncio.run(self.judge(request, content))
        for part in ruling.parts:
            if any(splice.end > size for splice in part.splices):
                raise PlanError("the ruling changes what is behind the message")
        self.program.report(
            "I",
            f"qmail: {ruling.queue_id or '-'} from <{request.sender}>: "
            + (ruling.info or ", ".join(f"{part.deed.value} {part.status}" for part in ruling.parts)),
        )
        return ruling

    async def judge(self, request: Request, content: bytes | Path) -> Ruling:
        try:
            judge = RemoteJudge(self.settings.remote, self.program.report)
        except OSError as error:
            raise Unjudged(f"a certificate cannot be used: {error}") from None
        try:
            return await judge.judge(request, content, self.settings.client_deadline)
        finally:
            judge.close()

    def wire_form(self, raw: Raw) -> bytes | Path:
        gathered = Gathered(memory_bytes=self.memory_bytes)
        self.open.callback(gathered.close)
        try:
            for piece in build_wire(raw):
                gathered.add(piece)
        except OSError as error:
            raise _End(Exit.WRITE_ERROR, f"no room for the message: {error.strerror}") from None
        return gathered.content

    # --- the original program

    def hand_on(self, envelope: Envelope, told: Mapping[str, bytes], plan: Plan, raw: Raw) -> int:
        """Have the original program queue every copy; return the exit code.

        All copies are made before the first is queued. When a later one is not queued, the sender hears so and comes
        again: a message twice is better than none.
        """
        files = [self.message_file(copy, raw) for copy in plan.copies]
        for copy, message in zip(plan.copies, files, strict=True):
            to = [told.get(each) or each.encode() for each in copy.recipients]
            code = self.queue(message, build_envelope(envelope.sender, to))
            if code != Exit.DONE:
                if copy is not plan.copies[0]:
                    self.program.report("E", f"qmail: only some copies are queued: exit code {code} for {len(to)} more")
                return code
        return Exit.DONE

    def message_file(self, copy: Copy, raw: Raw) -> int:
        """Return a descriptor with one copy, at its beginning."""
        try:
            if len(raw) <= self.memory_bytes:
                descriptor = os.memfd_create("message")
            else:
                descriptor, name = mkstemp(prefix="gatepost-qmail-")
                Path(name).unlink()
            self.open.callback(os.close, descriptor)
            for piece in edit_native(raw, copy.prefix, copy.splices):
                _write(descriptor, piece)
            os.lseek(descriptor, 0, os.SEEK_SET)
        except ValueError as error:
            raise _End(Exit.LATER, f"a ruling that does not fit the message: {error}") from None
        except OSError as error:
            raise _End(Exit.WRITE_ERROR, f"no room for the message: {error.strerror}") from None
        return descriptor

    def queue(self, message: int, envelope: bytes) -> int:
        """Run the original program; return its exit code."""
        original = self.settings.q_mail_original_queue
        told = os.memfd_create("envelope")
        try:
            _write(told, envelope)
            os.lseek(told, 0, os.SEEK_SET)
            process = os.posix_spawn(
                original,
                [original],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, message, 0), (os.POSIX_SPAWN_DUP2, told, 1)],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores them
            )
        except OSError as error:
            raise _End(Exit.NO_PROGRAM, f"{original} cannot be run: {error.strerror}") from None
        finally:
            os.close(told)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if code < 0:
            raise _End(Exit.BUG, f"{original} was ended by signal {-code}")
        return code


def _read_envelope() -> bytes:
    """Return what comes on descriptor 1. It is read behind the message: whoever calls writes it after that."""
    pieces: list[bytes] = []
    size = 0
    while True:
        try:
            data = os.read(1, READ_BYTES)
        except OSError as error:
            raise _End(Exit.READ_ERROR, f"the envelope cannot be read: {error.strerror}") from None
        if not data:
            return b"".join(pieces)
        pieces.append(data)
        size += len(data)
        if size > ENVELOPE_LIMIT:
            raise _End(Exit.BAD_ENVELOPE, f"an envelope of more than {ENVELOPE_LIMIT} bytes")


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _address(raw: bytes, default_domain: str) -> str:
    """Return a recipient as the judge is told it."""
    address = raw.decode("utf-8", "backslashreplace")
    return f"{address}@{default_domain}" if default_domain and "@" not in address else address


def _sender(raw: bytes) -> str:
    """Return the sender as the judge is told it: a double bounce has none, and the mark of a list is left out."""
    if raw == b"#@[]":
        return ""
    return raw.removesuffix(b"-@[]").decode("utf-8", "backslashreplace")


def _client(environment: Mapping[str, str]) -> Client:
    """Return what is known of the SMTP client: tcpserver's word, when it is the SMTP daemon that calls."""
    local = Client("", listener="qmail")
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return local
    if user not in SESSIONS and os.getuid() != os.geteuid():
        return local
    try:
        return Client(str(ipaddress.ip_address(environment.get("TCPREMOTEIP", ""))), listener="qmail")
    except ValueError:
        return local


def _refuse(told: Reply) -> int:
    """Tell the sender; return the exit code."""
    code = Exit.REFUSED if told.permanent else Exit.LATER
    try:
        if not stat.S_ISFIFO(os.fstat(TOLD).st_mode):
            return code
        words = "".join(each if each.isascii() and each.isprintable() else "?" for each in told.text)[: TOLD_LIMIT - 16]
        os.write(TOLD, f"{'D' if told.permanent else 'Z'}{words} (#{told.enhanced})".encode())
    except OSError:
        return code
    return Exit.TOLD
