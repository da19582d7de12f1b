"""One run of the updater: `Job`, and `run_update`, which fetches, tries, installs, and has the gateway take it.

Used by `gatepost update`. Promises: one run at a time (row F-UPD-09); the sets in force stay until newer ones are whole
on the disk, tried, and taken; what a gateway refuses goes back at once; what nobody has taken yet is offered again by
the next run. Root becomes the owner of the gateway's state: what it leaves must be the gateway's.
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
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from gatepost import __version__
from gatepost.cli.gateway import complain
from gatepost.cli.sample_trial import Unfit
from gatepost.cli.update_report import Report
from gatepost.cli.update_trial import try_sets
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.control.privileges import become_owner
from gatepost.control.socket import ControlError, call
from gatepost.feeds.bases import seed
from gatepost.feeds.fetching import Route, choose_proxy, hide_password, normalise_source
from gatepost.feeds.installed import (
    Place,
    copy_bases,
    find_kinds,
    install,
    installed_number,
    prune,
    roll_back,
    set_names,
)
from gatepost.feeds.keys import BadKey, resolve_keys
from gatepost.feeds.manifest import Kind
from gatepost.feeds.mirroring import mirror
from gatepost.feeds.update_state import read_run, write_run
from gatepost.feeds.updating import LicenceEnded, Update, UpdateError, Wanted, trust_root
from gatepost.licence.current import read_standing
from gatepost.licence.key import LicenceError
from gatepost.master.bases_in_force import BASES_STAY, STILL_LOADING
from gatepost.master.paths import Paths
from gatepost.master.templates import READY_TIMEOUT_S

EXIT_NOTHING: Final = 0
EXIT_UPDATED: Final = 1
EXIT_CRITICAL: Final = 10
EXIT_COMMAND: Final = 30
EXIT_LICENCE: Final = 60
EXIT_CONFIGURATION: Final = 75
COMMAND_S: Final = 300.0
"""Time for the command after the update."""
LOOK_S: Final = 0.5
"""Between two looks at whether a great set is loaded."""


class Ended(Exception):  # noqa: N818 - what happened
    """The run is over. Carries the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Interrupted(KeyboardInterrupt):
    """A signal ends the run; no layer below, no event loop either, may take that for trouble of its own."""


class Refused(Exception):  # noqa: N818 - what the gateway did
    """The gateway does not take the databases."""


