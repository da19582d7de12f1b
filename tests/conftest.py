"""What holds for every process of tests, and all that they start: compiled modules are kept below build/, and wall time
fails no generated test.
"""

import os
import sys
from pathlib import Path

import hypothesis

_PYCACHE = Path(__file__).resolve().parents[1] / "build" / "pycache"


hypothesis.settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared machine")
"""Wall time says nothing of the code: another process may have the core for seconds."""


def pytest_configure() -> None:
    """Keep bytecode, whatever the environment says: a gateway is at least four Python processes, and the suite starts
    hundreds. Compiling their modules anew each time took as much CPU as all the rest of the tests.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(_PYCACHE)
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(_PYCACHE)
