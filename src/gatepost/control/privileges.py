"""What a process gives up of what it was started with: descriptors, capabilities, and how the kernel treats it.

Used by all who wall themselves in or start processes: `filter.sandbox`, `console.walls`, `master.command_walls`,
`master.fork_server`, `master.identity`; by commands, which leave root behind. Threads have capabilities of their own:
called single-threaded.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of capset(2): two blocks of three 32-bit sets."""
_CAPABILITY_SETS = ctypes.c_uint32 * 6
_HIGHEST_DESCRIPTOR = 1 << 20
"""Above what a process can have open: the kernel's default bound of RLIMIT_NOFILE."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int | bytes) -> None:
    """Have the kernel treat this process so (PR_SET_…, value). OSError."""
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise _last_error(f"prctl({option})")


def set_capabilities(effective: int = 0) -> None:
    """Have these of the lower 32 capabilities and no other, none of them inheritable or ambient. OSError."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    # Effective, permitted, inheritable of the lower 32, then of the upper.
    if _LIBC.capset(header, _CAPABILITY_SETS(effective, effective, 0, 0, 0, 0)) != 0:
        raise _last_error("capset")


def close_descriptors(keep: Iterable[int]) -> None:
    """Close all descriptors but those in `keep`: one system call for each gap between them."""
    start = 0
    for fd in (*sorted(keep), _HIGHEST_DESCRIPTOR):
        if start < fd:  # closerange(0, 0) would close all there are
            os.closerange(start, fd)
        start = fd + 1


def become_owner(place: Path) -> None:
    """Root becomes who owns a directory of the gateway, for good: links that its user laid there lead nowhere then."""
    if os.geteuid() != 0 or not place.exists():
        return
    facts = place.stat()
    if facts.st_uid:
        os.setgroups([facts.st_gid])
        os.setgid(facts.st_gid)
        os.setuid(facts.st_uid)


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
