"""Modules that are switched off, kept for a master that takes the place of one that died: what an operator has switched
off stays off until he switches it on, or stops the gateway.

Used by `master.process` and `master.calls`.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from gatepost.master.relays import MODULES
from gatepost.storage.whole_file import replace_file


def keep_switched_off(path: Path, off: Iterable[str]) -> None:
    """Write down which modules are off. OSError."""
    replace_file(path, msgspec.json.encode(sorted(off)))


def read_switched_off(path: Path, *, taking_over: bool) -> tuple[str, ...]:
    """Return the modules that are to begin switched off: none unless a dead master's place is taken."""
    if not taking_over:
        path.unlink(missing_ok=True)
        return ()
    try:
        known = msgspec.json.decode(path.read_bytes(), type=list[str])
    except (OSError, msgspec.MsgspecError):
        return ()
    return tuple(module for module in MODULES if module in known)
