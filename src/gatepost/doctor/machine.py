"""The host: clock, memory, open files, walls of the kernel, and whom the gateway runs as."""

import ctypes
import datetime as dt
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatepost.config.schema import Config
from gatepost.doctor.finding import Finding, State

AREA: Final = "host"
_STA_UNSYNC: Final = 0x40
_LANDLOCK_CREATE: Final = 444
_LANDLOCK_VERSION: Final = 1
_TIMEX_WORDS: Final = 64
"""Longs of room for the kernel's `struct timex`, whose second is `offset`, sixth the status, all below this."""
FILES_BESIDE_SESSIONS: Final = 400
"""Descriptors of a relay besides its sessions: spool, contents in work, engines, filters, resolver."""
RELAY_BYTES: Final = 120 * 1024**2
FILTER_BYTES: Final = 150 * 1024**2
"""Most memory that a relay and a filter should need on ordinary mail (docs/architecture.md)."""


def check_machine(config: Config, now: float) -> Iterator[Finding]:
    """Look at the host; `now` is Unix time."""
    yield from check_clock(now)
    yield from check_memory(config, read_available())
    yield check_open_files(config, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield from check_walls(read_landlock(), Path("/proc/self/status").read_text(encoding="utf-8"))
    if os.geteuid() == 0:
        mend = "start it with --user, or let the service manager do so"
        yield Finding("identity", AREA, State.WARNING, "this runs as root", mend)


def check_clock(now: float) -> Iterator[Finding]:
    """Look whether the clock can be right, and is kept so."""
    built = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()
    mend = "set the clock, and run an NTP client: queue times, certificates and signatures need it"
    if now < built:
        yield Finding("clock", AREA, State.ERROR, f"the clock is wrong: {_date(now)}", mend)
        return
    status = _clock_status()
    if status is not None and status & _STA_UNSYNC:
        yield Finding("clock", AREA, State.WARNING, f"the kernel's clock ({_date(now)}) is not synchronised", mend)
    else:
        yield Finding("clock", AREA, State.OK, f"clock {_date(now)}")


def _date(now: float) -> str:
    return dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


class _Timex(ctypes.Structure):
    """The beginning of the kernel's `struct timex`, with room for the rest (adjtimex(2))."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * _TIMEX_WORDS),
    )


def _clock_status() -> int | None:
    """Return the kernel's status bits of its clock, None when it does not tell."""
    timex = _Timex()
    if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
        return None
    return int(timex.status)


def read_available() -> int:
    """Return the bytes of memory that programs could still have, 0 when the kernel does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)


def check_memory(config: Config, available: int) -> Iterator[Finding]:
    """Look whether there is memory for what the configuration allows."""
    cores = os.cpu_count() or 1
    relays = config.relay.relays or max(1, cores // 2)
    filters = config.filter.server_max_filters or max(2, cores)
    needed = relays * RELAY_BYTES + filters * FILTER_BYTES
    text = f"{available / 1024**2:.0f} MiB of memory available"
    if not available:
        return
    if available < FILTER_BYTES:
        mend = "end other programs, add memory, or set filter.server_max_filters lower"
        yield Finding("memory", AREA, State.ERROR, text, mend)
    elif available < needed:
        mend = "add memory, or set filter.server_max_filters lower"
        yield Finding("memory", AREA, State.WARNING, f"{text}, under load {needed / 1024**2:.0f} are used", mend)
    else:
        yield Finding("memory", AREA, State.OK, text)


def check_open_files(config: Config, allowed: int) -> Finding:
    """Look whether a relay may open as many files as its sessions need."""
    limits = config.limits
    needed = limits.incoming_sessions + 2 * limits.outgoing_sessions + FILES_BESIDE_SESSIONS
    text = f"{'any number of' if allowed == resource.RLIM_INFINITY else allowed} open files allowed"
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        mend = f"allow {needed} (LimitNOFILE of the service, ulimit -n), or lower the session limits"
        return Finding("open-files", AREA, State.WARNING, f"{text}, {needed} may be needed", mend)
    return Finding(
        "open-files", AREA, State.OK, text if allowed != resource.RLIM_INFINITY else "any number of open files"
    )


def read_landlock() -> int:
    """Return the kernel's version of Landlock, 0 or less when it has none (landlock_create_ruleset(2))."""
    return int(ctypes.CDLL(None).syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION))


def check_walls(landlock_version: int, status: str) -> Iterator[Finding]:
    """Look which walls the kernel has for filters; `status` is a process's in /proc."""
    missing = []
    if landlock_version < 1:
        missing.append("Landlock")
    if "\nSeccomp:" not in status:
        missing.append("seccomp")
    if missing:
        mend = "boot a kernel that has them (lsm=landlock): filters keep user, limits and no_new_privs without"
        yield Finding("walls", AREA, State.WARNING, f"this kernel lacks {' and '.join(missing)}", mend)
    else:
        yield Finding("walls", AREA, State.OK, f"Landlock {landlock_version} and seccomp")
