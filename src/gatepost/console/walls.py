"""The walls around the console: a browser's requests are read here, so whoever takes it over must find nothing.

Called by `console.process` once, single-threaded, with sockets open, modules imported and certificate read.
What is left: the sockets it has and those it accepts, and reading the program's own files. It opens no socket, starts
no process, sends no signal, writes no file. A wall the kernel does not have is named, never passed over in silence.
"""

import os
import resource
import signal
import sys
import sysconfig
import time
from pathlib import Path

from landlock import FSAccess

from gatepost.control import privileges, walling

MEMORY_LIMIT = 1 << 30
"""Address space: several times what it uses; large downloads pass through it in pieces."""
OPEN_FILES = 1024
"""Connections, and the files of pages."""

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
    walling.limit_resources(
        {
            resource.RLIMIT_AS: MEMORY_LIMIT,
            resource.RLIMIT_NOFILE: OPEN_FILES,
            resource.RLIMIT_CORE: 0,
        }
    )
    time.tzset()  # reads the time zone, as long as it can
    privileges.prctl(privileges.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("console: the master has gone")
    privileges.prctl(privileges.PR_SET_DUMPABLE, 0)
    privileges.prctl(privileges.PR_SET_NO_NEW_PRIVS, 1)
    reading = FSAccess.READ_FILE | FSAccess.READ_DIR
    places = [(place, reading) for place in readable()]
    reasons = (walling.enter_landlock(walling.landlock_version(), places), walling.enter_seccomp(_allowed()))
    return tuple(reason for reason in reasons if reason)


def readable() -> tuple[Path, ...]:
    """Return the directories whose files may still be read: the program's own, and its libraries'."""
    places = sysconfig.get_paths()
    found = {Path(places[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.add(Path(__file__).resolve().parents[1])
    return tuple(sorted(place for place in found if place.is_dir()))


def _allowed() -> "walling.Calls | None":
    calls = walling.allow_calls(" ".join(ALLOWED_CALLS.values()))
    if calls is not None:
        writing = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
        walling.allow_where(calls, "openat", 2, os.O_RDONLY, mask=writing)
        walling.allow_where(calls, "open", 1, os.O_RDONLY, mask=writing)
    return calls
