"""What all client programs have in common: options, settings, log, leaving. `gatepost client NAME -c FILE` calls it.

A program is a module of this package with `run(program, arguments) -> exit status`; it is imported when it is asked
for, and nothing of the filters ever is. Programs that are started for each message begin by
`python -I -m gatepost.client NAME`, which spares them the command line's imports.
"""

import contextlib
import importlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from gatepost.client.settings import ClientSettings, ReadSettings, read_settings
from gatepost.client.statuses import UNKNOWN, UNUSABLE
from gatepost.control.syslog_target import SyslogTarget

DEFAULT_FILE: Final = "/etc/gatepost-client/client.toml"
"""Not below the gateway's own directory, which is closed to the users these programs run as."""
_LETTERS: Final = {"error": "FEW", "info": "FEWIA", "debug": "FEWIAD"}
"""Letters of lines that are written, by detail of the log."""
_TEXT_LIMIT: Final = 900
"""Characters of a line: what syslog carries whole (RFC 3164 §4.1)."""


PROGRAMS: Final = {name: f"gatepost.client.{name}" for name in UNUSABLE}
"""Module of each program there is."""


class ClientLog:
    """Where a program's lines go: syslog, or standard error when it is asked for or syslog is away."""

    def __init__(self, facility: str, level: str, *, to_stderr: bool = False) -> None:
        self._letters = _LETTERS[level]
        self._target = None if to_stderr else SyslogTarget(facility)

    def __call__(self, letter: str, text: str) -> None:
        """Write a line of this letter (F, E, W, I, A, D); control characters in it are shown as such."""
        if letter not in self._letters:
            return
        text = "".join([each if each.isprintable() else f"\\x{ord(each):02x}" for each in text[:_TEXT_LIMIT]])
        if self._target is not None:
            try:
                self._target.write(letter, text, time.time())
            except OSError:
                pass
            else:
                return
        try:
            sys.stderr.write(f"gatepost[{os.getpid()}] {letter}: {text}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # nobody listens: a lost line is no reason to lose mail


class ClientProgram:
    """One program as it runs."""

    def __init__(self, name: str, file: Path, settings: ClientSettings, *, to_stderr: bool = False) -> None:
        self.name = name
        self.file = file
        self.settings = settings
        self._to_stderr = to_stderr
        self.report = self._open_log()
        """Writes to the log: letter, text."""

    def reread(self) -> bool:
        """Take the settings anew. False: the file has errors, which are told; the settings in force stay."""
        settings = self.usable(read_settings(self.file))
        if settings is None:
            self.report("E", f"{self.file}: not taken, the settings in force stay")
            return False
        self.settings = settings
        self.report = self._open_log()
        tempfile.tempdir = settings.client_temp_dir or None
        return True

    def usable(self, read: ReadSettings) -> ClientSettings | None:
        """Return settings that this program can run with; None: what is wrong has been told."""
        for each in read.problems:
            self.report("E" if each in read.errors else "W", str(each))
        place = read.settings.client_temp_dir if read.settings is not None else ""
        # Otherwise it would be found out by the first large message, after weeks of small ones.
        if place and not (Path(place).is_dir() and os.access(place, os.W_OK | os.X_OK, effective_ids=True)):
            self.report("E", f"client_temp_dir: {place} is no directory in which user {os.geteuid()} can write")
            return None
        return read.settings

    def _open_log(self) -> ClientLog:
        return ClientLog(self.settings.log_facility, self.settings.log_level, to_stderr=self._to_stderr)


class Run(Protocol):
    """What the module of a program offers."""

    def run(self, program: ClientProgram, arguments: Sequence[str]) -> int:
        """Do the program's work; return its exit status. `arguments`: what is left of the command line."""


def run_program(name: str, file: Path, arguments: Sequence[str], *, to_stderr: bool = False) -> int:
    """Run a program of `PROGRAMS`; return its exit status. What nobody foresaw is told, and is `UNUSABLE` as well."""
    read = read_settings(file)
    program = ClientProgram(name, file, read.settings or ClientSettings(), to_stderr=to_stderr)
    settings = program.usable(read)
    if settings is None:
        return _unusable(name, f"{file} cannot be used")
    tempfile.tempdir = settings.client_temp_dir or None
    try:
        module: Run = importlib.import_module(PROGRAMS[name])
        return module.run(program, arguments)
    except Exception as error:  # noqa: BLE001 - Python's own status for it returns mail to its senders
        program.report("F", f"{name} ended by {type(error).__name__}: {error}")
        for line in traceback.format_exc().splitlines():
            program.report("E", line)
        return _unusable(name, type(error).__name__)


def _unusable(name: str, why: str) -> int:
    """Say on standard error, which pipe transports put into the mail system's log, that nothing was done."""
    with contextlib.suppress(OSError, ValueError):  # nobody listens: no reason for another status
        sys.stderr.write(f"gatepost client {name}: {why}; its log says more\n")
        sys.stderr.flush()
    return UNUSABLE[name]


def main(arguments: Sequence[str]) -> int:
    """Run `NAME [-c FILE] [--stderr] [--] ARGUMENTS …`; return the exit status."""
    rest = list(arguments)
    name = rest.pop(0) if rest else ""
    if name not in PROGRAMS:
        sys.stderr.write(f"usage: gatepost client {'|'.join(PROGRAMS)} [-c FILE] [--stderr] [--] [ARGUMENTS]\n")
        return UNKNOWN
    file = DEFAULT_FILE
    to_stderr = False
    while rest and rest[0] in {"-c", "--conf-file", "--stderr"}:
        option = rest.pop(0)
        if option == "--stderr":
            to_stderr = True
        elif rest:
            file = rest.pop(0)
        else:
            sys.stderr.write(f"{option}: a file is missing behind it\n")
            return UNUSABLE[name]
    if rest and rest[0] == "--":
        del rest[0]
    return run_program(name, Path(file), rest, to_stderr=to_stderr)