class Job:
    """One call of the updater: its configuration, its report, and the lock that keeps others out."""

    def __init__(self, conf_file: Path, *, quiet: bool = False, log_file: str = "") -> None:
        """SystemExit when the configuration cannot be used."""
        loaded = load(conf_file)
        if loaded.config is None:
            text = "\n".join(str(problem) for problem in loaded.errors)
            raise SystemExit(complain(text, EXIT_CONFIGURATION))
        self.config: Config = loaded.config
        self.paths = Paths(self.config.relay.state_path)
        become_owner(Path(self.config.relay.state_path))
        settings, options = self.config.updater.report, self.config.updater.options
        try:
            proxy = choose_proxy(options.proxy_address, os.environ, use=options.use_proxy)
        except ValueError as error:
            raise SystemExit(complain(f"[updater.options] proxy_address: {error}", EXIT_CONFIGURATION)) from None
        self.quiet = quiet or options.keep_silent
        self._told_unkept = False
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
            proxy=proxy,
            no_proxy="" if options.proxy_address else os.environ.get("no_proxy", ""),
            passive_ftp=options.passive_ftp,
            agent=f"gatepost/{__version__}",
        )

    @property
    def lock(self) -> Path:
        """Return the file whose lock is held by the updater that runs; it holds that one's number."""
        pid_file = self.config.updater.path.pid_file
        return Path(pid_file) if pid_file else self.directory / "lock"

    def sources(self) -> list[str]:
        """Return where databases come from, in the order they are asked (row F-UPD-02). Ended."""
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
            raise Ended(str(error), EXIT_CONFIGURATION) from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other updaters out. Ended: there is one."""
        self.directory.mkdir(0o750, parents=True, exist_ok=True)
        with self.lock.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                who = file.read(20).strip() or "another process"
                raise Ended(f"an update is running already (pid {who})", EXIT_CRITICAL) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def note(self, **changes: Any) -> None:
        """Keep fields of `UpdateRun`, for status, SNMP and the next run."""
        try:
            write_run(self.directory, msgspec.structs.replace(read_run(self.directory), **changes))
        except OSError as failed:
            if not self._told_unkept:
                self.report.say(2, f"{self.directory}: {failed.strerror}: status cannot tell of this run")
            self._told_unkept = True

    def end(self, result: str, *, error: str = "", **changes: Any) -> None:
        """Keep what came of the run; `result` is one of `update_state.RESULTS`."""
        self.note(checked=time.time(), result=result, error=error[:1000], **changes)

    def take_into_use(self) -> None:
        """Have the running gateway take what is installed: the command after the update, else a reload of databases.
        Refused; Ended: nobody knows whether it was taken.
        """
        command = self.config.updater.options.post_update_cmd
        if command:
            self._run_command(command)
        else:
            self._reload()
        self.note(pending=())

    def _run_command(self, command: str) -> None:
        try:
            done = subprocess.run(  # noqa: S603 - the administrator's own command
                shlex.split(command), capture_output=True, text=True, errors="replace", timeout=COMMAND_S, check=False
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise Ended(f"{command}: {error}", EXIT_COMMAND) from None
        if done.returncode:
            told = (done.stderr or done.stdout).strip()[:500]
            raise Ended(f"{command}: code {done.returncode}: {told}", EXIT_COMMAND)
        self.report.say(4, f"{command}: done")

    def _reload(self) -> None:
        try:
            told = call(self.paths.control, "reloadbases")
        except ControlError as error:
            if isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
                self.report.say(4, "no gateway runs: it will begin with these databases")
            elif str(error) == STILL_LOADING:
                self._wait_until_loaded()
            elif BASES_STAY in str(error):
                raise Refused(f"the gateway does not take them: {error}") from None
            else:
                raise Ended(f"whether the gateway has taken them is not known: {error}", EXIT_CRITICAL) from None
        else:
            self.report.say(4, str(told))

    def _wait_until_loaded(self) -> None:
        """Wait for a template that takes longer than a call may."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        newest = {each: installed_number(self.place.bases[each[0]], each[1]) for each in self.pending()}
        while time.monotonic() < deadline:
            time.sleep(LOOK_S)
            in_force = self.in_force()
            if in_force and all(in_force.get(each, 0) == number for each, number in newest.items()):
                return
        raise Refused(f"the gateway does not take them: they were not loaded within {READY_TIMEOUT_S:g} s")

    def pending(self) -> list[tuple[Kind, str]]:
        """Return the sets that nobody is known to have taken into use."""
        parted = [each.partition("/") for each in read_run(self.directory).pending]
        return [(Kind(kind), name) for kind, _, name in parted]

    def in_force(self) -> dict[tuple[Kind, str], int]:
        """Return the numbers of the sets in force in the running gateway, none when it does not say."""
        with contextlib.suppress(ControlError):
            status = call(self.paths.control, "status")
            rows = {Kind.ANTIVIRUS: status["databases"], Kind.ANTISPAM: status["spam_databases"]}
            return {(kind, each["name"]): each["number"] for kind, sets in rows.items() for each in sets}
        return {}


