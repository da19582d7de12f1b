"""`gatepost client pipe -c FILE`: mail passes through it, by SMTP, LMTP or program, and a filtering server judges it.

Three ways to be started (docs/manual/pipe.md): it listens at `pipe_listen`; `--stdio`: one session on standard input
and output, as inetd or a mail system starts it; `--message -f SENDER -- RECIPIENT …`: one message on standard input, as
pipe transports give it. It is the server's own proxy door with a remote judge; where mail goes is `pipe_outgoing_addr`.
"""

import asyncio
import functools
import os
import socket
import stat
import sys
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from gatepost.client.program import ClientProgram
from gatepost.client.remote import RemoteJudge
from gatepost.client.settings import ClientSettings
from gatepost.config.doors import Door, DoorKind
from gatepost.service.channel import Channel
from gatepost.service.gathered import Gathered
from gatepost.service.judge import Context
from gatepost.service.proxy_door import CONTENT_LIMIT, make
from gatepost.service.proxy_hop import Hop, dial_smtp
from gatepost.service.proxy_onward import Means

NAME: Final = "pipe"
"""Of the door, in records and log."""
PUMP_BYTES: Final = 64 * 1024


def door_of(settings: ClientSettings) -> Door:
    """Return the door that settings describe."""
    return Door(
        name=NAME,
        kind=DoorKind.PROXY,
        deadline=settings.client_deadline,
        on_error=settings.client_on_error,
        size_limit=settings.client_filtering_size_limit,
        default_domain=settings.client_default_domain,
        lmtp=settings.pipe_in_lmtp,
        next_hop=settings.pipe_outgoing_addr,
        next_hop_lmtp=settings.pipe_out_lmtp,
        next_hop_timeout=settings.pipe_out_data_timeout,
        before_queue=settings.pipe_before_queue,
        multiple_messages=settings.pipe_multiple_messages_allowed,
        xforward=settings.pipe_use_x_forward,
    )


def delivered_directory(environment: Mapping[str, str]) -> Path | None:
    """Return where it is remembered who has a message already: below what a service manager gives the program to keep;
    None: among the temporary files.
    """
    given = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) / "delivered" if given else None


def means_of(settings: ClientSettings, *, eof_is_gone: bool = True) -> Means:
    """Return how mail is kept and passed on."""
    outgoing = settings.pipe_outgoing_addr
    timeout_s = settings.pipe_out_data_timeout

    async def run_program() -> Hop:
        from gatepost.client.pipe_program import ProgramHop  # noqa: PLC0415 - most mail goes on by a session

        return ProgramHop(outgoing, timeout_s)

    async def dial() -> Hop:
        return await dial_smtp(outgoing, socket.gethostname(), timeout_s, lmtp=settings.pipe_out_lmtp)

    return Means(
        dial=run_program if outgoing.startswith("/") else dial,
        gather=functools.partial(Gathered, memory_bytes=settings.client_message_store_mem or CONTENT_LIMIT),
        eight_bit_always=settings.pipe_8bit_hack,
        eof_is_gone=eof_is_gone,
    )


def run(program: ClientProgram, arguments: Sequence[str]) -> int:
    """Do what the arguments ask for; return the exit status."""
    settings = program.settings
    if not settings.pipe_outgoing_addr:
        program.report("F", f"{program.file}: pipe_outgoing_addr is missing: where does filtered mail go?")
        return os.EX_TEMPFAIL
    if not arguments:
        return _listen(program)
    if list(arguments) == ["--stdio"]:
        return _once(_session(program))
    if arguments[0] == "--message":
        return _message(program, arguments[1:])
    program.report("F", f"pipe knows --stdio and --message, not {arguments[0]}")
    return os.EX_TEMPFAIL


def _listen(program: ClientProgram) -> int:
    from gatepost.client.listening import listen  # noqa: PLC0415 - what is started for one message needs none

    return listen(
        program,
        program.settings.pipe_listen,
        door_of,
        lambda context: make(_with_memory(context), means_of(program.settings)),
        socket_mode=program.settings.send_mail_socket_mode,
    )


def _with_memory(context: Context) -> Context:
    return msgspec.structs.replace(context, delivered=delivered_directory(os.environ))


def _once(work: Coroutine[Any, Any, int]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _context(program: ClientProgram) -> Context:
    settings = program.settings
    judge = RemoteJudge(settings.remote, program.report)
    return Context(
        door=door_of(settings),
        judge=judge,
        hostname=socket.gethostname(),
        report=program.report,
        delivered=delivered_directory(os.environ),
    )


# --- one session


async def _session(program: ClientProgram) -> int:
    """Serve the session on standard input and output."""
    ended = asyncio.Event()
    failures: list[BaseException] = []

    def end(_: Channel, failure: BaseException | None) -> None:
        if failure is not None and not isinstance(failure, (ConnectionError, TimeoutError)):
            program.report("E", f"the session failed: {failure!r}")
            failures.append(failure)
        ended.set()

    context = _context(program)
    is_socket = stat.S_ISSOCK(os.fstat(0).st_mode)
    serve = make(context, means_of(program.settings, eof_is_gone=is_socket))
    channel = Channel(serve, context.door.data_timeout, end)
    pump: threading.Thread | None = None
    if is_socket:
        theirs = socket.socket(fileno=os.dup(0))
    else:
        ours, theirs = socket.socketpair()
        threading.Thread(target=_pump_in, args=(ours,), daemon=True).start()
        pump = threading.Thread(target=_pump_out, args=(ours,))
        pump.start()
    theirs.setblocking(False)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: channel, theirs)
    await ended.wait()
    if pump is not None:
        await asyncio.to_thread(pump.join)  # what was said last
    return os.EX_TEMPFAIL if failures else 0


def _pump_in(ours: socket.socket) -> None:
    """Pass on what comes on standard input, whatever that is."""
    try:
        while data := os.read(0, PUMP_BYTES):
            ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the session has ended


def _pump_out(ours: socket.socket) -> None:
    try:
        while data := ours.recv(PUMP_BYTES):
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
    except OSError:
        ours.close()  # nobody reads: the session hears that its client has gone


# --- one message


def _message(program: ClientProgram, arguments: Sequence[str]) -> int:
    from gatepost.client.pipe_message import UNREADY, parse_options, run_message, tell  # noqa: PLC0415 - only for one message

    try:
        options = parse_options(arguments, os.environ)
    except ValueError as error:
        program.report("F", f"pipe --message: {error}")
        return tell(UNREADY)  # EX_USAGE would bounce the mail

    async def work() -> int:
        context = _context(program)
        return await run_message(context, means_of(program.settings), options, sys.stdin.buffer)

    try:
        return _once(work())
    except Exception as error:  # noqa: BLE001 - a fault of ours must not bounce mail, as any other exit status would
        program.report("E", f"the message is not filtered: {error!r}")
        return tell(UNREADY)
