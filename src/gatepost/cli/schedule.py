"""The updater's entry in a table of cron (row F-UPD-09): `CronTable`. It is found by a comment at its end."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

MARK: Final = "# gatepost-update"
LEAST_MINUTES: Final = 3
MOST_MINUTES: Final = 1440
_HOUR: Final = 60


class ScheduleError(Exception):
    """The table cannot be read or written. The text says why."""


class CronTable:
    """One user's table, by the command `crontab`."""

    def __init__(self, user: str = "") -> None:
        """`user`: "" = whoever runs this."""
        self._command = ["crontab", *(("-u", user) if user else ())]

    def install(self, minutes: int, conf_file: Path) -> str:
        """Put the entry in, in place of one that is there; return it."""
        program = Path(sys.executable).with_name("gatepost")
        command = f"{shlex.quote(str(program))} update --quiet -c {shlex.quote(str(conf_file.absolute()))}"
        # To cron a percent sign is the end of the line.
        entry = f"{plan_times(minutes)} {command.replace('%', chr(92) + '%')} >/dev/null 2>&1 {MARK}"
        self._write([*self._others(), entry])
        return entry

    def uninstall(self) -> bool:
        """Take the entry out; False when there was none."""
        if not self.entry():
            return False
        self._write(self._others())
        return True

    def entry(self) -> str:
        """Return the entry, "" when there is none."""
        return next((line for line in self._read() if line.endswith(MARK)), "")

    def _others(self) -> list[str]:
        return [line for line in self._read() if not line.endswith(MARK)]

    def _read(self) -> list[str]:
        done = self._run(["-l"], "")
        # Without a table the command fails and says so; anything else is trouble.
        if done.returncode and "no crontab" not in done.stderr:
            raise ScheduleError(f"crontab: {done.stderr.strip() or f'code {done.returncode}'}")
        return done.stdout.splitlines() if not done.returncode else []

    def _write(self, lines: list[str]) -> None:
        done = self._run(["-"], "".join(f"{line}\n" for line in lines))
        if done.returncode:
            raise ScheduleError(f"crontab: {done.stderr.strip() or f'code {done.returncode}'}")

    def _run(self, arguments: list[str], text: str) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(  # noqa: S603
                [*self._command, *arguments], input=text, capture_output=True, text=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            text = "cron is not installed; a timer of systemd does the same (docs/manual/updates.md)"
            raise ScheduleError(f"crontab: {error}: {text}") from None


def plan_times(minutes: int) -> str:
    """Return the five fields of cron for a pause. ScheduleError."""
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise ScheduleError(f"{minutes} minutes: {LEAST_MINUTES} to {MOST_MINUTES} can be said")
    if minutes < _HOUR:
        if _HOUR % minutes:
            raise ScheduleError(f"{minutes} minutes: less than an hour must divide it")
        return f"*/{minutes} * * * *"
    hours, rest = divmod(minutes, _HOUR)
    if rest or 24 % hours:
        raise ScheduleError(f"{minutes} minutes: hours must divide the day")
    return "17 * * * *" if hours == 1 else f"17 */{hours} * * *" if hours < 24 else "17 3 * * *"
