"""The walls around the administrator's scanners: no network, a narrow view of the files, no way out of their group.

Called by `master.command_helper` once for itself (`enter_walls`: Landlock and a system-call filter, inherited by all it
starts), and in every child between fork and exec (`CommandWalls.enter_child`).
"""

import resource
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from landlock import FSAccess

from gatepost.control import privileges, walling

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


class CommandWalls:
    """What a child adds to the walls it inherits."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        self.missing = missing
        """Walls that could not be built, each with the reason."""
        self._leaving = walling.refuse_calls(LEAVING)

    def enter_child(self, timeout_s: float) -> None:
        """Limit this process, which has a group of its own already. Between fork and exec only."""
        walling.limit_resources(
            {
                resource.RLIMIT_AS: MEMORY_LIMIT,
                resource.RLIMIT_FSIZE: FILE_LIMIT,
                resource.RLIMIT_NOFILE: OPEN_FILES,
                resource.RLIMIT_CORE: 0,
                resource.RLIMIT_CPU: int(timeout_s) + CPU_SLACK_S,
            }
        )
        privileges.prctl(privileges.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if self._leaving is not None:
            self._leaving.load()


def enter_walls(readable: Iterable[str], scratch: Path) -> CommandWalls:
    """Wall in the calling process, single-threaded, and all it will start. `readable`: files and directories to be read
    and run besides those of the system.
    """
    places = _places(readable, scratch)
    reasons = (
        walling.enter_landlock(walling.landlock_version(), places),
        walling.enter_seccomp(walling.refuse_calls(FORBIDDEN)),
    )
    return CommandWalls(tuple(reason for reason in reasons if reason))


def _places(readable: Iterable[str], scratch: Path) -> Iterator[tuple[Path, FSAccess]]:
    """Say what may be done where; paths that do not exist are left out."""
    files = FSAccess.EXECUTE | FSAccess.READ_FILE
    for path in map(Path, (*SYSTEM, *readable)):
        if path.exists():
            yield path, files | FSAccess.READ_DIR if path.is_dir() else files
    for path in map(Path, DEVICES):
        if path.exists():
            yield path, FSAccess.READ_FILE | FSAccess.WRITE_FILE
    yield scratch, FSAccess.all()
