"""Programs of others that the gateway is tried with. One that is absent skips its test with a word, and fails in CI.

`tools/peers.sh` gets them: packages of the system, and below `build/peers` what no system may have besides Postfix.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

UNPACKED = Path(__file__).parents[2] / "build/peers/usr/sbin"
_PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/postfix/sbin:{UNPACKED}"


def program(name: str) -> str:
    """Return the path of a program of the system."""
    path = shutil.which(name, path=_PLACES)
    if path is None:
        message = f"{name} is not installed: make peers"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def root_program(name: str) -> str:
    """Return the path of a program that insists on being started by root."""
    path = program(name)
    if os.geteuid() != 0:
        pytest.skip(f"an instance of {name} of our own can only be started by root")
    return path


@contextlib.contextmanager
def open_directory(name: str) -> Iterator[Path]:
    """Make a directory that programs which give up root can still read: pytest's own directories are closed to others."""
    with tempfile.TemporaryDirectory(prefix=f"gatepost-{name}-", ignore_cleanup_errors=True) as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path
