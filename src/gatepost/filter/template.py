"""The warm template: `python -m gatepost.filter.template --socket PATH`, one process started by the master.

It loads engines, rules and codecs once and forks filters that share its memory. Relays connect to its socket and ask;
they get a socket to the new filter and its pidfd. Standard input is the line to the master: first one line of JSON
(`FilterSettings`), then nothing until its end, which ends the template. Standard output gets one line: `ready` when
the socket listens, or why it cannot start, which standard error has, too. SIGTERM: no more forks, connections closed,
ends when its last filter has (a second one: at once).

Promises: single-threaded (checked before every fork), never more than `maximum` filters, filters die with it
(parent-death signal), and it runs no scan with a timeout (a timer thread would not exist in the children).
"""

import argparse
import contextlib
import os
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.clean_keys import BodyKeys
from gatepost.antivirus.engine import Engine
from gatepost.antivirus.loading import EngineMissing, load_engines, warm_up
from gatepost.antivirus.remotes import make_remotes
from gatepost.antivirus.stage import inspect
from gatepost.control.heap import settle_heap
from gatepost.feeds.cache import BasesNotLoaded, load_image
from gatepost.filter.asker import Asker
from gatepost.filter.dialogue import (
    CONTROL_FRAME_LIMIT,
    Failure,
    FrameReader,
    Hello,
    Refused,
    Started,
    build_frame,
    parse_to_template,
)
from gatepost.filter.hostile import HostileAnswer
from gatepost.filter.sandbox import Sandbox, Walls, enter
from gatepost.filter.settings import FilterSettings
from gatepost.filter.worker import REASON_LIMIT, Quota, serve, set_alarm
from gatepost.mime.disclaimer import annotate
from gatepost.mime.named_fields import find_named
from gatepost.mime.structure import parse
from gatepost.mime.subject import read_subject
from gatepost.mime.transfer import plan_seven_bit
from gatepost.model.finding import Analysis, ScanOptions
from gatepost.model.spam import SPAM_FIRST

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatepost.filter.spam_stage import SpamStage
    from gatepost.mime.part import Message
    from gatepost.model.preview import Preview

SETTINGS_LIMIT = 64 * 1024
"""Bytes of the settings line."""
BACKLOG = 64
"""Relays that may be connecting at one moment."""
FILTER_SOCKET = 3
"""Descriptor number of a filter's socket: the lowest after the standard ones."""
_EXIT_CRASH = 70