def run(job: Job, act: Callable[[], int]) -> int:
    """Do it; return the exit code, whatever happens."""

    def stop(*_: object) -> None:
        raise Interrupted

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        return act()
    except Ended as error:
        job.report.say(1, str(error))
        return error.code
    except Interrupted:
        job.report.say(1, "interrupted")
        job.end("error", error="interrupted")
        return EXIT_CRITICAL
    except UpdateError as error:
        job.report.say(1, str(error))
        job.end("error", error=str(error))
        return EXIT_LICENCE if isinstance(error, LicenceEnded) else EXIT_CRITICAL
    except OSError as error:
        text = f"{error.filename or ''}: {error.strerror}".lstrip(": ")
        job.report.say(1, text)
        job.end("error", error=text)
        return EXIT_CRITICAL
    except Exception as error:  # noqa: BLE001 - the interpreter's own code would say that databases were installed
        job.report.say(1, traceback.format_exc().rstrip())
        job.end("error", error=repr(error))
        return EXIT_CRITICAL
    finally:
        job.report.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def run_update(job: Job, root: Path | None = None, *, again: bool = False) -> int:
    """Fetch what is newer, try it, install it, have it taken. `root`: trust the feed with this root from now on;
    `again`: also what was taken back. Ended, UpdateError, OSError.
    """
    with job.alone():
        if again:
            job.note(skipped={})
        if root is not None:
            trust_root(job.directory, root.read_bytes())
        try:
            staged, source = _fetch(job)
            if staged:
                try_sets(job.config, staged, job.config.updater.path.av_bases_test_path)
                _put_in_place(job, staged)
            elif job.pending():
                job.report.say(2, "what an earlier run has installed is not in force yet")
            else:
                job.end("not-needed", source=source)
                return EXIT_NOTHING
            if not _use_or_go_back(job):
                return EXIT_CRITICAL
        except Unfit as error:
            raise UpdateError(f"not installed: {error}") from None
        except Ended as error:
            job.end("error", error=str(error))
            raise
        job.end("updated", source=source)
        _thin_out(job)
    return EXIT_UPDATED


def run_rollback(job: Job, names: list[str]) -> int:
    """Take back sets of these names ("antivirus/base", or "base" of every kind); without any, what the last update
    installed, or of every set the newest where that is done. What is taken back is not installed again. A name that the
    last update has brought goes altogether, unless nothing of its kind would be left.
    """
    with job.alone():
        last = read_run(job.directory)
        brought = _installed_last(job)
        for name in names:
            if not find_kinds(job.place, name):
                raise Ended(f"{name}: there are no databases of that kind", EXIT_CONFIGURATION)
        wanted = {each for name in names for each in find_kinds(job.place, name)} if names else brought
        skipped = roll_back(job.place, sorted(wanted))
        fresh: list[tuple[Kind, str]] = []
        for kind, bases in job.place.bases.items():
            going = {name for each, name in wanted & brought if each is kind and f"{kind}/{name}" not in skipped}
            if set_names(bases) - going:
                fresh += [(kind, name) for name in going]
        if fresh:
            skipped |= roll_back(job.place, fresh, to_nothing=True)
        if not skipped:
            job.report.say(1, "there are no earlier databases to go back to")
            return EXIT_NOTHING
        for name, number in skipped.items():
            job.report.say(1, f"{name} {number} taken back")
        job.end("rolled-back", skipped=last.skipped | skipped, installed=(), pending=tuple(skipped))
        try:
            job.take_into_use()
        except Refused as error:
            raise Ended(str(error), EXIT_CRITICAL) from None
    return EXIT_UPDATED


def run_mirror(job: Job, directory: Path) -> int:
    """Copy the whole feed. Ended."""
    with job.alone():
        troubles = []
        for source in job.sources():
            checking = Update(job.place, job.route, job.report.say, trusted={}, expiry=None, skipped={})
            try:
                copied = mirror(checking, source, directory)
            except UpdateError as error:
                troubles.append(str(error))
                job.report.say(2, str(error))
            else:
                job.report.say(1, f"{directory} is a mirror of {hide_password(source)}: {copied} files are new in it")
                return EXIT_UPDATED if copied else EXIT_NOTHING
        raise Ended("\n".join(troubles) or _NO_SOURCE, EXIT_CRITICAL if troubles else EXIT_CONFIGURATION)


