"""The processes of a gateway as the kernel tells of them: time used and memory. Used by `gatepost top` and SNMP."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
TEMPLATES: Final = frozenset({"filter.template", "filter template"})
"""A template by its module and by the title it has when it was forked; its children are filters, and keep both."""


class Process(msgspec.Struct, frozen=True):
    """One process of the gateway."""

    pid: int
    name: str
    user_s: float
    """CPU in its own code ..."""
    system_s: float
    """... and in the kernel for it."""
    bytes: int
    """Resident; what filters share with their template counts for each."""

    @property
    def cpu_s(self) -> float:
        """CPU in all."""
        return self.user_s + self.system_s


def read_processes(master: int, others: Sequence[int] = (), proc: Path = Path("/proc")) -> Iterator[Process]:
    """Return the master, `others` of the gateway (whose parent may have died) and all that descend from them, as the
    kernel tells of them.
    """
    parents: dict[int, tuple[int, Process]] = {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            name, _, rest = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
            fields = rest.split()
            process = Process(
                int(entry.name),
                name.partition("(")[2],
                int(fields[11]) * _TICK_S,
                int(fields[12]) * _TICK_S,
                int(fields[21]) * _PAGE_BYTES,
            )
            parents[process.pid] = (int(fields[1]), process)
    roots = frozenset({master, *others})
    for pid in sorted(parents):
        parent, process = parents[pid]
        if pid == master:
            yield msgspec.structs.replace(process, name="master")
        elif pid in roots or _descends(pid, roots, parents):
            name = _module(pid, proc) or process.name
            above = _module(parent, proc) or (parents[parent][1].name if parent in parents else "")
            forked = name in TEMPLATES and above in TEMPLATES
            yield msgspec.structs.replace(process, name="filter" if forked else name)


def _descends(pid: int, roots: frozenset[int], parents: Mapping[int, tuple[int, Process]]) -> bool:
    seen = {pid}
    while pid in parents:
        pid = parents[pid][0]
        if pid in roots:
            return True
        if pid in seen:
            return False
        seen.add(pid)
    return False


def _module(pid: int, proc: Path) -> str:
    """Return the module a process of ours runs, "" when its command line does not tell."""
    with contextlib.suppress(OSError):
        words = (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        modules = [word for word in words if word.startswith("gatepost.")]
        if modules:
            return modules[0].removeprefix("gatepost.").removesuffix(".process")
    return ""
