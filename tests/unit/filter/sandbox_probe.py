"""Run as a program: goes behind the walls in a forked child and reports, as JSON, what still works there.

Argument: `all`, or the name of a wall to leave out (`landlock`, `seccomp`).
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import sys
import threading
import time

from gatepost.control import walling
from gatepost.filter import sandbox

# Bare calls are what is tried here.
# ruff: noqa: PTH208, PTH102, PTH108, PTH104, PTH101, PLW0108, BLE001


def attempts(parent: int, folder: str) -> dict:
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: int) -> int:
        result = libc.syscall(number, *arguments)
        if result == -1:
            raise OSError(ctypes.get_errno(), "syscall")
        return result

    def fork() -> None:
        if os.fork() == 0:
            os._exit(0)

    def thread() -> None:
        ran = threading.Event()
        threading.Thread(target=ran.set).start()
        assert ran.wait(10)

    def own_socket() -> None:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    def descriptors() -> None:
        own = os.memfd_create("x")
        for _ in range(200):
            os.dup(own)

    return {
        "read a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "write a file": lambda: os.open(f"{folder}/existing", os.O_WRONLY),
        "create a file": lambda: os.open(f"{folder}/new", os.O_WRONLY | os.O_CREAT),
        "list a folder": lambda: os.listdir("/"),
        "make a folder": lambda: os.mkdir(f"{folder}/sub"),
        "remove": lambda: os.unlink(f"{folder}/existing"),
        "rename": lambda: os.rename(f"{folder}/existing", f"{folder}/other"),
        "chmod": lambda: os.chmod(f"{folder}/existing", 0o777),
        "chown": lambda: os.chown(f"{folder}/existing", os.getuid(), os.getgid()),
        "utime": lambda: os.utime(f"{folder}/existing", (1, 1)),
        "xattr": lambda: os.setxattr(f"{folder}/existing", "user.x", b"y"),
        "inet socket": own_socket,
        "unix socket": lambda: socket.socketpair(),
        "connect": lambda: call(42, 0, 0, 0),
        "fork": fork,
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "clone3": lambda: call(435, 0, 0),
        "kill parent": lambda: os.kill(parent, 0),
        "kill all": lambda: os.kill(-1, 0),
        "ptrace": lambda: call(101, 16, parent, 0, 0),
        "read another's memory": lambda: call(310, parent, 0, 0, 0, 0, 0),
        "bpf": lambda: call(321, 0, 0, 0),
        "io_uring": lambda: call(425, 1, 0),
        "keyctl": lambda: call(250, 0, 0, 0),
        "unshare": lambda: call(272, 0x10000000),
        "become root": lambda: os.setuid(0),
        "prctl": lambda: call(157, 4, 1, 0, 0, 0),
        "grow a file": lambda: os.write(os.memfd_create("x"), b"x"),
        "much memory": lambda: mmap.mmap(-1, 1 << 30),
        "many descriptors": descriptors,
        "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)),
        "thread": thread,
        "clock": time.monotonic,
        "some memory": lambda: bytearray(64 << 20),
    }


def main() -> None:
    leave_out, folder = sys.argv[1:3]
    if leave_out == "seccomp":
        walling.pyseccomp = None
    elif leave_out == "landlock":
        walling.landlock_version = lambda: 0
    prepared = sandbox.Sandbox(sandbox.Walls(512 << 20, 65534, 65534))
    reader, writer = os.pipe()
    secret = os.open("/etc/passwd", os.O_RDONLY)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        results = {}
        try:
            report = sandbox.enter(prepared, frozenset({0, 1, 2, writer}), parent)
            os.write(2, b"")  # what was to be kept is there
            try:
                os.read(secret, 1)
                results["inherited descriptor"] = "works"
            except OSError as error:
                results["inherited descriptor"] = errno.errorcode[error.errno or 0]
            for name, attempt in attempts(parent, folder).items():
                try:
                    attempt()
                    results[name] = "works"
                except OSError as error:
                    results[name] = errno.errorcode.get(error.errno or 0, "?")
                except ValueError:
                    results[name] = "ValueError"
                except MemoryError:
                    results[name] = "ENOMEM"
            results["uid"] = os.getuid()
            results["missing"] = report.missing
        except BaseException as error:  # told, not lost
            results["failed"] = repr(error)
        os.write(writer, json.dumps(results).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        sys.stdout.write(pipe.read().decode())
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
