"""Stopping a gateway and waiting until it has ended: used by `gatepost stop`, `restart` and `drain`."""

import contextlib
import os
import select
import time
from pathlib import Path
from typing import Any

from gatepost.cli.gateway import EXIT_NOT_DONE, complain
from gatepost.config.load import load
from gatepost.control.socket import ControlError, call
from gatepost.master.paths import Paths

STOP_PATIENCE_S = 60.0
"""Sessions and deliveries get seconds to end, relays 20 s in all before they are killed."""


def stop_gateway(conf_file: Path) -> int:
    """Stop the gateway of a configuration file and wait for its end; return 0, also when none runs, or a code."""
    loaded = load(conf_file)
    if not loaded.state_path:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    paths = Paths(loaded.state_path)
    try:
        status = call(paths.control, "status")
        watched = _open_processes(status)
        call(paths.control, "stop")
    except ControlError as error:
        if not paths.control.exists():
            print("not running")
            return 0
        return complain(str(error), EXIT_NOT_DONE)
    left = wait_for_end(watched, STOP_PATIENCE_S)
    if left:
        return complain(
            f"process {', '.join(map(str, left))} has not ended within {STOP_PATIENCE_S:g} s", EXIT_NOT_DONE
        )
    print("stopped")
    return 0


def _open_processes(status: dict[str, Any]) -> dict[int, int]:
    """Return descriptors of the master and its supervisor, by process id."""
    found = {}
    for pid in (status["pid"], status["supervisor"]["pid"]):
        if pid:
            with contextlib.suppress(ProcessLookupError):
                found[pid] = os.pidfd_open(pid)
    return found


def wait_for_end(processes: dict[int, int], patience_s: float) -> list[int]:
    """Wait for processes, descriptors by id, which are closed; return those that have not ended."""
    end = time.monotonic() + patience_s
    left = []
    for pid, descriptor in processes.items():
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            left.append(pid)
        os.close(descriptor)
    return left
