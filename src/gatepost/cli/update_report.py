"""The updater's report: a file, or syslog, and the terminal (specification configuration.md §4.13, row F-UPD-10)."""

import os
import sys
import syslog
import tempfile
import time
from pathlib import Path
from typing import Final, TextIO

DEFAULT_NAME: Final = "gw-update.log"
CONSOLE_LEVEL: Final = 3
"""What a terminal shows, whatever the file gets."""
_PRIORITIES: Final = {1: syslog.LOG_NOTICE, 2: syslog.LOG_WARNING}


class Report:
    """Takes lines with a level, 1 (results and errors) to 9 (everything)."""

    def __init__(self, target: str, level: int, *, append: bool, quiet: bool) -> None:
        """`target`: path, `syslog`, or "" for the documented file: in the directory that systemd gives a service for
        its logs, because nobody else sees the service's temporary directory; else in the temporary one.
        """
        self._level = level
        self._quiet = quiet
        self._file: TextIO | None = None
        self._syslog = target == "syslog"
        if self._syslog:
            syslog.openlog("gw-update", syslog.LOG_PID, syslog.LOG_MAIL)
            return
        place = os.environ.get("LOGS_DIRECTORY") or tempfile.gettempdir()
        path = Path(target) if target else Path(place) / DEFAULT_NAME
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_APPEND if append else os.O_TRUNC)
        try:
            # In a directory for everybody a link of somebody else's must not be followed.
            self._file = os.fdopen(os.open(path, flags, 0o640), "a", encoding="utf-8", errors="replace")
        except OSError as error:
            if target:
                print(f"{path}: {error.strerror}: there is no report", file=sys.stderr)

    def say(self, level: int, text: str) -> None:
        """Report something."""
        if not self._quiet and level <= CONSOLE_LEVEL:
            print(text, file=sys.stderr)
        if level > self._level:
            return
        for line in text.splitlines():
            if self._syslog:
                syslog.syslog(_PRIORITIES.get(level, syslog.LOG_INFO), line)
            elif self._file is not None:
                self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {os.getpid()} {level} {line}\n")

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
