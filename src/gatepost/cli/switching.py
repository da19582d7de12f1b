"""`gatepost recv-on`, `recv-off`, `scan-on` … `spam-off`: modules switched without stopping the rest.

The documented actions of the control script (specification management.md §1); each is one call to the running gateway.
"""

from collections.abc import Callable
from typing import Final

import cyclopts

from gatepost.cli.gateway import DEFAULT_FILE, Caller, ConfigFile

ACTIONS: Final = {
    "recv-on": ("recv", "Reception: open the ports again."),
    "recv-off": ("recv", "Reception: close all ports. The queue goes on."),
    "send-on": ("send", "Delivery: send what waits."),
    "send-off": ("send", "Delivery: send nothing, inspected mail waits (QUE)."),
    "scan-on": ("scan", "Inspection: inspect what waits."),
    "scan-off": ("scan", "Inspection: inspect nothing, new mail waits (WFC)."),
    "avir-on": ("virus", "Anti-virus: scan what waits."),
    "avir-off": ("virus", "Anti-virus: nothing passes unscanned, so new mail waits (WFC)."),
    "spam-on": ("spam", "Anti-spam: check mail for spam again."),
    "spam-off": ("spam", "Anti-spam: mail passes without a check for spam; malware is still looked for."),
}
"""Action, the module it switches, what it does."""


def add_actions(app: cyclopts.App) -> None:
    """Add the commands."""
    for name, (module, text) in ACTIONS.items():
        app.command(_action(module, on=name.endswith("-on")), name=name, help=text)


def _action(module: str, *, on: bool) -> Callable[..., int]:
    def act(*, conf_file: ConfigFile = DEFAULT_FILE) -> int:
        state = Caller(conf_file)("switch", module=module, on=on)
        print(f"{module} is {state}")
        return 0

    return act