class Template:
    """State of the template process: its listening socket, its relays, its children."""

    def __init__(
        self,
        settings: FilterSettings,
        path: Path,
        engines: Sequence[Engine],
        spam_stage: "SpamStage | None",
        sandbox: Sandbox,
        preview: "Callable[[Message], Preview] | None" = None,
    ) -> None:
        """`spam_stage`: None where no group checks for spam; `preview`: None where nobody looks at messages."""
        self._settings = settings
        self._sandbox = sandbox
        self._path = path
        self._engines = tuple(engines)
        self._spam_stage = spam_stage
        self._preview = preview
        self._remotes = make_remotes(settings.remotes)
        self._body_keys = BodyKeys(os.urandom(32))
        self._selector = selectors.DefaultSelector()
        self._readers: dict[socket.socket, FrameReader] = {}
        self._children: set[int] = set()
        self._ending: set[int] = set()
        self._draining = False
        self._ended = False
        self._listener = _listen(path)
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self, lifeline: int) -> None:
        """Serve until the master has gone, or until SIGTERM and the last filter's end."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):  # from a terminal they reach the whole group; the master decides
            signal.signal(number, signal.SIG_IGN)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._selector.register(lifeline, selectors.EVENT_READ)
        while not self._ended:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj == self._wake:
                    self._take_signals()
                elif key.fileobj == lifeline:
                    self._ended = self._ended or not os.read(lifeline, SETTINGS_LIMIT)
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._readers:
                    self._take_request(key.fileobj)
            if self._draining and not self._children:
                return

    def _take_signals(self) -> None:
        numbers = os.read(self._wake, 4096)
        if signal.SIGTERM in numbers:
            self._ended = self._draining
            self._drain()
        with contextlib.suppress(ChildProcessError):
            while self._children:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                self._children.discard(pid)
                self._ending.discard(pid)

    def _drain(self) -> None:
        """Stop forking. Closing the connections tells the relays to look for a newer template."""
        if self._draining:
            return
        self._draining = True
        self._selector.unregister(self._listener)
        self._listener.close()
        for connection in list(self._readers):
            self._drop(connection)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has gone again, or there are no descriptors left: its relay will try anew
            return
        self._readers[connection] = FrameReader(CONTROL_FRAME_LIMIT)
        self._selector.register(connection, selectors.EVENT_READ)
        self._tell(connection, build_frame(Hello(self._settings.generation, os.getpid())))

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._readers[connection]
        connection.close()

    def _take_request(self, connection: socket.socket) -> None:
        try:
            chunk = connection.recv(CONTROL_FRAME_LIMIT)
            requests = [parse_to_template(body) for body in self._readers[connection].feed(chunk)]
        except (ConnectionError, HostileAnswer):
            self._drop(connection)
            return
        if not chunk:
            self._drop(connection)
        for request in requests:
            self._ending |= self._children.intersection(request.gone)
            if connection in self._readers:
                self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        running = len(self._children) - len(self._ending)
        if running >= self._settings.maximum:
            self._tell(connection, build_frame(Refused(f"{running} filters run already")))
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            pid = self._fork(theirs)
        except OSError as error:
            self._tell(connection, build_frame(Refused(f"no new process: {error}")))
            return
        theirs.close()
        self._children.add(pid)
        pidfd = os.pidfd_open(pid)
        try:
            self._tell(connection, build_frame(Started(pid)), (ours.fileno(), pidfd))
        finally:
            ours.close()
            os.close(pidfd)

    def _tell(self, connection: socket.socket, frame: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Send to a relay; one that does not read its few bytes is dropped, and the filter with it."""
        try:
            if socket.send_fds(connection, [frame], list(descriptors), socket.MSG_DONTWAIT) != len(frame):
                self._drop(connection)
        except OSError:
            self._drop(connection)

    def _fork(self, sock: socket.socket) -> int:
        _check_single_threaded()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = _EXIT_CRASH
        try:
            self._become_filter(sock, parent)
            code = 0
        except BaseException as error:  # noqa: BLE001 - nothing may return into the template's loop
            # Last words go to the relay: standard error may be a file, which the limits no longer let it write.
            with contextlib.suppress(OSError):
                os.write(FILTER_SOCKET, build_frame(Failure("", f"{type(error).__name__}: {error}"[:REASON_LIMIT])))
        finally:
            os._exit(code)

    def _become_filter(self, sock: socket.socket, parent: int) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a message in hand is finished; the relay's close ends it
        os.dup2(sock.detach(), FILTER_SOCKET)
        settings = self._settings
        asker = Asker(socket.socket(fileno=FILTER_SOCKET), settings.idle_s)
        report = enter(self._sandbox, frozenset({0, 1, 2, FILTER_SOCKET}), parent)
        engines, remotes, stage, body_keys = self._engines, self._remotes, self._spam_stage, self._body_keys
        for each in remotes:
            each.attach(asker)

        def inspector(content: bytes, options: ScanOptions, deadline: float) -> Analysis:
            if options.seven_bit:
                plan = plan_seven_bit(content)
                rewrite = tuple((splice.start, splice.end, splice.data) for splice in plan.splices)
                return Analysis((), rewrite=rewrite, obstacle=plan.obstacle.value if plan.obstacle else "")
            if options.preview:
                shown = self._preview(parse(content)) if self._preview is not None else None
                return Analysis((), preview=shown)
            if options.bare is not None:
                return inspect(content, options, engines, deadline, set_alarm, remote=remotes)
            message = parse(content)  # once for all who look at it
            subject = read_subject(message)
            found, facts = Analysis(()), None
            # No stage: the relay may know already of groups that check for spam, and this template not yet.
            spam = options.spam if stage is not None else None
            if stage is not None and spam is not None and spam.order == SPAM_FIRST:
                facts = stage.inspect(message, spam)
                if spam.first and options.scan and asker.may_spare(facts):
                    return annotate(Analysis((), spam=facts, spared=True, subject=subject), content, options, message)
            if options.scan:
                found = inspect(
                    content,
                    options,
                    engines,
                    deadline,
                    set_alarm,
                    remote=remotes,
                    memory=asker,
                    body_keys=body_keys,
                    message=message,
                )
            if stage is not None and spam is not None:
                facts = facts if facts is not None else stage.inspect(message, spam)
            named = find_named(message, options.fields) if options.fields is not None else None
            found = msgspec.structs.replace(found, spam=facts, subject=subject, fields=named)
            return annotate(found, content, options, message)

        serve(asker, inspector, Quota(settings.quota, settings.quota_random), report)


