"""The command `gatepost`: one program, its sub-commands each in a module of this package.

Exit codes are the documented ones; errors go to standard error as one sentence that says how to mend it.
"""

import sys
from typing import Annotated

import cyclopts

from gatepost import __version__
from gatepost.cli import config as config_command
from gatepost.cli import demo as demo_command
from gatepost.cli import drain as drain_command
from gatepost.cli import password as password_command
from gatepost.cli import queue as queue_command
from gatepost.cli import queue_acts
from gatepost.cli import status as status_command
from gatepost.cli import template as template_command
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, Caller, ConfigFile, complain
from gatepost.master import process as master

app = cyclopts.App(
    name="gatepost",
    help="A mail security gateway: takes mail in, filters it, passes it on.",
    version=__version__,
)
app.command(config_command.app, name="config")
app.command(template_command.app, name="template")
app.command(password_command.app, name="password")
app.command(demo_command.demo, name="demo")
queue_acts.register(queue_command.app)
app.command(queue_command.app, name="queue")
app.command(status_command.status, name="status")
app.command(drain_command.drain, name="drain")


@app.command
def run(
    *,
    conf_file: ConfigFile = DEFAULT_FILE,
    user: Annotated[str, cyclopts.Parameter(name=["-u", "--user"], help="run as this user once ports are bound")] = "",
    set_: Annotated[
        list[str] | None, cyclopts.Parameter(name="--set", help="Section.Name=value, wins over the file; repeatable")
    ] = None,
) -> int:
    """Run the gateway in the foreground until TERM or INT; HUP reloads the configuration."""
    return master.main(conf_file, set_ or (), user)


@app.command
def reload(*, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Take the configuration file anew; a broken one leaves the running configuration in force and says why."""
    print(Caller(conf_file)("reload"))
    return 0


@app.command
def switch(module: str, state: str, *, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Switch a module on or off without stopping the rest.

    Parameters
    ----------
    module
        `recv` (reception: off closes the ports), `scan` (inspection) or `send` (delivery).
    state
        `on` or `off`.

    """
    if state not in {"on", "off"}:
        return complain(f"{state!r} is neither on nor off", EXIT_BAD_OPTIONS)
    print(f"{module} is {Caller(conf_file)('switch', module=module, on=state == 'on')}")
    return 0


@app.command
def stop(*, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Stop the running gateway cleanly; accepted mail stays in its queue."""
    print(Caller(conf_file)("stop"))
    return 0


def run_command() -> None:
    """Entry point of the `gatepost` command. Bad options end with the documented code 1."""
    try:
        result = app(exit_on_error=False)
    except cyclopts.CycloptsError:
        sys.exit(EXIT_BAD_OPTIONS)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    run_command()
