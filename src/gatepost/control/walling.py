"""What walls around a process are built of: resource limits, Landlock, a filter of system calls.

Used by `filter.sandbox`, `console.walls` and `master.command_walls`, which say what each process may do. A wall this
machine does not have comes back as a sentence that names it, never passed over in silence. A system call that the
library does not know is left out of the list: where all others are refused it stays refused.
"""

import errno
import os
import resource
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import landlock

try:  # the library loads libseccomp when imported, and some systems have none
    import pyseccomp
except (RuntimeError, OSError):  # pragma: no cover - depends on the machine
    pyseccomp = None

Calls: TypeAlias = "pyseccomp.SyscallFilter"
"""A filter of system calls, not yet in force."""
CLONE_THREAD = 0x10000


def limit_resources(limits: Mapping[int, int]) -> None:
    """Set limits (RLIMIT_… -> value), soft and hard; where the process has a lower one already, that holds. OSError,
    ValueError.
    """
    for limit, value in limits.items():
        _, hard = resource.getrlimit(limit)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))


def landlock_version() -> int:
    """Return what the kernel has of Landlock, 0 for nothing."""
    return int(landlock.landlock_abi_version())


def enter_landlock(version: int, allowed: Iterable[tuple[Path, landlock.FSAccess]] = ()) -> str:
    """Take away all access to files but that to what is `allowed`. Returns "" or why it could not be."""
    try:
        if version < 1:
            return "landlock: not in this kernel"
        rules = landlock.Ruleset()
        for place, access in allowed:
            rules.allow(place, rules=access)
        rules.apply()
        os.close(rules._fd)  # the library leaves it open
    except (landlock.LandlockError, OSError) as error:
        return f"landlock: {error or type(error).__name__}"
    return ""


def allow_calls(names: str) -> "Calls | None":
    """Build a filter that answers EPERM to all but these system calls, threads and questions for one's own limits.
    None: the library is not on this machine.
    """
    if pyseccomp is None:
        return None
    calls = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    _add(calls, pyseccomp.ALLOW, names)
    allow_where(calls, "clone", 0, CLONE_THREAD, mask=CLONE_THREAD)
    calls.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags lie in memory: make libc fall back to clone
    allow_where(calls, "prlimit64", 0, 0)
    return calls


def allow_where(calls: "Calls", name: str, argument: int, value: int, mask: int | None = None) -> None:
    """Allow a system call where one of its arguments, or its bits under `mask`, are `value`."""
    if mask is None:
        calls.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(argument, pyseccomp.EQ, value))
    else:
        calls.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(argument, pyseccomp.MASKED_EQ, mask, value))


def refuse_calls(names: str) -> "Calls | None":
    """Build a filter that answers EPERM to these system calls. None: the library is not on this machine."""
    if pyseccomp is None:
        return None
    calls = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    _add(calls, pyseccomp.ERRNO(errno.EPERM), names)
    return calls


def enter_seccomp(calls: "Calls | None") -> str:
    """Put a filter in force. Returns "" or why it could not be."""
    if calls is None:
        return "seccomp: libseccomp is not installed"
    try:
        calls.load()
    except (OSError, RuntimeError) as error:
        return f"seccomp: {error}"
    return ""


def _add(calls: "Calls", answer: int, names: str) -> None:
    for name in names.split():
        try:
            calls.add_rule(answer, name)
        except OSError:  # unknown to this machine's library, and most likely to its kernel
            continue
