"""The master: reads the configuration, binds ports, starts and restarts relays and the filter template, takes signals
and control calls. It never touches mail.
"""

import asyncio
import contextlib
import fcntl
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatepost import __version__
from gatepost.config.load import load
from gatepost.config.problem import Problem, Severity
from gatepost.config.schema import Config
from gatepost.control import channel
from gatepost.control.log import Log, LogSettings
from gatepost.control.socket import ControlError, Request, serve
from gatepost.master.children import Child, stop_all
from gatepost.master.paths import Paths
from gatepost.master.ports import BindFailed, Ports
from gatepost.master.settings import compile_texts, settle_automatic
from gatepost.notices.grammar import TemplateError
from gatepost.relay.admission import SessionTable, create_table
from gatepost.relay.process import filter_settings

STOP_TIMEOUT_S = 20.0
"""How long relays may take to end; then they are killed, and the spool decides."""
ANSWER_TIMEOUT_S = 10.0
KEPT_SNAPSHOTS = 32
"""Configurations kept for relays that have been told of them and are not there yet: reloads may come in quick rows."""
_RELAY_STATUS = ("filters", "filter_pids", "filter_walls_missing", "in_work", "adopted_shards")


class ExitCode:
    """Documented return codes of the daemon (specification management.md §5.1)."""

    STARTED = 0
    SYSTEM = 30
    PID_FILE_EXISTS = 41
    IDENTITY = 44
    BIND = 55
    NOT_LOADABLE = 65
    CONFIGURATION = 66
    LOG = 67


class StartError(Exception):
    """The gateway cannot start; carries the return code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Relay:
    """What the master knows of one relay."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.child: Child
        self.channel: channel.Channel | None = None
        self.questions: dict[int, asyncio.Future[Any]] = {}
        """Asked and not answered yet, by number."""
        self.up = asyncio.Event()


