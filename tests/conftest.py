"""What holds for every process of tests, and all that they start: compiled modules are kept below build/, and wall time
fails no generated test; nothing that is started outlives them.
"""

import gc
import os
import sys
from pathlib import Path

import hypothesis
import pytest

from gatepost.spool import clock
from tests.support.cost import SHOWN, CostPlugin
from tests.support.leftovers import watch
from tests.support.strays import no_thread_stays

__all__ = ["no_thread_stays"]

_PYCACHE = Path(__file__).resolve().parents[1] / "build" / "pycache"


hypothesis.settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared machine")
"""Wall time says nothing of the code: another process may have the core for seconds."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cost", type=int, nargs="?", const=SHOWN, metavar="N", help="print the N dearest modules, in CPU seconds"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep bytecode, whatever the environment says: a gateway is at least four Python processes, and the suite starts
    hundreds. Compiling their modules anew each time took as much CPU as all the rest of the tests.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(_PYCACHE)
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(_PYCACHE)
    watch()
    if config.getoption("cost"):
        config.pluginmanager.register(CostPlugin(config), "cost")


def pytest_runtest_setup() -> None:
    """Believe the clock: a command that a former test has run in this process went by the record of its gateway, and a
    test that steps the clock would be in doubt.
    """
    clock.follow_record("")


def pytest_collection_finish() -> None:
    """Look for cycles less often, and not among all that is loaded by now, as the product's own processes do it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
