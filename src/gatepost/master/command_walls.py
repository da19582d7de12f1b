"""The walls around the administrator's scanners: no network, a narrow view of the files, no way out of their group.

Called by `master.command_helper` once for itself (`enter_walls`: Landlock and a system-call filter, inherited by all it
starts), and in every child between fork and exec (`CommandWalls.enter_child`).
"""

import ctypes
import errno
import resource
import signal
from collections.abc import Iterable
from pathlib import Path

import landlock

try:  # the library loads libseccomp when imported, and some systems have none
    import pyseccomp
except (RuntimeError, OSError):  # pragma: no cover - depends on the machine
    pyseccomp = None

SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ssl/certs"),
    *("/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/sys/devices/system/cpu"),
)
"""What programs of a system need to start: programs, libraries, and the few files these read."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random")
FORBIDDEN = (
    "socket connect bind ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd mount umount2 pivot_root chroot "
    "unshare setns bpf perf_event_open keyctl add_key request_key io_uring_setup init_module finit_module "
    "delete_module kexec_load reboot swapon swapoff userfaultfd"
)
"""System calls no scanner needs: sockets of any kind (a local one could reach the gateway's own), a look into other
processes, the machine itself."""
LEAVING = "setsid setpgid kill tkill tgkill pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo"
"""System calls by which a process would leave the group that is killed as a whole, or end processes of the gateway,
which run as the same user."""
MEMORY_LIMIT = 4 * 1024**3
"""Address space of a command: above what a scanner with its databases maps."""
FILE_LIMIT = 1024**3
"""Bytes of one file it writes."""
OPEN_FILES = 256
CPU_SLACK_S = 2
_PR_SET_PDEATHSIG = 1


class CommandWalls:
    """What a child adds to the walls it inherits."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        self.missing = missing
        """Walls that could not be built, each with the reason."""
        self._prctl = ctypes.CDLL(None).prctl
        self._leaving = None if pyseccomp is None else _refusing(LEAVING)

    def enter_child(self, timeout_s: float) -> None:
        """Limit this process, which has a group of its own already. Between fork and exec only."""
        cpu_s = int(timeout_s) + CPU_SLACK_S
        for limit, value in (
            (resource.RLIMIT_AS, MEMORY_LIMIT),
            (resource.RLIMIT_FSIZE, FILE_LIMIT),
            (resource.RLIMIT_NOFILE, OPEN_FILES),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_CPU, cpu_s),
        ):
            _, hard = resource.getrlimit(limit)
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (bound, bound))
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if self._leaving is not None:
            self._leaving.load()


def enter_walls(readable: Iterable[str], scratch: Path) -> CommandWalls:
    """Wall in the calling process, single-threaded, and all it will start. `readable`: files and directories to be read
    and run besides those of the system.
    """
    missing = [reason for reason in (_enter_landlock(readable, scratch), _enter_seccomp()) if reason]
    return CommandWalls(tuple(missing))


def _enter_landlock(readable: Iterable[str], scratch: Path) -> str:
    access = landlock.FSAccess
    reading = access.EXECUTE | access.READ_FILE | access.READ_DIR
    files = access.EXECUTE | access.READ_FILE
    try:
        if landlock.landlock_abi_version() < 1:
            return "landlock: not in this kernel"
        rules = landlock.Ruleset()
        for path in map(Path, (*SYSTEM, *readable)):
            if path.exists():
                rules.allow(path, rules=reading if path.is_dir() else files)
        for path in map(Path, DEVICES):
            if path.exists():
                rules.allow(path, rules=access.READ_FILE | access.WRITE_FILE)
        rules.allow(scratch)
        rules.apply()
    except (landlock.LandlockError, OSError) as error:
        return f"landlock: {error or type(error).__name__}"
    return ""


def _enter_seccomp() -> str:
    if pyseccomp is None:
        return "seccomp: libseccomp is not installed"
    try:
        _refusing(FORBIDDEN).load()
    except (OSError, RuntimeError) as error:
        return f"seccomp: {error}"
    return ""


def _refusing(names: str) -> "pyseccomp.SyscallFilter":
    calls = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in names.split():
        try:
            calls.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
        except OSError:  # a call this machine's library does not know, its kernel most likely does not either
            continue
    return calls