class Master:
    """A running gateway's master. `run` returns the exit status."""

    def __init__(self, config_file: Path, overrides: Sequence[str] = (), user: str = "") -> None:
        self._file = config_file
        self._overrides = tuple(overrides)
        self._user = user
        self._generation = 0
        self._ports = Ports()
        self._relays: list[_Relay] = []
        self._template: Child | None = None
        self._retired: list[Child] = []
        self._question = 0
        self._switches = {"send": True, "scan": True}
        self._stopping = asyncio.Event()
        self._started_at = time.time()
        self._lock_fd = -1

    async def run(self, started: Callable[[], None] | None = None) -> int:
        """Start, work until told to stop, stop. StartError when it cannot start. `started` is called in service."""
        config = self._read()
        self._prepare(config)
        self._say("I", f"gatepost {__version__} starts, configuration {self._file}")
        self._bind(config)
        self._drop_root()
        self._table_fd = create_table()
        self._table = SessionTable(self._table_fd, 0)
        self._stage(config)
        self._install(config)
        self._start_template()
        self._resize(config)
        server = await serve(self._paths.control, self._handle)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_hup)
        serving = asyncio.create_task(self._announce(started))
        await self._stopping.wait()
        serving.cancel()
        self._say("I", "stopping")
        server.close()
        self._paths.control.unlink(missing_ok=True)
        await self._stop()
        self._say("I", "stopped")
        return ExitCode.STARTED

    # --- start

    async def _announce(self, started: Callable[[], None] | None) -> None:
        """Say so when every relay is up; one that cannot start keeps neither the others nor a stop waiting."""
        for relay in list(self._relays):
            await relay.up.wait()
        addresses = ", ".join(listener.address for listener in self._config.listeners)
        self._say("I", f"in service: {len(self._relays)} relay(s), listening on {addresses}")
        if started is not None:
            started()

    def _read(self) -> Config:
        loaded = load(self._file, overrides=self._overrides)
        if loaded.config is None:
            code = ExitCode.CONFIGURATION if loaded.readable else ExitCode.NOT_LOADABLE
            raise StartError(code, _render(loaded.problems))
        self._warnings = [p for p in loaded.problems if p.severity is Severity.WARNING]
        try:
            compile_texts(loaded.config)
        except TemplateError as error:
            raise StartError(ExitCode.CONFIGURATION, f"text template: {error}") from error
        return settle_automatic(loaded.config)

    def _prepare(self, config: Config) -> None:
        self._paths = Paths(config.relay.state_path)
        if self._paths.too_long:
            raise StartError(
                ExitCode.CONFIGURATION,
                f"[relay] state_path: {config.relay.state_path} is too long, the sockets below it could not be bound",
            )
        try:
            self._paths.run.mkdir(0o700, parents=True, exist_ok=True)
            Path(config.path.queue_path).mkdir(0o700, parents=True, exist_ok=True)
            self._lock_fd = os.open(self._paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(ExitCode.SYSTEM, f"cannot use the state directory: {error}") from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                ExitCode.PID_FILE_EXISTS, f"another gateway runs in {config.relay.state_path}: stop it first"
            ) from error
        for stale in self._paths.run.glob("config-*.bin"):
            stale.unlink()
        try:
            if config.options.log_filename not in {"", "syslog"}:
                Path(config.options.log_filename).parent.mkdir(0o755, parents=True, exist_ok=True)
            self._log = Log(LogSettings.of(config))
        except OSError as error:
            raise StartError(ExitCode.LOG, f"log cannot be opened: {error}") from error
        for problem in self._warnings:
            self._say("W", str(problem))

    def _bind(self, config: Config) -> None:
        try:
            self._ports.bind(config.listeners)
        except BindFailed as error:
            raise StartError(ExitCode.BIND, str(error)) from error

    def _drop_root(self) -> None:
        """Become the configured user; the state directory goes along."""
        if not self._user:
            return
        try:
            who = pwd.getpwnam(self._user)
            for path in (self._paths.run, self._paths.run.parent, *self._paths.run.parent.rglob("*")):
                os.chown(path, who.pw_uid, who.pw_gid, follow_symlinks=False)
            os.setgroups([])
            os.setgid(who.pw_gid)
            os.setuid(who.pw_uid)
        except (KeyError, OSError) as error:
            raise StartError(ExitCode.IDENTITY, f"cannot become user {self._user}: {error}") from error

    def _stage(self, config: Config) -> None:
        """Write the next snapshot. OSError: nothing has changed."""
        self._paths.snapshot(self._generation + 1).write_bytes(msgspec.msgpack.encode(config))

    def _install(self, config: Config) -> None:
        """Make the staged configuration the one in force: relays read its snapshot, also after a later broken edit."""
        self._generation += 1
        self._paths.snapshot(self._generation - KEPT_SNAPSHOTS).unlink(missing_ok=True)
        self._config = config

    def _resize(self, config: Config) -> None:
        """Have as many relays as the configuration says."""
        while len(self._relays) < config.relay.relays:
            relay = _Relay(len(self._relays))
            self._relays.append(relay)
            self._start_relay(relay)
        while len(self._relays) > config.relay.relays:
            relay = self._relays.pop()
            relay.child.dismiss()
            if relay.channel is not None:
                relay.channel.send(channel.Stop())
            self._retired.append(relay.child)

    def _start_relay(self, relay: _Relay) -> None:
        def start() -> subprocess.Popen[bytes]:
            ours, theirs = channel.pair()
            command = [sys.executable, "-m", "gatepost.relay.process", "--channel", str(theirs.fileno())]
            try:
                process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)  # noqa: S603
            except OSError:
                ours.close()
                raise
            finally:
                theirs.close()
            relay.channel = channel.Channel(
                ours, lambda message, _: self._on_message(relay, message), lambda: self._on_channel_closed(relay)
            )
            self._send_setup(relay, first=True)
            return process

        def ended(_: Child, __: int) -> None:
            self._table.clear_column(relay.index)
            self._on_channel_closed(relay)

        relay.child = Child(f"relay {relay.index}", start, ended=ended, say=self._say)
        relay.child.start()

    def _send_setup(self, relay: _Relay, *, first: bool) -> None:
        if relay.channel is None:
            return
        listeners = self._config.listeners
        setup = channel.Setup(
            relay.index,
            str(self._paths.snapshot(self._generation)),
            tuple(range(len(listeners))),
            str(self._paths.filters),
            self._generation,
            first,
        )
        if not relay.channel.send(setup, [self._table_fd, *self._ports.descriptors(listeners)]):
            self._say("E", f"relay {relay.index} does not take its configuration: restart it")

    def _start_template(self) -> None:
        settings = filter_settings(self._config, self._generation, self._config.filter.server_max_filters)

        def start() -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "gatepost.filter.template", "--socket", str(self._paths.filters)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # noqa: S603
            assert process.stdin is not None
            # Standard input stays open as the lifeline: its end tells the template that the master is gone.
            process.stdin.write(msgspec.json.encode(settings) + b"\n")
            process.stdin.flush()
            return process

        self._template = Child("filter template", start, ended=lambda _, __: None, say=self._say)
        self._template.start()

    # --- messages of relays

    def _on_message(self, relay: _Relay, message: channel.Message) -> None:
        match message:
            case channel.Up():
                relay.up.set()
                for module, on in self._switches.items():
                    if not on and relay.channel is not None:
                        relay.channel.send(channel.Switch(module, on))
            case channel.Answer():
                future = relay.questions.pop(message.number, None)
                if future is not None and not future.done():
                    if message.error:
                        future.set_exception(ControlError(message.error))
                    else:
                        future.set_result(msgspec.json.decode(message.result))

    def _on_channel_closed(self, relay: _Relay) -> None:
        if relay.channel is not None:
            relay.channel.close()
            relay.channel = None
        for future in relay.questions.values():
            if not future.done():
                future.set_exception(ControlError(f"relay {relay.index} has ended"))

    async def _ask(self, relay: _Relay, what: str, **arguments: str | int) -> Any:
        self._question += 1
        number = self._question
        if relay.channel is None:
            raise ControlError(f"relay {relay.index} is {relay.child.state}")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        relay.questions[number] = future
        relay.channel.send(channel.Ask(number, what, arguments))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await future
        except TimeoutError as error:
            raise ControlError(f"relay {relay.index} does not answer") from error
        finally:
            relay.questions.pop(number, None)

    # --- control calls

    async def _handle(self, request: Request) -> Any:
        match request.call:
            case "status":
                return await self._status()
            case "queue":
                return await self._queue(request.arguments)
            case "release" | "remove":
                return await self._act_on(request.call, int(request.arguments["id"]))
            case "reload":
                return self.reload()
            case "switch":
                return self._switch(str(request.arguments.get("module")), on=bool(request.arguments.get("on")))
            case "stop":
                self._stopping.set()
                return "stopping"
        raise ControlError(f"unknown call {request.call!r}")

    async def _status(self) -> dict[str, Any]:
        answers = await asyncio.gather(*(self._ask(relay, "status") for relay in self._relays), return_exceptions=True)
        relays = []
        counters: dict[str, int] = {}
        queue = {"waiting": 0, "ready": 0, "held": 0, "bytes": 0}
        modules = {"receiver": True, "scanner": self._switches["scan"], "sender": self._switches["send"]}
        for relay, answer in zip(self._relays, answers, strict=True):
            row: dict[str, Any] = {
                "index": relay.index,
                "pid": relay.child.pid,
                "state": relay.child.state,
                "restarts": relay.child.restarts,
            }
            if isinstance(answer, dict):
                row |= {key: answer[key] for key in _RELAY_STATUS}
                for name, value in answer["counters"].items():
                    counters[name] = counters.get(name, 0) + value
                for name, value in answer["queue"].items():
                    queue[name] += value
            else:
                row["error"] = str(answer)
            relays.append(row)
        incoming, outgoing = self._table.totals()
        counters["mta_incoming_connections_current"] = incoming
        counters["mta_outgoing_connections_current"] = outgoing
        counters["mta_stored_messages_current"] = queue["waiting"] + queue["ready"] + queue["held"]
        template = self._template
        return {
            "version": __version__,
            "pid": os.getpid(),
            "configuration": str(self._file),
            "started_at": self._started_at,
            "listeners": [listener.address for listener in self._config.listeners],
            "modules": modules,
            "relays": relays,
            "filter_template": {
                "pid": template.pid if template else 0,
                "state": template.state if template else "stopped",
                "restarts": template.restarts if template else 0,
            },
            "queue": queue,
            "counters": dict(sorted(counters.items())),
        }

    async def _queue(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        after, limit = int(arguments.get("after", 0)), int(arguments.get("limit", 100))
        rows: list[dict[str, Any]] = []
        for relay in self._relays:
            rows += await self._queue_of(relay, after, limit)
        rows.sort(key=lambda row: int(row["id"]))
        return rows[:limit]

    async def _act_on(self, what: str, message_id: int) -> str:
        """Have the relay that holds a message release or remove it."""
        for relay in self._relays:
            result = await self._ask(relay, what, id=message_id)
            if result != "unknown":
                return str(result)
        return "unknown"

    async def _queue_of(self, relay: _Relay, after: int, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` messages of one relay: an answer holds as many as fit a message of the channel."""
        rows: list[dict[str, Any]] = []
        while len(rows) < limit:
            page = await self._ask(relay, "queue", after=after, limit=limit - len(rows))
            if not page:
                break
            rows += page
            after = int(page[-1]["id"])
        return rows

    def _switch(self, module: str, *, on: bool) -> str:
        if module not in self._switches:
            raise ControlError(f"no module {module!r}: one of {', '.join(self._switches)}")
        self._switches[module] = on
        for relay in self._relays:
            if relay.channel is not None:
                relay.channel.send(channel.Switch(module, on))
        self._say("I", f"{module} switched {'on' if on else 'off'}")
        return "on" if on else "off"

    # --- reload

    def _on_hup(self) -> None:
        with contextlib.suppress(ControlError):
            self.reload()

    def reload(self) -> str:
        """Take the configuration file anew (F-CONF-11). ControlError: the running one stays in force."""
        try:
            config = self._read()
            self._refuse_moves(config)
            self._stage(config)
            self._ports.bind(config.listeners)
        except (StartError, BindFailed, OSError) as error:
            text = str(error)
            self._say("E", "configuration not reloaded, the running one stays in force")
            for line in text.splitlines():
                self._say("E", line)
            raise ControlError(f"configuration not reloaded, the running one stays in force:\n{text}") from error
        try:
            self._log.open(LogSettings.of(config))
        except OSError as error:
            self._say("E", f"new log cannot be opened, the old one stays: {error}")
        self._install(config)
        for problem in self._warnings:
            self._say("W", str(problem))
        old = self._template
        self._start_template()
        if old is not None:
            old.dismiss()
            old.signal(signal.SIGTERM)
            self._retired.append(old)
        for relay in self._relays[: config.relay.relays]:
            self._send_setup(relay, first=False)
        self._resize(config)
        self._retired = [child for child in self._retired if child.pid]
        self._say("I", f"configuration reloaded from {self._file}")
        return "reloaded"

    def _refuse_moves(self, config: Config) -> None:
        """Refuse what only a restart can change: the directories this gateway has locked."""
        for name, old, new in (
            ("relay.state_path", self._config.relay.state_path, config.relay.state_path),
            ("path.queue_path", self._config.path.queue_path, config.path.queue_path),
        ):
            if old != new:
                raise StartError(ExitCode.CONFIGURATION, f"{name} changed from {old} to {new}: that needs a restart")

    # --- the end

    async def _stop(self) -> None:
        rest = [child for child in (self._template, *self._retired) if child is not None]
        for child in rest:
            child.dismiss()
        for relay in self._relays:
            relay.child.dismiss()
            if relay.channel is not None:
                relay.channel.send(channel.Stop())
        self._ports.close()
        await stop_all([relay.child for relay in self._relays], STOP_TIMEOUT_S)
        for child in rest:
            child.signal(signal.SIGTERM)
        await stop_all(rest, 2.0)

    def _say(self, letter: str, text: str) -> None:
        self._log.say(letter, text)


def _render(problems: Sequence[Problem]) -> str:
    return "\n".join(str(problem) for problem in problems if problem.severity is Severity.ERROR)


def main(
    config_file: Path, overrides: Sequence[str] = (), user: str = "", started: Callable[[], None] | None = None
) -> int:
    """Run a gateway in the foreground; return its exit status."""

    async def work() -> int:
        return await Master(config_file, overrides, user).run(started)

    # A log rotation while we start must not end us; there is nothing to reload yet.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return asyncio.run(work())
    except StartError as error:
        print(str(error), file=sys.stderr)
        return error.code
