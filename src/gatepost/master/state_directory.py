"""The state directory, made ready and taken by one master before anything works in it.

Called by `master.process` at the start. Whoever has taken it keeps the descriptor open: the lock lasts as long.
"""

import fcntl
import os
import time
from pathlib import Path

from gatepost.config.schema import Config
from gatepost.master.clock_watch import look_at_clock
from gatepost.master.exit_code import ExitCode, StartError
from gatepost.master.learning import prepare_learning
from gatepost.master.paths import Paths
from gatepost.migration.plan import MigrationError
from gatepost.migration.settling import settle_format
from gatepost.spool import clock


def take_state(config: Config) -> tuple[Paths, int, list[str]]:
    """Return the gateway's paths, the descriptor of its lock, and what was migrated; what a former master left half-way
    is gone.

    StartError: it cannot be used, or another gateway runs in it.
    """
    paths = Paths(config.relay.state_path)
    if paths.too_long:
        raise StartError(
            ExitCode.CONFIGURATION,
            f"[relay] state_path: {config.relay.state_path} is too long, the sockets below it could not be bound",
        )
    try:
        paths.run.mkdir(0o700, parents=True, exist_ok=True)
        Path(config.path.queue_path).mkdir(0o700, parents=True, exist_ok=True)
        Path(config.path.control_path).mkdir(0o700, parents=True, exist_ok=True)
        lock = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(ExitCode.SYSTEM, f"cannot use the state directory: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StartError(
            ExitCode.PID_FILE_EXISTS, f"another gateway runs in {config.relay.state_path}: stop it first"
        ) from error
    try:
        migrated = settle_format(config, time.time())
    except MigrationError as error:
        raise StartError(ExitCode.SYSTEM, str(error)) from error
    try:
        if config.tracking.enabled:
            paths.tracking.mkdir(0o700, exist_ok=True)
    except OSError as error:
        raise StartError(ExitCode.TRACE, f"what becomes of mail cannot be recorded: {error}") from error
    try:
        prepare_learning(paths)
    except OSError as error:
        raise StartError(ExitCode.SYSTEM, f"cannot use the state directory: {error}") from error
    clock.follow_record(config.relay.state_path)
    look_at_clock(config.relay.state_path)  # before anything ends for its age; told with the problems
    paths.exports.mkdir(0o700, exist_ok=True)
    for stale in (*paths.run.glob("config-*.bin"), *paths.exports.iterdir()):
        stale.unlink()
    return paths, lock, migrated
