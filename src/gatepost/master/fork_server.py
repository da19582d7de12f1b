"""The fork server: imports once what relays are made of, and forks children of the master, ready in milliseconds.

`master.process` begins it before there is a loop or a thread; `master.relays`, `master.templates` and `master.recorder`
start children through it. It reads no mail, opens no file and no port; it is of the master's user and ends with it.
Promises:

- single-threaded at every fork, all signals blocked over it: none is lost on a child that is only becoming itself;
- a child has what an executed one would have: no descriptor but the standard ones and its channel, default signal
  actions, none of the capabilities the master has kept, its own name in `ps`;
- without the server (it was killed, it does not answer) children start by exec as ever: that costs half a second, once;
- children live on when the server ends.

A child is the server's and not the master's: the master watches it by its pidfd, and hears its status from the server.
"""

import contextlib
import ctypes
import fcntl
import gc
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO

import msgspec

from gatepost.control import privileges
from gatepost.control.heap import settle_heap

WARM: tuple[str, ...] = ("gatepost.relay.process",)
"""Imported before the first fork. Only what relays carry anyway: what reads mail is imported by the template alone."""
CHANNEL = 3
"""Descriptor of the channel in a child that gets one: the lowest after the standard ones."""
ANSWER_TIMEOUT_S = 20.0
"""A fork takes 10 ms, the first one waits for the imports; whoever does not answer by then is not waited for again."""
STATUS_TIMEOUT_S = 5.0
STATUS_UNKNOWN = 255
"""Status of a child whose end nobody has seen: the server ended before it."""
MESSAGE_LIMIT = 16 * 1024
_ARG_START, _ARG_END = 45, 46
"""Fields of /proc/PID/stat behind the name: where the command line lies in memory (48 and 49 of proc(5))."""


class Start(msgspec.Struct, frozen=True, tag="start"):
    """master → server: fork a child. Descriptors: standard input, standard output, and the channel if there is one."""

    module: str
    """Its `main(arguments)` is what the child runs."""
    arguments: tuple[str, ...]
    title: str


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    """server → master: the answer to `Start`, with the child's pidfd; pid 0: no new process, because of `errno`."""

    pid: int
    errno: int = 0


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """server → master: a child has ended; the status as `subprocess` counts it."""

    pid: int
    status: int


_REQUESTS = msgspec.json.Decoder(Start)
_ANSWERS = msgspec.json.Decoder(Forked | Ended)


class ForkedProcess:
    """A child of the fork server, with what the master uses of `subprocess.Popen`."""

    def __init__(self, server: "ForkServer", pid: int, pidfd: int) -> None:
        self._server = server
        self.pid = pid
        self.pidfd = pidfd
        """Whoever watches it closes this."""
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None

    def wait(self) -> int:
        """Return the status of it, which has ended."""
        return self._server.status(self.pid)


Process = ForkedProcess | subprocess.Popen[bytes]
"""A child, however it was started."""


class ForkServer:
    """The master's side."""

    def __init__(self, sock: socket.socket | None, pid: int) -> None:
        """`sock`: None when there is no server, and never will be."""
        self._sock = sock
        self._pid = pid
        self._ended: dict[int, int] = {}
        self.say: Callable[[str, str], None] = lambda _level, _text: None

    @classmethod
    def begin(cls) -> "ForkServer":
        """Fork the server off the calling process, which has no second thread and no event loop yet."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # the collector of either would write to all that is shared
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            return cls(None, 0)
        if pid == 0:
            ours.close()
            try:
                _serve(theirs)
            except BaseException:  # noqa: BLE001 - it must not go on as the master
                traceback.print_exc()
            finally:
                os._exit(0)
        theirs.close()
        return cls(ours, pid)

    def start(
        self, module: str, arguments: Sequence[str], *, title: str, piped: bool = False, channel: int = -1
    ) -> Process:
        """Start a child that runs `main(arguments)` of `module`, `title` in `ps`. OSError.

        `piped`: its standard input and output are the process's `stdin` and `stdout`; otherwise nothing and our own.
        `channel`: a descriptor it is to have, too; the option `--channel NUMBER` tells it where.
        """
        pipes = os.pipe2(os.O_CLOEXEC) + os.pipe2(os.O_CLOEXEC) if piped else (_nothing(), -1, -1, os.dup(1))
        stdin, to_it, from_it, stdout = pipes
        try:
            process = self.launch(module, arguments, title=title, stdin=stdin, stdout=stdout, channel=channel)
        except OSError:
            if piped:
                os.close(to_it)
                os.close(from_it)
            raise
        finally:
            os.close(stdin)
            os.close(stdout)
        if piped:
            process.stdin, process.stdout = os.fdopen(to_it, "wb", 0), os.fdopen(from_it, "rb", 0)
        return process

    def launch(
        self, module: str, arguments: Sequence[str], *, title: str, stdin: int, stdout: int, channel: int
    ) -> Process:
        """Do as `start`, with these as the child's descriptors; they stay open here. OSError."""
        descriptors = (stdin, stdout, channel) if channel >= 0 else (stdin, stdout)
        if self._send(Start(module, tuple(arguments), title), descriptors):
            answer, pidfds = self._receive(ANSWER_TIMEOUT_S)
            while isinstance(answer, Ended):
                self._ended[answer.pid] = answer.status
                answer, pidfds = self._receive(ANSWER_TIMEOUT_S)
            if answer is not None and not answer.pid:
                raise OSError(answer.errno, os.strerror(answer.errno))
            if answer is not None:
                return ForkedProcess(self, answer.pid, pidfds[0])
        return _execute(module, arguments, stdin, stdout, channel)

    def status(self, pid: int) -> int:
        """Return the status of a child that has ended."""
        while pid not in self._ended:
            answer, _ = self._receive(STATUS_TIMEOUT_S)
            if not isinstance(answer, Ended):
                return STATUS_UNKNOWN
            self._ended[answer.pid] = answer.status
        return self._ended.pop(pid)

    def close(self) -> None:
        """End the server. Its children live on."""
        if self._sock is None:
            return
        self._sock.close()
        self._sock = None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _send(self, request: Start, descriptors: Sequence[int]) -> bool:
        if self._sock is None:
            return False
        try:
            self._sock.settimeout(ANSWER_TIMEOUT_S)
            socket.send_fds(self._sock, [msgspec.json.encode(request)], descriptors)
        except OSError:
            self._give_up()
            return False
        return True

    def _receive(self, timeout_s: float) -> tuple[Forked | Ended | None, list[int]]:
        """Return its next message and descriptors; None: it has ended, or does not answer, and is done with."""
        if self._sock is None:
            return None, []
        try:
            self._sock.settimeout(timeout_s)
            message, descriptors, _, _ = socket.recv_fds(self._sock, MESSAGE_LIMIT, 1)
            return _ANSWERS.decode(message), descriptors
        except (OSError, msgspec.DecodeError):
            self._give_up()
            return None, []

    def _give_up(self) -> None:
        """Go on without it. A child that it may still have started finds its channel or its input closed."""
        self.close()
        self.say("W", "the fork server has ended: processes start more slowly until the gateway is started again")


