"""`gatepost update`: fetch newer databases, try them, put them in place, have the gateway take them.

docs/manual/updates.md tells how. `gw-update` (`run_gw_update`) takes the documented options. Exit codes of both
(specification management.md §5.3): 0 there is nothing newer; 1 updated; 10 critical error or interrupted; 30 the
command after the update failed; 60 the licence forbids it; 75 the configuration is wrong.
"""

import contextlib
import datetime as dt
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import cyclopts
import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from gatepost import __version__
from gatepost.cli.gateway import DEFAULT_FILE, AsJson, ConfigFile, complain, print_json
from gatepost.cli.schedule import CronTable, ScheduleError
from gatepost.cli.update_report import Report
from gatepost.cli.update_trial import Unfit, try_sets
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.control.socket import ControlError, call
from gatepost.feeds.fetching import Route, choose_proxy, normalise_source
from gatepost.feeds.installed import Place, copy_bases, install, numbers_of, prune, roll_back
from gatepost.feeds.keys import BadKey, resolve_keys
from gatepost.feeds.manifest import Kind
from gatepost.feeds.mirroring import mirror
from gatepost.feeds.update_state import read_run, write_run
from gatepost.feeds.updating import ROOT_FILE, LicenceEnded, Update, UpdateError, Wanted
from gatepost.licence.current import read_standing
from gatepost.licence.key import LicenceError
from gatepost.master.paths import Paths

EXIT_NOTHING: Final = 0
EXIT_UPDATED: Final = 1
EXIT_CRITICAL: Final = 10
EXIT_COMMAND: Final = 30
EXIT_LICENCE: Final = 60
EXIT_CONFIGURATION: Final = 75
COMMAND_S: Final = 300.0
"""Time for the command after the update."""

app = cyclopts.App(name="update", help="Databases: fetch newer ones, go back to earlier ones, mirror, schedule.")


class _EndedError(Exception):
    """Carries the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Job:
    """One call of the updater: its configuration, its report, and the lock that keeps others out (row F-UPD-09)."""

    def __init__(self, conf_file: Path, *, quiet: bool = False, log_file: str = "") -> None:
        """SystemExit when the configuration cannot be used."""
        loaded = load(conf_file)
        if loaded.config is None:
            text = "\n".join(str(problem) for problem in loaded.errors)
            raise SystemExit(complain(text, EXIT_CONFIGURATION))
        self.config: Config = loaded.config
        self.paths = Paths(self.config.relay.state_path)
        settings, options = self.config.updater.report, self.config.updater.options
        self.quiet = quiet or options.keep_silent
        self.report = Report(
            log_file or settings.report_file_name, settings.report_level, append=settings.append, quiet=self.quiet
        )
        self.directory = self.paths.updater
        self.place = Place(
            self.directory,
            {
                Kind.ANTIVIRUS: Path(self.config.path.bases_path),
                Kind.ANTISPAM: Path(self.config.path.as_bases_path),
            },
        )
        self.route = Route(
            connect_timeout_s=options.connect_timeout,
            proxy=choose_proxy(options.proxy_address, os.environ, use=options.use_proxy),
            passive_ftp=options.passive_ftp,
            agent=f"gatepost/{__version__}",
        )

    def sources(self) -> list[str]:
        """Return where databases come from, in the order they are asked (row F-UPD-02)."""
        options = self.config.updater.options
        own = [options.update_server_url] if options.update_server_url else []
        region = options.region_settings.lower()
        servers = list(self.config.update_servers)
        if region:
            servers.sort(key=lambda server: region not in server.region.lower().split())
        listed = [server.url for server in servers]
        if options.use_update_server_url_only:
            chosen = own
        elif options.use_update_server_url:
            chosen = own + listed
        else:
            chosen = listed or own
        try:
            return [normalise_source(each) for each in chosen]
        except ValueError as error:
            raise _EndedError(str(error), EXIT_CONFIGURATION) from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other updaters out."""
        self.directory.mkdir(0o750, parents=True, exist_ok=True)
        pid_file = self.config.updater.path.pid_file
        path = Path(pid_file) if pid_file else self.directory / "lock"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                who = file.read(20).strip() or "another process"
                raise _EndedError(f"an update is running already (pid {who})", EXIT_CRITICAL) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def note(self, result: str, *, error: str = "", source: str = "", **more: object) -> None:
        """Keep what came of it, for status, SNMP and the next run."""
        before = read_run(self.directory)
        changes = {"checked": time.time(), "result": result, "error": error[:1000], "source": source, **more}
        try:
            write_run(self.directory, msgspec.structs.replace(before, **changes))
        except OSError as failed:
            self.report.say(2, f"{self.directory}: {failed.strerror}: this run is not kept")

    def take_into_use(self) -> None:
        """Have the running gateway take what is installed: the command after the update, else a reload of databases."""
        command = self.config.updater.options.post_update_cmd
        if command:
            try:
                done = subprocess.run(  # noqa: S603 - the administrator's own command
                    shlex.split(command), capture_output=True, text=True, timeout=COMMAND_S, check=False
                )
            except (OSError, ValueError, subprocess.TimeoutExpired) as error:
                raise _EndedError(f"{command}: {error}", EXIT_COMMAND) from None
            if done.returncode:
                told = (done.stderr or done.stdout).strip()[:500]
                raise _EndedError(f"{command}: code {done.returncode}: {told}", EXIT_COMMAND)
            return
        if not self.paths.control.exists():
            self.report.say(4, "no gateway runs: it will begin with these databases")
            return
        try:
            call(self.paths.control, "reloadbases")
        except ControlError as error:
            raise _EndedError(f"the gateway does not take them: {error}", EXIT_CRITICAL) from None


