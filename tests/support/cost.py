"""What each module of tests costs: `pytest --cost` prints the dearest, in CPU seconds of all processes they start.

CPU, not wall time: that is what two cores run out of, and what another run on the same machine hardly changes. The
process of tests adopts what its gateways leave behind when they are killed (`PR_SET_CHILD_SUBREAPER`) and reaps it, for
the kernel adds a process's time to the one that reaps it. Only with the option: who adopts is seen by those adopted.
"""

import contextlib
import ctypes
import os
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.nursery import begun

PR_SET_CHILD_SUBREAPER = 36
SHOWN = 40
_EXPORT = "module_costs"


class CostPlugin:
    """Adds up a process's modules; in the controlling process of several, those of all."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._costs: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        before, began = _cpu_s(), time.monotonic()
        yield
        module = item.nodeid.partition("::")[0]
        if nextitem is None or nextitem.nodeid.partition("::")[0] != module:
            _reap_adopted()
        self._costs[module][0] += _cpu_s() - before
        self._costs[module][1] += time.monotonic() - began

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[_EXPORT] = {module: list(cost) for module, cost in self._costs.items()}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        for module, cost in getattr(node, "workeroutput", {}).get(_EXPORT, {}).items():
            self._costs[module][0] += cost[0]
            self._costs[module][1] += cost[1]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        rows = sorted(self._costs.items(), key=lambda row: -row[1][0])
        terminalreporter.section(f"CPU of {len(rows)} modules: {sum(cost[0] for _, cost in rows):.0f} s")
        for module, (cpu, wall) in rows[: self._config.getoption("cost")]:
            terminalreporter.write_line(f"{cpu:8.1f} s CPU {wall:8.1f} s  {module}")


def _cpu_s() -> float:
    """Return what this process, its children, its nurseries and theirs have used, as far as they have ended."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    total = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    for pid in begun():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # its own, and of children it has reaped
    return total


def _reap_adopted() -> None:
    """Reap the dead that nobody waits for any more: those that are ours by adoption."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) == os.getpid():
                os.waitpid(int(entry.name), 0)