def _execute(module: str, arguments: Sequence[str], stdin: int, stdout: int, channel: int) -> "subprocess.Popen[bytes]":
    """Start a child as a program of its own."""
    passed = (channel,) if channel >= 0 else ()
    command = [sys.executable, "-m", module, *arguments, *_channel_option(channel)]
    return subprocess.Popen(command, stdin=stdin, stdout=stdout, pass_fds=passed)  # noqa: S603 - ourselves


def _nothing() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _channel_option(channel: int) -> tuple[str, ...]:
    return ("--channel", str(channel)) if channel >= 0 else ()


# --- the server's side


def _serve(sock: socket.socket) -> None:
    """Fork children until the master has gone."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole group; the master decides
    privileges.close_descriptors((0, 1, 2, sock.fileno()))
    _give_up_privileges()
    _set_title("gatepost: fork server")
    for module in WARM:
        import_module(module)
    settle_heap()
    wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(sock, selectors.EVENT_READ)
    selector.register(wake, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not sock:
                os.read(wake, 4096)
                _tell_ends(sock)
            elif not _take_request(sock):
                return


def _tell_ends(sock: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            sock.send(msgspec.json.encode(Ended(pid, os.waitstatus_to_exitcode(status))))


def _take_request(sock: socket.socket) -> bool:
    """Do what the master asks for; False: it has gone."""
    line, descriptors, _, _ = socket.recv_fds(sock, MESSAGE_LIMIT, 3)
    if not line:
        return False
    request = _REQUESTS.decode(line)
    try:
        pid = _fork(request, descriptors)
        pidfd = [os.pidfd_open(pid)]  # it is reaped after this, if it has ended already
        answer = Forked(pid)
    except OSError as error:
        pidfd, answer = [], Forked(0, error.errno or 0)
    for descriptor in descriptors:
        os.close(descriptor)
    socket.send_fds(sock, [msgspec.json.encode(answer)], pidfd)
    for descriptor in pidfd:
        os.close(descriptor)
    return True


def _fork(request: Start, descriptors: Sequence[int]) -> int:
    """Return the pid of a new child; in the child, run its module and end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = _run(request, descriptors)
            finally:
                os._exit(status)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return pid


def _run(request: Start, descriptors: Sequence[int]) -> int:
    """Be the child: return its exit status."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Above all the places they go to first: one may lie where another is to be.
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, CHANNEL + 1) for descriptor in descriptors]
    for descriptor, place in zip(moved, (0, 1, CHANNEL), strict=False):
        os.dup2(descriptor, place)
    has_channel = len(moved) > CHANNEL - 1
    privileges.close_descriptors(range(CHANNEL + has_channel))
    _set_title(f"gatepost: {request.title}")
    arguments = [*request.arguments, *_channel_option(CHANNEL if has_channel else -1)]
    sys.argv = [request.module, *arguments]
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    status = 0
    try:
        import_module(request.module).main(arguments)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - as the interpreter does it
        traceback.print_exc()
        status = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return status


def _give_up_privileges() -> None:
    """Keep no capability, as a process that is executed by a user other than root keeps none."""
    if os.geteuid() == 0:
        return
    privileges.set_capabilities()
    privileges.prctl(privileges.PR_SET_DUMPABLE, 1)  # off since the master was root; its user may look at its children


def _set_title(title: str) -> None:
    """Show this in `ps` and `top` in place of the master's name and command line, as far as there is room."""
    with contextlib.suppress(OSError, ValueError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        raw = title.encode()[: max(0, end - start - 1)]
        if start:
            ctypes.memmove(start, raw.ljust(end - start, b"\0"), end - start)
        privileges.prctl(privileges.PR_SET_NAME, title.removeprefix("gatepost: ").encode())
