"""The walls a filter puts around itself before it reads the first hostile byte.

Called by `filter.template`: a `Sandbox` is made once in the template, `enter` called in each forked child. Order:
descriptors, resource limits, user, capabilities, parent-death signal, no_new_privs, Landlock, seccomp; threads only
afterwards. A wall the kernel does not have is named in the returned report, never passed over in silence.
"""

import errno
import fcntl
import os
import resource
import signal
from typing import Final

import msgspec

from gatepost.control import privileges, walling

OPEN_FILES = 64
"""Descriptors a filter may have: its socket, one content, stderr; an engine's own few."""

ALLOWED_CALLS = {
    "reading and writing what is open": (
        "read readv pread64 preadv recvfrom recvmsg write writev sendto sendmsg close shutdown lseek fstat dup"
    ),
    "waiting": "poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 pipe2",
    "memory": "brk mmap munmap mremap mprotect madvise memfd_create ftruncate",
    "own signals and timers": (
        "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack restart_syscall setitimer "
        "getitimer alarm timer_create timer_settime timer_delete"
    ),
    "threads": (
        "futex futex_waitv set_robust_list get_robust_list rseq set_tid_address membarrier sched_yield "
        "sched_getaffinity sched_getparam sched_getscheduler"
    ),
    "clocks and counters": (
        "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage getrlimit setrlimit"
    ),
    "oneself": (
        "getpid gettid getppid getuid geteuid getgid getegid getcpu sysinfo uname arch_prctl getrandom exit exit_group"
    ),
}
"""What computing on bytes already in hand needs. Everything else answers EPERM: files, sockets, processes, signals,
modes and owners, tracing, mounts, keys, modules, bpf, io_uring."""

DESCRIPTOR_COMMANDS = (
    *(fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL),
    *(fcntl.F_ADD_SEALS, fcntl.F_GET_SEALS),
)
"""What `fcntl` may do. Not F_SETOWN, F_SETSIG: with these a descriptor sends any signal to any process of the user."""


class Walls(msgspec.Struct, frozen=True):
    """What `enter` is to build."""

    memory_bytes: int
    uid: int
    gid: int


_BARE_ROOT: Final = (
    "root without the capabilities CAP_SETUID and CAP_SETGID cannot make a filter another user: run the gateway as an "
    "ordinary user, or leave it these"
)


class SandboxReport(msgspec.Struct, frozen=True):
    """Walls that could not be built, each with the reason; empty when all stand."""

    missing: tuple[str, ...] = ()


class Sandbox:
    """Made in the template, with everything loaded and built that a child could no longer open, or only slowly."""

    def __init__(self, walls: Walls) -> None:
        self.walls = walls
        self.landlock_version = walling.landlock_version()
        self.calls = _allowed()


def enter(sandbox: Sandbox, keep: frozenset[int], parent: int) -> SandboxReport:
    """Wall in the calling process, which must be single-threaded, leaving it the descriptors in `keep`. `parent`: its
    end ends the process.

    OSError: a wall every supported kernel has (limits, user, no_new_privs) could not be built.
    """
    privileges.close_descriptors(keep)
    walls = sandbox.walls
    _limit_resources(walls)
    if os.geteuid() == 0:
        _leave_root(walls)
    privileges.set_capabilities()  # a service manager may have given the gateway some
    privileges.prctl(privileges.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
    if os.getppid() != parent:
        raise OSError(errno.ESRCH, "the template has gone")
    privileges.prctl(privileges.PR_SET_DUMPABLE, 0)
    privileges.prctl(privileges.PR_SET_NO_NEW_PRIVS, 1)
    reasons = (walling.enter_landlock(sandbox.landlock_version), walling.enter_seccomp(sandbox.calls))
    return SandboxReport(tuple(reason for reason in reasons if reason))


def _leave_root(walls: Walls) -> None:
    try:
        os.setgroups([])
        os.setresgid(walls.gid, walls.gid, walls.gid)
        os.setresuid(walls.uid, walls.uid, walls.uid)
    except PermissionError:
        raise OSError(errno.EPERM, _BARE_ROOT) from None


def _limit_resources(walls: Walls) -> None:
    """Memory, descriptors, no file growth, no core. Processes are the system-call filter's matter: RLIMIT_NPROC
    counts all processes and threads of a user, relays included, and so bounds the wrong thing.
    """
    walling.limit_resources(
        {
            resource.RLIMIT_AS: walls.memory_bytes,
            resource.RLIMIT_NOFILE: OPEN_FILES,
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_CORE: 0,
        }
    )


def _allowed() -> "walling.Calls | None":
    calls = walling.allow_calls(" ".join(ALLOWED_CALLS.values()))
    if calls is not None:
        for command in DESCRIPTOR_COMMANDS:
            walling.allow_where(calls, "fcntl", 1, command)
    return calls