def _check_single_threaded() -> None:
    """Raise when there are other threads: a fork would lose them, and keep the locks they hold."""
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads != 1:
        raise RuntimeError(f"the template has {threads} threads: an engine started one while loading")


def _listen(path: Path) -> socket.socket:
    """Bind under a temporary name, listen, then take the name over: nobody ever meets a socket that refuses."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(temporary))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    temporary.rename(path)
    return listener


def _read_settings(lifeline: int) -> FilterSettings:
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(lifeline, SETTINGS_LIMIT)
        line += chunk
        if not chunk or len(line) > SETTINGS_LIMIT:
            raise SystemExit("gatepost filter template: no settings on standard input")
    return msgspec.json.decode(line, type=FilterSettings)


def _load_spam_stage(settings: FilterSettings) -> "SpamStage | None":
    """Import and load what looks for spam, a second of work and half of the memory; None: nobody wants it.
    BasesNotLoaded.
    """
    if not settings.antispam:
        return None
    stage: SpamStage = import_module("gatepost.filter.spam_stage").load_spam_stage(settings)
    return stage


def _load_preview(settings: FilterSettings) -> "Callable[[Message], Preview] | None":
    """Import what shows messages to administrators; None: nobody asks for it."""
    if not settings.previews:
        return None
    preview: Callable[[Message], Preview] = import_module("gatepost.filter.preview").preview
    return preview


def _build(settings: FilterSettings, path: Path) -> Template:
    """Load all that filters share, and listen. BasesNotLoaded, EngineMissing; anything else is a fault of ours."""
    image = load_image(Path(settings.bases_cache), settings.bases) if settings.bases else None
    engines = load_engines(settings.engines, image)
    spam_stage = _load_spam_stage(settings)
    preview = _load_preview(settings)
    warm_up(engines)
    reserved = sum(engine.reserved_bytes for engine in engines if isinstance(engine, BuiltinEngine))
    sandbox = Sandbox(Walls(settings.memory_bytes + reserved, settings.uid, settings.gid))
    _check_single_threaded()
    return Template(settings, path, engines, spam_stage, sandbox, preview)


def _tell_why(reason: str) -> None:
    """Say in one line why there is no template, to whoever waits for it."""
    with contextlib.suppress(BrokenPipeError):
        print(" ".join(reason.split())[:REASON_LIMIT], flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the template process."""
    parser = argparse.ArgumentParser(prog="gatepost.filter.template", description="Warm template of the filters.")
    parser.add_argument("--socket", type=Path, required=True, help="where relays ask for filters")
    path: Path = parser.parse_args(arguments).socket
    lifeline = os.dup(0)
    settings = _read_settings(lifeline)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        template = _build(settings, path)
    except (BasesNotLoaded, EngineMissing) as error:
        _tell_why(str(error))
        raise SystemExit(f"gatepost filter template: {error}") from None
    except Exception as error:
        _tell_why(f"{type(error).__name__}: {error}")
        raise
    settle_heap()
    print("ready", flush=True)
    os.dup2(null, 1)
    os.close(null)
    template.run(lifeline)
    sys.stderr.flush()
    os._exit(0)  # nothing is left to do, and at an ordinary end libraries tell on standard error what they leak


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # nothing to tidy up; native modules would complain of objects that outlive the interpreter
