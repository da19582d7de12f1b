"""A secret of the gateway's own in a file: made at the first time, the same from then on for all processes that ask."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32


def load_key(path: Path, lost: str) -> bytes:
    """Return the secret in a file, made now if there is none. OSError; `lost`: what goes with a damaged one."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        _make(path)
        key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise OSError(f"{path} is no key: remove it, {lost}")
    return key


def _make(path: Path) -> None:
    """Put a new secret into place, whole, unless another process was first."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
