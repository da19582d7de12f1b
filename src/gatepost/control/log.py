"""The log: where lines go (file, syslog or nowhere), and the log as a view of the spool's records.

Every process has its own `Log` on the same file; lines are whole writes to a file opened for appending. `LogView` is a
consumer of the outbox: after an unclean stop it gets records again that it may have written already, finds their lines
at the end of the file, and writes only what is missing.
"""

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gatepost.config.schema import Config
from gatepost.control.lines import LEVEL_OF, Formatter, level_of
from gatepost.control.standard_error import StandardError
from gatepost.control.syslog_target import SyslogTarget
from gatepost.model.record import Record
from gatepost.spool import clock
from gatepost.spool.interface import Spool
from gatepost.storage.log_file import is_current

TAIL_LIMIT = 16 * 1024 * 1024
"""Bytes at the end of the log that are compared after an unclean stop: far more than is ever unconfirmed."""


LOOK_S = 1.0
"""How often a log file is looked after."""
TELL_S = 0.5
"""Longest wait for a standard error that takes nothing."""


class LogSettings(msgspec.Struct, frozen=True):
    """What the configuration says of the log."""

    target: str
    """Path of a file, `syslog`, or "" for none."""
    level: int
    facility: str
    date_format: str
    time_format: str

    @classmethod
    def of(cls, config: Config) -> "LogSettings":
        """Take them out of a configuration."""
        options, locale = config.options, config.locale
        return cls(
            options.log_filename,
            options.log_level,
            options.log_facility,
            locale.date_format,
            locale.time_format,
        )


class Log:
    """One process's way to the log."""

    def __init__(self, settings: LogSettings, *, required: bool = True) -> None:
        """Open the target. OSError when the file cannot be opened (return code 67 of the daemon), unless it is not
        `required`: then lines are lost until it can be.
        """
        self._fd = -1
        self._standard_error = StandardError()
        self._syslog: SyslogTarget | None = None
        self._looked_at = 0.0
        self._told = False
        self._unsure = True
        """The last line of the file may have been cut off: by a full disk, or by a kill before this process."""
        self._astray = False
        """The file that is open is not the one of that name, and that one cannot be opened."""
        try:
            self.open(settings)
        except OSError as error:
            if required:
                raise
            self._use(-1, settings)
            self._complain(error)

    def open(self, settings: LogSettings) -> None:
        """Open, or re-open after rotation or a change of settings (HUP). On failure the old target stays."""
        fd = -1
        if settings.target and settings.target != "syslog":
            fd = os.open(settings.target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._use(fd, settings)

    def _use(self, fd: int, settings: LogSettings) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._unsure = True
        if self._syslog is not None:
            self._syslog.close()
        self._syslog = SyslogTarget(settings.facility) if settings.target == "syslog" else None
        self.settings = settings
        self.formatter = Formatter(settings.date_format, settings.time_format)

    def say(self, letter: str, text: str) -> None:
        """Log a process event; fatal ones also go to standard error."""
        if letter == "F":
            self._tell(text)
        if LEVEL_OF[letter] <= self.settings.level:
            line = self.formatter.event(clock.now(), letter, text)
            self.write([(letter, line)])

    def write(self, lines: Sequence[tuple[str, str]]) -> None:
        """Write rendered lines, (letter, line) each, in one go. A full disk loses log lines, never mail."""
        self._look_after()
        if self._fd >= 0:
            data = "".join(line for _, line in lines).encode("utf-8", "replace")
            if self._unsure and self._is_torn():
                data = b"\n" + data
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
                self._told = self._unsure = False
            except OSError as error:
                self._unsure = True
                self._complain(error)
        elif self._syslog is not None:
            try:
                for letter, line in lines:
                    self._syslog.write(letter, line.rstrip("\n"), clock.now())
                self._told = False
            except OSError as error:
                self._complain(error)

    def _is_torn(self) -> bool:
        """Tell whether the file ends within a line: the next one would stand behind it, and be lost to its readers."""
        try:
            size = self.size()
            if not size:  # nothing in it, or no file
                return False
            with Path(self.settings.target).open("rb") as file:
                return os.pread(file.fileno(), 1, size - 1) not in {b"\n", b""}
        except OSError:
            return False

    def _look_after(self) -> None:
        """Open the file anew when it could not be opened, was renamed (a rotation), or removed."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_S or self.settings.target in {"", "syslog"}:
            return
        self._looked_at = now
        if self._fd >= 0 and is_current(self._fd, self.settings.target):
            self._astray = False
            return
        try:
            Path(self.settings.target).parent.mkdir(0o755, parents=True, exist_ok=True)
            self.open(self.settings)
        except OSError as error:
            if self._fd < 0 or not self._astray:  # what is written to the former file goes well, and is no end of it
                self._complain(error)
            self._astray = True

    def _complain(self, error: OSError) -> None:
        """Say once on standard error that lines are being lost."""
        if not self._told:
            self._told = True
            self._tell(f"log {self.settings.target}: {error.strerror}: lines are lost until that is mended")

    def _tell(self, text: str) -> None:
        """Say something on standard error, if there is one that takes it now: the process may be about to end."""
        self._standard_error.put(f"gatepost: {text}\n".encode("utf-8", "replace"))
        self._standard_error.settle(TELL_S)

    def size(self) -> int:
        """Return the size of the log file, 0 when there is none."""
        return os.fstat(self._fd).st_size if self._fd >= 0 else 0

    def tail(self, start: int) -> Counter[str]:
        """Return the lines written at or behind `start`, counted."""
        if self._fd < 0:
            return Counter()
        size = self.size()
        start = max(start, size - TAIL_LIMIT) if start <= size else 0
        with Path(self.settings.target).open("rb") as file:
            file.seek(start)
            text = file.read(TAIL_LIMIT).decode("utf-8", "replace")
        return Counter(line + "\n" for line in text.split("\n"))


class LogView:
    """The log as a consumer of the outbox."""

    NAME = "log"

    def __init__(self, log: Log, spool: Spool, shard: int) -> None:
        self._log = log
        self._spool = spool
        self._shard = shard
        _, note = spool.position(self.NAME)
        start = int(note) if note.isdigit() else 0
        self._written: Counter[str] | None = log.tail(start)
        """Lines that an earlier life may have written without confirming, and those of other relays, which no record
        of ours has for its line; None once replay is over.
        """

    def replayed(self) -> None:
        """Say that the records of earlier lives have all come: what follows is new."""
        self._written = None

    def consume(self, first: int, records: Sequence[Record]) -> None:
        """Write the lines of one commit's records and confirm them."""
        log = self._log
        level = log.settings.level
        lines = [log.formatter.record(record, self._shard) for record in records if level_of(record) <= level]
        if self._written is not None:
            lines = [entry for entry in lines if not self._seen(entry[1])]
        if lines:
            log.write(lines)
        self._spool.confirm(self.NAME, first + len(records) - 1, str(log.size()).encode())

    def _seen(self, line: str) -> bool:
        assert self._written is not None
        if self._written[line] > 0:
            self._written[line] -= 1
            return True
        return False
