"""Files of a running gateway below its state directory: where the master puts them and commands find them."""

import os
from pathlib import Path

from gatepost.feeds import update_state

SOCKET_PATH_LIMIT = 99
"""Bytes of a socket's path: 107 in the kernel's structure, less the number the template binds it under at first."""


class Paths:
    """Files of one running gateway below its state directory."""

    def __init__(self, state: str) -> None:
        run = Path(state) / "run"
        self.run = run
        self.lock = run / "master.lock"
        self.pid = run / "gatepost.pid"
        """Who takes the daemon's signals."""
        self.switches = run / "switches.json"
        """Modules that are off."""
        self.problems = Path(state) / "problems.json"
        """What is wrong, since when, and what of it has been mailed."""
        self.control = run / "control.sock"
        self.filters = run / "filters.sock"
        self.commands = run / "commands.sock"
        """The helper that runs external commands."""
        self.scratch = run / "scratch"
        """Where these may write; a number is added."""
        self.exports = run / "exports"
        """Messages a relay has written out for `gatepost queue export`, until that has taken them."""
        self.bases_cache = Path(state) / "bases-cache"
        """Compiled databases."""
        self.own_spam = Path(state) / "own-spam"
        """The administrator's own samples and images, and their compiled form."""
        self.learned = Path(state) / "learned"
        """What was learned: journal, snapshot and the weights that filters map."""
        self.learn = Path(state) / "learn"
        """Watched folders: messages laid into `spam` and `ham` are learned."""
        self.learner = run / "learner.sock"
        self.recorder = run / "recorder.sock"
        """Where relays deliver their records ..."""
        self.tracking_socket = run / "tracking.sock"
        """... and where what is kept of them is asked for."""
        self.tracking = Path(state) / "tracking"
        self.updater = Path(state) / update_state.DIRECTORY
        """What is known of feeds, and what came of the last update."""
        self.accounts = Path(state) / "accounts.json"
        """Who may sign in to the console."""
        self.audit = Path(state) / "audit"
        """Who changed what, and looked at whose mail."""
        self.configuration = Path(state) / "configuration"
        """Versions of the configuration file that were in force."""
        self.user_quarantine = Path(state) / "user-quarantine"
        """Keys of links to recipients, which were used, and the digests that were sent."""
        self.rules = Path(state) / "rules"
        """The rule set, unless the configuration keeps it elsewhere."""
        self.paused = Path(state) / "paused.json"
        """Destinations an operator lets wait: kept over restarts."""

    @property
    def too_long(self) -> bool:
        """Tell whether the sockets could not be bound for the length of the state directory's path."""
        return len(os.fsencode(self.filters)) > SOCKET_PATH_LIMIT

    def snapshot(self, generation: int) -> Path:
        """Return where the configuration of a generation is kept for the relays."""
        return self.run / f"config-{generation}.bin"

    def write_snapshot(self, generation: int, content: bytes) -> None:
        """Write what relays read of a configuration. OSError, which names the file: a disk that is full tells none."""
        path = self.snapshot(generation)
        try:
            path.write_bytes(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
