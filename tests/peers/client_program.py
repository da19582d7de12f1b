"""The product's client programs as a user without rights runs them, whoever the interpreter of the tests belongs to."""

import sys
import sysconfig
from pathlib import Path

import pytest

import gatepost


def client_program() -> str:
    """Return the command that stands for `gatepost client` in the configuration of a mail system."""
    python = Path("/usr/bin/python3")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not python.exists() or version not in python.resolve().name:
        pytest.skip(f"{python} is not of version {version}")
    places = (str(Path(gatepost.__file__).parents[1]), sysconfig.get_path("purelib"))
    return f"/usr/bin/env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={':'.join(places)} {python} -m gatepost.client"
