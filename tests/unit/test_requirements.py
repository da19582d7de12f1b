"""Whatever the product imports is installed with it: the lock file of `make run` holds more than what tests bring along."""

import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "gatepost"
_IMPORT = re.compile(r"^[ \t]*(?:import ([\w.]+)|from (\w[\w.]*) import \(?\s*(\w+))", re.MULTILINE)
"""Lines are enough, of code that is kept in one style; syntax trees of all of it take twenty times as long."""


def normalised(name: str) -> str:
    """Return a distribution's name as lock files spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> dict[str, Path]:
    """Return the modules of others that product code names, each with one place; `gatepost.testing` is none."""
    found: dict[str, Path] = {}
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "testing"):
            continue
        for whole, module, name in _IMPORT.findall(path.read_text()):
            found[whole or f"{module}.{name}"] = path
    own = {*sys.stdlib_module_names, "gatepost", "compression"}
    return {name: path for name, path in found.items() if name.split(".")[0] not in own}


def test_every_library_of_the_product_is_in_its_lock_file() -> None:
    lock = (ROOT / "requirements" / "base.lock").read_text()
    locked = {normalised(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    distributions = packages_distributions()
    modules = imported()
    assert len({name.split(".")[0] for name in modules}) > 10
    missing = {
        f"{name} in {path.relative_to(ROOT)}"
        for name, path in modules.items()
        if not locked & set(map(normalised, (*distributions.get(name.split(".")[0], ()), name.split(".")[0], name)))
    }
    assert not missing
