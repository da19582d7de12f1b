"""An engine that tries to break out, loaded by a real template under `wall_probes:Prober`.

The mail's text names a probe; what came of it is the evidence of its report: `EPERM` and the like for what was refused,
`done` for what went through. A probe touches nothing but what the mail gives it: paths, ports, process ids.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject

RAW_CALLS = [
    "io_uring_setup",
    "bpf",
    "keyctl",
    "add_key",
    "request_key",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_open",
    "pidfd_getfd",
    "pidfd_send_signal",
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "fork",
    "vfork",
    "clone3",
    "execve",
    "execveat",
    "unshare",
    "setns",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "open",
    "openat",
    "openat2",
    "open_by_handle_at",
    "name_to_handle_at",
    "creat",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "unlink",
    "unlinkat",
    "rmdir",
    "truncate",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "fchownat",
    "utime",
    "utimes",
    "utimensat",
    "setxattr",
    "fsetxattr",
    "getxattr",
    "listxattr",
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "readlink",
    "readlinkat",
    "getdents64",
    "chdir",
    "socket",
    "socketpair",
    "connect",
    "bind",
    "listen",
    "accept",
    "accept4",
    "setsockopt",
    "ioctl",
    "prctl",
    "seccomp",
    "setuid",
    "setreuid",
    "setresuid",
    "setgid",
    "setresgid",
    "setgroups",
    "capset",
    "personality",
    "perf_event_open",
    "userfaultfd",
    "memfd_secret",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "reboot",
    "swapon",
    "sethostname",
    "syslog",
    "sched_setaffinity",
    "sched_setscheduler",
    "setpriority",
    "ioprio_set",
    "migrate_pages",
    "move_pages",
    "mbind",
    "shmget",
    "shmat",
    "msgget",
    "semget",
    "mq_open",
    "inotify_init1",
    "fanotify_init",
    "quotactl",
    "acct",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "vhangup",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "process_madvise",
    "kcmp",
    "io_setup",
    "splice",
    "tee",
    "vmsplice",
    "copy_file_range",
    "sendfile",
    "fallocate",
    "sync_file_range",
    "name_to_handle_at",
    "setpgid",
    "setsid",
    "wait4",
    "waitid",
    "umask",
]
"""Calls that must be refused by number, whatever their arguments."""
FILTERS_TEXT = "wall probe "


class Prober:
    """See the module."""

    name = "prober"

    def __init__(self) -> None:
        import pyseccomp

        self._libc = ctypes.CDLL(None, use_errno=True)
        native = pyseccomp.system_arch()
        self._numbers: dict[str, int] = {}
        for name in {*RAW_CALLS, "clone"}:
            with contextlib.suppress(ValueError, OSError):
                self._numbers[name] = pyseccomp.resolve_syscall(native, name)

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        """Run the probe named on the first line, given the JSON behind it."""
        text = subject.data.decode("latin-1")
        if not text.startswith(FILTERS_TEXT):
            return CLEAN
        name, _, arguments = text.removeprefix(FILTERS_TEXT).strip().partition(" ")
        probe: Callable[..., Any] = getattr(self, f"try_{name}")
        try:
            found = probe(**json.loads(arguments or "{}"))
        except OSError as error:
            found = errno.errorcode.get(error.errno or 0, str(error))
        except MemoryError:
            found = "MemoryError"
        return Report(Outcome.SUSPICIOUS, "Probe", json.dumps("done" if found is None else found))

    def version(self) -> str:
        """Nothing of it is ever remembered."""
        return ""

    def cure(self, subject: ScanObject) -> bytes | None:
        """No."""
        return None

    def health(self) -> str:
        """It can."""
        return ""

    # -- files

    def try_read(self, path: str) -> Any:
        return os.read(os.open(path, os.O_RDONLY), 10).decode()

    def try_write(self, path: str) -> Any:
        os.write(os.open(path, os.O_WRONLY), b"x")

    def try_create(self, path: str) -> Any:
        os.open(path, os.O_CREAT | os.O_WRONLY)

    def try_unlink(self, path: str) -> Any:
        Path(path).unlink()

    def try_chmod(self, path: str) -> Any:
        Path(path).chmod(0o777)

    def try_utime(self, path: str) -> Any:
        os.utime(path, (0, 0))

    def try_setxattr(self, path: str) -> Any:
        os.setxattr(path, "user.probe", b"x")

    def try_list(self, path: str) -> Any:
        return [each.name for each in Path(path).iterdir()]

    def try_grow_a_file_in_memory(self) -> Any:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        os.write(os.memfd_create("m"), b"x")

    def try_reopen_content(self) -> Any:
        return os.open("/proc/self/fd/3", os.O_RDWR)

    # -- network

    def try_socket(self, family: int, kind: int) -> Any:
        socket.socket(family, kind)

    def try_connect_what_is_there(self, path: str) -> Any:
        """The filter's own socket, connected elsewhere."""
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=os.dup(3)).connect(path)

    def try_bind_what_is_there(self, path: str) -> Any:
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=os.dup(3)).bind(path)

    # -- processes

    def try_fork(self) -> Any:
        pid = os.fork()
        if not pid:
            os._exit(0)

    def try_exec(self) -> Any:
        os.execv("/bin/true", ["true"])

    def try_clone_process(self) -> Any:
        """`clone` without CLONE_THREAD is a new process."""
        return self._call("clone", int(signal.SIGCHLD), 0, 0, 0, 0)

    def try_thread(self) -> Any:
        said: list[str] = []
        thread = threading.Thread(target=lambda: said.append("ran"))
        thread.start()
        thread.join()
        return said[0]

    def try_kill(self, pid: int) -> Any:
        os.kill(pid, signal.SIGKILL)

    def try_kill_by_descriptor(self, pid: int) -> Any:
        """A descriptor that has something to say sends the signal of F_SETSIG to the process of F_SETOWN."""
        reading, writing = os.pipe()
        fcntl.fcntl(reading, fcntl.F_SETOWN, pid)
        fcntl.fcntl(reading, 10, int(signal.SIGKILL))  # F_SETSIG
        fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.write(writing, b"x")

    def try_setuid_back(self) -> Any:
        os.setresuid(0, 0, 0)

    def try_become_dumpable(self) -> Any:
        return self._call_libc("prctl", 4, 1, 0, 0, 0)

    # -- limits

    def try_memory(self, size: int) -> Any:
        held = [bytearray(1 << 24) for _ in range(size >> 24)]
        return len(held)

    def try_descriptors(self) -> Any:
        count = 0
        held = []
        try:
            while True:
                held.append(os.dup(3))
                count += 1
        except OSError as error:
            return [count, errno.errorcode[error.errno or 0]]
        finally:
            for each in held:
                os.close(each)

    def try_raise_limits(self) -> Any:
        refused = []
        for limit in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
            _, hard = resource.getrlimit(limit)
            try:
                resource.setrlimit(limit, (hard + 1, hard + 1))
            except (OSError, ValueError):
                refused.append(limit)
        return len(refused)

    def try_limit_of_another(self, pid: int) -> Any:
        return list(resource.prlimit(pid, resource.RLIMIT_NOFILE))

    def try_open_descriptors(self) -> Any:
        """Return the numbers that are open."""
        return [fd for fd in range(4096) if self._is_open(fd)]

    def _is_open(self, fd: int) -> bool:
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            return False
        return True

    # -- calls by number

    def try_raw_calls(self) -> Any:
        """Return the calls that were not refused. -1 everywhere: what is not refused fails for another reason."""
        through = {}
        for name in RAW_CALLS:
            number = self._numbers.get(name, -1)
            if number < 0:  # not of this machine
                continue
            outcome = self._call_number(number, *([-1] * 6))
            if outcome not in ("EPERM", "ENOSYS"):
                through[name] = outcome
        return through

    def try_foreign_abi(self) -> Any:
        """The same calls by their x32 numbers."""
        return [self._call_number(0x40000000 | self._numbers.get(name, 0), *([-1] * 6)) for name in ("open", "fork")]

    def _call(self, name: str, *arguments: int) -> str:
        return self._call_number(self._numbers[name], *arguments)

    def _call_number(self, number: int, *arguments: int) -> str:
        ctypes.set_errno(0)
        result = self._libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
        return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]

    def _call_libc(self, name: str, *arguments: int) -> str:
        ctypes.set_errno(0)
        result = getattr(self._libc, name)(*arguments)
        return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def facts_of(pid: int) -> dict[str, str]:
    """Return what the kernel says of a process, by field."""
    rows = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in rows}


def limits_of(pid: int) -> list[str]:
    """Return the lines that tell the limits of a process."""
    return Path(f"/proc/{pid}/limits").read_text().splitlines()


def descriptors_of(pid: int) -> dict[int, str]:
    """Return where the descriptors of a process lead."""
    return {int(each.name): str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
