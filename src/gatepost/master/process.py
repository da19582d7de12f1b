"""The master: reads the configuration, binds ports, starts and restarts relays and the filter template, takes signals
and control calls. It never touches mail.
"""

import asyncio
import contextlib
import os
import pwd
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatepost import __version__
from gatepost.config.load import load
from gatepost.config.problem import Problem, Severity
from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.log import Log, LogSettings
from gatepost.control.rights import Caller, Right, local_caller
from gatepost.control.socket import ControlError, Request, serve
from gatepost.doctor.running import judge_helpers, judge_troubles
from gatepost.master import control_files
from gatepost.master.areas import register_areas
from gatepost.master.background import Background, Work
from gatepost.master.bases import describe_bases
from gatepost.master.bases_in_force import BasesInForce
from gatepost.master.calls import Calls
from gatepost.master.children import Child, stop_all
from gatepost.master.commands import Commands
from gatepost.master.configuration import NotReloaded
from gatepost.master.configuration_log import say_configuration
from gatepost.master.configuration_watch import ConfigurationWatch
from gatepost.master.emergency import Emergency
from gatepost.master.exit_code import ExitCode, StartError
from gatepost.master.fork_server import ForkServer
from gatepost.master.front import Front
from gatepost.master.kept_content import register_mail_calls
from gatepost.master.learning import Learning
from gatepost.master.licence_daemon import LicenceDaemonHost
from gatepost.master.licensing import LicenceWatch, allow_start
from gatepost.master.pauses import PauseError, Pauses
from gatepost.master.ports import PATIENCE_S, BindFailed, Ports
from gatepost.master.problems import Problems
from gatepost.master.readiness import ServiceManager
from gatepost.master.recorder import RecorderHost
from gatepost.master.relays import Relays
from gatepost.master.renewals import Renewals
from gatepost.master.settings import find_fault, settle_automatic
from gatepost.master.snmp import SnmpAgent
from gatepost.master.state_directory import take_state
from gatepost.master.supervisor import Supervision
from gatepost.master.switches import read_switched_off
from gatepost.master.template_watch import watch_template
from gatepost.master.templates import Templates
from gatepost.master.user_front import UserFront
from gatepost.relay.admission import SessionTable, create_table
from gatepost.spool import clock

FRONT_PATIENCE_S = 10.0
"""The console waits so long for relays to be up: they need the processor more."""
STOP_TIMEOUT_S = 20.0
"""How long relays may take to end; then they are killed, and the spool decides."""
KEPT_SNAPSHOTS = 32
"""Configurations kept for relays that have been told of them and are not there yet: reloads may come in quick rows."""


