"""The daemon: one gateway started in the foreground, or put into the background under a supervisor.

Called by `gatepost run` and `gatepost start`. `start` returns when the gateway is in service, or with the documented
code and the reason why it is not: the background process tells them over a pipe, its own standard streams lead nowhere.
"""

import contextlib
import fcntl
import json
import os
import select
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.control.log import Log, LogSettings
from gatepost.master import process as master
from gatepost.master.exit_code import ExitCode, StartError
from gatepost.master.identity import become, check_user
from gatepost.master.installation import find_damage
from gatepost.master.paths import Paths
from gatepost.master.pid_file import PidFile
from gatepost.master.supervisor import Supervision, supervise

DEFAULT_USER: Final = "gatepost"
"""Whom root becomes unless told otherwise: packages make this user."""
START_PATIENCE_S: Final = 120.0
"""How long `start` waits for the gateway to be in service: compiling a great set of signatures takes a minute."""
_REPORT_LIMIT: Final = 64 * 1024
_UMASK: Final = 0o027


class Options(msgspec.Struct, frozen=True):
    """How a daemon is started."""

    file: Path
    overrides: tuple[str, ...] = ()
    user: str = ""
    """Whom to become; "" = stay who we are."""
    pid_file: Path | None = None
    """None = the one below the state directory."""
    use_pid_file: bool = True


def run(options: Options) -> int:
    """Run a gateway in the foreground until it is told to stop; return its exit status. Faults go to standard error."""
    try:
        config = _prepare(options)
        pid_file = _take_pid_file(options, config)
        if pid_file is not None:
            pid_file.write(os.getpid())
        try:
            _take_identity(options, config)
            return master.run(options.file, options.overrides)
        finally:
            if pid_file is not None:
                pid_file.release()
    except StartError as error:
        print(str(error), file=sys.stderr)
        return error.code


def start(options: Options, patience_s: float = START_PATIENCE_S) -> int:
    """Start a gateway in the background; return 0 when it is in service. Faults go to standard error."""
    options = msgspec.structs.replace(options, file=options.file.absolute())
    try:
        config = _prepare(options)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        first = _fork()
    except StartError as error:
        print(str(error), file=sys.stderr)
        return error.code
    if first == 0:
        os.close(reading)
        _leave(options, config, writing)
    os.close(writing)
    os.waitpid(first, 0)
    code, text = _hear(reading, patience_s)
    os.close(reading)
    if text:
        print(text, file=sys.stderr)
    return code


def _prepare(options: Options) -> Config:
    """Find what can be found before anything is done. StartError."""
    damage = find_damage()
    if damage:
        raise StartError(
            ExitCode.CORRUPTED, f"the program's files are damaged, install it again: {', '.join(damage)} …"
        )
    loaded = load(options.file, options.overrides)
    if loaded.config is None:
        code = ExitCode.CONFIGURATION if loaded.readable else ExitCode.NOT_LOADABLE
        raise StartError(code, "\n".join(str(problem) for problem in loaded.errors))
    return loaded.config


def _take_pid_file(options: Options, config: Config) -> PidFile | None:
    if not options.use_pid_file:
        return None
    return PidFile.take(options.pid_file or Paths(config.relay.state_path).pid)


def check(options: Options) -> int:
    """Find, before a running gateway is stopped, what would keep the next from starting; return its exit status."""
    try:
        _prepare(options)
        if options.user:
            check_user(options.user)
    except StartError as error:
        print(str(error), file=sys.stderr)
        return error.code
    return ExitCode.STARTED


def _take_identity(options: Options, config: Config) -> None:
    if not options.user:
        return
    trees = {config.relay.state_path, config.path.queue_path, config.path.control_path}
    log = config.options.log_filename
    files = [] if log in {"", "syslog"} else [Path(log)]
    become(options.user, sorted(map(Path, trees)), files)


# --- into the background


def _fork() -> int:
    try:
        return os.fork()
    except OSError as error:
        raise StartError(ExitCode.DAEMONISE, f"cannot go into the background: {error}") from error


def _leave(options: Options, config: Config, report_fd: int) -> None:
    """Be the first child: leave the session of the caller, and work in a grandchild that no terminal owns."""
    report = _Report(report_fd)
    code: int = ExitCode.DAEMONISE
    try:
        os.setsid()
        code = _serve(options, config, report) if _fork() == 0 else 0
    except StartError as error:
        report.send(error.code, str(error))
    except OSError as error:
        report.send(ExitCode.DAEMONISE, f"cannot go into the background: {error}")
    finally:
        os._exit(code)


def _serve(options: Options, config: Config, report: "_Report") -> int:
    """Be the daemon; return its exit status. Who started it hears of a failure when nothing is left of the start."""
    code, text = _supervise(options, config, report)
    report.send(code, text)
    return code


