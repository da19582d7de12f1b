"""`gatepost update`: fetch newer databases, try them, put them in place, have the gateway take them.

docs/manual/updates.md tells how. `gw-update` (`run_gw_update`) takes the documented options. Exit codes of both
(specification management.md §5.3): 0 there is nothing newer; 1 updated; 10 critical error or interrupted; 30 the
command after the update failed; 60 the licence forbids it; 75 the configuration is wrong.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import cyclopts
import msgspec

from gatepost import __version__
from gatepost.cli.choice import Yes, agreed
from gatepost.cli.gateway import DEFAULT_FILE, AsJson, ConfigFile, complain, print_json
from gatepost.cli.schedule import CronTable, ScheduleError
from gatepost.cli.update_job import (
    EXIT_CONFIGURATION,
    EXIT_CRITICAL,
    EXIT_NOTHING,
    Job,
    run,
    run_mirror,
    run_rollback,
    run_stop,
    run_update,
)
from gatepost.feeds.fetching import hide_password
from gatepost.feeds.installed import copy_bases
from gatepost.feeds.update_state import read_run
from gatepost.model.foreign_text import printable

HOURLY: Final = 60
"""Minutes between two runs, unless the administrator says otherwise."""

app = cyclopts.App(name="update", help="Databases: fetch newer ones, go back to earlier ones, mirror, schedule.")


@app.default
def update(
    *,
    quiet: Annotated[bool, cyclopts.Parameter(name=["-q", "--quiet"], negative="", help="say nothing")] = False,
    log_file: Annotated[str, cyclopts.Parameter(name=["-l", "--log-file"], help="write the report there")] = "",
    trust_root: Annotated[
        Path | None, cyclopts.Parameter(name="--trust-root", help="first: trust the feed with this root.json")
    ] = None,
    again: Annotated[
        bool, cyclopts.Parameter(negative="", help="also what was taken back, by you or by the gateway")
    ] = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Fetch newer databases, try them, put them in place, and have the running gateway take them."""
    job = Job(conf_file, quiet=quiet, log_file=log_file)
    return run(job, lambda: run_update(job, trust_root, again=again))


@app.command
def rollback(*names: str, yes: Yes = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Go back to the databases before the last update, having asked; what is taken back is not installed again.

    Parameters
    ----------
    names
        Sets to take back, such as antivirus/base, or base for that name of both kinds; default: those that the last
        update installed, or the newest of every set.

    """
    which = ", ".join(map(printable, names)) or "what the last update installed"
    if not agreed(f"take back {which}? it is not installed again, newer ones are", yes=yes):
        return EXIT_CRITICAL
    job = Job(conf_file)
    return run(job, lambda: run_rollback(job, list(names)))


@app.command(name="stop")
def stop_update(*, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """End an update that is running; the databases in force stay."""
    job = Job(conf_file)
    return run(job, lambda: run_stop(job))


@app.command(name="mirror")
def mirror_feed(directory: Path, *, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Copy the whole feed to DIRECTORY, which other hosts can use as their source.

    Parameters
    ----------
    directory
        Where the copy is made, or brought up to date.

    """
    job = Job(conf_file)
    return run(job, lambda: run_mirror(job, directory))


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

    return run(job, act)


@app.command(name="status")
def show_status(*, as_json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Show what came of the last update, and from where databases come."""
    job = Job(conf_file)

    def act() -> int:
        last = read_run(job.directory)
        sources = [hide_password(each) for each in job.sources()]
        if as_json:
            print_json({**msgspec.to_builtins(last), "sources": sources})
            return EXIT_NOTHING
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last.checked)) if last.checked else "never"
        print(f"last checked: {when}; result: {last.result}{f' ({last.error})' if last.error else ''}")
        print(f"sources: {', '.join(sources) or 'none: set updater.options.update_server_url'}")
        if last.installed:
            print(f"installed last: {', '.join(last.installed)}")
        if last.pending:
            print(f"not known to be in force: {', '.join(last.pending)}")
        for name, number in last.skipped.items():
            print(f"taken back, not installed again: {name} {number}")
        return EXIT_NOTHING

    return run(job, act)


TableOwner = Annotated[str, cyclopts.Parameter(name=["-u", "--user"], help="whose cron table; default: one's own")]
schedule = cyclopts.App(name="schedule", help="Run updates regularly: an entry of cron.")
app.command(schedule)


@schedule.command(name="install")
def schedule_install(
    *,
    minutes: Annotated[int, cyclopts.Parameter(help="between two runs, 3 to 1440")] = HOURLY,
    user: TableOwner = "",
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Put the entry into the table of cron; one that is there is replaced."""
    return _scheduled(lambda: print(CronTable(user).install(minutes, conf_file)))


@schedule.command(name="uninstall")
def schedule_uninstall(*, user: TableOwner = "") -> int:
    """Take the entry out of the table of cron."""
    return _scheduled(lambda: print("taken out" if CronTable(user).uninstall() else "there was no entry"))


@schedule.command(name="show")
def schedule_show(*, user: TableOwner = "", as_json: AsJson = False) -> int:
    """Show the entry."""

    def show() -> None:
        entry = CronTable(user).entry()
        if as_json:
            print_json({"entry": entry})
        else:
            print(entry or "there is no entry")

    return _scheduled(show)


def _scheduled(act: Callable[[], None]) -> int:
    try:
        act()
    except ScheduleError as error:
        return complain(str(error), EXIT_CRITICAL)
    return EXIT_NOTHING


_OLD_USAGE: Final = (
    "usage: gw-update [-c FILE] [-q] [-l FILE] [-t DIR] | -h | -v | -i | -p ID | -u DIR | -b DIR | -r | -rollback | "
    "-install | -prompt-install | -uninstall [-user U] | -run | -stop | -end"
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
            return rollback(yes=True, conf_file=conf_file)
        case ["-stop"] | ["-end"]:
            return stop_update(conf_file=conf_file)
        case ["-install"]:
            return schedule_install(user=values["-user"], conf_file=conf_file)
        case ["-prompt-install"]:
            if not _agrees():
                return EXIT_NOTHING
            return schedule_install(user=values["-user"], conf_file=conf_file)
        case ["-uninstall"]:
            return schedule_uninstall(user=values["-user"])
    return complain(_OLD_USAGE, EXIT_CONFIGURATION)


def _agrees() -> bool:
    print("Update the databases every hour? [Y/n] ", end="", flush=True)
    answer = sys.stdin.readline()
    return bool(answer) and answer.strip().lower() in {"", "y", "yes"}