class Master:
    """A running gateway's master. `run` returns the exit status."""

    def __init__(
        self, config_file: Path, overrides: Sequence[str], supervision: Supervision, forks: ForkServer
    ) -> None:
        self._file = config_file
        self._forks = forks
        self._overrides = tuple(overrides)
        self._supervision = supervision
        self._manager = ServiceManager.from_environment(os.environ)
        self._failed: StartError | None = None
        self._generation = 0
        self._ports = Ports()
        self._retired: list[Child] = []
        self._stopping = asyncio.Event()
        self._lock_fd = -1
        self._desk = Desk()

    async def run(self, report: Callable[[str], None] | None = None) -> int:
        """Start, work until told to stop, stop. StartError when it cannot start. `report` as `run` below has it."""
        clock.follow_test_clock(os.environ)
        config = self._read()
        self._prepare(config)
        self._forks.say = self._say
        self._background = Background(self._say)
        self._say("I", f"gatepost {__version__} starts, configuration {self._file}")
        say_configuration(config, self._file, self._overrides, self._say)
        await self._bind(config)
        self._start_processes(config)
        self._front = self._open_front(config)
        work = self._open_desk(config)
        server = await serve(self._paths.control, self._handle_local)
        self._take_signals()
        self._background.once("starting", lambda: self._announce(report or (lambda _: None)))
        self._background.once("opening the console", self._open_front_anyway)
        for name, each in work.items():
            self._background.keep(name, each)
        await self._stopping.wait()
        self._background.close()
        self._bases.cancel()
        self._manager.stopping()
        self._say("I", "stopping")
        server.close()
        self._paths.control.unlink(missing_ok=True)
        await self._stop()
        self._say("I", "stopped")
        if self._failed is not None:
            self._say("F", str(self._failed))
            raise self._failed
        return ExitCode.STARTED

    def _start_processes(self, config: Config) -> None:
        """Start relays, filters and their helpers, with the configuration and the databases in force. StartError."""
        self._bases = BasesInForce(lambda: self._config, self._paths, self._say)
        bases = self._bases.open(config)
        table_fd = create_table()
        self._relays = Relays(
            forks=self._forks,
            paths=self._paths,
            ports=self._ports,
            pauses=self._pauses,
            table_fd=table_fd,
            table=SessionTable(table_fd, 0),
            say=self._say,
            on_taught=lambda taught: self._learning.take(taught),  # noqa: PLW0108 - it is made later
        )
        for module in read_switched_off(self._paths.switches, taking_over=self._supervision.restarts > 0):
            self._relays.switches[module] = False
            self._say("W", f"{module} stays switched off")
        if not self._relays.switches["recv"]:
            self._ports.pause()
        self._relays.use_bases(describe_bases(bases.antivirus))
        self._stage(config)
        self._install(config)
        self._commands = Commands(self._paths.commands, self._paths.scratch, self._say)
        self._commands.configure(config)
        self._templates = Templates(self._forks, self._paths, self._say)
        self._templates.start(self._bases.settings_with(bases))
        self._recorder = RecorderHost(self._forks, self._paths, self._say)
        self._recorder.start(config)
        self._relays.recorder_socket = self._recorder.socket
        self._licences = LicenceDaemonHost(lambda: self._config, self._say)
        self._licences.configure(config)
        self._retired += self._relays.resize()
        self._learning = Learning(self._paths, self._bases.learner_settings, self._bases.meet_learned, self._say)
        self._bases.serve(self._templates, self._relays, self._learning)

    # --- control calls

    def _open_desk(self, config: Config) -> dict[str, Work]:
        """Register all calls; return what goes on in the background for as long as the gateway lives, by its name."""
        calls = Calls(
            relays=self._relays,
            ports=self._ports,
            pauses=self._pauses,
            config=lambda: self._config,
            template=lambda: self._templates.current,
            bases=lambda: self._bases.current,
            say=self._say,
            file=self._file,
            exports=self._paths.exports,
            supervision=self._supervision,
            switches=self._paths.switches,
        )
        calls.register(self._desk)
        self._recorder.register(self._desk)
        emergency = Emergency(
            state_path=config.relay.state_path,
            config=lambda: self._config,
            ask_all=self._relays.ask_all,
            announce=calls.announce,
            say=self._say,
        )
        emergency.register(self._desk)
        problems = Problems(
            file=self._paths.problems,
            config=lambda: self._config,
            status=calls.status,
            announce=calls.announce,
            say=self._say,
            sources=(
                emergency.findings,
                self._background.findings,
                self._bases.findings,
                lambda: judge_troubles(self._front.troubles),
                lambda: judge_helpers({"recorder": self._recorder.current, **self._front.helpers}),
            ),
            slow_sources=(ConfigurationWatch(self._file, self._overrides).look, Renewals(lambda: self._config).look),
        )
        problems.register(self._desk)
        licence = LicenceWatch(
            config=lambda: self._config,
            usage_directory=self._paths.tracking,
            announce=calls.announce,
            reload=self.reload,
            say=self._say,
        )
        licence.register(self._desk)
        content = register_mail_calls(
            self._desk, self._relays, self._learning, lambda: self._config, self._paths.exports, self._say
        )
        self._front.users = UserFront(
            self._paths,
            self._desk,
            self._relays,
            content,
            lambda: self._config,
            calls.announce,
            self._background,
            self._say,
        )
        register_areas(
            self._desk,
            file=self._file,
            overrides=self._overrides,
            paths=self._paths,
            state_path=config.relay.state_path,
            config=lambda: self._config,
            relays=self._relays,
            status=calls.status,
            reload=self.reload,
            say=self._say,
        )
        self._register()
        snmp = SnmpAgent(
            self._desk,
            config=lambda: self._config,
            bases=lambda: self._bases.current,
            update_directory=self._paths.updater,
            say=self._say,
        )
        work: dict[str, Work] = {
            "watching the recorder": self._recorder.watch,
            "watching the filter template": lambda: watch_template(self._templates, self._paths.filters, self._say),
            "starting the learner": self._learning.watch,
            "looking for problems": problems.watch,
            "watching the licence": licence.watch,
            "answering SNMP": snmp.run,
            "looking for SNMP notifications": snmp.look_on,
            "watching the emergency state": emergency.watch,
            "reading control files": lambda: control_files.watch(
                lambda: self._config.path.control_path, self._handle_file, self._say
            ),
        }
        if self._manager.watchdog_s:
            work["feeding the watchdog"] = lambda: self._manager.feed(self._relays.find_mute)
        return work

    def _register(self) -> None:
        """Register the calls that steer the gateway as a whole."""

        async def reload(_: Arguments, __: Caller) -> Any:
            return await self.reload()

        async def reload_bases(_: Arguments, __: Caller) -> Any:
            return await self._bases.reload()

        async def stop(_: Arguments, __: Caller) -> Any:
            self._stopping.set()
            return "stopping"

        self._desk.add("reload", Right.SERVICE, reload, audited=True)
        self._desk.add("reloadbases", Right.SERVICE, reload_bases, audited=True)
        self._desk.add("stop", Right.SERVICE, stop, audited=True)

    async def _handle_local(self, request: Request, user: int) -> Any:
        """Answer a request on the control socket, which only our own user and root can open."""
        try:
            name = pwd.getpwuid(user).pw_name
        except KeyError:
            name = str(user)
        return await self._desk.handle(request, local_caller(name))

    async def _handle_file(self, request: Request) -> Any:
        return await self._desk.handle(request, local_caller("control file", "control-file"))

    # --- start

    async def _announce(self, report: Callable[[str], None]) -> None:
        """Say so when every relay is up and the engines are; one that cannot start keeps neither the others nor a stop
        waiting. Engines that cannot start at all end a gateway that has never been in service (return code 48).
        """
        patience = asyncio.create_task(self._manager.keep_patient(lambda: "starting"))
        await self._relays.come_up(report)
        await self._templates.settled.wait()
        patience.cancel()
        if not self._templates.work and not self._supervision.restarts:
            template = self._templates.current
            why = (template and template.trouble) or "the filter template ends again and again, the log tells why"
            self._failed = StartError(ExitCode.ENGINE, f"the engines cannot be started: {why}")
            self._stopping.set()
            return
        listeners, doors = self._config.listeners, self._config.doors
        addresses = ", ".join([*(each.address for each in listeners), *(each.address for each in doors)])
        self._say("I", f"in service: {len(self._relays.all)} relay(s), listening on {addresses}")
        self._manager.ready("in service")
        self._front.open(self._config)
        if welcome := self._front.welcome():
            with contextlib.suppress(OSError):  # nobody listens any more
                print(welcome, flush=True)
        report("")

    def _read(self) -> Config:
        loaded = load(self._file, overrides=self._overrides)
        if loaded.config is None:
            code = ExitCode.CONFIGURATION if loaded.readable else ExitCode.NOT_LOADABLE
            raise StartError(code, _render(loaded.problems))
        self._warnings = [p for p in loaded.problems if p.severity is Severity.WARNING]
        fault = find_fault(loaded.config)
        if fault:
            raise StartError(ExitCode.CONFIGURATION, fault)
        return allow_start(settle_automatic(loaded.config))

    def _prepare(self, config: Config) -> None:
        self._paths, self._lock_fd, migrated = take_state(config)
        try:
            self._pauses = Pauses(self._paths.paused)
        except PauseError as error:
            raise StartError(ExitCode.SYSTEM, str(error)) from error
        try:
            if config.options.log_filename not in {"", "syslog"}:
                Path(config.options.log_filename).parent.mkdir(0o755, parents=True, exist_ok=True)
            self._log = Log(LogSettings.of(config))
        except OSError as error:
            raise StartError(ExitCode.LOG, f"log cannot be opened: {error}") from error
        for level, text in (*(("W", str(problem)) for problem in self._warnings), *(("I", text) for text in migrated)):
            self._say(level, text)

    async def _bind(self, config: Config) -> None:
        """Bind all ports; relays of a master that died may need a moment to let go of them."""
        try:
            await self._ports.bind_soon(
                config.listeners, config.doors, PATIENCE_S if self._supervision.restarts else 0.0
            )
        except BindFailed as error:
            raise StartError(ExitCode.BIND, str(error)) from error

    async def _open_front_anyway(self) -> None:
        """Open the console when relays do not come up: that is when somebody needs it."""
        await asyncio.sleep(FRONT_PATIENCE_S)
        self._front.open(self._config)

    def _open_front(self, config: Config) -> Front:
        try:
            return Front(self._paths, config, self._desk, self._say)
        except OSError as error:
            raise StartError(ExitCode.SYSTEM, f"audit log cannot be opened: {error}") from error

    def _stage(self, config: Config) -> None:
        """Write the next snapshot. OSError: nothing has changed."""
        self._paths.write_snapshot(self._generation + 1, msgspec.msgpack.encode(config))

    def _install(self, config: Config) -> None:
        """Make the staged configuration the one in force: relays read its snapshot, also after a later broken edit."""
        self._generation += 1
        self._paths.snapshot(self._generation - KEPT_SNAPSHOTS).unlink(missing_ok=True)
        self._config = config
        self._relays.install(config, self._generation)

    # --- signals

    def _take_signals(self) -> None:
        """Have signals do what is documented of them (row F-MGMT-06). StartError 45."""
        loop = asyncio.get_running_loop()
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                loop.add_signal_handler(number, self._stopping.set)
            loop.add_signal_handler(signal.SIGHUP, self._on_hup)
            loop.add_signal_handler(signal.SIGUSR1, self._on_usr1)
        except (OSError, RuntimeError, ValueError) as error:
            raise StartError(ExitCode.SIGNALS, f"signal handlers cannot be set: {error}") from error

    def _on_usr1(self) -> None:
        self._background.once("telling statistics", self._tell_statistics)

    async def _tell_statistics(self) -> None:
        try:
            await self._desk.handle(Request("stats"), local_caller("signal", "signal"))
        except ControlError as error:
            self._say("E", f"stats: {error}")

    # --- reload

    def _on_hup(self) -> None:
        with contextlib.suppress(ControlError):
            self._take_file()

    async def reload(self) -> str:
        """Take the configuration file anew (F-CONF-11); answers when relays, filters and recorder work with it.
        ControlError says what does not: either all of the running one stays in force, or something of it.
        """
        swap, bases_trouble = self._take_file()
        await asyncio.gather(self._relays.settle(), self._recorder.settle())
        trouble = "\n".join(filter(None, (bases_trouble, await self._bases.outcome_of(swap))))
        if trouble:
            raise ControlError(f"configuration reloaded, but not all of it is in force:\n{trouble}")
        return "reloaded"

    def _take_file(self) -> tuple["asyncio.Task[str]", str]:
        """Take the configuration file anew; return the swap of filters under way, and what is wrong with databases.
        NotReloaded: the running configuration stays in force.
        """
        with self._manager.reload():
            return self._put_file_in_force()

    def _put_file_in_force(self) -> tuple["asyncio.Task[str]", str]:
        try:
            config = self._read()
            self._refuse_moves(config)
            self._stage(config)
            self._ports.bind(config.listeners, config.doors)
        except (StartError, BindFailed, OSError) as error:
            self._say("E", "configuration not reloaded, the running one stays in force")
            for line in str(error).splitlines():
                self._say("E", line)
            raise NotReloaded(f"configuration not reloaded, the running one stays in force:\n{error}") from error
        try:
            self._log.open(LogSettings.of(config))
        except OSError as error:
            self._say("E", f"new log cannot be opened, the old one stays: {error}")
        self._install(config)
        for problem in self._warnings:
            self._say("W", str(problem))
        self._retired += self._commands.configure(config)
        self._recorder.configure(config)
        self._licences.configure(config)
        bases, trouble = self._bases.for_reload()
        swap = self._bases.begin_swap(bases)
        self._relays.send_setup()
        self._retired += self._relays.resize()
        self._retired = [child for child in self._retired if child.pid]
        self._front.open(config)
        self._say("I", f"configuration reloaded from {self._file}")
        say_configuration(config, self._file, self._overrides, self._say)
        return swap, trouble

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
        rest = [*self._templates.dismiss(), *self._front.close(), *self._retired]
        relays = self._relays.dismiss()
        self._ports.close()
        self._licences.close()
        await self._learning.stop()
        await stop_all(relays, STOP_TIMEOUT_S)
        rest += self._recorder.dismiss()
        rest += self._commands.dismiss()
        for child in rest:
            child.signal(signal.SIGTERM)
        await stop_all(rest, 2.0)

    def _say(self, letter: str, text: str) -> None:
        self._log.say(letter, text)


def _render(problems: Sequence[Problem]) -> str:
    return "\n".join(str(problem) for problem in problems if problem.severity is Severity.ERROR)


def run(
    config_file: Path,
    overrides: Sequence[str] = (),
    report: Callable[[str], None] | None = None,
    supervision: Supervision = Supervision(),  # noqa: B008 - a frozen value
) -> int:
    """Run a gateway until it is told to stop; return its exit status. `report(reason)` hears what keeps it out of
    service for now, then "" when it is in service. StartError.
    """

    async def work() -> int:
        return await Master(config_file, overrides, supervision, forks).run(report)

    # A log rotation while we start must not end us; there is nothing to reload or to count yet.
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    forks = ForkServer.begin()
    try:
        return asyncio.run(work())
    finally:
        forks.close()
