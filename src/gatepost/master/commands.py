"""The helper of external commands as the master sees it: there when an engine needs it, started anew when those change.

Used by `master.process`.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from gatepost.config.engines import EngineKind
from gatepost.config.schema import Config
from gatepost.master.children import Child
from gatepost.master.command_helper import HelperSettings


class Commands:
    """The helper, or none."""

    def __init__(self, socket: Path, scratch: Path, say: Callable[[str, str], None]) -> None:
        """`socket`: where it listens; `scratch`: where commands may write; `say(level, text)` logs."""
        self._socket = socket
        self._scratch = scratch
        self._say = say
        self._settings: HelperSettings | None = None
        self._count = 0
        for stale in scratch.parent.glob(f"{scratch.name}-*"):
            shutil.rmtree(stale, ignore_errors=True)
        self.current: Child | None = None

    def configure(self, config: Config) -> list[Child]:
        """Have the helper this configuration needs; return the process of one that is dismissed for it.

        Scans under way in that end as trouble, and are done again by the new one.
        """
        engines = tuple(engine for engine in config.engines if engine.kind is EngineKind.COMMAND)
        wanted = self._settings.engines if self._settings is not None else ()
        if engines == wanted:
            return []
        dismissed = self.dismiss()
        if engines:
            self._count += 1
            self._settings = HelperSettings(engines, f"{self._scratch}-{self._count}")
            self.current = Child("command helper", self._start, ended=lambda _, __: None, say=self._say)
            self.current.start()
        return dismissed

    def dismiss(self) -> list[Child]:
        """End the helper; return its process."""
        child, self.current, self._settings = self.current, None, None
        if child is None:
            return []
        child.dismiss()
        child.signal(signal.SIGTERM)
        return [child]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gatepost.master.command_helper", "--socket", str(self._socket)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # noqa: S603
        assert process.stdin is not None
        # Standard input stays open as the lifeline: its end tells the helper that the master is gone.
        process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
        process.stdin.flush()
        return process
