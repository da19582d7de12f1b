"""The command `gatepost`: one program, its sub-commands each in a module of this package.

Exit codes are the documented ones; errors go to standard error as one sentence that says how to mend it.
"""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec
from rich.console import Console
from rich.table import Table

from gatepost import __version__
from gatepost.cli import config as config_command
from gatepost.cli import demo as demo_command
from gatepost.cli import password as password_command
from gatepost.cli import template as template_command
from gatepost.config.load import DEFAULT_PATH, load
from gatepost.control.socket import ControlError, call
from gatepost.master import process as master
from gatepost.master.paths import Paths
from gatepost.model.ids import parse_queue_id

app = cyclopts.App(
    name="gatepost",
    help="A mail security gateway: takes mail in, filters it, passes it on.",
    version=__version__,
)
app.command(config_command.app, name="config")
app.command(template_command.app, name="template")
app.command(password_command.app, name="password")
app.command(demo_command.demo, name="demo")

queue_app = cyclopts.App(name="queue", help="What waits here, and why.")
app.command(queue_app)

ConfigFile = Annotated[Path, cyclopts.Parameter(name=["-c", "--conf-file"], help="configuration file")]
AsJson = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="for machines")]

EXIT_BAD_OPTIONS = 1
EXIT_NOT_DONE = 4
_PAGE = 200


@app.command
def run(
    *,
    conf_file: ConfigFile = Path(DEFAULT_PATH),
    user: Annotated[str, cyclopts.Parameter(name=["-u", "--user"], help="run as this user once ports are bound")] = "",
    set_: Annotated[
        list[str] | None, cyclopts.Parameter(name="--set", help="Section.Name=value, wins over the file; repeatable")
    ] = None,
) -> int:
    """Run the gateway in the foreground until TERM or INT; HUP reloads the configuration."""
    return master.main(conf_file, set_ or (), user)


@app.command
def status(*, conf_file: ConfigFile = Path(DEFAULT_PATH), json: AsJson = False) -> int:
    """Show whether the gateway runs, its modules, processes, queue and counters."""
    answer = _call(conf_file, "status")
    if json:
        _print_json(answer)
    else:
        _show_status(answer)
    return 0


@queue_app.command(name="list")
def queue_list(*, conf_file: ConfigFile = Path(DEFAULT_PATH), json: AsJson = False, limit: int = 0) -> int:
    """List waiting messages, oldest first: id, state, size, date, client, sender, recipients; total at the end.

    States: WFC waits for scan, CHK being scanned, QUE waits for delivery, SND being sent, HLD held for an operator.
    `--limit 0` shows all.
    """
    rows: list[dict[str, Any]] = []
    after = 0
    while not limit or len(rows) < limit:
        page = _call(conf_file, "queue", after=after, limit=_PAGE)
        rows += page
        if len(page) < _PAGE:
            break
        after = page[-1]["id"]
    rows = rows[:limit] if limit else rows
    if json:
        _print_json(rows)
        return 0
    for row in rows:
        received = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.get("received_at", 0)))
        recipients = " ".join(f"<{address}>" for address in row.get("recipients", ()))
        print(
            f"{row['queue_id']} {row['state']} {row.get('size', 0)} {received} {row.get('client', '')} "
            f"<{row.get('sender', '')}> -> {recipients}" + (f"  ({row['reason']})" if row.get("reason") else "")
        )
    print(f"{len(rows)} queued messages, {sum(row.get('size', 0) for row in rows)} bytes")
    return 0


@queue_app.command
def release(queue_id: str, *, conf_file: ConfigFile = Path(DEFAULT_PATH)) -> int:
    """Let a held message (state HLD) go on where it was. Codes: 0 done, 1 bad options, 4 not done."""
    return _act("release", queue_id, conf_file)


@queue_app.command
def remove(
    queue_id: str,
    *,
    conf_file: ConfigFile = Path(DEFAULT_PATH),
    yes: Annotated[bool, cyclopts.Parameter(name=["-y", "--yes"], negative="", help="do not ask")] = False,
) -> int:
    """Delete a message that nobody has in work; nobody is told. Codes: 0 done, 1 bad options, 4 not done."""
    if not yes and input(f"Delete {queue_id} for good? [y/N] ").strip().lower() not in {"y", "yes"}:
        return _complain("nothing deleted", EXIT_NOT_DONE)
    return _act("remove", queue_id, conf_file)