def run_stop(job: Job) -> int:
    """End the updater that runs, if any."""
    if not job.lock.exists():
        job.report.say(1, "no update is running")
        return EXIT_NOTHING
    with job.lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.kill(int(file.read(20)), signal.SIGTERM)
            job.report.say(1, "the update that was running is told to stop")
        else:
            job.report.say(1, "no update is running")
    return EXIT_NOTHING


_NO_SOURCE: Final = "no source is configured: [updater.options] update_server_url, or [[update_server]]"


def _fetch(job: Job) -> tuple[dict[Wanted, Path], str]:
    expiry = _last_day(job.config)
    try:
        trusted = resolve_keys(job.config.ave.trusted_keys)
    except BadKey as error:
        raise Ended(f"[ave] trusted_keys: {error}", EXIT_CONFIGURATION) from None
    sources = job.sources()
    if not sources:
        raise Ended(_NO_SOURCE, EXIT_CONFIGURATION)
    for kind, bases in job.place.bases.items():
        # Where no gateway has run yet: beside new sets those of the product would never be laid down.
        if seeded := seed(bases, kind):
            job.report.say(3, seeded)
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
    names = ", ".join(map(str, staged))
    job.report.say(3, f"{one.source}: {names or 'nothing newer'}; {one.received} bytes came")
    return staged, one.source


def _last_day(config: Config) -> dt.date | None:
    try:
        standing = read_standing(config)
    except LicenceError as error:
        raise Ended(f"licence: {error}", EXIT_LICENCE) from None
    if standing.key is None:
        raise Ended("there is no licence key: databases are not updated", EXIT_LICENCE)
    return standing.expires


def _put_in_place(job: Job, staged: dict[Wanted, Path]) -> None:
    backup = job.config.updater.path.back_up_path
    if backup:
        copy_bases(job.place, Path(backup))
    # Before the first is in place: a run that is killed from here on leaves the rest to the next one.
    fresh = [f"{each.kind}/{each.name}" for each in staged]
    job.note(
        pending=tuple(sorted({*read_run(job.directory).pending, *fresh})),
        installed=tuple(f"{each.kind}/{each}" for each in staged),
        updated=time.time(),
    )
    for wanted, directory in staged.items():
        place = install(job.place.bases[wanted.kind], directory)
        with contextlib.suppress(OSError):  # others are staged there, too
            directory.parent.rmdir()
        job.report.say(1, f"installed: {wanted} in {place}")


def _use_or_go_back(job: Job) -> bool:
    """Have what is installed taken into use; False: the gateway refuses it, and it went back at once (row F-UPD-06).
    Ended.
    """
    try:
        job.take_into_use()
    except Refused as refused:
        skipped = roll_back(job.place, job.pending(), to_nothing=True)
        job.report.say(1, f"{refused}; back to the databases before")
        job.note(skipped=read_run(job.directory).skipped | skipped, installed=(), pending=())
        with contextlib.suppress(Ended, Refused):
            job.take_into_use()
        job.end("rolled-back", error=str(refused))
        return False
    return True


def _thin_out(job: Job) -> None:
    """Remove sets that are too old to go back to."""
    in_force = job.in_force()
    if not in_force and job.paths.control.exists():
        return  # a gateway that does not answer may work with any of them
    for kind, name in _installed_last(job):
        for gone in prune(job.place.bases[kind], name, in_force.get((kind, name))):
            job.report.say(6, f"{gone} removed")


def _installed_last(job: Job) -> set[tuple[Kind, str]]:
    """Return what the last run that installed something has installed."""
    texts = read_run(job.directory).installed
    return {each for text in texts for each in find_kinds(job.place, text.rpartition(" ")[0])}


@contextlib.contextmanager
def _progress(*, show: bool) -> Iterator[Callable[[int, int], None]]:
    if not show:
        yield lambda _, __: None
        return
    columns = (TextColumn("databases"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("databases", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
