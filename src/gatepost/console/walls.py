"""The walls around the console: a browser's requests are read here, so whoever takes it over must find nothing.

Called by `console.process` once, single-threaded, with sockets open, modules imported and certificate read.
What is left: the sockets it has and those it accepts, and reading the program's own files. It opens no socket, starts
no process, sends no signal, writes no file. A wall the kernel does not have is named, never passed over in silence.
"""

import ctypes
import errno
import os
import resource
import signal
import sys
import sysconfig
import time
from pathlib import Path

import landlock

try:  # the library loads libseccomp when imported, and some systems have none
    import pyseccomp
except (RuntimeError, OSError):  # pragma: no cover - depends on the machine
    pyseccomp = None

MEMORY_LIMIT = 1 << 30
"""Address space: several times what it uses; large downloads pass through it in pieces."""
OPEN_FILES = 1024
"""Connections, and the files of pages."""
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_THREAD = 0x10000

ALLOWED_CALLS = {
    "reading and writing what is open": (
        "read readv pread64 write writev recvfrom recvmsg sendto sendmsg sendfile close shutdown lseek dup fcntl ioctl"
    ),
    "connections to the sockets it has": "accept accept4 listen getsockname getpeername getsockopt setsockopt",
    "an event loop": (
        "poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 pipe2 socketpair"
    ),
    "files to read": (
        "fstat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getdents64 getcwd"
    ),
    "memory": "brk mmap munmap mremap mprotect madvise",
    "own signals and timers": (
        "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack restart_syscall setitimer getitimer"
    ),
    "threads": (
        "futex futex_waitv set_robust_list get_robust_list rseq set_tid_address membarrier sched_yield "
        "sched_getaffinity sched_getparam sched_getscheduler"
    ),
    "clocks and counters": "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage",
    "oneself": (
        "getpid gettid getppid getuid geteuid getgid getegid getcpu sysinfo uname arch_prctl getrandom exit exit_group"
    ),
}
"""All a server of pages needs. Everything else answers EPERM."""


def enter(parent: int) -> tuple[str, ...]:
    """Wall in this process. `parent`: its end ends the process. Returns the walls that could not be built, with the
    reason.
    """
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_LIMIT),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))
    libc = ctypes.CDLL(None, use_errno=True)
    time.tzset()  # reads the time zone, as long as it can
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("console: the master has gone")
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return tuple(reason for reason in (_enter_landlock(), _enter_seccomp()) if reason)


def readable() -> tuple[Path, ...]:
    """Return the directories whose files may still be read: the program's own, and its libraries'."""
    places = sysconfig.get_paths()
    found = {Path(places[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.add(Path(__file__).resolve().parents[1])
    return tuple(sorted(place for place in found if place.is_dir()))


def _enter_landlock() -> str:
    access = landlock.FSAccess
    try:
        if landlock.landlock_abi_version() < 1:
            return "landlock: not in this kernel"
        rules = landlock.Ruleset()
        for place in readable():
            rules.allow(place, rules=access.READ_FILE | access.READ_DIR)
        rules.apply()
        os.close(rules._fd)  # the library leaves it open
    except (landlock.LandlockError, OSError) as error:
        return f"landlock: {error or type(error).__name__}"
    return ""


def _enter_seccomp() -> str:
    if pyseccomp is None:
        return "seccomp: libseccomp is not installed"
    try:
        _build_filter().load()
    except (OSError, RuntimeError) as error:
        return f"seccomp: {error}"
    return ""


def _build_filter() -> "pyseccomp.SyscallFilter":
    calls = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in " ".join(ALLOWED_CALLS.values()).split():
        try:
            calls.add_rule(pyseccomp.ALLOW, name)
        except OSError:  # a call this machine's library does not know cannot be allowed; it stays refused
            continue
    writing = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
    calls.add_rule(pyseccomp.ALLOW, "openat", pyseccomp.Arg(2, pyseccomp.MASKED_EQ, writing, os.O_RDONLY))
    calls.add_rule(pyseccomp.ALLOW, "open", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, writing, os.O_RDONLY))
    threads = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD)
    calls.add_rule(pyseccomp.ALLOW, "clone", threads)
    calls.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags lie in memory: make libc fall back to clone
    calls.add_rule(pyseccomp.ALLOW, "prlimit64", pyseccomp.Arg(0, pyseccomp.EQ, 0))
    return calls