def _last_day(config: Config) -> dt.date | None:
    try:
        standing = read_standing(config)
    except LicenceError as error:
        raise _EndedError(f"licence: {error}", EXIT_LICENCE) from None
    if standing.key is None:
        raise _EndedError("there is no licence key: databases are not updated", EXIT_LICENCE)
    return standing.expires


@app.default
def update(
    *,
    quiet: Annotated[bool, cyclopts.Parameter(name=["-q", "--quiet"], negative="", help="say nothing")] = False,
    log_file: Annotated[str, cyclopts.Parameter(name=["-l", "--log-file"], help="write the report there")] = "",
    trust_root: Annotated[
        Path | None, cyclopts.Parameter(name="--trust-root", help="first: trust the feed with this root.json")
    ] = None,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Fetch newer databases, try them, put them in place, and have the running gateway take them."""
    job = Job(conf_file, quiet=quiet, log_file=log_file)
    return _run(job, lambda: _update(job, trust_root))


@app.command
def rollback(*, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Go back to the databases before the last update; what is taken back is not installed again, newer ones are."""
    job = Job(conf_file)

    def act() -> int:
        with job.alone():
            skipped = roll_back(job.place)
            if not skipped:
                job.report.say(1, "there are no earlier databases to go back to")
                return EXIT_NOTHING
            for name, number in skipped.items():
                job.report.say(1, f"{name} {number} taken back")
            job.note("rolled-back", skipped=read_run(job.directory).skipped | skipped)
            job.take_into_use()
        return EXIT_UPDATED

    return _run(job, act)


@app.command(name="mirror")
def mirror_feed(directory: Path, *, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Copy the whole feed to DIRECTORY, which other hosts can use as their source.

    Parameters
    ----------
    directory
        Where the copy is made, or brought up to date.

    """
    job = Job(conf_file)

    def act() -> int:
        with job.alone():
            troubles = []
            for source in job.sources():
                checking = Update(job.place, job.route, job.report.say, trusted={}, expiry=None, skipped={})
                try:
                    received = mirror(checking, source, directory)
                except UpdateError as error:
                    troubles.append(str(error))
                else:
                    job.report.say(1, f"{directory} is a mirror of {source}: {received} bytes came")
                    return EXIT_UPDATED if received else EXIT_NOTHING
            raise _EndedError("\n".join(troubles) or "no source is configured", EXIT_CRITICAL)

    return _run(job, act)


@app.command(name="save")
def save_bases(directory: Path, *, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Copy the newest databases to DIRECTORY.

    Parameters
    ----------
    directory
        Where they go, each set in a directory of its own.

    """
    job = Job(conf_file)

    def act() -> int:
        for copy in copy_bases(job.place, directory):
            job.report.say(1, f"{copy}")
        return EXIT_NOTHING

    return _run(job, act)


@app.command(name="status")
def show_status(*, as_json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Show what came of the last update, and from where databases come."""
    job = Job(conf_file)

    def act() -> int:
        run = read_run(job.directory)
        sources = job.sources()
        if as_json:
            print_json({**msgspec.to_builtins(run), "sources": sources})
            return EXIT_NOTHING
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.checked)) if run.checked else "never"
        print(f"last checked: {when}; result: {run.result}{f' ({run.error})' if run.error else ''}")
        print(f"sources: {', '.join(sources) or 'none: set updater.options.update_server_url'}")
        if run.installed:
            print(f"installed last: {', '.join(run.installed)}")
        for name, number in run.skipped.items():
            print(f"taken back, not installed again: {name} {number}")
        return EXIT_NOTHING

    return _run(job, act)


schedule = cyclopts.App(name="schedule", help="Run updates regularly: an entry of cron.")
app.command(schedule)


@schedule.command(name="install")
def schedule_install(
    *,
    minutes: Annotated[int, cyclopts.Parameter(help="between two runs, 3 to 1440")] = 60,
    user: Annotated[str, cyclopts.Parameter(name=["-u", "--user"], help="whose cron table; default: one's own")] = "",
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Put the entry into the table of cron; one that is there is replaced."""
    return _scheduled(lambda: print(CronTable(user).install(minutes, conf_file)))


@schedule.command(name="uninstall")
def schedule_uninstall(*, user: Annotated[str, cyclopts.Parameter(name=["-u", "--user"])] = "") -> int:
    """Take the entry out of the table of cron."""
    return _scheduled(lambda: print("taken out" if CronTable(user).uninstall() else "there was no entry"))


@schedule.command(name="show")
def schedule_show(*, user: Annotated[str, cyclopts.Parameter(name=["-u", "--user"])] = "") -> int:
    """Show the entry."""
    return _scheduled(lambda: print(CronTable(user).entry() or "there is no entry"))


def _scheduled(act: Callable[[], None]) -> int:
    try:
        act()
    except ScheduleError as error:
        return complain(str(error), EXIT_CRITICAL)
    return EXIT_NOTHING


def _run(job: Job, act: Callable[[], int]) -> int:
    """Do it; return the exit code, whatever happens."""

    def stop(*_: object) -> None:
        raise _EndedError("interrupted", EXIT_CRITICAL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        return act()
    except _EndedError as error:
        job.report.say(1, str(error))
        return error.code
    except UpdateError as error:
        job.report.say(1, str(error))
        job.note("error", error=str(error))
        return EXIT_LICENCE if isinstance(error, LicenceEnded) else EXIT_CRITICAL
    except OSError as error:
        text = f"{error.filename or ''}: {error.strerror}".lstrip(": ")
        job.report.say(1, text)
        job.note("error", error=text)
        return EXIT_CRITICAL
    finally:
        job.report.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _update(job: Job, trust_root: Path | None) -> int:
    config = job.config
    with job.alone():
        if trust_root is not None:
            job.directory.mkdir(0o750, parents=True, exist_ok=True)
            (job.directory / ROOT_FILE).write_bytes(trust_root.read_bytes())
        expiry = _last_day(config)
        try:
            trusted = resolve_keys(config.ave.trusted_keys)
        except BadKey as error:
            raise _EndedError(f"[ave] trusted_keys: {error}", EXIT_CONFIGURATION) from None
        sources = job.sources()
        with _progress(show=not job.quiet and sys.stderr.isatty()) as progress:
            one = Update(
                job.place,
                job.route,
                job.report.say,
                trusted=trusted,
                expiry=expiry,
                skipped=read_run(job.directory).skipped,
                progress=progress,
            )
            staged = one.fetch(sources)
        if not staged:
            job.report.say(3, f"nothing newer at {one.source}; {one.received} bytes came")
            job.note("not-needed", source=one.source)
            return EXIT_NOTHING
        _try_all(job, staged)
        _put_in_place(job, staged)
        names = tuple(str(each) for each in staged)
        job.report.say(1, f"installed from {one.source}: {', '.join(names)}; {one.received} bytes came")
        _use_or_go_back(job, staged)
        job.note("updated", source=one.source, installed=names, updated=time.time())
    return EXIT_UPDATED


def _try_all(job: Job, staged: dict[Wanted, Path]) -> None:
    """Try what was fetched. UpdateError."""
    try:
        try_sets(job.config, staged, job.config.updater.path.av_bases_test_path)
    except Unfit as error:
        raise UpdateError(f"not installed: {error}") from None


def _put_in_place(job: Job, staged: dict[Wanted, Path]) -> None:
    backup = job.config.updater.path.back_up_path
    if backup:
        copy_bases(job.place, Path(backup))
    for wanted, directory in staged.items():
        bases = job.place.bases[wanted.kind]
        place = install(bases, directory)
        job.report.say(5, f"{wanted} is in {place}")
        with contextlib.suppress(OSError):  # others are staged there, too
            directory.parent.rmdir()
        for gone in prune(bases, wanted.name):
            job.report.say(6, f"{gone} removed")


def _use_or_go_back(job: Job, staged: dict[Wanted, Path]) -> None:
    """Have the new databases taken into use; what a gateway does not take goes back at once (row F-UPD-06)."""
    try:
        job.take_into_use()
    except _EndedError as error:
        if error.code == EXIT_COMMAND:
            job.note("updated", error=str(error), installed=tuple(str(each) for each in staged), updated=time.time())
            raise
        names = [
            (each.kind, each.name) for each in staged if len(numbers_of(job.place.bases[each.kind], each.name)) > 1
        ]
        skipped = roll_back(job.place, names)
        job.report.say(1, f"{error}; back to the databases before")
        with contextlib.suppress(_EndedError):
            job.take_into_use()
        job.note("rolled-back", error=str(error), skipped=read_run(job.directory).skipped | skipped)
        raise


@contextlib.contextmanager
def _progress(*, show: bool) -> Iterator[Callable[[int, int], None]]:
    if not show:
        yield lambda _, __: None
        return
    columns = (TextColumn("databases"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("databases", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


_OLD_USAGE: Final = (
    "usage: gw-update [-c FILE] [-q] [-l FILE] [-t DIR] | -h | -v | -i | -p ID | -u DIR | -b DIR | -r | -rollback | "
    "-install | -uninstall [-user U] | -run"
)
PRODUCT_ID: Final = "gatepost"


def run_gw_update(arguments: list[str] | None = None) -> None:
    """Entry point of the command `gw-update`."""
    sys.exit(_old_command(list(sys.argv[1:] if arguments is None else arguments)))


def _old_command(given: list[str]) -> int:
    values = {"-c": str(DEFAULT_FILE), "-l": "", "-t": "", "-user": "", "-p": PRODUCT_ID}
    for name in values:
        if name in given[:-1]:
            at = given.index(name)
            values[name] = given[at + 1]
            del given[at : at + 2]
    quiet = "-q" in given
    given = [each for each in given if each != "-q"]
    conf_file = Path(values["-c"])
    if values["-t"]:
        os.environ["TMPDIR"] = values["-t"]
    if values["-p"] != PRODUCT_ID:
        return complain(f"{values['-p']!r} is not installed: -i lists what is", EXIT_CONFIGURATION)
    match given:
        case [] | ["-run"]:
            return update(quiet=quiet, log_file=values["-l"], conf_file=conf_file)
        case ["-h"]:
            print(_OLD_USAGE)
            return EXIT_NOTHING
        case ["-v"]:
            print(f"gw-update {__version__}")
            return EXIT_NOTHING
        case ["-i"]:
            print(f"{PRODUCT_ID}  Gatepost {__version__}: databases of anti-virus and anti-spam")
            return EXIT_NOTHING
        case ["-u", directory]:
            return mirror_feed(Path(directory), conf_file=conf_file)
        case ["-b", directory]:
            return save_bases(Path(directory), conf_file=conf_file)
        case ["-r"] | ["-rollback"]:
            return rollback(conf_file=conf_file)
        case ["-install"] | ["-prompt-install"]:
            return schedule_install(user=values["-user"], conf_file=conf_file)
        case ["-uninstall"]:
            return schedule_uninstall(user=values["-user"])
    return complain(_OLD_USAGE, EXIT_CONFIGURATION)
