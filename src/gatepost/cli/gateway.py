"""The running gateway as sub-commands see it: found by its configuration file, asked over its control socket.

Used by all sub-commands that talk to a gateway. Errors go to standard error as one sentence and end the command with a
documented code.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec

from gatepost.config.load import DEFAULT_PATH, load
from gatepost.control.socket import ControlError, call
from gatepost.master.paths import Paths

ConfigFile = Annotated[Path, cyclopts.Parameter(name=["-c", "--conf-file"], help="configuration file")]
AsJson = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="for machines")]
DEFAULT_FILE = Path(DEFAULT_PATH)

EXIT_BAD_OPTIONS = 1
EXIT_UNREADABLE = 2
EXIT_SYSTEM = 3
EXIT_NOT_DONE = 4
"""Codes of the queue commands (specification management.md §5.5)."""


def complain(text: str, code: int) -> int:
    """Say what is wrong; return the code to end with."""
    print(text, file=sys.stderr)
    return code


def print_json(value: Any) -> None:
    """Print a value for machines."""
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


class Caller:
    """Calls of one command to the gateway of one configuration file."""

    def __init__(self, conf_file: Path, *, queue_codes: bool = False) -> None:
        """SystemExit when the file does not say where the gateway is. `queue_codes`: end with the codes above."""
        loaded = load(conf_file)
        if not loaded.state_path:
            raise SystemExit(complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code))
        self.paths = Paths(loaded.state_path)
        self._failed = loaded.exit_code or EXIT_BAD_OPTIONS
        if queue_codes:
            self._failed = EXIT_SYSTEM
            if self.paths.run.exists() and not os.access(self.paths.run, os.X_OK):
                text = f"{self.paths.run} cannot be read: run this as the gateway's user or root"
                raise SystemExit(complain(text, EXIT_UNREADABLE))

    def __call__(self, name: str, /, **arguments: object) -> Any:
        """Return the gateway's answer; SystemExit with the reason when there is none."""
        try:
            return call(self.paths.control, name, **arguments)
        except ControlError as error:
            raise SystemExit(complain(str(error), self._failed)) from error

    def try_(self, name: str, **arguments: object) -> Any:
        """Return the gateway's answer, None when it has none to give."""
        try:
            return call(self.paths.control, name, **arguments)
        except ControlError:
            return None
