"""`gatepost run`: the gateway itself, in the foreground."""

from typing import Annotated

import cyclopts

from gatepost.cli.gateway import DEFAULT_FILE, ConfigFile
from gatepost.master import process as master


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
