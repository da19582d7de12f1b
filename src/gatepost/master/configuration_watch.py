"""Would the gateway start with the configuration file as it is now? Asked at every look for problems.

Made by `master.process` for `master.problems`. A running gateway keeps what it has when its file is damaged, emptied or
removed, so nobody notices until the next start fails. The file is read anew only when it has changed; what it names
(templates, certificates) is judged then, too. Nothing is taken into use here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gatepost.config.load import load
from gatepost.config.problem import Severity
from gatepost.doctor.finding import Finding, State
from gatepost.master.settings import find_fault

TOLD: Final = 3
"""Errors named in one finding; `config check` names all."""
_MEND: Final = "`gatepost config check` names every error; the running configuration stays in force until a restart"


class ConfigurationWatch:
    """One configuration file, and what was found in it last."""

    def __init__(self, file: Path, overrides: Sequence[str]) -> None:
        self._file = file
        self._overrides = tuple(overrides)
        self._seen: tuple[int, ...] | None = None
        self._found: list[Finding] = []

    def look(self) -> list[Finding]:
        """Return what would keep the gateway from starting with the file. May block."""
        seen = _identify(self._file)
        if self._found or seen is None or seen != self._seen:  # what it names may have been mended meanwhile
            self._found = self._judge()
            self._seen = seen
        return self._found

    def _judge(self) -> list[Finding]:
        loaded = load(self._file, overrides=self._overrides)
        errors = [str(each) for each in loaded.problems if each.severity is Severity.ERROR]
        if loaded.config is not None:
            errors += filter(None, [find_fault(loaded.config)])
        if not errors:
            return []
        more = f" and {len(errors) - TOLD} more" if len(errors) > TOLD else ""
        text = f"the gateway would not start with its configuration file: {'; '.join(errors[:TOLD])}{more}"
        return [Finding("configuration-file", "configuration", State.ERROR, text, _MEND)]


def _identify(file: Path) -> tuple[int, ...] | None:
    """Return what differs when the file does, None when there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