def _act(what: str, queue_id: str, conf_file: Path) -> int:
    try:
        message_id = parse_queue_id(queue_id)
    except ValueError as error:
        return _complain(str(error), EXIT_BAD_OPTIONS)
    result = _call(conf_file, what, id=message_id)
    if result == "done":
        print(f"{queue_id}: {what}d")
        return 0
    reasons = {"unknown": "no such message in the queue", "not held": "it is not held, so there is nothing to release"}
    return _complain(f"{queue_id}: {reasons.get(result, 'it is in work, try again')}", EXIT_NOT_DONE)


@app.command
def reload(*, conf_file: ConfigFile = Path(DEFAULT_PATH)) -> int:
    """Take the configuration file anew; a broken one leaves the running configuration in force and says why."""
    print(_call(conf_file, "reload"))
    return 0


@app.command
def switch(module: str, state: str, *, conf_file: ConfigFile = Path(DEFAULT_PATH)) -> int:
    """Switch a module on or off without stopping the rest.

    Parameters
    ----------
    module
        `send` (delivery) or `scan` (inspection).
    state
        `on` or `off`.

    """
    if state not in {"on", "off"}:
        return _complain(f"{state!r} is neither on nor off", 1)
    print(f"{module} is {_call(conf_file, 'switch', module=module, on=state == 'on')}")
    return 0


@app.command
def stop(*, conf_file: ConfigFile = Path(DEFAULT_PATH)) -> int:
    """Stop the running gateway cleanly; accepted mail stays in its queue."""
    print(_call(conf_file, "stop"))
    return 0


def _call(conf_file: Path, name: str, **arguments: object) -> Any:
    loaded = load(conf_file)
    if not loaded.state_path:
        raise SystemExit(_complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code))
    try:
        return call(Paths(loaded.state_path).control, name, **arguments)
    except ControlError as error:
        raise SystemExit(_complain(str(error), loaded.exit_code or 1)) from error


def _complain(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def _print_json(value: Any) -> None:
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def _show_status(answer: dict[str, Any]) -> None:
    console = Console()
    up = time.time() - answer["started_at"]
    console.print(f"gatepost {answer['version']}, pid {answer['pid']}, up {up:.0f} s, {answer['configuration']}")
    console.print(f"listening on {', '.join(answer['listeners'])}")
    modules = ", ".join(f"{name} {'on' if on else 'off'}" for name, on in answer["modules"].items())
    console.print(f"modules: {modules}")
    table = Table("process", "pid", "state", "restarts", "filters busy/idle", "in inspection/delivery")
    for relay in answer["relays"]:
        filters, work = relay.get("filters", {}), relay.get("in_work", {})
        table.add_row(
            f"relay {relay['index']}",
            str(relay["pid"]),
            relay.get("error") or relay["state"],
            str(relay["restarts"]),
            f"{filters.get('busy', 0)}/{filters.get('idle', 0)}",
            f"{work.get('inspection', 0)}/{work.get('delivery', 0)}",
        )
    template = answer["filter_template"]
    table.add_row("filter template", str(template["pid"]), template["state"], str(template["restarts"]), "", "")
    console.print(table)
    missing = sorted({wall for relay in answer["relays"] for wall in relay.get("filter_walls_missing", ())})
    if missing:
        console.print(f"[bold]filters run without: {', '.join(missing)} (the kernel lacks it)[/bold]")
    queue = answer["queue"]
    console.print(
        f"queue: {queue['waiting']} await inspection, {queue['ready']} await delivery, {queue['held']} held, "
        f"{queue['bytes']} bytes"
    )
    for name, value in answer["counters"].items():
        console.print(f"{name}={value}", highlight=False)


def run_command() -> None:
    """Entry point of the `gatepost` command. Bad options end with the documented code 1."""
    try:
        result = app(exit_on_error=False)
    except cyclopts.CycloptsError:
        sys.exit(EXIT_BAD_OPTIONS)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    run_command()
