"""A command of the administrator's as a remote engine: the object goes to the helper that runs it.

Made by `antivirus.remotes`. Exit status 0 is clean, 1 infected, anything else an error; the last line it writes is the
name of what it found. What it depends on nobody knows, so nothing it found clean is remembered (its version is "").
"""

from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject
from gatepost.antivirus.remote import Broken, Buffers
from gatepost.config.engines import EngineTable
from gatepost.wire.command import OBJECT, CommandError, CommandOutcome, OutcomeReader

EXIT_CLEAN = 0
EXIT_INFECTED = 1


class CommandDialogue:
    """One connection to the helper."""

    def __init__(self, settings: EngineTable) -> None:
        self._program = settings.command[0].rpartition("/")[2]
        self._reader = OutcomeReader()
        self.closing = False

    def ask(self, subject: ScanObject) -> Buffers:
        """Return the object with its length."""
        return OBJECT.pack(len(subject.data)), subject.data

    def take(self, data: bytes) -> Report | None:
        """Take what came."""
        try:
            outcome = self._reader.feed(data)
        except CommandError as error:
            raise Broken(str(error)) from error
        return None if outcome is None else self._report(outcome)

    def _report(self, outcome: CommandOutcome) -> Report:
        if outcome.trouble:
            raise Broken(f"{self._program}: {outcome.trouble}")
        if outcome.code == EXIT_CLEAN:
            return CLEAN
        said = f": {outcome.output}" if outcome.output else ""
        if outcome.code == EXIT_INFECTED:
            return Report(
                Outcome.INFECTED, threat=outcome.output or "unnamed", evidence=f"{self._program} found it{said}"
            )
        return Report(Outcome.ERROR, evidence=f"{self._program} ended with status {outcome.code}{said}")
