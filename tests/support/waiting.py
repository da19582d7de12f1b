"""Waiting for something to become true, bounded: no test sleeps for synchronisation."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WAIT_S = 120.0
"""Longest wait unless told otherwise: only a failure takes as long, and a machine that many share may be slow."""
_LONGEST_PAUSE_S = 0.05
_GROWTH = 1.3
"""What comes soon is seen soon; what takes long is not slowed down by looking, which is work for the gateway too."""


def wait_for(look: Callable[[], T], what: str, timeout_s: float = WAIT_S, pause_s: float = 0.01) -> T:
    """Return the first true value of `look()`; AssertionError names `what` when it never comes."""
    end = time.monotonic() + timeout_s
    while True:
        value = look()
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(pause_s)
        pause_s = max(pause_s, min(pause_s * _GROWTH, _LONGEST_PAUSE_S))


def join(*threads: threading.Thread) -> None:
    """Wait until they have ended. AssertionError: one goes on, and with it whatever it holds open."""
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive(), f"{thread.name} goes on"
