"""`gatepost run`, `start`, `stop`, `restart`: the gateway itself, in the foreground or as a daemon.

`mailgw` (`run_mailgw`) is `gatepost start` under the documented name of the daemon, so that scripts that call it go on
to work (specification management.md §5.1).
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from gatepost import __version__
from gatepost.cli.gateway import DEFAULT_FILE, Caller, ConfigFile
from gatepost.cli.stopping import stop_gateway
from gatepost.master import daemon
from gatepost.master.exit_code import ExitCode
from gatepost.model.foreign_text import printable

PidFile = Annotated[
    Path | None, cyclopts.Parameter(name=["-p", "--pid-file"], help="pid file instead of the one below the state path")
]
NoPidFile = Annotated[bool, cyclopts.Parameter(name=["-n", "--no-pid-file"], negative="", help="write no pid file")]
User = Annotated[str, cyclopts.Parameter(name=["-u", "--user"], help="run as this user instead of root")]
NoChangeOwner = Annotated[
    bool, cyclopts.Parameter(name=["-o", "--no-change-owner"], negative="", help="do not switch user: stay root")
]
Overrides = Annotated[
    list[str] | None, cyclopts.Parameter(name="--set", help="Section.Name=value, wins over the file; repeatable")
]


def run(*, conf_file: ConfigFile = DEFAULT_FILE, user: User = "", overrides: Overrides = None) -> int:
    """Run the gateway in the foreground until TERM or INT; HUP reloads the configuration.

    For service managers and containers: no pid file, and nobody starts it again.
    """
    return daemon.run(daemon.Options(conf_file, tuple(overrides or ()), user, use_pid_file=False))


def start(
    *,
    conf_file: ConfigFile = DEFAULT_FILE,
    no_daemon: Annotated[
        bool, cyclopts.Parameter(name=["-d", "--no-daemon"], negative="", help="stay in the foreground")
    ] = False,
    pid_file: PidFile = None,
    no_pid_file: NoPidFile = False,
    user: User = daemon.DEFAULT_USER,
    no_change_owner: NoChangeOwner = False,
    check_config: Annotated[
        bool, cyclopts.Parameter(name=["-k", "--check-config"], negative="", help="only check the configuration")
    ] = False,
    overrides: Overrides = None,
) -> int:
    """Start the gateway as a daemon and wait until it is in service; a supervisor starts it again when it dies.

    What keeps it from coming up, a queue that cannot be opened for instance, is said at once and tried again and again;
    after two minutes the command ends with code 30, and the gateway goes on trying.

    Codes: 0 started, 1 bad options, 30 system error, 41 pid file exists, 42 it cannot be made, 43 no background,
    44 user, 45 signals, 46 and 47 standard streams, 48 engines, 49 traces, 50 databases, 51 their date, 55 a port,
    64 licence, 65 configuration cannot be loaded, 66 it has errors, 67 log, 70 the program is damaged.
    """
    if check_config:
        from gatepost.cli.config import check  # noqa: PLC0415 - brings in what a start does not need

        return check(conf_file=str(conf_file), overrides=overrides)
    options = _options(conf_file, pid_file, user, overrides, no_pid_file=no_pid_file, no_change_owner=no_change_owner)
    if no_daemon:
        return daemon.run(options)
    code = daemon.start(options)
    if code == ExitCode.STARTED:
        _welcome(conf_file)
    return code


def _options(
    conf_file: Path,
    pid_file: Path | None,
    user: str,
    overrides: list[str] | None,
    *,
    no_pid_file: bool,
    no_change_owner: bool,
) -> daemon.Options:
    return daemon.Options(
        conf_file,
        tuple(overrides or ()),
        "" if no_change_owner or os.getuid() else user,
        pid_file.absolute() if pid_file else None,
        not no_pid_file,
    )


def _welcome(conf_file: Path) -> None:
    """Say where the gateway is to be found, and how the first administrator gets in."""
    caller = Caller(conf_file)
    status, console = caller.try_("status"), caller.try_("console.status")
    if status is None:
        return
    print("\n".join(describe_service(status)))
    if not console or not console["addresses"]:
        return
    print(f"console: {' '.join(console['addresses'])}")
    first = caller.try_("session.first_code") or {}
    if first.get("code"):
        print(f"code for the first sign-in, within an hour: {first['code']} (again: gatepost account first-code)")


def describe_service(status: Mapping[str, Any]) -> list[str]:
    """Return the lines that say where a gateway in service is to be found; a filtering server has doors alone."""
    doors = status["doors"]
    nowhere = "" if doors else ", at no port: neither a listener nor a door is configured"
    mail = f", mail at {', '.join(status['listeners'])}" if status["listeners"] else nowhere
    return [
        f"in service, pid {status['pid']}{mail}",
        *(f"door {printable(door['name'])}: {door['kind']} at {door['address']}" for door in doors),
    ]


def stop(*, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Stop the running gateway cleanly, and wait until it has ended; accepted mail stays in its queue."""
    return stop_gateway(conf_file)


def restart(
    *,
    conf_file: ConfigFile = DEFAULT_FILE,
    pid_file: PidFile = None,
    no_pid_file: NoPidFile = False,
    user: User = daemon.DEFAULT_USER,
    no_change_owner: NoChangeOwner = False,
    overrides: Overrides = None,
) -> int:
    """Stop the gateway if it runs, and start it as a daemon; a configuration or user that will not do stops nothing.

    Codes as `start`.
    """
    options = _options(conf_file, pid_file, user, overrides, no_pid_file=no_pid_file, no_change_owner=no_change_owner)
    checked = start(conf_file=conf_file, check_config=True, overrides=overrides) or daemon.check(options)
    if checked:
        return checked
    stopped = stop_gateway(conf_file)
    if stopped:
        return stopped
    return start(
        conf_file=conf_file,
        pid_file=pid_file,
        no_pid_file=no_pid_file,
        user=user,
        no_change_owner=no_change_owner,
        overrides=overrides,
    )


def run_mailgw() -> None:
    """Entry point of the command `mailgw`."""
    app = cyclopts.App(
        name="mailgw",
        help=start.__doc__ or "",
        version=__version__,
        version_flags=["-V", "--version"],
        help_flags=["-?", "-h", "--help"],
    )
    app.default(start)
    try:
        result = app(sys.argv[1:], exit_on_error=False)
    except cyclopts.CycloptsError:
        sys.exit(ExitCode.OPTIONS)
    sys.exit(result if isinstance(result, int) else ExitCode.STARTED)