def _supervise(options: Options, config: Config, report: "_Report") -> tuple[int, str]:
    """Have masters until the end; return the exit status, and what to tell of it who may still be waiting."""
    pid_file: PidFile | None = None
    try:
        os.chdir("/")
        os.umask(_UMASK)
        redirect_streams()
        pid_file = _take_pid_file(options, config)
        if pid_file is not None:
            pid_file.write(os.getpid())
        _take_identity(options, config)
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)  # the manager that started us watches the caller, not this process
        code = supervise(
            lambda told, settled: _be_master(options, told, report, settled),
            lambda level, text: _say(options, config, level, text),
            pid_file.forget if pid_file is not None else lambda: None,
        )
    except StartError as error:
        return error.code, str(error)
    except Exception:  # noqa: BLE001 - whatever it is, the caller must hear of it
        return ExitCode.SYSTEM, traceback.format_exc()
    else:
        return code, "the daemon ended before it was in service: the log tells why"
    finally:
        if pid_file is not None:
            pid_file.release()


def redirect_streams() -> None:
    """Let the standard streams lead nowhere. StartError 46, 47."""
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
    except OSError as error:
        raise StartError(ExitCode.STREAMS_REDIRECTED, f"cannot redirect standard streams: {error}") from error
    nowhere = fcntl.fcntl(nowhere, fcntl.F_DUPFD_CLOEXEC, 3)  # the caller may have started us with streams closed
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.closerange(0, 3)
    except OSError as error:
        raise StartError(ExitCode.STREAMS_CLOSED, f"cannot close standard streams: {error}") from error
    try:
        for number in range(3):
            os.dup2(nowhere, number)
        os.close(nowhere)
    except OSError as error:
        raise StartError(ExitCode.STREAMS_REDIRECTED, f"cannot redirect standard streams: {error}") from error


def _be_master(options: Options, told: Supervision, report: "_Report", settled: Callable[[], None]) -> int:
    """Be one master of the daemon; return its exit status. `settled` is called in service."""

    def hear(reason: str) -> None:
        if reason:
            report.wait(reason)
        else:
            settled()
            report.send(ExitCode.STARTED, "")

    try:
        return master.run(options.file, options.overrides, hear, told)
    except StartError as error:
        report.send(error.code, str(error))
        if told.restarts:
            _say(options, None, "E", str(error))
        return error.code
    except Exception:
        report.send(ExitCode.SYSTEM, traceback.format_exc())
        _say(options, None, "F", traceback.format_exc())
        raise


def _say(options: Options, known: Config | None, level: str, text: str) -> None:
    """Log for the daemon itself, by the configuration as it stands now."""
    config = load(options.file, options.overrides).config or known
    if config is None:
        return
    log = Log(LogSettings.of(config), required=False)
    for line in text.splitlines():
        log.say(level, line)


# --- what the caller hears


class _Report:
    """The way from the daemon to who started it: a line each time it waits for something else, and one at the end."""

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor

    def send(self, code: int, text: str) -> None:
        """Tell the outcome of the start; nobody may be listening any more."""
        self._write(int(code), text)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def wait(self, reason: str) -> None:
        """Tell what keeps the start, while it goes on."""
        self._write(None, reason)

    def _write(self, code: int | None, text: str) -> None:
        if self._fd >= 0:
            line = json.dumps([code, text[: _REPORT_LIMIT // 8]]).encode() + b"\n"
            with contextlib.suppress(OSError):
                os.write(self._fd, line)


def _hear(descriptor: int, patience_s: float) -> tuple[int, str]:
    """Return how the start ends: code and reason; say at once what it waits for meanwhile. After a failure the daemon
    has ended, and another may be started; when our patience ends, it goes on trying.
    """
    data = b""
    code: int | None = None
    text = ""
    end = time.monotonic() + patience_s
    while select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
        piece = os.read(descriptor, _REPORT_LIMIT)
        *lines, data = (data + piece).split(b"\n")
        for line in lines:
            if code is not None:  # the master has said it; its supervisor, which knows less, speaks as well
                break
            code, text = json.loads(line)
            if code is None:
                print(f"not in service yet, it is tried again and again: {text}", file=sys.stderr, flush=True)
        if code == ExitCode.STARTED:
            break
        if not piece:
            if code is None:
                code, text = ExitCode.SYSTEM, "the daemon ended without a word: the log may tell why"
            break
    if code is None:
        why = text or "`gatepost status` and the log tell why"
        return ExitCode.SYSTEM, f"started, but not in service after {patience_s:g} s, and still trying: {why}"
    return code, text
